//! The spread of lengths.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Regularizer;
use crate::error::Error;

/// `mean_i (‖wᵢ‖² − m)² / 4` with the mean `m` of the squared lengths: 0 if all rows have one length.
///
/// Default: weight 1. Wu et al., *Deep Face Recognition with Center Invariant Loss*, ACM MM Workshops 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CenterInvariant {
    /// Factor of the penalty.
    pub weight: f64,
}

impl Default for CenterInvariant {
    fn default() -> Self {
        CenterInvariant { weight: 1.0 }
    }
}

impl Regularizer for CenterInvariant {
    const NAME: &'static str = "center_invariant";

    fn weight(&self) -> f64 {
        self.weight
    }

    fn check(&self, _rows: usize) -> Result<(), Error> {
        Ok(())
    }

    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64 {
        let squares: Vec<f64> =
            values.chunks_exact(dim).map(|row| row.iter().map(|v| v.f64() * v.f64()).sum()).collect();
        let rows = squares.len() as f64;
        let mean = squares.iter().sum::<f64>() / rows;
        // The deviations sum to 0, so the mean's own derivative vanishes: ∂/∂wᵢ = (‖wᵢ‖² − m) wᵢ / R.
        let deviations = squares.iter().map(|square| square - mean);
        let gradients = values.chunks_exact(dim).zip(gradient.chunks_exact_mut(dim));
        for (deviation, (row, gradient)) in deviations.clone().zip(gradients) {
            let q = T::of(factor * deviation / rows);
            gradient.iter_mut().zip(row).for_each(|(g, &v)| *g += q * v);
        }
        deviations.map(|d| d * d / 4.0).sum::<f64>() / rows
    }
}

#[cfg(test)]
mod tests {
    use super::{CenterInvariant, Regularizer};

    #[test]
    fn two_rows_by_hand() {
        // Squared lengths 1 and 5, mean 3: deviations ∓2, penalty (1 + 1) / 2.
        let mut gradient = [0.0; 4];
        let value = CenterInvariant::default().penalty(&[1.0, 0.0, 1.0, 2.0], 2, 1.0, &mut gradient);
        assert_eq!((value, gradient), (1.0, [-1.0, 0.0, 1.0, 2.0]));
    }
}
