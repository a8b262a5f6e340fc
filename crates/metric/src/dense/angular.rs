//! The angle at the negative of a triplet.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DenseLoss;
use crate::batch::{Batch, check_values};
use crate::context::Context;
use crate::distance::{DistanceConfig, Dot};
use crate::error::{Error, require};
use crate::frame::Frame;
use crate::loss::softmax::log_sum_exp;
use crate::objective::{Evaluated, evaluate_row};
use crate::parts::Parts;
use crate::proxy::Needs;
use crate::row::{Row, RowLoss, Slopes};
use crate::tiling::{Extra, Shape};

/// `log(1 + Σ_N exp( 4 tan²α (â + p̂)·n − 2 (1 + tan²α) â·p̂ ))` for each positive pair, over the negatives of its class, with
/// normalised `â` and `p̂`: one element a positive pair.
///
/// The paper normalises the negative too; pytorch-metric-learning takes it as it is, which is the default here so that the
/// values agree, and `normalize_negatives` follows the paper. A batch is compared with itself, without a miner.
///
/// Defaults: α = 40°, cosine, mean. Wang et al., *Deep Metric Learning with Angular Loss*, ICCV 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Angular {
    /// The angle α in degrees, between 0 and 90.
    pub alpha: f64,
    /// Whether negatives are normalised as anchors and positives are.
    pub normalize_negatives: bool,
}

impl Default for Angular {
    fn default() -> Self {
        Angular { alpha: 40.0, normalize_negatives: false }
    }
}

impl DenseLoss for Angular {
    const NAME: &'static str = "angular";
    const ITSELF: bool = true;

    fn check(&self) -> Result<(), Error> {
        let valid = self.alpha > 0.0 && self.alpha < 90.0;
        require(valid, Self::NAME, "alpha", self.alpha, "an angle between 0 and 90 degrees")
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_miner(Self::NAME)?;
        Needs::Cosine.check(Self::NAME, parts.distance)
    }

    fn evaluate<T: Real>(
        &self,
        parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        if batch.refs.is_some() {
            return Err(Error::NeedsItself { loss: Self::NAME });
        }
        let (rows, dim) = (batch.labels.len(), batch.dim);
        if rows == 0 || dim == 0 {
            return Err(Error::EmptyBatch { rows, dim });
        }
        check_values("embeddings", batch.x, rows, dim)?;
        let frame = Frame::new(batch.x, dim, &DistanceConfig::cosine());
        let length = |row: &[T]| match self.normalize_negatives {
            true => 1.0,
            false => row.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt(),
        };
        let lengths: Vec<f64> = batch.x.chunks_exact(dim).map(length).collect();
        let square = self.alpha.to_radians().tan().powi(2);
        let loss = AngularRow { square, lengths };
        let unit = Batch { x: &frame.values, ..*batch };
        let dot = DistanceConfig::Dot(Dot::default());
        let context = Context { scalars: None, ..*context };
        let mut found = evaluate_row(&loss, None, &dot, parts.reducer, &unit, &context, false)?;
        let along: Vec<f64> = std::mem::take(&mut found.scalar_grad);
        let along: Vec<f64> = (0..rows)
            .map(|n| {
                let pairs = frame.row(n).iter().zip(&found.grad[n * dim..]);
                pairs.map(|(x, g)| x.f64() * g.f64()).sum::<f64>() - along[n]
            })
            .collect();
        frame.backward(&mut found.grad);
        if !self.normalize_negatives {
            // ∂L/∂‖n‖ · n/‖n‖, with ‖n‖ ∂L/∂‖n‖ in `along`.
            for (n, (grad, x)) in found.grad.chunks_exact_mut(dim).zip(batch.x.chunks_exact(dim)).enumerate()
            {
                let length = loss.lengths[n];
                if length > 0.0 {
                    let q = T::of(along[n] / (length * length));
                    grad.iter_mut().zip(x).for_each(|(g, &x)| *g += q * x);
                }
            }
        }
        Ok(found)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, dim, value_bytes, .. } = *shape;
        // Directions and lengths; the slopes of lengths.
        let sides = anchors * (dim * value_bytes + 6 * 8);
        Extra { mates: true, ..Extra::default() }.bytes(shape) + sides
    }
}

/// The loss on directions, with the lengths of negatives beside them as scalars of the loss.
///
/// The term of a pair `(a, p)` is that of `(p, a)`, so the row of `a` puts on its negatives the slopes of both, and the slope of
/// a positive pair is the same from both its ends. What a row adds to the derivative by its own scalar is therefore what the
/// finished gradient holds along the direction of `a` beside the slopes that reach `a` as a negative; the difference of the two is
/// the derivative by the length of `a`, times that length.
struct AngularRow {
    /// tan²α
    square: f64,
    lengths: Vec<f64>,
}

impl RowLoss for AngularRow {
    const NAME: &'static str = Angular::NAME;

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn mates(&self) -> bool {
        true
    }

    fn scalars(&self) -> Vec<f64> {
        self.lengths.clone()
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (by_negative, by_positive) = (T::of(4.0 * self.square), T::of(2.0 * (1.0 + self.square)));
        let mut exponents = vec![T::ZERO; row.negatives.len()];
        let mut weights = vec![T::ZERO; row.negatives.len()];
        let length = |column: u32| T::of(row.scalars[column as usize]);
        for (k, mate) in row.mates.iter().enumerate() {
            let pair = by_positive * row.positives[k];
            let negatives = row.negatives.iter().zip(row.negative_columns);
            for (exponent, (&s, &column)) in exponents.iter_mut().zip(negatives) {
                *exponent = by_negative * length(column) * (s + mate.values[column as usize]) - pair;
            }
            let value = log_sum_exp(&exponents, T::ONE, T::ZERO, true, &mut weights);
            let weight = slopes.element(0, value);
            let total: T = weights.iter().copied().sum();
            slopes.positives[k] = -weight * by_positive * total;
            // Once for this pair and once for its mirror image.
            let twice = T::of(2.0) * weight * by_negative;
            let columns = weights.iter().zip(row.negative_columns);
            for (slope, (&share, &column)) in slopes.negatives.iter_mut().zip(columns) {
                *slope += twice * length(column) * share;
            }
        }
        let along = |slopes: &[T], values: &[T]| -> f64 {
            slopes.iter().zip(values).map(|(slope, s)| slope.f64() * s.f64()).sum()
        };
        let own = along(slopes.negatives, row.negatives) + 2.0 * along(slopes.positives, row.positives);
        slopes.scalar(row.anchor, own);
    }
}
