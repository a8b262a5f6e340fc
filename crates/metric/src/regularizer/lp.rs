//! The length of vectors.

use parallax_kernels::Real;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Regularizer;
use crate::distance::{of_differences, slope_differences};
use crate::error::{Error, require};

/// `mean_i ‖xᵢ‖ₚ^power`; the derivative at a row of zeros is 0.
///
/// Defaults: p = 2, power 1, weight 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LpNorm {
    /// Order of the norm, at least 1.
    pub p: f64,
    /// Exponent of the norm, greater than 0.
    pub power: f64,
    /// Factor of the penalty.
    pub weight: f64,
}

impl Default for LpNorm {
    fn default() -> Self {
        LpNorm { p: 2.0, power: 1.0, weight: 1.0 }
    }
}

impl Regularizer for LpNorm {
    const NAME: &'static str = "lp";

    fn weight(&self) -> f64 {
        self.weight
    }

    fn check(&self, _rows: usize) -> Result<(), Error> {
        let valid = self.p >= 1.0 && self.p.is_finite();
        require(valid, Self::NAME, "p", self.p, "a finite number of at least 1")?;
        let valid = self.power > 0.0 && self.power.is_finite();
        require(valid, Self::NAME, "power", self.power, "a finite number greater than 0")
    }

    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64 {
        let rows = values.len() / dim;
        let zeros = vec![T::ZERO; dim];
        let factor = T::of(factor / rows as f64);
        let norms: Vec<f64> = values
            .par_chunks_exact(dim)
            .zip(gradient.par_chunks_exact_mut(dim))
            .with_min_len(64)
            .map(|(row, gradient)| {
                // The distance to the origin.
                let norm = of_differences(self.p, self.power, row, &zeros);
                let q = factor * slope_differences(self.p, self.power, norm);
                crate::distance::add_difference(self.p, q, row, &zeros, gradient);
                norm.f64()
            })
            .collect();
        norms.iter().sum::<f64>() / rows as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{LpNorm, Regularizer};

    #[test]
    fn two_rows_by_hand() {
        let mut gradient = [0.0; 4];
        let value = LpNorm::default().penalty(&[3.0, 4.0, 0.0, 0.0], 2, 1.0, &mut gradient);
        assert_eq!(value, 2.5);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-15;
        assert!(near(gradient[0], 0.3) && near(gradient[1], 0.4) && gradient[2..] == [0.0; 2]);
        let squared = LpNorm { p: 2.0, power: 2.0, weight: 1.0 };
        let mut gradient = [0.0; 2];
        assert_eq!((squared.penalty(&[3.0, 4.0], 2, 0.5, &mut gradient), gradient), (25.0, [3.0, 4.0]));
    }
}
