use std::collections::BTreeMap;

use parallax_kernels::exact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The largest dimension of a vector.
pub const MAX_DIM: usize = 1 << 16;
/// The largest number of rows in a segment.
pub const MAX_SEGMENT_ROWS: usize = 1 << 24;

/// What an index is for; fixed when it is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IndexConfig {
    /// Numbers in a vector, at most 65,536; 0 takes the dimension of the first rows that are added.
    pub dim: usize,
    /// What makes one vector near another.
    pub similarity: Similarity,
    /// The model that made the vectors, by name or path; whoever embeds queries reads it back.
    pub model: Option<String>,
    /// Rows in a segment. More take more memory while writing (about 8 bytes a row and attribute); results do not
    /// depend on it.
    pub segment_rows: usize,
    /// Anything else that whoever built the index wants to read back, such as the prefix of queries.
    pub metadata: BTreeMap<String, String>,
}

impl Default for IndexConfig {
    fn default() -> Self {
        IndexConfig {
            dim: 0,
            similarity: Similarity::default(),
            model: None,
            segment_rows: 1 << 18,
            metadata: BTreeMap::new(),
        }
    }
}

impl IndexConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |option, problem| Err(Error::Config { option, problem });
        if self.dim > MAX_DIM {
            return wrong("dim", format!("is {}; it must be at most {MAX_DIM}", self.dim));
        }
        if !(1..=MAX_SEGMENT_ROWS).contains(&self.segment_rows) {
            let problem = format!("is {}; it must lie between 1 and {MAX_SEGMENT_ROWS}", self.segment_rows);
            return wrong("segment_rows", problem);
        }
        Ok(())
    }
}

/// What makes one vector near another. Higher scores are nearer.
///
/// Scores are sums in 64 bits over 32-bit vectors, rounded to a grid of relative step 2⁻³⁶, so that sums that are equal
/// in exact arithmetic tie. A score depends on the query and the row alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// x·y / (‖x‖·‖y‖). Rows are stored normalised (in 64 bits, kept in 32); a zero row scores 0 against everything.
    #[default]
    Cosine,
    /// x·y of the rows as they are.
    Dot,
    /// −‖x − y‖², which ranks as −‖x − y‖ does.
    Euclidean,
    /// −(numbers of x and y whose signs differ), 0 and above counting as one sign. Rows are stored as binary codes, one bit a
    /// number.
    Hamming,
}

impl Similarity {
    /// The score as a formula.
    pub fn definition(self) -> &'static str {
        match self {
            Similarity::Cosine => "x.y / (|x| |y|), 0 where either is the zero vector",
            Similarity::Dot => "x.y",
            Similarity::Euclidean => "-|x - y|^2",
            Similarity::Hamming => "-(numbers whose signs differ)",
        }
    }

    /// Whether rows are stored as binary codes and not as numbers.
    pub(crate) fn is_binary(self) -> bool {
        self == Similarity::Hamming
    }

    /// Makes a row ready to be stored or compared, and returns its norm then.
    pub(crate) fn prepare(self, row: &mut [f32]) -> f64 {
        let norm = exact::dot(row, row).sqrt();
        if self != Similarity::Cosine || norm == 0.0 {
            return norm;
        }
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
        exact::dot(row, row).sqrt()
    }

    /// Adds the scores of a prepared row `x` of norm `a` and others with their norms.
    pub(crate) fn scores<'a>(
        self,
        x: &[f32],
        a: f64,
        rows: impl Iterator<Item = (&'a [f32], f64)> + Clone,
        out: &mut Vec<f64>,
    ) {
        if self == Similarity::Hamming {
            let differ = |(y, _): (&[f32], f64)| {
                let differ = x.iter().zip(y).filter(|(x, y)| (**x >= 0.0) != (**y >= 0.0)).count();
                0.0 - differ as f64
            };
            return out.extend(rows.map(differ));
        }
        let first = out.len();
        let pairs: Vec<(&[f32], &[f32])> = rows.clone().map(|(y, _)| (x, y)).collect();
        match self {
            Similarity::Cosine | Similarity::Dot | Similarity::Hamming => exact::dots(&pairs, out),
            Similarity::Euclidean => exact::squared_distances(&pairs, out),
        }
        for (value, (_, b)) in out[first..].iter_mut().zip(rows) {
            *value = match self {
                Similarity::Cosine => exact::on_grid(*value, 1.0),
                Similarity::Dot => exact::on_grid(*value, exact::power_of_two(a) * exact::power_of_two(b)),
                Similarity::Euclidean => 0.0 - exact::square_on_grid(*value),
                Similarity::Hamming => *value,
            };
        }
    }

    /// How far one of [`scores`](Self::scores), for norms `x` and up to `y`, can be from the number that it rounds to its
    /// grid.
    pub(crate) fn grid(self, x: f64, y: f64) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 34) as f64;
        STEP * match self {
            Similarity::Cosine => 1.0 + x * y,
            Similarity::Dot => x * y,
            Similarity::Euclidean => (x + y) * (x + y),
            // Whole numbers.
            Similarity::Hamming => 0.0,
        }
    }
}
