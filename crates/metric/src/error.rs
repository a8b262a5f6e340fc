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
    /// An entry of the list of positive pairs points beyond the batch, or the list is not sorted without repeats.
    #[error(
        "entry {entry} (counted from 0) of the list of positive pairs is out of range or out of order, for {anchors} \
         anchors and {references} references"
    )]
    PairList {
        /// Entry of the list, from 0.
        entry: usize,
        /// Rows of the batch.
        anchors: usize,
        /// Rows of the reference set.
        references: usize,
    },
    /// A label lies beyond the classes that a component has a value for.
    #[error("row {row} (counted from 0) has label {label}, but {component} knows only {classes} classes")]
    UnknownClass {
        /// The reducer or loss.
        component: &'static str,
        /// Row of the batch, from 0.
        row: usize,
        /// Its label.
        label: u32,
        /// How many classes there are values for.
        classes: usize,
    },
    /// The loss has another number of learnable scalars than it was given.
    #[error("{loss} has {expected} learnable scalars, but was given {found}")]
    Scalars {
        /// Name of the loss.
        loss: &'static str,
        /// How many it has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// The state that is carried from batch to batch has another length than the loss keeps, or holds what is no state.
    #[error(
        "{loss} keeps {expected} finite numbers of at least 0 from batch to batch, but was given {found} values"
    )]
    State {
        /// Name of the loss.
        loss: &'static str,
        /// How many numbers it keeps.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// Two settings of a component exclude each other.
    #[error("{component}: {must}")]
    Combination {
        /// The loss, miner or reducer.
        component: &'static str,
        /// What must hold, in words.
        must: &'static str,
    },
    /// A loss or miner was put together with a distance that it is not defined for.
    #[error("{component} is not defined for this distance; it needs {needs}")]
    Distance {
        /// Name of the loss or miner.
        component: &'static str,
        /// What it needs in words.
        needs: &'static str,
    },
    /// The loss compares rows of the batch with one another and cannot work on a separate reference set.
    #[error("{loss} needs a batch that is compared with itself, not a separate reference set")]
    NeedsItself {
        /// Name of the loss.
        loss: &'static str,
    },
    /// A memory of earlier batches was asked for, and the loss cannot be compared with one.
    #[error("a memory of earlier batches has no meaning for {loss}: {why}")]
    NoMemory {
        /// Name of the loss.
        loss: String,
        /// What it compares instead.
        why: &'static str,
    },
    /// The loss compares every pair of a batch with a teacher's opinion, and the teacher has one of lists alone.
    #[error(
        "{loss} learns every similarity of a batch, and the teacher's scores are of each anchor's own list alone"
    )]
    NeedsWholeTeacher {
        /// Its name.
        loss: &'static str,
    },
    /// The loss or its settings ask for a teacher and the context has none.
    #[error("{loss} asks a teacher, but no teacher's scores were given")]
    NeedsTeacher {
        /// Name of the loss.
        loss: &'static str,
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
    /// The weights of pairs were asked of a loss that is not stated as a row of pairs.
    #[error("{loss} is not stated as one anchor's row of pairs")]
    NoRow {
        /// Name of the loss.
        loss: &'static str,
    },
    /// The objective regularises proxies and its loss has none.
    #[error("proxy_regularizer: the loss has no proxies")]
    NoProxies,
    /// The objective has a part, or the batch a side, that the loss has no use for.
    #[error("{loss} takes no {part}")]
    Unused {
        /// Name of the loss.
        loss: &'static str,
        /// `miner`, `reducer`, …
        part: &'static str,
    },
    /// The loss compares with target scores or with a teacher's scores and none were given.
    #[error("{loss} needs target scores")]
    NeedsTargets {
        /// Name of the loss.
        loss: &'static str,
    },
    /// The hard negatives of a batch of pairs are not equally many for each pair.
    #[error("{loss}: {negatives} negatives cannot be shared out equally among {rows} pairs")]
    UnevenNegatives {
        /// Name of the loss.
        loss: &'static str,
        /// References after the first `rows`.
        negatives: usize,
        /// Pairs of the batch.
        rows: usize,
    },
    /// The regulariser is on the metric layer and the context has no output of one.
    #[error("{regularizer} needs the output of the metric layer, the last linear layer before the embedding")]
    NeedsLayer {
        /// Name of the regulariser.
        regularizer: &'static str,
    },
    /// The loss does not decompose into two branches, or cannot be compared with mixtures at all.
    #[error("mixup has no meaning for {loss}: {why}")]
    NotMixable {
        /// Name of the loss.
        loss: &'static str,
        /// Why not, and what there is instead.
        why: String,
    },
    /// Mixtures are made before the embedding and the context has none.
    #[error("mixup before the embedding needs the embeddings of the mixtures")]
    NeedsMixtures,
    /// A mixture names a row that the batch does not have.
    #[error("mixture {entry} (counted from 0) has a source outside of the {rows} rows of the batch")]
    MixtureSource {
        /// The mixture, from 0.
        entry: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// A target score is NaN or infinite.
    #[error("target row {row} (counted from 0) holds {value} in column {column}")]
    TargetNotFinite {
        /// Row of the targets, from 0.
        row: usize,
        /// Column of the targets, from 0.
        column: usize,
        /// The offending value.
        value: f64,
    },
    /// A prefix of a Matryoshka objective is longer than the embeddings.
    #[error("a prefix of {prefix} dimensions is longer than the embeddings of {dim}")]
    Prefix {
        /// Dimensions of the prefix.
        prefix: usize,
        /// Dimensions of an embedding.
        dim: usize,
    },
    /// A component refuses something in its own words.
    #[error("{component}: {what}")]
    Refused {
        /// Name of the loss, miner or distance.
        component: &'static str,
        /// What, and why.
        what: String,
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
