//! An objective: a loss, and optionally a miner, a distance, a reducer, regularisers and prefixes, evaluated on a batch.

mod evaluated;
mod kinds;
mod mixed;
mod row_loss;

use parallax_kernels::Real;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::kinds::{Bytes, CheckParts, OneWay};
use crate::Directions;
use crate::batch::{Batch, Frames, Refs};
use crate::context::Context;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::loss::{LossConfig, MultiSimilarity, Wants};
use crate::matryoshka::Matryoshka;
use crate::memory::CrossBatchMemory;
use crate::miner::MinerConfig;
use crate::mixup::MixupConfig;
use crate::number::Number;
use crate::parts::Parts;
use crate::proxy;
use crate::reducer::ReducerConfig;
use crate::regularizer::{EnergyConfusion, RegularizerConfig};
use crate::relation::{Own, Screen};
use crate::tiling::{Extra, Shape};

pub use self::evaluated::{ChannelStats, Evaluated, MinedPairs, MinedTriplets, ObjectiveStats};
pub use self::mixed::OnMixtures;
pub(crate) use self::row_loss::{check_classes, evaluate_row, finite};
pub use self::row_loss::{evaluate_loss, evaluate_loss_with, loss_memory_bytes};

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
    /// The loss.
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
    /// A penalty on the embeddings, and on the references where their gradient is wanted, or on the output of the metric
    /// layer; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regularizer: Option<RegularizerConfig>,
    /// A penalty on the proxies; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_regularizer: Option<RegularizerConfig>,
    /// A loss on mixed examples beside the loss; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<MixupConfig>,
    /// Prefixes of the embeddings on which the loss is taken; the whole embedding by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matryoshka: Option<Matryoshka>,
    /// Embeddings of earlier batches that each batch is compared with; none by default. It changes from step to step, so a
    /// [`Memory`](crate::Memory) beside the objective holds it, and an evaluation alone does not know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<CrossBatchMemory>,
}

impl Default for Objective {
    fn default() -> Self {
        LossConfig::MultiSimilarity(MultiSimilarity::default()).into()
    }
}

impl From<LossConfig> for Objective {
    /// The loss with its own distance and reducer and no miner.
    fn from(loss: LossConfig) -> Self {
        Objective {
            loss,
            miner: None,
            distance: None,
            reducer: None,
            regularizer: None,
            proxy_regularizer: None,
            mixup: None,
            matryoshka: None,
            memory: None,
        }
    }
}

impl Objective {
    /// Refuses parameters outside their range, and parts that do not fit together.
    pub fn check(&self) -> Result<(), Error> {
        self.loss.check()?;
        self.miner.as_ref().map_or(Ok(()), MinerConfig::check)?;
        self.distance.as_ref().map_or(Ok(()), DistanceConfig::check)?;
        self.reducer.as_ref().map_or(Ok(()), ReducerConfig::check)?;
        self.matryoshka.as_ref().map_or(Ok(()), Matryoshka::check)?;
        let wants = self.loss.wants();
        if self.proxy_regularizer.is_some() && wants.proxies.is_none() {
            return Err(Error::NoProxies);
        }
        if wants.logits && self.matryoshka.is_some() {
            return Err(Error::Unused { loss: self.loss.name(), part: "matryoshka" });
        }
        if let Some(RegularizerConfig::EnergyConfusion(_)) = &self.proxy_regularizer {
            return Err(Error::Combination {
                component: "proxy_regularizer",
                must: "energy_confusion is on the output of the metric layer, not on proxies",
            });
        }
        if let Some(confusion) = self.confusion() {
            confusion.check()?;
        }
        self.check_mixup()?;
        if let Some(memory) = &self.memory {
            memory.check()?;
            wants.remembered(self.loss.name())?;
        }
        let (distance, reducer) = (self.distance(), self.reducer());
        let miner = self.miner.as_ref();
        miner.map_or(Ok(()), |miner| miner.check_distance(&distance))?;
        self.loss.visit(CheckParts(Parts { miner, distance: &distance, reducer: &reducer }))
    }

    /// What a trainer has to hand in beside labelled embeddings.
    pub fn wants(&self) -> Wants {
        let wants = self.loss.wants();
        // Each prefix keeps a state of its own.
        let prefixes = self.matryoshka.as_ref().map_or(1, |matryoshka| matryoshka.dims.len());
        Wants { state: wants.state * prefixes, ..wants }
    }

    /// The regulariser on the output of the metric layer, where it is that: what a trainer hands in
    /// [`Context::layer`](crate::Context) for.
    pub fn confusion(&self) -> Option<&EnergyConfusion> {
        match &self.regularizer {
            Some(RegularizerConfig::EnergyConfusion(confusion)) => Some(confusion),
            _ => None,
        }
    }

    /// Proxies to start from, `[classes · per_class, dim]`; none where the loss has no proxies.
    ///
    /// They are parameters: hand them in with [`Context::proxies`], move them by [`Evaluated::proxy_grad`] in an optimiser
    /// group of their own (see [`proxy`](crate::proxy)), and keep them in checkpoints.
    pub fn initial_proxies<T: Real>(&self, classes: usize, dim: usize, key: Key) -> Option<Vec<T>> {
        self.wants().proxies.map(|per_class| proxy::initial(classes, per_class, dim, key))
    }

    /// An upper bound on the bytes that an evaluation on a batch of this shape allocates, its result included.
    ///
    /// For a row loss that is [`memory_bytes`](crate::memory_bytes), which is linear in the batch, and what this loss and this
    /// miner need beside it. A swapped triplet loss holds the rows of a class (`threads · class · R`), and so does a miner that
    /// lists triplets; `uniform_histogram` holds a count for each row and bin. For [`dense`](crate::dense) losses see there.
    pub fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, references, proxies, dim, value_bytes, threads, .. } = *shape;
        let miner = self.miner.as_ref().map_or(Extra::default(), MinerConfig::needs);
        let loss = match &self.matryoshka {
            None => self.loss.visit(Bytes { shape, miner }),
            Some(matryoshka) => {
                // The copies of one prefix, and the gradients of all.
                let longest = matryoshka.dims.iter().copied().max().unwrap_or(0);
                let copies = (anchors + references + proxies) * (longest + dim) * value_bytes;
                self.loss.visit(Bytes { shape: &Shape { dim: longest, ..*shape }, miner }) + copies
            }
        };
        let penalty = |config: &Option<RegularizerConfig>, rows: usize| {
            config.as_ref().map_or(0, |config| config.memory_bytes(rows, dim, value_bytes, threads))
        };
        let penalties =
            penalty(&self.regularizer, anchors.max(references)) + penalty(&self.proxy_regularizer, proxies);
        loss + penalties + self.mixed_bytes(shape)
    }

    /// First values of the loss's learnable scalars; empty where it has none.
    pub fn scalars(&self) -> Vec<f64> {
        self.loss.scalars()
    }

    /// The distance in force.
    pub fn distance(&self) -> DistanceConfig {
        self.distance.clone().unwrap_or_else(|| self.loss.distance())
    }

    /// The reducer in force.
    pub fn reducer(&self) -> ReducerConfig {
        self.reducer.clone().unwrap_or_else(|| self.loss.reducer())
    }

    /// Value and gradient on a batch, with tiles of [`TILE_BYTES`](crate::TILE_BYTES).
    ///
    /// A batch without a valid pair has value 0 and a gradient of zeros. An embedding of norm 0 is divided by 10⁻¹² where
    /// the distance normalises, as in torch, so its gradient is large and never NaN. Runs on the current rayon pool; the
    /// result does not depend on its size.
    ///
    /// # Errors
    /// Parameters outside their range, parts and slices that do not fit together, values that are not finite, a loss on
    /// pairs without pairs, constant anchors under the signal-to-noise distance, and results beyond the number type.
    pub fn evaluate<T: Number>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
    ) -> Result<Evaluated<T>, Error> {
        self.evaluate_with(batch, &Context { want_ref_grad, ..Context::default() })
    }

    /// [`evaluate`](Self::evaluate) with tiles of about `tile_bytes`; see [`memory_bytes`](crate::memory_bytes).
    pub fn evaluate_in<T: Number>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
        tile_bytes: usize,
    ) -> Result<Evaluated<T>, Error> {
        self.evaluate_with(batch, &Context { want_ref_grad, tile_bytes, ..Context::default() })
    }

    /// [`evaluate`](Self::evaluate) with all that can be given beside the batch.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), and a teacher or scalars that are missing or do not fit.
    pub fn evaluate_with<T: Number>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        self.check()?;
        let mut found = match &self.matryoshka {
            Some(matryoshka) => {
                matryoshka.evaluate(batch, context, |batch, context| self.evaluate_both(batch, context))?
            }
            None => self.evaluate_both(batch, context)?,
        };
        if let Some(confusion) = self.confusion() {
            let layer = context.layer.ok_or(Error::NeedsLayer { regularizer: "energy_confusion" })?;
            let key = context.key.named("energy_confusion");
            let confused = confusion.evaluate(layer.z, layer.dim, layer.labels, key)?;
            found.value += confused.value;
            found.layer_grad = confused.grad;
            found.term("energy_confusion", confused.value);
            found.term("energy", confused.energy);
            found.term("metric_layer_norm", confused.norm);
        } else if let Some(regularizer) = &self.regularizer {
            found.value += regularizer.add(batch.x, batch.dim, &mut found.grad)?;
            if let (Some(refs), Some(grad)) = (batch.refs, &mut found.ref_grad) {
                found.value += regularizer.add(refs.r, batch.dim, grad)?;
            }
        }
        if let (Some(regularizer), Some(proxies)) = (&self.proxy_regularizer, context.proxies) {
            found.value += regularizer.add(proxies, batch.dim, &mut found.proxy_grad)?;
        }
        Ok(found)
    }

    /// The loss alone, on whole embeddings.
    fn evaluate_loss<T: Number>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let directions = self.loss.pairs();
        if directions.is_some() && !batch.refs.is_some_and(|refs| refs.own.paired()) {
            return Err(Error::NeedsPairs { loss: self.loss.name() });
        }
        match directions {
            Some(Directions::Both { share }) => self.evaluate_both_ways(batch, context, share),
            Some(Directions::Forth) | None => T::evaluate_loss(self, batch, context, false),
        }
    }

    pub(crate) fn evaluate_one_way<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
        turned: bool,
    ) -> Result<Evaluated<T>, Error> {
        self.loss.visit(OneWay { objective: self, batch, context, turned })
    }

    /// A loss on pairs in both directions, each weighed by `share`; the second is without hard negatives.
    fn evaluate_both_ways<T: Number>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
        share: f64,
    ) -> Result<Evaluated<T>, Error> {
        let mut forth = T::evaluate_loss(self, batch, context, false)?;
        let Some(refs) = batch.refs else { return Ok(forth) };
        // References up to the last positive, and the pairs the other way round.
        let (rows, turned_pairs) = match refs.own {
            Own::Pairs(pairs) => {
                let mut turned: Vec<(u32, u32)> = pairs.iter().map(|&(a, p)| (p, a)).collect();
                turned.sort_unstable();
                (turned.last().map_or(0, |pair| pair.0 as usize + 1), Some(turned))
            }
            _ => (batch.labels.len(), None),
        };
        if rows == 0 {
            return Ok(forth);
        }
        let own = turned_pairs.as_ref().map_or(Own::Positive, |pairs| Own::Pairs(pairs));
        let turned = Batch {
            x: &refs.r[..rows * batch.dim],
            dim: batch.dim,
            labels: &refs.labels[..rows],
            refs: Some(Refs { r: batch.x, labels: batch.labels, own }),
        };
        let back = T::evaluate_loss(self, &turned, &Context { want_ref_grad: true, ..*context }, true)?;
        forth.value = share * (forth.value + back.value);
        let factor = T::of(share);
        let add = |a: &mut [T], b: &[T]| {
            a.iter_mut().for_each(|a| *a *= factor);
            a.iter_mut().zip(b).for_each(|(a, &b)| *a += factor * b);
        };
        add(&mut forth.grad, back.ref_grad.as_deref().unwrap_or_default());
        if let Some(grad) = &mut forth.ref_grad {
            add(grad, &back.grad);
        }
        forth.stats.add(&back.stats, share);
        Ok(forth)
    }

    /// The pairs of a batch that reach the loss: those that the miner keeps, or all. From a miner of triplets, the pairs
    /// that are in one.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn mine<T: Real>(&self, batch: &Batch<'_, T>) -> Result<MinedPairs, Error> {
        self.mined(batch, &Context::default(), |problem| problem.pairs())
    }

    /// The triplets of a batch that reach a loss on triplets. It lists them, which the losses do not, so memory is that
    /// of the list.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn mine_triplets<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<MinedTriplets, Error> {
        self.mined(batch, context, |problem| problem.triplets())
    }

    fn mined<T: Real, M>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
        list: impl Fn(&crate::engine::Problem<'_, T>) -> M,
    ) -> Result<M, Error> {
        self.check()?;
        let distance = self.distance();
        let frames = Frames::new(batch, &distance)?;
        let miner = self.miner.as_ref();
        Ok(list(&frames.problem(batch, &distance, miner, Screen::default(), None, context)))
    }
}
