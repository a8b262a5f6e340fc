//! Classes kept apart.

use parallax_kernels::{Real, gemm};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Regularizer;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::frame::Frame;

/// Rows whose similarities a thread holds at once.
const BLOCK: usize = 32;

/// `mean_i max_{j≠i} cos(wᵢ, wⱼ)`, differentiated by both ends; of equally near rows the first counts. 0 for one row.
///
/// Memory: `O(threads · 32 · R + R·D)`. Default: weight 1. Zhao et al., *RegularFace: Deep Face Recognition via Exclusive
/// Regularization*, CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RegularFace {
    /// Factor of the penalty.
    pub weight: f64,
}

impl Default for RegularFace {
    fn default() -> Self {
        RegularFace { weight: 1.0 }
    }
}

impl Regularizer for RegularFace {
    const NAME: &'static str = "regular_face";

    fn weight(&self) -> f64 {
        self.weight
    }

    fn check(&self, _rows: usize) -> Result<(), Error> {
        Ok(())
    }

    fn memory_bytes(&self, rows: usize, dim: usize, value_bytes: usize, threads: usize) -> usize {
        // Directions with their norms, slopes, the nearest of each row, and blocks of similarities.
        let blocks = 2 * threads * BLOCK.min(rows) * rows * value_bytes;
        rows * (2 * dim + 4) * value_bytes + 40 * rows + blocks + (16 << 10)
    }

    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64 {
        let frame = Frame::new(values, dim, &DistanceConfig::cosine());
        let rows = frame.rows();
        if rows < 2 {
            return 0.0;
        }
        let nearest: Vec<(usize, T)> = frame
            .values
            .par_chunks(BLOCK * dim)
            .enumerate()
            .flat_map_iter(|(block, left)| {
                let count = left.len() / dim;
                let mut s = vec![T::ZERO; count * rows];
                gemm::nt(count, rows, dim, left, &frame.values, T::ZERO, &mut s);
                let rows_of = s.chunks_exact(rows).enumerate();
                let nearest = rows_of.map(|(i, s)| nearest(s, block * BLOCK + i));
                nearest.collect::<Vec<_>>()
            })
            .collect();
        let q = T::of(factor / rows as f64);
        let mut slopes = vec![T::ZERO; values.len()];
        for (i, &(j, _)) in nearest.iter().enumerate() {
            for d in 0..dim {
                slopes[i * dim + d] += q * frame.row(j)[d];
                slopes[j * dim + d] += q * frame.row(i)[d];
            }
        }
        frame.backward(&mut slopes);
        gradient.iter_mut().zip(&slopes).for_each(|(g, &s)| *g += s);
        nearest.iter().map(|(_, s)| s.f64()).sum::<f64>() / rows as f64
    }
}

/// The largest similarity of row `i` to another row, and where it stands.
fn nearest<T: Real>(s: &[T], i: usize) -> (usize, T) {
    let mut best = (usize::from(i == 0), T::NEG_INFINITY);
    for (j, &s) in s.iter().enumerate() {
        if j != i && s > best.1 {
            best = (j, s);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{RegularFace, Regularizer};

    #[test]
    fn three_rows_by_hand() {
        // Directions at 0°, 60° and 180°: nearest cosines ½, ½, and that of 180° to 60°, −½.
        let h = 0.75f64.sqrt();
        let mut gradient = [0.0; 6];
        let value = RegularFace::default().penalty(&[2.0, 0.0, 0.5, h, -1.0, 0.0], 2, 1.0, &mut gradient);
        assert!((value - 0.5 / 3.0).abs() < 1e-15, "{value}");
        // w₁ is the first end of one pair and the second of another: ⅔ · (0, h) / ‖w₁‖.
        assert!(gradient[0].abs() < 1e-15 && (gradient[1] - h / 3.0).abs() < 1e-15, "{gradient:?}");
        let mut alone = [0.0; 2];
        assert_eq!((RegularFace::default().penalty(&[1.0, 2.0], 2, 1.0, &mut alone), alone), (0.0, [0.0; 2]));
    }
}
