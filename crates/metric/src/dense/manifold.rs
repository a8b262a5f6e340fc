//! Similarities of a random walk over embeddings and proxies.

use parallax_kernels::{Real, gemm};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::context::Context;
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::frame::Frame;
use crate::objective::{ChannelStats, Evaluated, ObjectiveStats, finite};
use crate::parts::Parts;
use crate::proxy::{Needs, ProxyLoss};
use crate::tiling::Shape;

/// Inverse temperature of the affinities, as in the reference implementation.
const SHARPNESS: f64 = 2.0;

/// Rows of a product that a thread computes at once.
const BLOCK: usize = 64;

/// The manifold loss: over the `M = B + P` embeddings and proxies, affinities `S_ij = exp(2·max(0, cos_ij))` off the
/// diagonal, `S̄ = D^−½ S D^−½` with the row sums `D`, and the walk `F = (1 − α)(I − αS̄)⁻¹`. Then, meaned over the embeddings,
/// `log(1 + Σ_{k≠y} e^t [t ≥ 0])` with `t = F_ik − F_iy + m` between embedding and proxies (intrinsic), plus `λ` times the same
/// with the cosines of whole rows of `F` (context).
///
/// The label names the proxy; pytorch-metric-learning draws it at random where none is given. Its `lambdaC` may be
/// infinite, to leave the intrinsic term out: here that is `intrinsic = false`. All is computed in f64.
///
/// Defaults: λ (`lambda_c`) = 1, α = 0.8, margin m = 5·10⁻⁴, one proxy a class, cosine; no miner or reducer. Aziere and
/// Todorovic, *Ensemble Deep Manifold Similarity Learning using Hard Proxies*, CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Manifold {
    /// Weight λ of the context term.
    pub lambda_c: f64,
    /// Share α of the walk that goes on, between 0 and 1.
    pub alpha: f64,
    /// Margin m of both terms.
    pub margin: f64,
    /// Whether the intrinsic term counts.
    pub intrinsic: bool,
}

impl Default for Manifold {
    fn default() -> Self {
        Manifold { lambda_c: 1.0, alpha: 0.8, margin: 5e-4, intrinsic: true }
    }
}

impl ProxyLoss for Manifold {
    const NAME: &'static str = "manifold";
    const NEEDS: Needs = Needs::Cosine;

    fn check(&self) -> Result<(), Error> {
        let valid = self.lambda_c >= 0.0 && self.lambda_c.is_finite();
        require(valid, Self::NAME, "lambda_c", self.lambda_c, "a finite number of at least 0")?;
        let valid = self.alpha > 0.0 && self.alpha < 1.0;
        require(valid, Self::NAME, "alpha", self.alpha, "a number between 0 and 1")?;
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        parts.no_miner(Self::NAME)?;
        parts.no_reducer(Self::NAME)?;
        Self::NEEDS.check(Self::NAME, parts.distance)
    }

    fn evaluate<T: Real>(
        &self,
        _parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        proxies: &[T],
        _context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let (n, dim) = (batch.labels.len(), batch.dim);
        let points: Vec<f64> = batch.x.iter().chain(proxies).map(|v| v.f64()).collect();
        let frame = Frame::new(&points, dim, &DistanceConfig::cosine());
        let m = frame.rows();

        let mut cosines = vec![0.0; m * m];
        product(&frame.values, &transposed(&frame.values, m, dim), dim, &mut cosines);
        let mut affinity = cosines.clone();
        for (i, row) in affinity.chunks_exact_mut(m).enumerate() {
            row.iter_mut().for_each(|s| *s = (SHARPNESS * s.max(0.0)).exp());
            row[i] = 0.0;
        }
        let sums: Vec<f64> = affinity.chunks_exact(m).map(|row| row.iter().sum()).collect();
        let scales: Vec<f64> = sums.iter().map(|sum| 1.0 / sum.sqrt()).collect();
        let mut walk = affinity.clone();
        for (i, row) in walk.chunks_exact_mut(m).enumerate() {
            row.iter_mut().zip(&scales).for_each(|(s, scale)| *s *= -self.alpha * scales[i] * scale);
            row[i] += 1.0;
        }
        inverse(&mut walk, m)?;

        // F is (1 − α) times the walk W.
        let keep = 1.0 - self.alpha;
        let mut by_walk = vec![0.0; m * m];
        let intrinsic = if self.intrinsic {
            self.intrinsic_term(&walk, keep, batch.labels, m, &mut by_walk)
        } else {
            0.0
        };
        let context = self.lambda_c * self.context_term(&walk, batch.labels, m, &mut by_walk);
        let value = intrinsic + context;

        // W = (I − αS̄)⁻¹ is symmetric, so ∂L/∂S̄ = α·W·(∂L/∂W)·W.
        let mut left = vec![0.0; m * m];
        product(&walk, &by_walk, m, &mut left);
        let mut by_scaled = by_walk;
        product(&left, &walk, m, &mut by_scaled);
        drop((left, walk));
        by_scaled.iter_mut().for_each(|d| *d *= self.alpha);

        // S̄_ij = a_i S_ij a_j with a = D^−½, and D are sums of S.
        let mut by_scale = vec![0.0; m];
        for i in 0..m {
            for j in 0..m {
                let both = by_scaled[i * m + j] * affinity[i * m + j];
                by_scale[i] += both * scales[j];
                by_scale[j] += both * scales[i];
            }
        }
        let by_sum: Vec<f64> = (0..m).map(|i| -0.5 * by_scale[i] * scales[i] / sums[i]).collect();
        let mut by_cosine = by_scaled;
        for i in 0..m {
            for j in 0..m {
                let d = &mut by_cosine[i * m + j];
                let by_affinity = *d * scales[i] * scales[j] + by_sum[i];
                let reached = i != j && cosines[i * m + j] >= 0.0;
                *d = if reached { SHARPNESS * affinity[i * m + j] * by_affinity } else { 0.0 };
            }
        }
        for i in 0..m {
            for j in 0..i {
                let both = by_cosine[i * m + j] + by_cosine[j * m + i];
                by_cosine[i * m + j] = both;
                by_cosine[j * m + i] = both;
            }
        }
        let mut gradient = vec![0.0; m * dim];
        product(&by_cosine, &frame.values, m, &mut gradient);
        frame.backward(&mut gradient);

        let gradient: Vec<T> = gradient.into_iter().map(T::of).collect();
        finite("loss", &[value])?;
        finite("gradient", &gradient)?;
        let (grad, proxy_grad) = gradient.split_at(n * dim);
        let channels: Vec<ChannelStats> = [("intrinsic", intrinsic), ("context", context)]
            .map(|(name, value)| ChannelStats {
                name,
                value,
                elements: n as u64,
                active: if value > 0.0 { n as u64 } else { 0 },
            })
            .to_vec();
        let p = (m - n) as u64;
        let pairs = (n as u64, n as u64 * p.saturating_sub(1));
        let stats = ObjectiveStats {
            positive_pairs: pairs.0,
            negative_pairs: pairs.1,
            mined_positive: pairs.0,
            mined_negative: pairs.1,
            active: channels.iter().map(|c| c.active).sum(),
            channels,
            ..ObjectiveStats::default()
        };
        let (grad, proxy_grad) = (grad.to_vec(), proxy_grad.to_vec());
        Ok(Evaluated { value, grad, proxy_grad, stats, ..Evaluated::default() })
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        let Shape { anchors, proxies, dim, value_bytes, .. } = *shape;
        let points = anchors + proxies;
        // Cosines, affinities, the walk, its derivative and up to four more in the inverse and in products; the points, their
        // directions, the transpose and the gradient.
        8 * (8 * points * points + 5 * points * dim + 8 * points) + points * dim * value_bytes + (64 << 10)
    }
}

impl Manifold {
    /// The intrinsic term; adds its derivative by `walk`, of which `F` is `keep` times.
    fn intrinsic_term(&self, walk: &[f64], keep: f64, labels: &[u32], m: usize, by_walk: &mut [f64]) -> f64 {
        let n = labels.len();
        let mut total = 0.0;
        for (i, &label) in labels.iter().enumerate() {
            let row: Vec<f64> = walk[i * m + n..(i + 1) * m].iter().map(|f| keep * f).collect();
            let (value, slopes) = self.ranked(&row, label as usize);
            total += value;
            for (d, slope) in by_walk[i * m + n..(i + 1) * m].iter_mut().zip(slopes) {
                *d += keep * slope / n as f64;
            }
        }
        total / n as f64
    }

    /// The context term without its weight; adds its weighted derivative by `walk`, whose scale the cosines do not see.
    fn context_term(&self, walk: &[f64], labels: &[u32], m: usize, by_walk: &mut [f64]) -> f64 {
        let n = labels.len();
        let p = m - n;
        let frame = Frame::new(walk, m, &DistanceConfig::cosine());
        let (rows, proxies) = frame.values.split_at(n * m);
        let mut cosines = vec![0.0; n * p];
        product(rows, &transposed(proxies, p, m), m, &mut cosines);
        let mut total = 0.0;
        for (row, &label) in cosines.chunks_exact_mut(p).zip(labels) {
            let (value, slopes) = self.ranked(row, label as usize);
            total += value;
            row.iter_mut().zip(slopes).for_each(|(c, slope)| *c = self.lambda_c * slope / n as f64);
        }
        let mut slopes = vec![0.0; m * m];
        let (by_rows, by_proxies) = slopes.split_at_mut(n * m);
        product(&cosines, proxies, p, by_rows);
        product(&transposed(&cosines, n, p), rows, n, by_proxies);
        frame.backward(&mut slopes);
        by_walk.iter_mut().zip(slopes).for_each(|(d, slope)| *d += slope);
        total / n as f64
    }

    /// `log(1 + Σ_{k≠y} e^t [t ≥ 0])` with `t_k = v_k − v_y + m`, and its derivative by `v`.
    fn ranked(&self, values: &[f64], own: usize) -> (f64, Vec<f64>) {
        let mut slopes: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(k, v)| {
                let t = v - values[own] + self.margin;
                if k != own && t >= 0.0 { t.exp() } else { 0.0 }
            })
            .collect();
        let sum: f64 = slopes.iter().sum();
        slopes.iter_mut().for_each(|slope| *slope /= 1.0 + sum);
        slopes[own] = -sum / (1.0 + sum);
        (sum.ln_1p(), slopes)
    }
}

/// `c = a · b` for `a` with rows of `k` values.
fn product(a: &[f64], b: &[f64], k: usize, c: &mut [f64]) {
    let columns = b.len() / k;
    c.par_chunks_mut(BLOCK * columns).zip(a.par_chunks(BLOCK * k)).for_each(|(c, a)| {
        gemm::nn(a.len() / k, columns, k, a, b, 0.0, c);
    });
}

fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect()
}

/// Replaces a symmetric positive definite matrix by its inverse, through `A = G·Gᵀ` and `A⁻¹ = G⁻ᵀ·G⁻¹`.
fn inverse(a: &mut [f64], m: usize) -> Result<(), Error> {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    for i in 0..m {
        let (above, row) = a.split_at_mut(i * m);
        for j in 0..i {
            let g = (row[j] - dot(&row[..j], &above[j * m..j * m + j])) / above[j * m + j];
            row[j] = g;
        }
        let pivot = row[i] - dot(&row[..i], &row[..i]);
        if pivot <= 0.0 || !pivot.is_finite() {
            return Err(Error::Overflow { what: "random walk" });
        }
        row[i] = pivot.sqrt();
    }
    // Row j of G⁻ᵀ is column j of G⁻¹, by forward substitution.
    let mut turned = vec![0.0; m * m];
    turned.par_chunks_exact_mut(m).enumerate().for_each(|(j, column)| {
        column[j] = 1.0 / a[j * m + j];
        for i in j + 1..m {
            column[i] = -dot(&a[i * m + j..i * m + i], &column[j..i]) / a[i * m + i];
        }
    });
    product(&turned, &transposed(&turned, m, m), m, a);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::inverse;

    #[test]
    fn an_inverse_by_hand() {
        let mut a = [4.0, 2.0, 2.0, 5.0];
        inverse(&mut a, 2).unwrap();
        for (found, want) in a.iter().zip([5.0 / 16.0, -1.0 / 8.0, -1.0 / 8.0, 0.25]) {
            assert!((found - want).abs() < 1e-15);
        }
        assert!(inverse(&mut [1.0, 2.0, 2.0, 1.0], 2).is_err());
    }
}
