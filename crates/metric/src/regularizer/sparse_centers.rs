//! Proxies of one class drawn together.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Regularizer;
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::frame::Frame;

/// `½ · mean √(2 − 2 cos(w_ck, w_cl))` over the pairs `k < l` of proxies of one class: half the mean distance of their
/// directions. Coincident directions contribute neither value nor derivative.
///
/// Rows are class by class. Defaults: 10 proxies a class, weight 1. Qian et al., *SoftTriple Loss*, ICCV 2019, eq. 9–10,
/// normalised as in pytorch-metric-learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SparseCenters {
    /// Proxies of each class, at least 2.
    pub centers_per_class: usize,
    /// Factor of the penalty.
    pub weight: f64,
}

impl Default for SparseCenters {
    fn default() -> Self {
        SparseCenters { centers_per_class: 10, weight: 1.0 }
    }
}

impl Regularizer for SparseCenters {
    const NAME: &'static str = "sparse_centers";

    fn weight(&self) -> f64 {
        self.weight
    }

    fn check(&self, rows: usize) -> Result<(), Error> {
        let k = self.centers_per_class;
        let must = "at least 2 and a divisor of the number of rows";
        require(k >= 2 && rows.is_multiple_of(k), Self::NAME, "centers_per_class", k as f64, must)
    }

    fn memory_bytes(&self, rows: usize, dim: usize, value_bytes: usize, _threads: usize) -> usize {
        // Directions with their norms, and slopes.
        rows * (2 * dim + 4) * value_bytes + (16 << 10)
    }

    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64 {
        let k = self.centers_per_class;
        let frame = Frame::new(values, dim, &DistanceConfig::cosine());
        let mut slopes = vec![T::ZERO; values.len()];
        let classes = frame.rows() / k;
        let pairs = (classes * k * (k - 1) / 2) as f64;
        let mut total = 0.0;
        for class in 0..classes {
            for a in class * k..(class + 1) * k {
                for b in a + 1..(class + 1) * k {
                    // √(2 − 2cos) is the distance of the directions; from the difference it keeps its digits.
                    let distance = crate::distance::squared(frame.row(a), frame.row(b)).sqrt();
                    total += distance.f64();
                    if distance <= T::ZERO {
                        continue;
                    }
                    let q = T::of(factor * 0.5 / pairs) / distance;
                    for d in 0..dim {
                        let step = q * (frame.row(a)[d] - frame.row(b)[d]);
                        slopes[a * dim + d] += step;
                        slopes[b * dim + d] += -step;
                    }
                }
            }
        }
        frame.backward(&mut slopes);
        gradient.iter_mut().zip(&slopes).for_each(|(g, &s)| *g += s);
        0.5 * total / pairs
    }
}

#[cfg(test)]
mod tests {
    use super::{Regularizer, SparseCenters};

    #[test]
    fn two_classes_by_hand() {
        // Directions at 90° and at 0°: distances √2 and 0, half their mean is √2/4.
        let two = SparseCenters { centers_per_class: 2, weight: 1.0 };
        let mut gradient = [0.0f64; 8];
        let value = two.penalty(&[2.0, 0.0, 0.0, 3.0, 1.0, 0.0, 5.0, 0.0], 2, 1.0, &mut gradient);
        assert!((value - 2f64.sqrt() / 4.0).abs() < 1e-15);
        // ∂/∂w₁ = ¼ · (0, −1)/√2 / ‖w₁‖
        assert!((gradient[1] + 0.25 / 2f64.sqrt() / 2.0).abs() < 1e-15 && gradient[0].abs() < 1e-15);
        assert_eq!(gradient[4..], [0.0; 4]);
    }
}
