//! The weight that a loss puts on a pair: General Pair Weighting made visible.

use crate::batch::Batch;
use crate::context::Context;
use crate::dense::DenseLoss;
use crate::distance::{DistanceConfig, Form};
use crate::error::Error;
use crate::loss::{LossConfig, Opinion, Visitor};
use crate::parts::Parts;
use crate::proxy::{ProxyLoss, evaluate_proxy_loss};
use crate::reducer::{Range, ReducerConfig};
use crate::row::{AnyLoss, MAX_CHANNELS, Row, RowLoss, Slopes, Stat, Tally};
use crate::scored::ScoredLoss;
use crate::triplets::Triplets;

/// What a loss does with one more pair of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairWeight {
    /// The pair's cosine similarity.
    pub similarity: f64,
    /// How strongly the pair is drawn together if it is a positive: `−∂L/∂s`.
    pub positive: f64,
    /// How strongly the pair is pushed apart if it is a negative: `∂L/∂s`.
    pub negative: f64,
}

/// The weight that a loss puts on a pair of each of these cosine similarities, beside other pairs of the same anchor.
///
/// The row holds positives and negatives of the given similarities and the pair in question. `L` is the sum over the
/// elements of the row with a weight of 1, before any reducer; a loss on distances sees the distance of unit vectors of that
/// similarity (the signal-to-noise distance that of centred ones). Statistics of other rows are those of a batch of this
/// one row. A loss whose weights depend on the rest of the row (multi-similarity, N-pair losses) shows that in how the curve
/// moves with `positives` and `negatives`. Wang et al., CVPR 2019, section 3, with the sign of the pair's kind.
///
/// Of a loss with proxies the pair is an embedding and a proxy: as a positive its own, beside proxies of other classes at
/// `negatives`; as a negative one more class, beside its own proxy at the first of `positives`. Where a class has several
/// proxies, all of them have that similarity, and the weight is theirs together.
///
/// # Errors
/// Parameters outside their range, similarities outside [−1, 1], losses of whole batches and of scores, and no similarity of
/// the own proxy for a loss that has proxies.
pub fn pair_weights(
    loss: &LossConfig,
    similarities: &[f64],
    positives: &[f64],
    negatives: &[f64],
) -> Result<Vec<PairWeight>, Error> {
    loss.check()?;
    for &value in similarities.iter().chain(positives).chain(negatives) {
        let must = "between -1 and 1";
        crate::error::require((-1.0..=1.0).contains(&value), "pair weights", "similarity", value, must)?;
    }
    loss.visit(Curve { similarities, positives, negatives })
}

struct Curve<'a> {
    similarities: &'a [f64],
    positives: &'a [f64],
    negatives: &'a [f64],
}

/// The value of a distance at a cosine similarity, and its derivative.
fn at_similarity(distance: &DistanceConfig, s: f64) -> (f64, f64) {
    let square = (2.0 - 2.0 * s).max(0.0);
    match distance.form() {
        Form::Product => (s, 1.0),
        Form::Codes => ((1.0 - s) / 2.0, -0.5),
        Form::Euclidean { power } if power != 2.0 => {
            let value = square.powf(0.5 * power);
            (value, if square > 0.0 { -power * square.powf(0.5 * power - 1.0) } else { 0.0 })
        }
        Form::Euclidean { .. } | Form::SignalToNoise | Form::Differences { .. } => (square, -2.0),
    }
}

impl Visitor for Curve<'_> {
    type Out = Result<Vec<PairWeight>, Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        if loss.teacher() == Some(Opinion::Whole) {
            return Err(Error::NoRow { loss: L::NAME });
        }
        let distance = RowLoss::distance(loss);
        let values = |side: &[f64], more: Option<f64>| -> Vec<f64> {
            side.iter().copied().chain(more).map(|s| at_similarity(&distance, s).0).collect()
        };
        let weight = |s: f64| {
            let by_similarity = at_similarity(&distance, s).1;
            let (positives, _) =
                slopes(loss, &distance, &values(self.positives, Some(s)), &values(self.negatives, None));
            let (_, negatives) =
                slopes(loss, &distance, &values(self.positives, None), &values(self.negatives, Some(s)));
            let last = |side: Vec<f64>| side.last().copied().unwrap_or(0.0) * by_similarity;
            PairWeight { similarity: s, positive: -last(positives), negative: last(negatives) }
        };
        Ok(self.similarities.iter().map(|&s| weight(s)).collect())
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        let must = "given: the similarity of the anchor's own proxy";
        let own = self.positives.first().copied();
        let own = own.ok_or(Error::Parameter { component: L::NAME, field: "positives", value: 0.0, must })?;
        let classes =
            |more: Option<f64>| -> Vec<f64> { self.negatives.iter().copied().chain(more).collect() };
        let weight = |&s: &f64| {
            let positive = by_proxy(loss, s, &classes(None), 0)?;
            let negative = by_proxy(loss, own, &classes(Some(s)), 1 + self.negatives.len())?;
            Ok(PairWeight { similarity: s, positive: -positive, negative })
        };
        self.similarities.iter().map(weight).collect()
    }

    fn dense<L: DenseLoss>(self, _loss: &L) -> Self::Out {
        Err(Error::NoRow { loss: L::NAME })
    }

    fn scored<L: ScoredLoss>(self, _loss: &L) -> Self::Out {
        Err(Error::NoRow { loss: L::NAME })
    }
}

/// The derivative of a loss by the similarities of one anchor to the proxies of class `class`, all of them moved together.
///
/// The anchor is a unit vector and so are the proxies, each with an axis of its own: a step along it changes the similarity
/// to its proxy alone, so the gradient by the anchor holds every derivative apart.
fn by_proxy<L: ProxyLoss>(loss: &L, own: f64, others: &[f64], class: usize) -> Result<f64, Error> {
    // At ±1 nothing of the anchor's gradient is left to read the derivative from.
    const NEAREST: f64 = 1.0 - 1e-9;
    let per_class = loss.per_class();
    let dim = 1 + (1 + others.len()) * per_class;
    let mut proxies = Vec::with_capacity((dim - 1) * dim);
    let mut across = Vec::with_capacity(dim - 1);
    for (at, similarity) in std::iter::once(own).chain(others.iter().copied()).enumerate() {
        let s = similarity.clamp(-NEAREST, NEAREST);
        let side = (1.0 - s * s).sqrt();
        for k in 0..per_class {
            let mut proxy = vec![0.0; dim];
            (proxy[0], proxy[1 + at * per_class + k]) = (s, side);
            proxies.extend(proxy);
            across.push(side);
        }
    }
    let mut x = vec![0.0; dim];
    x[0] = 1.0;
    let (distance, reducer) = (loss.distance(), ReducerConfig::sum());
    let parts = Parts { miner: None, distance: &distance, reducer: &reducer };
    let batch = Batch { x: &x, dim, labels: &[0], refs: None };
    let context = Context { proxies: Some(&proxies), ..Context::default() };
    let gradient = evaluate_proxy_loss(loss, &parts, &batch, &context)?.grad;
    let proxies = class * per_class..(class + 1) * per_class;
    Ok(proxies.map(|at| gradient[1 + at] / across[at]).sum())
}

/// The derivatives of a row that is a batch by itself.
fn slopes(
    loss: &dyn AnyLoss<f64>,
    distance: &DistanceConfig,
    positives: &[f64],
    negatives: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let (p, n) = (positives.len() as u32, negatives.len() as u32);
    let (positive_columns, negative_columns): (Vec<u32>, Vec<u32>) = ((0..p).collect(), (p..p + n).collect());
    let all: Vec<f64> = positives.iter().chain(negatives).copied().collect();
    let scalars = loss.scalars();
    let (mut stats, mut folded) = (Vec::<Stat>::new(), Vec::<Stat>::new());
    let row = |stats: &[Stat], folded: &[Stat], run: &mut dyn FnMut(&Row<'_, f64>)| {
        run(&Row {
            anchor: 0,
            label: 0,
            class: 0,
            positives,
            negatives,
            positive_columns: &positive_columns,
            negative_columns: &negative_columns,
            itself: None,
            triplets: Triplets::All,
            values: &all,
            taught: &[],
            mates: &[],
            larger_is_nearer: distance.larger_is_nearer(),
            largest: match distance.form() {
                Form::Euclidean { power } => 2f64.powf(power),
                _ => f64::INFINITY,
            },
            scalars: &scalars,
            stats,
            folded,
            columns_are_rows: false,
            range: Range::ALL,
            per_anchor: false,
            class_weight: 1.0,
            unlisted: None,
        });
    };
    for pass in 0..loss.passes() {
        let mut stat = Stat::default();
        row(&stats, &folded, &mut |row| stat = loss.stat(pass, row, &mut vec![0.0; positives.len()]));
        let mut fold = Stat::default();
        loss.fold(pass, &mut fold, &stat);
        stats = vec![stat];
        folded.push(fold);
    }
    let (mut by_positive, mut by_negative) = (vec![0.0; positives.len()], vec![0.0; negatives.len()]);
    let mut others = Vec::new();
    let mut tallies = [Tally::default(); MAX_CHANNELS];
    row(&stats, &folded, &mut |row| {
        let weights = [1.0; MAX_CHANNELS];
        let mut slopes = Slopes {
            positives: &mut by_positive,
            negatives: &mut by_negative,
            itself: 0.0,
            others: &mut others,
            scalar: (0, 0.0),
            base: weights,
            batch: weights,
            per_anchor: false,
            tallies: &mut tallies,
            weights,
            range: Range::ALL,
        };
        loss.row(row, &mut slopes);
    });
    (by_positive, by_negative)
}
