//! A margin that multiplies the angle, in losses whose logits keep the lengths of vectors.
//!
//! The logits are `c·ℓ·cos θ_j` with a length `ℓ` (of the anchor, or of the anchor times the proxy), and `c·ℓ·ψ(θ)` for the
//! anchor's own class. So all but one are inner products, and lengths enter apart from them only through that one logit. To
//! the engine the length `ℓ` of each anchor's own logit is a learnable scalar; its derivative is then handed on to the
//! vectors that have the length.

use parallax_kernels::Real;

use super::cross_entropy::cross_entropy;
use super::row_memory;
use crate::batch::{Batch, Refs};
use crate::context::Context;
use crate::distance::{DistanceConfig, Dot};
use crate::error::{Error, require};
use crate::frame::Frame;
use crate::objective::{Evaluated, evaluate_row};
use crate::parts::Parts;
use crate::relation::Own;
use crate::row::{Row, RowLoss, Slopes};
use crate::tiling::Shape;

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

/// The row of such a loss: inner products with the proxies as they are (raw, or of length 1). Scalar `i` is the length `ℓ` of
/// anchor `i`'s own logit.
struct LengthRow {
    margin: usize,
    scale: f64,
    lengths: Vec<f64>,
}

impl RowLoss for LengthRow {
    const NAME: &'static str = "multiple_angle";

    fn check(&self) -> Result<(), Error> {
        check(Self::NAME, self.margin, self.scale)
    }

    fn scalars(&self) -> Vec<f64> {
        self.lengths.clone()
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (length, scale) = (T::of(row.scalars[row.anchor]), T::of(self.scale));
        let pull = cross_entropy(row, slopes, scale, |s| {
            let (psi, slope) = psi(self.margin, s / length);
            (scale * length * psi, scale * slope)
        });
        if let &[s] = row.positives {
            let c = s / length;
            let (psi, slope) = psi(self.margin, c);
            // ∂z/∂ℓ where the inner product stays.
            slopes.scalar(row.anchor, -(pull * scale * (psi - c * slope)).f64());
        }
    }
}

/// Declares a loss with a multiplied angle whose proxies have length 1, or keep their lengths.
macro_rules! length_loss {
    ($(#[$note:meta])* $loss:ident, $name:literal, unit_proxies $unit:literal) => {
        $(#[$note])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $loss {
            /// Factor m of the angle, a whole number from 1 to 64.
            pub margin: usize,
            /// Factor of the logits, greater than 0.
            pub scale: f64,
        }

        impl Default for $loss {
            fn default() -> Self {
                $loss { margin: 4, scale: 1.0 }
            }
        }

        impl $crate::proxy::ProxyLoss for $loss {
            const NAME: &'static str = $name;
            const NEEDS: $crate::proxy::Needs = $crate::proxy::Needs::Cosine;

            fn check(&self) -> Result<(), $crate::Error> {
                $crate::proxy::multiple_angle::check(Self::NAME, self.margin, self.scale)
            }

            fn evaluate<T: $crate::Real>(
                &self,
                parts: &$crate::Parts<'_>,
                batch: &$crate::Batch<'_, T>,
                proxies: &[T],
                context: &$crate::Context<'_, T>,
            ) -> Result<$crate::Evaluated<T>, $crate::Error> {
                let shape = (self.margin, self.scale, $unit);
                $crate::proxy::multiple_angle::evaluate(shape, parts, batch, proxies, context)
            }

            fn memory_bytes(&self, shape: &$crate::Shape) -> usize {
                $crate::proxy::multiple_angle::memory_bytes(shape)
            }
        }
    };
}
pub(super) use length_loss;

/// Value and gradients of a loss with `margin` and `scale`; with `unit_proxies`, proxies are divided by their lengths.
pub(super) fn evaluate<T: Real>(
    (margin, scale, unit_proxies): (usize, f64, bool),
    parts: &Parts<'_>,
    batch: &Batch<'_, T>,
    proxies: &[T],
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    let dim = batch.dim;
    let frame = Frame::new(proxies, dim, &DistanceConfig::Dot(Dot { normalize: unit_proxies }));
    let columns: Vec<u32> = (0..(proxies.len() / dim) as u32).collect();
    let (x, w) = (lengths(batch.x, dim), lengths(&frame.values, dim));
    let own = batch.labels.iter().map(|&label| w[label as usize]);
    let loss = LengthRow { margin, scale, lengths: x.iter().zip(own).map(|(x, w)| x * w).collect() };
    let refs = Refs { r: &frame.values, labels: &columns, own: Own::None };
    let sides = Batch { refs: Some(refs), ..*batch };
    let dot = DistanceConfig::Dot(Dot::default());
    let context = Context { want_ref_grad: true, scalars: None, ..*context };
    let mut found = evaluate_row(&loss, parts.miner, &dot, parts.reducer, &sides, &context, false)?;
    let mut proxy_grad = found.ref_grad.take().unwrap_or_default();

    // ℓ = ‖x‖·‖w‖: ∂ℓ/∂x = ‖w‖ x/‖x‖, and the same the other way round.
    let add = |to: &mut [T], along: &[T], factor: f64| {
        let factor = T::of(factor);
        to.iter_mut().zip(along).for_each(|(to, &along)| *to += factor * along);
    };
    for (i, by_length) in std::mem::take(&mut found.scalar_grad).into_iter().enumerate() {
        let class = batch.labels[i] as usize;
        let (anchor, proxy) = (i * dim..(i + 1) * dim, class * dim..(class + 1) * dim);
        add(&mut found.grad[anchor.clone()], &batch.x[anchor], by_length * w[class] / x[i]);
        if !unit_proxies {
            add(&mut proxy_grad[proxy.clone()], &proxies[proxy], by_length * x[i] / w[class]);
        }
    }
    frame.backward(&mut proxy_grad);
    found.proxy_grad = proxy_grad;
    Ok(found)
}

/// An upper bound on the bytes of [`evaluate`]: that of a row loss, the proxies once more, and lengths.
pub(super) fn memory_bytes(shape: &Shape) -> usize {
    let Shape { anchors, proxies, dim, value_bytes, .. } = *shape;
    let lengths = 8 * (5 * anchors + proxies);
    row_memory(anchors, proxies, shape) + proxies * dim * value_bytes + lengths
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
