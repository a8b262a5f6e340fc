//! What can be wrong with an objective or a batch.

/// Why an objective cannot be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter of a loss, miner or distance lies outside its range. Raised by `Objective::check` and before every
    /// evaluation.
    #[error("{component}: `{field}` is {value}, but it must be {must}")]
    Parameter {
        /// Name of the loss, miner or distance.
        component: &'static str,
        /// The parameter.
        field: &'static str,
        /// What was given.
        value: f64,
        /// The allowed range in words.
        must: &'static str,
    },
    /// The batch has no rows or no dimensions.
    #[error("the batch is empty: {rows} rows of {dim} dimensions")]
    EmptyBatch {
        /// Rows of the batch, from its labels.
        rows: usize,
        /// Dimensions a row.
        dim: usize,
    },
    /// The values do not fill `rows × dim`, or an index list does not have one entry a row.
    #[error("{what}: {found} values, but {rows} rows of {dim} need {}", rows * dim)]
    Shape {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// Rows, from the labels that go with it.
        rows: usize,
        /// Values a row.
        dim: usize,
    },
    /// An embedding holds NaN or an infinity.
    #[error("{what} row {row} (counted from 0) holds {value} in dimension {dim}")]
    NotFinite {
        /// `embeddings` or `references`.
        what: &'static str,
        /// Row of that matrix, from 0.
        row: usize,
        /// Dimension, from 0.
        dim: usize,
        /// The offending value.
        value: f64,
    },
    /// All components of an anchor are equal, so its variance, the divisor of the signal-to-noise ratio, is 0.
    #[error("embeddings row {row} (counted from 0) is constant, so its signal-to-noise ratio is undefined")]
    ConstantRow {
        /// Row of the batch, from 0.
        row: usize,
    },
    /// The loss works on pairs (anchor `i`, positive `i`) and the batch has none.
    #[error("{loss} needs references paired with the anchors: reference i is the positive of anchor i")]
    NeedsPairs {
        /// Name of the loss.
        loss: &'static str,
    },
    /// The batch says that reference `i` is the positive of anchor `i`, and there are fewer references than anchors.
    #[error("{anchors} anchors are paired with only {references} references")]
    TooFewReferences {
        /// Rows of the batch.
        anchors: usize,
        /// Rows of the reference set.
        references: usize,
    },
    /// An entry of the list of own columns points beyond the references.
    #[error("anchor {row} (counted from 0) names reference {column}, but there are {references}")]
    OwnColumn {
        /// Row of the batch, from 0.
        row: usize,
        /// The column that was named.
        column: usize,
        /// Rows of the reference set.
        references: usize,
    },
    /// More references than a column number (32 bits) can address.
    #[error("{references} references are more than {} columns", u32::MAX)]
    TooManyReferences {
        /// Rows of the reference set.
        references: usize,
    },
    /// The loss compares embeddings with proxies and none were given.
    #[error("{loss} needs proxies of the classes")]
    NeedsProxies {
        /// Name of the loss.
        loss: &'static str,
    },
    /// The loss does not work on a separate reference set and the batch has one.
    #[error("{loss} takes no references")]
    NoReferences {
        /// Name of the loss.
        loss: &'static str,
    },
    /// A label of the batch is not below the number of classes.
    #[error("embeddings row {row} (counted from 0) has label {label}, but there are proxies of {classes} classes")]
    NoProxy {
        /// Row of the batch, from 0.
        row: usize,
        /// Its label.
        label: u32,
        /// Classes that have proxies.
        classes: usize,
    },
    /// The loss is not defined on the chosen distance.
    #[error("{loss} is defined on {must} only")]
    Distance {
        /// Name of the loss.
        loss: &'static str,
        /// The distances it is defined on, in words.
        must: &'static str,
    },
    /// Finite embeddings gave a loss or a gradient that is not: products of unnormalised embeddings left the range of the
    /// number type.
    #[error("the {what} is not finite; normalise the embeddings or scale them down")]
    Overflow {
        /// `loss`, `gradient` or `reference gradient`.
        what: &'static str,
    },
}

/// Passes if `holds`, otherwise reports the parameter.
pub(crate) fn require(
    holds: bool,
    component: &'static str,
    field: &'static str,
    value: f64,
    must: &'static str,
) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Parameter { component, field, value, must }) }
}
