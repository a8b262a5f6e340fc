//! How far vectors are from codes of −1 and +1.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Regularizer;
use crate::error::Error;

/// `mean_ik (|x_ik| − 1)²`; the derivative where a component is 0 is 0.
///
/// It draws soft codes (the head `hash`) to their signs, so that little is lost when only those are kept. Default: weight 0.1.
/// The usual quantisation loss of learned hashing: Liu, Wang, Shan, Chen, *Deep Supervised Hashing for Fast Image Retrieval*, CVPR
/// 2016, with a square for the absolute value, as in Li, Wang, Kang, *Feature Learning based Deep Supervised Hashing with Pairwise
/// Labels*, IJCAI 2016.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quantization {
    /// Factor of the penalty.
    pub weight: f64,
}

impl Default for Quantization {
    fn default() -> Self {
        Quantization { weight: 0.1 }
    }
}

impl Regularizer for Quantization {
    const NAME: &'static str = "quantization";

    fn weight(&self) -> f64 {
        self.weight
    }

    fn check(&self, _rows: usize) -> Result<(), Error> {
        Ok(())
    }

    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64 {
        let scale = 1.0 / values.len() as f64;
        let mut total = 0.0;
        for (row, gradient) in values.chunks_exact(dim).zip(gradient.chunks_exact_mut(dim)) {
            let mut of_row = 0.0;
            for (value, slope) in row.iter().zip(gradient) {
                let x = value.f64();
                let off = x.abs() - 1.0;
                of_row += off * off;
                if x != 0.0 {
                    *slope += T::of(2.0 * factor * scale * off * x.signum());
                }
            }
            total += of_row;
        }
        total * scale
    }
}

#[cfg(test)]
mod tests {
    use super::{Quantization, Regularizer};

    #[test]
    fn two_rows_by_hand() {
        let mut gradient = [0.0; 4];
        let value = Quantization::default().penalty(&[1.0, -0.5, 0.0, -2.0], 2, 2.0, &mut gradient);
        // (0 + 0.25 + 1 + 1) / 4; slopes 2 · 2 / 4 · (|x| − 1) · sign.
        assert_eq!((value, gradient), (0.5625, [0.0, 0.5, 0.0, -1.0]));
    }
}
