//! An objective: a loss, and optionally a miner, a distance and a reducer, evaluated on a batch.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Frames, Refs};
use crate::distance::DistanceConfig;
use crate::engine::{Account, Outcome};
use crate::error::Error;
use crate::loss::{LossConfig, MultiSimilarity, MultipleNegativesRanking, each};
use crate::miner::MinerConfig;
use crate::reducer::ReducerConfig;
use crate::relation::Own;
use crate::row::{Pairs, RowLoss};
use crate::tiling::TILE_BYTES;

/// What training minimises.
///
/// ```
/// use parallax_metric::{Batch, Objective};
/// let objective = Objective::default(); // multi_similarity on cosine similarities
/// let x = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.2, 0.9];
/// let batch = Batch { x: &x, dim: 2, labels: &[0, 0, 1, 1], refs: None };
/// let evaluated = objective.evaluate::<f64>(&batch, false)?;
/// assert_eq!(evaluated.grad.len(), x.len());
/// assert_eq!(evaluated.stats.positive_pairs, 4);
/// # Ok::<(), parallax_metric::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// The pair loss.
    pub loss: LossConfig,
    /// Which pairs reach the loss; all of them by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miner: Option<MinerConfig>,
    /// The distance; by default the loss's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<DistanceConfig>,
    /// The reducer; by default the loss's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reducer: Option<ReducerConfig>,
}

impl Default for Objective {
    fn default() -> Self {
        LossConfig::MultiSimilarity(MultiSimilarity::default()).into()
    }
}

impl From<LossConfig> for Objective {
    /// The loss with its own distance and reducer and no miner.
    fn from(loss: LossConfig) -> Self {
        Objective { loss, miner: None, distance: None, reducer: None }
    }
}

/// Value and gradient of an objective on a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated<T> {
    /// The loss.
    pub value: f64,
    /// Its gradient by the raw embeddings, `[B, dim]`.
    pub grad: Vec<T>,
    /// Its gradient by the raw references, `[R, dim]`, if there are references and it was asked for.
    pub ref_grad: Option<Vec<T>>,
    /// What the batch held.
    pub stats: ObjectiveStats,
}

/// What a batch held and how much of it reached the loss.
///
/// For a symmetric loss the counts are of both directions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ObjectiveStats {
    /// (anchor, reference) pairs of one class.
    pub positive_pairs: u64,
    /// (anchor, reference) pairs of two classes.
    pub negative_pairs: u64,
    /// Positive pairs left by the miner; without one, all.
    pub mined_positive: u64,
    /// Negative pairs left by the miner; without one, all.
    pub mined_negative: u64,
    /// References masked because they share the anchor's label without being its own positive.
    pub masked_false_negatives: u64,
    /// Elements of the loss greater than 0, over all channels.
    pub active: u64,
    /// The parts of the loss, reduced separately and added.
    pub channels: Vec<ChannelStats>,
}

/// One part of a loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelStats {
    /// Its name, such as `positive`.
    pub name: &'static str,
    /// Its reduced value.
    pub value: f64,
    /// Its elements: pairs or anchors, as the loss defines.
    pub elements: u64,
    /// Its elements greater than 0.
    pub active: u64,
}

/// Pairs that a miner keeps, as (anchor, reference) rows, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinedPairs {
    /// Pairs of one class.
    pub positives: Vec<(u32, u32)>,
    /// Pairs of two classes.
    pub negatives: Vec<(u32, u32)>,
}

impl Objective {
    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        self.loss.check()?;
        self.miner.as_ref().map_or(Ok(()), MinerConfig::check)?;
        self.distance.as_ref().map_or(Ok(()), DistanceConfig::check)
    }

    /// The distance in force.
    pub fn distance(&self) -> DistanceConfig {
        self.distance.clone().unwrap_or_else(|| self.loss.distance())
    }

    /// The reducer in force.
    pub fn reducer(&self) -> ReducerConfig {
        self.reducer.clone().unwrap_or_else(|| self.loss.reducer())
    }

    /// Value and gradient on a batch, with tiles of [`TILE_BYTES`].
    ///
    /// A batch without a valid pair has value 0 and a gradient of zeros. An embedding of norm 0 is divided by 10⁻¹² where
    /// the distance normalises, as in torch, so its gradient is large and never NaN. Runs on the current rayon pool; the
    /// result does not depend on its size.
    ///
    /// # Errors
    /// Parameters outside their range, slices that do not fit together, values that are not finite, a loss on pairs
    /// without pairs, constant anchors under the signal-to-noise distance, and results beyond the number type.
    pub fn evaluate<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
    ) -> Result<Evaluated<T>, Error> {
        self.evaluate_in(batch, want_ref_grad, TILE_BYTES)
    }

    /// [`evaluate`](Self::evaluate) with tiles of about `tile_bytes`; see [`memory_bytes`](crate::memory_bytes).
    pub fn evaluate_in<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
        tile_bytes: usize,
    ) -> Result<Evaluated<T>, Error> {
        self.check()?;
        let paired = matches!(batch.refs, Some(Refs { own: Own::Positive, .. }));
        if let LossConfig::MultipleNegativesRanking(loss) = &self.loss {
            if !paired {
                return Err(Error::NeedsPairs { loss: MultipleNegativesRanking::NAME });
            }
            if loss.symmetric {
                return self.evaluate_both_ways(batch, want_ref_grad, tile_bytes);
            }
        }
        self.evaluate_one_way(batch, want_ref_grad, tile_bytes)
    }

    fn evaluate_one_way<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
        tile_bytes: usize,
    ) -> Result<Evaluated<T>, Error> {
        let (distance, reducer) = (self.distance(), self.reducer());
        let miner = self.miner.as_ref();
        each!(&self.loss, loss => {
            evaluate_loss(loss, miner, &distance, &reducer, batch, want_ref_grad, tile_bytes)
        })
    }

    /// The mean of a loss on pairs over both directions; the second is without hard negatives.
    fn evaluate_both_ways<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
        tile_bytes: usize,
    ) -> Result<Evaluated<T>, Error> {
        let mut forth = self.evaluate_one_way(batch, want_ref_grad, tile_bytes)?;
        let Some(refs) = batch.refs else { return Ok(forth) };
        let b = batch.labels.len();
        let turned = Batch {
            x: &refs.r[..b * batch.dim],
            dim: batch.dim,
            labels: &refs.labels[..b],
            refs: Some(Refs { r: batch.x, labels: batch.labels, own: Own::Positive }),
        };
        let back = self.evaluate_one_way(&turned, true, tile_bytes)?;
        let half = T::of(0.5);
        forth.value = 0.5 * (forth.value + back.value);
        let mean = |a: &mut [T], b: &[T]| {
            a.iter_mut().for_each(|a| *a *= half);
            a.iter_mut().zip(b).for_each(|(a, &b)| *a += half * b);
        };
        mean(&mut forth.grad, back.ref_grad.as_deref().unwrap_or_default());
        if let Some(grad) = &mut forth.ref_grad {
            mean(grad, &back.grad);
        }
        forth.stats.add(&back.stats);
        Ok(forth)
    }

    /// The pairs of a batch that reach the loss: those that the miner keeps, or all.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn mine<T: Real>(&self, batch: &Batch<'_, T>) -> Result<MinedPairs, Error> {
        self.check()?;
        let distance = self.distance();
        let frames = Frames::new(batch, &distance)?;
        let problem = frames.problem(batch, &distance, self.miner.as_ref(), TILE_BYTES);
        Ok(problem.pairs())
    }
}

/// Evaluates any [`RowLoss`], one that is not in [`LossConfig`] too; [`Objective::evaluate`] is this with names.
///
/// # Errors
/// As [`Objective::evaluate`].
pub fn evaluate_loss<L: RowLoss, T: Real>(
    loss: &L,
    miner: Option<&MinerConfig>,
    distance: &DistanceConfig,
    reducer: &ReducerConfig,
    batch: &Batch<'_, T>,
    want_ref_grad: bool,
    tile_bytes: usize,
) -> Result<Evaluated<T>, Error> {
    loss.check()?;
    distance.check()?;
    miner.map_or(Ok(()), MinerConfig::check)?;
    let frames = Frames::new(batch, distance)?;
    let problem = frames.problem(batch, distance, miner, tile_bytes);
    let want_dr = batch.refs.is_none() || want_ref_grad;
    let Outcome { value, mut dx, mut dr, account, channels } = problem.evaluate(loss, reducer, want_dr);
    let mut ref_grad = None;
    if let Some(r) = &frames.r {
        if want_ref_grad {
            r.backward(&mut dr);
            ref_grad = Some(dr);
        }
    } else {
        dx.iter_mut().zip(&dr).for_each(|(dx, &dr)| *dx += dr);
    }
    frames.x.backward(&mut dx);
    finite("loss", &[value])?;
    finite("gradient", &dx)?;
    finite("reference gradient", ref_grad.as_deref().unwrap_or_default())?;
    let parts = L::CHANNELS.iter().zip(channels.iter().zip(&account.tallies));
    let channels = parts
        .map(|(&name, (&value, tally))| ChannelStats {
            name,
            value,
            elements: tally.elements,
            active: tally.active,
        })
        .collect();
    Ok(Evaluated { value, grad: dx, ref_grad, stats: stats_of(&account, channels) })
}

impl ObjectiveStats {
    fn add(&mut self, other: &ObjectiveStats) {
        self.positive_pairs += other.positive_pairs;
        self.negative_pairs += other.negative_pairs;
        self.mined_positive += other.mined_positive;
        self.mined_negative += other.mined_negative;
        self.masked_false_negatives += other.masked_false_negatives;
        self.active += other.active;
        for (a, b) in self.channels.iter_mut().zip(&other.channels) {
            a.value = 0.5 * (a.value + b.value);
            a.elements += b.elements;
            a.active += b.active;
        }
    }
}

fn finite<T: Real>(what: &'static str, values: &[T]) -> Result<(), Error> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Error::Overflow { what }) }
}

fn stats_of(account: &Account, channels: Vec<ChannelStats>) -> ObjectiveStats {
    let Pairs { positive: positive_pairs, negative: negative_pairs } = account.pairs;
    let Pairs { positive: mined_positive, negative: mined_negative } = account.mined;
    ObjectiveStats {
        positive_pairs,
        negative_pairs,
        mined_positive,
        mined_negative,
        masked_false_negatives: account.masked,
        active: channels.iter().map(|c| c.active).sum(),
        channels,
    }
}
