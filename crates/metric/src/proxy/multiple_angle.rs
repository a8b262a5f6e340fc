//! A margin that multiplies the angle, in losses whose logits keep the lengths of vectors.
//!
//! The logits are `c·ℓ·cos θ_j` with a length `ℓ` (of the anchor, or of the anchor times the proxy), and `c·ℓ·ψ(θ)` for the
//! anchor's own class. So all but one are inner products, and lengths enter apart from them only through that one logit:
//! one derivative by the anchor's length and one by its proxy's, which an evaluation adds to the engine's gradients.

use std::sync::atomic::{AtomicU64, Ordering};

use parallax_kernels::Real;

use super::cross_entropy::cross_entropy;
use super::{Proxies, ProxyEvaluated};
use crate::batch::{Batch, Refs};
use crate::distance::{DistanceConfig, Dot};
use crate::error::{Error, require};
use crate::frame::Frame;
use crate::miner::MinerConfig;
use crate::objective::evaluate_loss;
use crate::reducer::ReducerConfig;
use crate::relation::Own;
use crate::row::{Row, RowLoss, Slopes};

/// Largest margin: the polynomial in the cosine has this degree.
const LARGEST_MARGIN: usize = 64;

/// Lengths are not taken to be smaller than this.
const SMALLEST_LENGTH: f64 = 1e-12;

/// Refuses parameters outside their range.
pub(super) fn check(name: &'static str, margin: usize, scale: f64) -> Result<(), Error> {
    let valid = (1..=LARGEST_MARGIN).contains(&margin);
    require(valid, name, "margin", margin as f64, "a whole number from 1 to 64")?;
    require(scale > 0.0 && scale.is_finite(), name, "scale", scale, "a finite number greater than 0")
}

/// `ψ(θ) = (−1)^k cos(mθ) − 2k` for `θ = arccos c` in `[kπ/m, (k+1)π/m]`, and its derivative by the cosine `c`.
///
/// `cos(mθ)` is the Chebyshev polynomial `T_m(c)`, whose derivative is `m·U_{m−1}(c)`; both by their recurrences.
pub(super) fn psi<T: Real>(margin: usize, c: T) -> (T, T) {
    let c = c.max(-T::ONE).min(T::ONE);
    let two = T::of(2.0);
    let (mut t, mut t_next) = (T::ONE, c);
    let (mut u, mut u_next) = (T::ZERO, T::ONE);
    for _ in 1..margin {
        (t, t_next) = (t_next, two * c * t_next - t);
        (u, u_next) = (u_next, two * c * u_next - u);
    }
    let k = (c.f64().acos() * margin as f64 / std::f64::consts::PI).floor().min(margin as f64 - 1.0);
    let sign = if k % 2.0 == 0.0 { T::ONE } else { -T::ONE };
    (sign * t_next - T::of(2.0 * k), sign * T::of(margin as f64) * u_next)
}

/// The row of such a loss: inner products with the proxies as they are (raw, or of length 1).
struct LengthRow<'a> {
    margin: usize,
    scale: f64,
    labels: &'a [u32],
    /// `max(‖x‖, 10⁻¹²)` of each anchor.
    anchors: &'a [f64],
    /// The same of each proxy.
    proxies: &'a [f64],
    /// Of each anchor, as bits of f64: `∂L/∂‖x‖`, `∂L/∂‖w_y‖` and its share of the loss, before the reducer's last factor.
    found: Vec<[AtomicU64; 3]>,
}

impl RowLoss for LengthRow<'_> {
    const NAME: &'static str = "multiple_angle";

    fn check(&self) -> Result<(), Error> {
        check(Self::NAME, self.margin, self.scale)
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (x, w) = (self.anchors[row.anchor], self.proxies[self.labels[row.anchor] as usize]);
        let (length, scale) = (T::of(x * w), T::of(self.scale));
        let element = cross_entropy(row, slopes, scale, |s| {
            let (psi, slope) = psi(self.margin, s / length);
            (scale * length * psi, scale * slope)
        });
        let found = match (element, row.positives) {
            (Some(element), &[s]) => {
                let c = s / length;
                let (psi, slope) = psi(self.margin, c);
                // ∂z/∂ℓ at a fixed inner product, with ℓ = ‖x‖·‖w‖.
                let by_length = -(element.pull * scale * (psi - c * slope)).f64();
                [by_length * w, by_length * x, element.share]
            }
            _ => [0.0; 3],
        };
        for (slot, value) in self.found[row.anchor].iter().zip(found) {
            slot.store(value.to_bits(), Ordering::Relaxed);
        }
    }
}

/// Value and gradients of a loss with `margin` and `scale`; with `unit_proxies`, proxies are divided by their lengths.
pub(super) fn evaluate<T: Real>(
    margin: usize,
    scale: f64,
    unit_proxies: bool,
    miner: Option<&MinerConfig>,
    reducer: &ReducerConfig,
    batch: &Batch<'_, T>,
    proxies: &Proxies<'_, T>,
    tile_bytes: usize,
) -> Result<ProxyEvaluated<T>, Error> {
    let dim = batch.dim;
    let frame = Frame::new(proxies.values, dim, &DistanceConfig::Dot(Dot { normalize: unit_proxies }));
    let columns: Vec<u32> = (0..proxies.classes as u32).collect();
    let loss = LengthRow {
        margin,
        scale,
        labels: batch.labels,
        anchors: &lengths(batch.x, dim),
        proxies: &lengths(&frame.values, dim),
        found: batch.labels.iter().map(|_| Default::default()).collect(),
    };
    let refs = Refs { r: &frame.values, labels: &columns, own: Own::None };
    let paired = Batch { refs: Some(refs), ..*batch };
    let dot = DistanceConfig::Dot(Dot::default());
    let mut found = evaluate_loss(&loss, miner, &dot, reducer, &paired, true, tile_bytes)?;
    let mut proxy_grad = found.ref_grad.take().unwrap_or_default();

    let slot = |i: usize, k: usize| f64::from_bits(loss.found[i][k].load(Ordering::Relaxed));
    // The reducer's last factor: what turned the sum of the elements' shares into the value.
    let shares: f64 = (0..batch.labels.len()).map(|i| slot(i, 2)).sum();
    let factor = if shares > 0.0 { found.value / shares } else { 0.0 };
    let add = |to: &mut [T], along: &[T], by_length: f64, length: f64| {
        let q = T::of(factor * by_length / length);
        to.iter_mut().zip(along).for_each(|(to, &along)| *to += q * along);
    };
    for (i, &label) in batch.labels.iter().enumerate() {
        let class = label as usize;
        let (x, w) = (i * dim..(i + 1) * dim, class * dim..(class + 1) * dim);
        add(&mut found.grad[x.clone()], &batch.x[x], slot(i, 0), loss.anchors[i]);
        if !unit_proxies {
            add(&mut proxy_grad[w.clone()], &proxies.values[w], slot(i, 1), loss.proxies[class]);
        }
    }
    frame.backward(&mut proxy_grad);
    Ok(ProxyEvaluated { value: found.value, grad: found.grad, proxy_grad, stats: found.stats })
}

fn lengths<T: Real>(rows: &[T], dim: usize) -> Vec<f64> {
    let length = |row: &[T]| row.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt();
    rows.chunks_exact(dim).map(|row| length(row).max(SMALLEST_LENGTH)).collect()
}

#[cfg(test)]
mod tests {
    use super::psi;

    #[test]
    fn psi_falls_with_the_angle_and_is_the_cosine_for_margin_1() {
        for degrees in [1.0f64, 44.0, 46.0, 89.0, 91.0, 134.0, 136.0, 179.0] {
            let theta = degrees.to_radians();
            let (value, slope) = psi(1, theta.cos());
            assert!((value - theta.cos()).abs() < 1e-14 && slope == 1.0);
            let k = (theta * 4.0 / std::f64::consts::PI).floor();
            let sign = if k % 2.0 == 0.0 { 1.0 } else { -1.0 };
            let (value, slope) = psi(4, theta.cos());
            assert!((value - (sign * (4.0 * theta).cos() - 2.0 * k)).abs() < 1e-13, "{degrees}");
            let by_angle = -4.0 * sign * (4.0 * theta).sin() / -theta.sin();
            assert!((slope - by_angle).abs() < 1e-11, "{degrees}: {slope}, not {by_angle}");
        }
        let values: Vec<f64> = (0..=180).map(|d| psi(4, f64::from(d).to_radians().cos()).0).collect();
        assert!(values.windows(2).all(|v| v[1] < v[0]));
        assert_eq!((values[0], values[180]), (1.0, -7.0));
    }
}
