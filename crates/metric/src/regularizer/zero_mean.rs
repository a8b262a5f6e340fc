//! The mean component of vectors.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Regularizer;
use crate::error::Error;

/// `mean_i |Σ_k x_ik|`; the derivative where the sum is 0 is 0.
///
/// Default: weight 1. As in pytorch-metric-learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ZeroMean {
    /// Factor of the penalty.
    pub weight: f64,
}

impl Default for ZeroMean {
    fn default() -> Self {
        ZeroMean { weight: 1.0 }
    }
}

impl Regularizer for ZeroMean {
    const NAME: &'static str = "zero_mean";

    fn weight(&self) -> f64 {
        self.weight
    }

    fn check(&self, _rows: usize) -> Result<(), Error> {
        Ok(())
    }

    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64 {
        let rows = values.len() / dim;
        let step = T::of(factor / rows as f64);
        let mut total = 0.0;
        for (row, gradient) in values.chunks_exact(dim).zip(gradient.chunks_exact_mut(dim)) {
            let sum: f64 = row.iter().map(|v| v.f64()).sum();
            total += sum.abs();
            if sum != 0.0 {
                let step = if sum > 0.0 { step } else { -step };
                gradient.iter_mut().for_each(|g| *g += step);
            }
        }
        total / rows as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Regularizer, ZeroMean};

    #[test]
    fn three_rows_by_hand() {
        let mut gradient = [0.0; 6];
        let value = ZeroMean::default().penalty(&[1.0, 2.0, -4.0, 1.0, 2.0, -2.0], 2, 3.0, &mut gradient);
        assert_eq!((value, gradient), (2.0, [1.0, 1.0, -1.0, -1.0, 0.0, 0.0]));
    }
}
