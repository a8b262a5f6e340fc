use thiserror::Error;

/// Why an evaluation was refused.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Error {
    /// A set without rows or without columns was given.
    #[error("the {set} are empty: there is nothing to evaluate")]
    Empty {
        /// Which input: `queries`, `references` or `measures`.
        set: &'static str,
    },
    /// The values do not fill whole rows.
    #[error("the {set} hold {values} numbers, which is not a whole number of rows of {dim}")]
    Ragged {
        /// Which input.
        set: &'static str,
        /// How many numbers it holds.
        values: usize,
        /// The row length.
        dim: usize,
    },
    /// There is not one label for each row.
    #[error("the {set} have {rows} rows but {labels} labels")]
    Labels {
        /// Which input.
        set: &'static str,
        /// How many rows it holds.
        rows: usize,
        /// How many labels it holds.
        labels: usize,
    },
    /// Queries and references have different row lengths.
    #[error("the queries have {queries} columns and the references have {references}")]
    Dimension {
        /// Row length of the queries.
        queries: usize,
        /// Row length of the references.
        references: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "row {row} of the {set}, column {column}, is {value}: vectors must be finite (both counted from 1)"
    )]
    NotFinite {
        /// Which input.
        set: &'static str,
        /// Row, counted from 1.
        row: usize,
        /// Column, counted from 1.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// The references were said to begin with the queries, and do not.
    #[error(
        "row {row} of the queries (counted from 1) is not row {row} of the references: the queries must stand first, with their labels, in the same order"
    )]
    NotFirst {
        /// Row, counted from 1.
        row: usize,
    },
    /// A row is of a class that the classifier has no output for.
    #[error(
        "row {row} (counted from 1) is of class {class}, and the classifier tells {classes} classes, from 0"
    )]
    NoOutput {
        /// Row, counted from 1.
        row: usize,
        /// Its class.
        class: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// No query has anything to find.
    #[error("none of the {queries} queries has a relevant item: every class has one example")]
    NothingRelevant {
        /// How many queries were given.
        queries: usize,
    },
    /// A measure's name is unknown or its cut-off is not a positive whole number.
    #[error("`{given}` is not a measure; valid: {valid}")]
    Measure {
        /// What was asked for.
        given: String,
        /// The names that exist.
        valid: &'static str,
    },
    /// A tile of zero rows was asked for.
    #[error("`{field}` is 0: a tile holds at least one row")]
    Tile {
        /// The configuration field.
        field: &'static str,
    },
    /// A ranking says that it found more relevant items than there are, or that there are none.
    #[error("ranking {ranking} (counted from 1) shows {found} relevant items of {relevant}")]
    Ranking {
        /// Which ranking, counted from 1.
        ranking: usize,
        /// How many relevant items the list shows.
        found: usize,
        /// How many relevant items there are.
        relevant: usize,
    },
    /// The two columns of a paired comparison have different lengths.
    #[error("a paired comparison needs the same queries on both sides: {before} before, {after} after")]
    Unpaired {
        /// Values before.
        before: usize,
        /// Values after.
        after: usize,
    },
    /// A bootstrap was asked for with no values, or a value that is not finite.
    #[error(
        "value {index} of {len} (counted from 1) is missing or not finite: a bootstrap needs finite values"
    )]
    Sample {
        /// Which value, counted from 1; 1 of 0 for an empty column.
        index: usize,
        /// How many values were given.
        len: usize,
    },
    /// A bootstrap was asked for without resamples.
    #[error("`resamples` is 0: an interval needs at least one resample")]
    Resamples,
}
