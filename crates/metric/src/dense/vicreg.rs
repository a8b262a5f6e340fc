//! Agreement of two views with dimensions that vary and do not repeat one another.

use parallax_kernels::{Real, gemm, panel};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DenseLoss;
use crate::batch::{Batch, check_values};
use crate::context::Context;
use crate::distance::{DistanceConfig, Dot};
use crate::error::{Error, require};
use crate::objective::{ChannelStats, Evaluated, ObjectiveStats, finite};
use crate::parts::Parts;
use crate::tiling::Shape;

/// Rows, or columns of the covariance, that a thread works on at once.
const BLOCK: usize = 64;

/// `λ·mean (x − r)² + μ·Σ_views ½ mean_d max(0, 1 − √(var_d + ε)) + ν·Σ_views Σ_{d≠e} cov_de² / D` of two views `x`, `r` of the
/// same items, reference `i` being the other view of row `i`.
///
/// Variances and covariances are over the batch, divided by `B − 1`; a batch of one row has neither, and only its first
/// term counts. Labels are not looked at. It works on embeddings as they are, with no distance, miner or reducer.
///
/// Defaults: λ = 25, μ = 25, ν = 1, ε = 10⁻⁴. Bardes, Ponce, LeCun, *VICReg: Variance-Invariance-Covariance Regularization for
/// Self-Supervised Learning*, ICLR 2022; names as in pytorch-metric-learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Vicreg {
    /// Weight λ of the agreement.
    pub invariance_lambda: f64,
    /// Weight μ of the variances.
    pub variance_mu: f64,
    /// Weight ν of the covariances.
    pub covariance_v: f64,
    /// Added to a variance before the root, greater than 0.
    pub eps: f64,
}

impl Default for Vicreg {
    fn default() -> Self {
        Vicreg { invariance_lambda: 25.0, variance_mu: 25.0, covariance_v: 1.0, eps: 1e-4 }
    }
}

impl DenseLoss for Vicreg {
    const NAME: &'static str = "vicreg";
    const PAIRED: bool = true;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::Dot(Dot::default())
    }

    fn check(&self) -> Result<(), Error> {
        let weights = [
            ("invariance_lambda", self.invariance_lambda),
            ("variance_mu", self.variance_mu),
            ("covariance_v", self.covariance_v),
        ];
        for (field, value) in weights {
            let valid = value >= 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number of at least 0")?;
        }
        let valid = self.eps > 0.0 && self.eps.is_finite();
        require(valid, Self::NAME, "eps", self.eps, "a finite number greater than 0")
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_miner(Self::NAME)?;
        parts.no_reducer(Self::NAME)?;
        let own = *parts.distance == DenseLoss::distance(self);
        if own { Ok(()) } else { Err(Error::Unused { loss: Self::NAME, part: "distance" }) }
    }

    fn evaluate<T: Real>(
        &self,
        _parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let (rows, dim) = (batch.labels.len(), batch.dim);
        if rows == 0 || dim == 0 {
            return Err(Error::EmptyBatch { rows, dim });
        }
        let Some(refs) = batch.refs else { return Err(Error::NeedsPairs { loss: Self::NAME }) };
        check_values("embeddings", batch.x, rows, dim)?;
        check_values("references", refs.r, rows, dim)?;
        let scale = self.invariance_lambda / (rows * dim) as f64;
        let differences: Vec<T> = batch.x.iter().zip(refs.r).map(|(&x, &r)| x - r).collect();
        let squares = differences.par_chunks(dim).with_min_len(64);
        let squares: Vec<f64> = squares.map(|row| row.iter().map(|d| d.f64() * d.f64()).sum()).collect();
        let invariance = scale * squares.iter().sum::<f64>();
        let step = T::of(2.0 * scale);
        let mut grad: Vec<T> = differences.iter().map(|&d| step * d).collect();
        let mut ref_grad: Vec<T> = grad.iter().map(|&g| -g).collect();
        drop(differences);
        let ours = self.view(batch.x, rows, dim, &mut grad);
        let theirs = self.view(refs.r, rows, dim, &mut ref_grad);
        let (variance, covariance) = (ours.0 + theirs.0, ours.1 + theirs.1);
        let value = invariance + variance + covariance;
        finite("loss", &[value])?;
        finite("gradient", &grad)?;
        finite("reference gradient", &ref_grad)?;
        let parts = [("invariance", invariance), ("variance", variance), ("covariance", covariance)];
        let channels = parts.map(|(name, value)| ChannelStats {
            name,
            value,
            elements: 1,
            active: u64::from(value > 0.0),
        });
        let stats = ObjectiveStats {
            positive_pairs: rows as u64,
            mined_positive: rows as u64,
            active: channels.iter().map(|c| c.active).sum(),
            channels: channels.to_vec(),
            ..ObjectiveStats::default()
        };
        let ref_grad = context.want_ref_grad.then_some(ref_grad);
        Ok(Evaluated { value, grad, ref_grad, stats, ..Evaluated::default() })
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, dim, value_bytes, .. } = *shape;
        // Two gradients, the differences and the centred view; a covariance; squares and deviations; what a product packs,
        // which is most with AVX-512.
        (4 * anchors * dim + dim * dim) * value_bytes + 8 * (anchors + 2 * dim) + (96 << 10)
    }
}

impl Vicreg {
    /// The weighted variance and covariance terms of one view; adds their derivatives to `gradient`.
    fn view<T: Real>(&self, values: &[T], rows: usize, dim: usize, gradient: &mut [T]) -> (f64, f64) {
        if rows < 2 {
            return (0.0, 0.0);
        }
        let mut means = vec![0.0; dim];
        for row in values.chunks_exact(dim) {
            means.iter_mut().zip(row).for_each(|(mean, v)| *mean += v.f64());
        }
        means.iter_mut().for_each(|mean| *mean /= rows as f64);
        let mut centred = values.to_vec();
        for row in centred.chunks_exact_mut(dim) {
            row.iter_mut().zip(&means).for_each(|(v, mean)| *v = T::of(v.f64() - mean));
        }
        let freedom = (rows - 1) as f64;
        let mut covariance = vec![T::ZERO; dim * dim];
        covariance.par_chunks_mut(BLOCK * dim).enumerate().for_each(|(k, block)| {
            panel::add_tn(k * BLOCK, block.len() / dim, dim, rows, dim, &centred, &centred, block);
            let inverse = T::of(1.0 / freedom);
            block.iter_mut().for_each(|c| *c *= inverse);
        });
        // The coefficient matrix of the gradient `Xᶜ·M` takes the covariance's place: off the diagonal 4ν/(D(B−1))·cov, on it
        // the variance's slope.
        let (mut variances, mut squares) = (0.0, 0.0);
        let factor = T::of(4.0 * self.covariance_v / (dim as f64 * freedom));
        for (d, row) in covariance.chunks_exact_mut(dim).enumerate() {
            let deviation = (row[d].f64() + self.eps).sqrt();
            row[d] = T::ZERO;
            squares += row.iter().map(|c| c.f64() * c.f64()).sum::<f64>();
            row.iter_mut().for_each(|c| *c *= factor);
            if deviation < 1.0 {
                variances += 1.0 - deviation;
                // ∂/∂x of −½μ/D·√(var + ε) with ∂var/∂x = 2xᶜ/(B − 1).
                row[d] = T::of(-0.5 * self.variance_mu / (dim as f64 * deviation * freedom));
            }
        }
        let blocks = gradient.par_chunks_mut(BLOCK * dim).zip(centred.par_chunks(BLOCK * dim));
        blocks.for_each(|(gradient, centred)| {
            gemm::nn(centred.len() / dim, dim, dim, centred, &covariance, T::ONE, gradient);
        });
        (0.5 * self.variance_mu * variances / dim as f64, self.covariance_v * squares / dim as f64)
    }
}
