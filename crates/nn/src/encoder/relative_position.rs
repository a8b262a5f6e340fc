use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::layer::Embedding;

/// A learned bias per head and bucketed distance between query and key, added to the attention scores.
///
/// The buckets are those of T5 (Raffel et al. 2020, arXiv 1910.10683) for both directions, as MPNet uses them: half of
/// the buckets for keys behind the query and half for keys ahead; of each half, one bucket per distance up to a quarter
/// of all buckets, then logarithmic up to distance 128.
#[derive(Module, Debug)]
pub struct RelativePositionBias {
    /// `[buckets, H]`.
    pub table: Embedding,
}

const MAX_DISTANCE: f32 = 128.0;

impl RelativePositionBias {
    /// Zeros, to be filled from a checkpoint.
    pub fn zeros(buckets: usize, heads: usize, device: &Device) -> Self {
        RelativePositionBias { table: Embedding::zeros(buckets, heads, device) }
    }

    /// The bias of every head by distance `[H, 2 · reach − 1]`: that of a key at `offset` from its query stands at
    /// `offset + reach − 1`.
    pub fn by_distance(&self, reach: usize) -> Tensor<2> {
        let (buckets, reach) = (self.table.rows(), reach as i64);
        self.table
            .forward((1 - reach..reach).map(|offset| bucket(offset, buckets) as u32).collect())
            .transpose()
    }
}

/// The bucket of a key at `offset` from its query.
fn bucket(offset: i64, buckets: usize) -> usize {
    let half = buckets / 2;
    let ahead = if offset > 0 { half } else { 0 };
    let distance = offset.unsigned_abs() as usize;
    let exact = half / 2;
    if distance < exact {
        return ahead + distance;
    }
    // In f32 and in this order, as the reference computes it: the floor falls on exact powers.
    let ratio = (distance as f32 / exact as f32).ln() / (MAX_DISTANCE / exact as f32).ln();
    ahead + (exact + (ratio * (half - exact) as f32) as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_are_exact_then_logarithmic() {
        let behind: Vec<usize> = [0, 1, 7, 8, 11, 12, 16, 32, 64, 127, 500].map(|d| bucket(-d, 32)).to_vec();
        assert_eq!(behind, [0, 1, 7, 8, 8, 9, 10, 12, 14, 15, 15]);
        assert_eq!(bucket(1, 32), 17);
        assert_eq!(bucket(500, 32), 31);
    }
}
