//! Losses that are not one anchor's row, each with a formula for its memory.
//!
//! | loss | why it is none | memory beside the embeddings |
//! |---|---|---|
//! | N-pairs | works on one pair of each class | that of a row loss on `C` pairs, and the pairs: `4·C·D` |
//! | angular | a pair's term holds rows of both ends | a row loss's, and `M·B` a thread for the rows of `M` positives |
//! | histogram | its value is one number of all pairs | a row loss's, and `2·B·bins` of histograms |
//! | dynamic soft margin | weighs by a moving histogram of all triplets | a row loss's, and `B·bins` of histograms |
//! | VICReg | statistics of dimensions | `D² + B·D` |
//! | manifold | a random walk over all points | `8·(B + P)²` doubles |
//!
//! N-pairs, angular, histogram and dynamic soft margin still run on the row engine, so they are tiled and threaded as the others are. A
//! distance [`Lp`](crate::Lp) with `p ≠ 2` is not a function of inner products; every row loss works on it, with the memory
//! of a row loss, and in `O(B·R·D)` powers instead of a matrix product.
//!
//! To add one: a file with its parameters and its [`DenseLoss`], and one line in the list of losses.

mod angular;
mod dynamic_soft_margin;
mod histogram;
mod manifold;
mod n_pairs;
mod vicreg;

use parallax_kernels::Real;

pub use angular::Angular;
pub use dynamic_soft_margin::DynamicSoftMargin;
pub use histogram::Histogram;
pub use manifold::Manifold;
pub use n_pairs::NPairs;
pub use vicreg::Vicreg;

use crate::batch::Batch;
use crate::context::Context;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::objective::Evaluated;
use crate::parts::Parts;
use crate::reducer::ReducerConfig;
use crate::tiling::Shape;

/// A loss on a batch as a whole.
pub trait DenseLoss: Sync {
    /// Name in configs and messages.
    const NAME: &'static str;
    /// Whether the references are the other ends of pairs, one for each row of the batch.
    const PAIRED: bool = false;
    /// Whether the batch must be compared with itself.
    const ITSELF: bool = false;
    /// Whether the rows of the batch are logits of classes, one output for each class or one for two classes.
    const LOGITS: bool = false;

    /// The distance where the objective names none.
    fn distance(&self) -> DistanceConfig {
        DistanceConfig::cosine()
    }

    /// The reducer where the objective names none.
    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::mean()
    }

    /// Refuses parameters outside their range.
    fn check(&self) -> Result<(), Error>;

    /// Refuses parts that the loss has no meaning for.
    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error>;

    /// The measure of a classifier that a loss on logits is after, by its name in `parallax-eval`.
    fn measure(&self) -> &'static str {
        "f1"
    }

    /// How many numbers of state it keeps from batch to batch, 0 before the first one: [`Context::state`] takes them and
    /// [`Evaluated::state`] returns them. Where they are given, their number and range have been checked.
    fn state(&self) -> usize {
        0
    }

    /// Value and gradients; parameters and parts have been checked, the batch has not.
    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error>;

    /// An upper bound on the bytes of an evaluation, its result included.
    fn memory_bytes(&self, shape: &Shape) -> usize;
}

/// Evaluates any [`DenseLoss`].
///
/// # Errors
/// As [`Objective::evaluate`](crate::Objective::evaluate), and parts that the loss has no use for.
pub fn evaluate_dense_loss<L: DenseLoss, T: Real>(
    loss: &L,
    parts: &Parts<'_>,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    loss.check()?;
    parts.check()?;
    loss.check_parts(parts)?;
    if let Some(state) = context.state {
        let expected = loss.state();
        if state.len() != expected || state.iter().any(|v| !v.is_finite() || *v < 0.0) {
            return Err(Error::State { loss: L::NAME, expected, found: state.len() });
        }
    }
    loss.evaluate(parts, batch, context)
}
