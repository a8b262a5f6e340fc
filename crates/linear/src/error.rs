//! What can be wrong with examples, settings and fits.

/// Why a map cannot be fitted, chosen or applied.
///
/// Rows and columns are counted from 1.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting lies outside its range. Raised before any row is read.
    #[error("{component}: `{field}` is {value}, but it must be {must}")]
    Parameter {
        /// Name of the adapter, or `selection`.
        component: &'static str,
        /// The setting.
        field: &'static str,
        /// What was given.
        value: f64,
        /// The allowed range in words.
        must: &'static str,
    },
    /// The values do not fill whole rows, or their number is not the one that was stated.
    #[error("the {set} hold {found} numbers, which do not make {rows} rows of {dim}")]
    Shape {
        /// `vectors`, `anchors` or `positives`.
        set: &'static str,
        /// How many numbers there are.
        found: usize,
        /// How many rows there should be.
        rows: usize,
        /// Numbers a row.
        dim: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row} of the {set}, column {column}, is {value}: vectors must be finite")]
    NotFinite {
        /// `vectors`, `anchors` or `positives`.
        set: &'static str,
        /// Row, from 1.
        row: usize,
        /// Column, from 1.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// A covariance was asked for with fewer than two rows.
    #[error("{rows} rows have no covariance: at least 2 are needed")]
    FewRows {
        /// How many rows there are.
        rows: usize,
    },
    /// All rows are the same, so there is no direction to scale.
    #[error("all {rows} rows are equal: nothing varies, so nothing can be scaled")]
    NoVariance {
        /// How many rows there are.
        rows: usize,
    },
    /// An adapter that compares classes was given one.
    #[error("`{adapter}` compares classes, and all {rows} rows are of one class")]
    OneClass {
        /// Name of the adapter.
        adapter: &'static str,
        /// How many rows there are.
        rows: usize,
    },
    /// No two rows of any class differ, so the scatter within classes is zero.
    #[error(
        "`{adapter}` measures how rows of one class differ, and no class has two different rows ({classes} classes)"
    )]
    NoWithin {
        /// Name of the adapter.
        adapter: &'static str,
        /// How many classes there are.
        classes: usize,
    },
    /// The class means differ no more than rows within classes do, in any direction.
    #[error(
        "`{adapter}` finds no direction in which the means of the {classes} classes differ more than rows within a class"
    )]
    NoBetween {
        /// Name of the adapter.
        adapter: &'static str,
        /// How many classes there are.
        classes: usize,
    },
    /// An adapter that maps one side onto the other was given labelled rows.
    #[error("`{adapter}` maps anchors onto positives and cannot be fitted to labelled rows: {why}")]
    NeedsPairs {
        /// Name of the adapter.
        adapter: &'static str,
        /// What would come of it.
        why: &'static str,
    },
    /// Cross-validation needs two folds with two classes of at least two rows in each.
    #[error("{found} classes have two rows or more: choosing by cross-validation needs at least {needed}")]
    FewClasses {
        /// Classes with two rows or more; pairs count as classes of two.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A decomposition did not converge, or a weight left the range of 32-bit numbers.
    #[error("{what}: the values of the vectors are too large or too small for it")]
    Range {
        /// What was being computed.
        what: &'static str,
    },
    /// The caller's flag was raised between two candidates.
    #[error("stopped before all candidates were measured")]
    Cancelled,
    /// The measure of the held-out classes was refused.
    #[error(transparent)]
    Evaluation(#[from] parallax_eval::Error),
}

impl Error {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::NotFinite { .. } => "remove that row, or mend what wrote it",
            Error::Shape { .. } => {
                "row i of one set must describe row i of the other, and all rows need one length"
            }
            Error::NoVariance { .. } => "check that the vectors are those of different texts",
            Error::OneClass { .. } | Error::NoWithin { .. } | Error::NoBetween { .. } => {
                "use `whitening` with scatter = \"total\", which needs no labels"
            }
            Error::NeedsPairs { .. } => "give pairs, or use `linear_discriminant` or `ridge`",
            Error::FewClasses { .. } => {
                "label more classes, or fit one adapter with settings of your own instead of choosing among many"
            }
            Error::Range { .. } => "normalise the vectors to length 1",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Passes if `holds`, otherwise reports the setting.
pub(crate) fn require(
    holds: bool,
    component: &'static str,
    field: &'static str,
    value: f64,
    must: &'static str,
) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Parameter { component, field, value, must }) }
}
