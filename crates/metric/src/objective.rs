//! An objective: a loss, and optionally a miner, a distance, a reducer, regularisers and prefixes, evaluated on a batch.

use parallax_kernels::Real;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Frames, Refs, check_values};
use crate::context::{Context, Scores, Teacher, unit_rows};
use crate::dense::{DenseLoss, evaluate_dense_loss};
use crate::distance::DistanceConfig;
use crate::engine::{Account, Outcome};
use crate::error::Error;
use crate::loss::{LossConfig, MultiSimilarity, MultipleNegativesRanking, Visitor, Wants};
use crate::matryoshka::Matryoshka;
use crate::memory::CrossBatchMemory;
use crate::miner::MinerConfig;
use crate::parts::Parts;
use crate::proxy::{self, ProxyLoss, evaluate_proxy_loss};
use crate::reducer::ReducerConfig;
use crate::regularizer::RegularizerConfig;
use crate::relation::{Own, Screen};
use crate::row::{AnyLoss, Pairs, RowLoss};
use crate::scored::{ScoredLoss, evaluate_scored_loss};
use crate::tiling::{Extra, Shape};

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
    /// A penalty on the embeddings, and on the references where their gradient is wanted; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regularizer: Option<RegularizerConfig>,
    /// A penalty on the proxies; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_regularizer: Option<RegularizerConfig>,
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
            matryoshka: None,
            memory: None,
        }
    }
}

/// Value and gradient of an objective on a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated<T> {
    /// The loss.
    pub value: f64,
    /// Its gradient by the raw embeddings, `[B, dim]`.
    pub grad: Vec<T>,
    /// Its gradient by the raw references, `[R, dim]`, if there are references and it was asked for.
    pub ref_grad: Option<Vec<T>>,
    /// Its gradient by the loss's learnable scalars; empty where it has none.
    pub scalar_grad: Vec<f64>,
    /// Its gradient by the raw proxies, as they lie in the context; empty where the loss has none.
    pub proxy_grad: Vec<T>,
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
    /// Negatives masked because they are as good as identical to the anchor.
    pub masked_by_score: u64,
    /// Negatives masked because the teacher scores them above the anchor's positive.
    pub masked_by_teacher: u64,
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

/// (anchor, positive, negative) rows that a miner keeps, sorted.
pub type MinedTriplets = Vec<(u32, u32, u32)>;

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
        self.loss.wants()
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
        loss + penalty(&self.regularizer, anchors.max(references)) + penalty(&self.proxy_regularizer, proxies)
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
    pub fn evaluate<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        want_ref_grad: bool,
    ) -> Result<Evaluated<T>, Error> {
        self.evaluate_with(batch, &Context { want_ref_grad, ..Context::default() })
    }

    /// [`evaluate`](Self::evaluate) with tiles of about `tile_bytes`; see [`memory_bytes`](crate::memory_bytes).
    pub fn evaluate_in<T: Real>(
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
    pub fn evaluate_with<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        self.check()?;
        let mut found = match &self.matryoshka {
            Some(matryoshka) => {
                matryoshka.evaluate(batch, context, |batch, context| self.evaluate_loss(batch, context))?
            }
            None => self.evaluate_loss(batch, context)?,
        };
        if let Some(regularizer) = &self.regularizer {
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
    fn evaluate_loss<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        if let LossConfig::MultipleNegativesRanking(loss) = &self.loss {
            if !batch.refs.is_some_and(|refs| refs.own.paired()) {
                return Err(Error::NeedsPairs { loss: MultipleNegativesRanking::NAME });
            }
            if loss.symmetric {
                return self.evaluate_both_ways(batch, context);
            }
        }
        self.evaluate_one_way(batch, context, false)
    }

    fn evaluate_one_way<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
        turned: bool,
    ) -> Result<Evaluated<T>, Error> {
        self.loss.visit(OneWay { objective: self, batch, context, turned })
    }

    /// The mean of a loss on pairs over both directions; the second is without hard negatives.
    fn evaluate_both_ways<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let mut forth = self.evaluate_one_way(batch, context, false)?;
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
        let back = self.evaluate_one_way(&turned, &Context { want_ref_grad: true, ..*context }, true)?;
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

/// Evaluates the loss of an objective as what it is.
struct OneWay<'o, 'b, T> {
    objective: &'o Objective,
    batch: &'o Batch<'b, T>,
    context: &'o Context<'b, T>,
    turned: bool,
}

impl<T: Real> Visitor for OneWay<'_, '_, T> {
    type Out = Result<Evaluated<T>, Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        let miner = self.objective.miner.as_ref();
        evaluate_row(loss, miner, &distance, &reducer, self.batch, self.context, self.turned)
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        self.with_parts(|parts, batch, context| evaluate_proxy_loss(loss, parts, batch, context))
    }

    fn dense<L: DenseLoss>(self, loss: &L) -> Self::Out {
        self.with_parts(|parts, batch, context| evaluate_dense_loss(loss, parts, batch, context))
    }

    fn scored<L: ScoredLoss>(self, loss: &L) -> Self::Out {
        self.with_parts(|parts, batch, context| evaluate_scored_loss(loss, parts, batch, context))
    }
}

impl<'b, T: Real> OneWay<'_, 'b, T> {
    fn with_parts<O>(self, evaluate: impl Fn(&Parts<'_>, &Batch<'b, T>, &Context<'b, T>) -> O) -> O {
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        let miner = self.objective.miner.as_ref();
        evaluate(&Parts { miner, distance: &distance, reducer: &reducer }, self.batch, self.context)
    }
}

/// Refuses parts that the loss of an objective has no meaning for.
struct CheckParts<'a>(Parts<'a>);

impl Visitor for CheckParts<'_> {
    type Out = Result<(), Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        loss.check_distance(self.0.distance)
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        loss.check_parts(&self.0)
    }

    fn dense<L: DenseLoss>(self, loss: &L) -> Self::Out {
        loss.check_parts(&self.0)
    }

    fn scored<L: ScoredLoss>(self, loss: &L) -> Self::Out {
        loss.check_parts(&self.0)
    }
}

/// The memory of a loss with a miner.
struct Bytes<'a> {
    shape: &'a Shape,
    miner: Extra,
}

impl Bytes<'_> {
    /// What the miner adds to a loss that runs on the row engine with `references`.
    fn mining(&self, references: usize) -> usize {
        let shape = Shape { references, ..*self.shape };
        self.miner.bytes(&shape) - Extra::default().bytes(&shape)
    }
}

impl Visitor for Bytes<'_> {
    type Out = usize;

    fn row<L: RowLoss>(self, loss: &L) -> usize {
        Extra { passes: L::PASSES, mates: loss.mates(), ..self.miner }.bytes(self.shape)
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> usize {
        loss.memory_bytes(self.shape) + self.mining(self.shape.proxies.max(self.shape.anchors))
    }

    fn dense<L: DenseLoss>(self, loss: &L) -> usize {
        loss.memory_bytes(self.shape) + self.mining(self.shape.references)
    }

    fn scored<L: ScoredLoss>(self, loss: &L) -> usize {
        loss.memory_bytes(self.shape)
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
    let context = Context { want_ref_grad, tile_bytes, ..Context::default() };
    evaluate_row(loss, miner, distance, reducer, batch, &context, false)
}

/// [`evaluate_loss`] with all that can be given beside the batch: learnable scalars, a teacher, a key.
///
/// # Errors
/// As [`Objective::evaluate_with`].
pub fn evaluate_loss_with<L: RowLoss, T: Real>(
    loss: &L,
    parts: &Parts<'_>,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    evaluate_row(loss, parts.miner, parts.distance, parts.reducer, batch, context, false)
}

/// An upper bound on the bytes that an evaluation of any [`RowLoss`] allocates; see [`Objective::memory_bytes`].
pub fn loss_memory_bytes<L: RowLoss>(loss: &L, miner: Option<&MinerConfig>, shape: &Shape) -> usize {
    let miner = miner.map_or(Extra::default(), MinerConfig::needs);
    Extra { passes: L::PASSES, mates: loss.mates(), ..miner }.bytes(shape)
}

/// [`evaluate_loss`] in a context. With `turned`, a teacher's matrix is read the other way round.
pub(crate) fn evaluate_row<T: Real>(
    loss: &dyn AnyLoss<T>,
    miner: Option<&MinerConfig>,
    distance: &DistanceConfig,
    reducer: &ReducerConfig,
    batch: &Batch<'_, T>,
    context: &Context<'_, T>,
    turned: bool,
) -> Result<Evaluated<T>, Error> {
    loss.check()?;
    distance.check()?;
    reducer.check()?;
    loss.check_distance(distance)?;
    if let Some(miner) = miner {
        miner.check()?;
        miner.check_distance(distance)?;
    }
    if loss.mates() && batch.refs.is_some() {
        return Err(Error::NeedsItself { loss: loss.name() });
    }
    check_classes(loss.name(), loss.classes(), batch.labels)?;
    check_classes("class_weighted", reducer.classes(), batch.labels)?;
    let first = loss.scalars();
    let scalars = context.scalars.unwrap_or(&first);
    if scalars.len() != first.len() {
        return Err(Error::Scalars { loss: loss.name(), expected: first.len(), found: scalars.len() });
    }
    let mut screen = loss.screen();
    if distance.norm().is_none() || !distance.larger_is_nearer() {
        screen.above = None;
    }
    let columns = batch.refs.map_or(batch.labels.len(), |refs| refs.labels.len());
    let teacher = match screen.teacher {
        Some(_) => Some(scores(loss.name(), context.teacher, batch.labels.len(), columns, turned)?),
        None => None,
    };
    let frames = Frames::new(batch, distance)?;
    let problem = frames.problem(batch, distance, miner, screen, teacher.as_ref(), context);
    let want_ref_grad = context.want_ref_grad;
    let want_dr = batch.refs.is_none() || want_ref_grad;
    let Outcome { value, mut dx, mut dr, scalars: scalar_grad, account, channels } =
        problem.evaluate(loss, reducer, scalars, want_dr);
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
    if account.overflow {
        return Err(Error::Overflow { what: "loss" });
    }
    finite("loss", &[value])?;
    finite("gradient", &dx)?;
    finite("reference gradient", ref_grad.as_deref().unwrap_or_default())?;
    let parts = loss.channels().iter().zip(channels.iter().zip(&account.tallies));
    let channels = parts
        .map(|(&name, (&value, tally))| ChannelStats {
            name,
            value,
            elements: tally.elements,
            active: tally.active,
        })
        .collect();
    let (grad, proxy_grad) = (dx, Vec::new());
    Ok(Evaluated { value, grad, ref_grad, scalar_grad, proxy_grad, stats: stats_of(&account, channels) })
}

pub(crate) fn check_classes(
    component: &'static str,
    classes: Option<usize>,
    labels: &[u32],
) -> Result<(), Error> {
    let Some(classes) = classes else { return Ok(()) };
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(row) => Err(Error::UnknownClass { component, row, label: labels[row], classes }),
        None => Ok(()),
    }
}

/// Checks a teacher against a batch of `b` anchors and `r` references.
fn scores<'a, T: Real>(
    loss: &'static str,
    teacher: Option<Teacher<'a, T>>,
    b: usize,
    r: usize,
    turned: bool,
) -> Result<Scores<'a, T>, Error> {
    match teacher.ok_or(Error::NeedsTeacher { loss })? {
        Teacher::Similarities(values) => {
            // Turned, the batch's anchors are the first rows of the teacher's references.
            let (rows, columns) = if turned { (r, values.len() / r.max(1)) } else { (b, r) };
            check_values("teacher similarities", values, rows, columns)?;
            if columns < if turned { b } else { r } {
                return Err(Error::Shape {
                    what: "teacher similarities",
                    found: values.len(),
                    rows: r,
                    dim: b,
                });
            }
            Ok(Scores::Matrix { values, columns, turned })
        }
        Teacher::Candidates(values) => {
            // Turned, what stands there is still one list for each pair.
            let each = if turned { values.len() / b.max(1) } else { 1 + r.saturating_sub(b) / b.max(1) };
            check_values("teacher similarities", values, b, each)?;
            if each == 0 || r < b || !turned && each * b != r {
                return Err(Error::Shape {
                    what: "teacher similarities",
                    found: values.len(),
                    rows: b,
                    dim: each,
                });
            }
            Ok(Scores::Candidates { values, rows: b, each })
        }
        Teacher::Embeddings { x, r: references, dim } => {
            let (x, references) = if turned { (references, x) } else { (x, references) };
            let used = |values: &'a [T], rows: usize| values.get(..rows * dim).unwrap_or(values);
            let x = used(x, b);
            check_values("teacher embeddings", x, b, dim)?;
            let references = if references.is_empty() { references } else { used(references, r) };
            if !references.is_empty() || b != r {
                check_values("teacher embeddings of references", references, r, dim)?;
            }
            Ok(Scores::Rows { x: unit_rows(x, dim), r: unit_rows(references, dim), dim })
        }
    }
}

impl ObjectiveStats {
    fn add(&mut self, other: &ObjectiveStats) {
        self.positive_pairs += other.positive_pairs;
        self.negative_pairs += other.negative_pairs;
        self.mined_positive += other.mined_positive;
        self.mined_negative += other.mined_negative;
        self.masked_false_negatives += other.masked_false_negatives;
        self.masked_by_score += other.masked_by_score;
        self.masked_by_teacher += other.masked_by_teacher;
        self.active += other.active;
        for (a, b) in self.channels.iter_mut().zip(&other.channels) {
            a.value = 0.5 * (a.value + b.value);
            a.elements += b.elements;
            a.active += b.active;
        }
    }
}

pub(crate) fn finite<T: Real>(what: &'static str, values: &[T]) -> Result<(), Error> {
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
        masked_false_negatives: account.masked.label,
        masked_by_score: account.masked.score,
        masked_by_teacher: account.masked.teacher,
        active: channels.iter().map(|c| c.active).sum(),
        channels,
    }
}
