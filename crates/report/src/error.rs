use thiserror::Error;

/// Why evidence was not gathered.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no rows, or rows without columns.
    #[error("the {set} are empty: there is nothing to show")]
    Empty {
        /// Which input: `queries` or `gallery`.
        set: &'static str,
    },
    /// The values of one side are not `rows · dim` numbers.
    #[error("the {set} {side} hold {values} numbers, which is not {rows} rows of {dim}")]
    Shape {
        /// Which input.
        set: &'static str,
        /// `before` or `after`.
        side: &'static str,
        /// How many numbers there are.
        values: usize,
        /// How many rows there should be.
        rows: usize,
        /// Row length.
        dim: usize,
    },
    /// Queries and gallery cannot be compared.
    #[error("the queries have {queries} columns {side} and the gallery has {gallery}")]
    Dimension {
        /// `before` or `after`.
        side: &'static str,
        /// Row length of the queries.
        queries: usize,
        /// Row length of the gallery.
        gallery: usize,
    },
    /// The queries have vectors before and the gallery has none, or the reverse; or only one of them has labels.
    #[error("only one of queries and gallery has {what}")]
    OneSided {
        /// `vectors from before` or `labels`.
        what: &'static str,
    },
    /// There is not one label for each row.
    #[error("the {set} have {rows} rows but {labels} labels")]
    Labels {
        /// Which input.
        set: &'static str,
        /// How many rows there are.
        rows: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// A label has no name.
    #[error("row {row} of the {set} (counted from 1) has label {label}, but there are {classes} class names")]
    Class {
        /// Which input.
        set: &'static str,
        /// Row, counted from 1.
        row: usize,
        /// The label.
        label: u32,
        /// How many names there are.
        classes: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row} of the {set} {side}, column {column}, is {value} (both counted from 1)")]
    NotFinite {
        /// Which input.
        set: &'static str,
        /// `before` or `after`.
        side: &'static str,
        /// Row, counted from 1.
        row: usize,
        /// Column, counted from 1.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// The values of single queries do not fit the queries.
    #[error("the values of single queries do not fit: {problem}")]
    Values {
        /// What is wrong.
        problem: String,
    },
    /// The values of single queries could not be computed.
    #[error(transparent)]
    Eval(#[from] parallax_eval::Error),
}

impl Error {
    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::NotFinite { .. } => Some("training may have diverged: try a lower learning rate"),
            Error::OneSided { .. } => Some("give both, or neither"),
            Error::Class { .. } => {
                Some("give one name a label, or no names where labels only say what belongs together")
            }
            _ => None,
        }
    }
}
