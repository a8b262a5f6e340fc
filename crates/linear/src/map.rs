//! An affine map of vectors, ready to apply.

use parallax_kernels::gemm;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, examples::check_rows};

/// Rows of one product on one thread.
const ROWS: usize = 256;

/// Which vectors a map is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Queries and gallery alike: stored vectors have to be mapped again.
    #[default]
    Both,
    /// Queries only: stored vectors stay as they are.
    Queries,
}

/// `y = W x + b`.
///
/// Fits are made in 64 bits and stored in 32. What is done to the result is the caller's affair: for cosine search
/// divide `y` by its length as before.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// `W`, row-major `[out, in]`.
    pub weight: Vec<f32>,
    /// `b`, `[out]`; none means 0.
    pub bias: Option<Vec<f32>>,
    /// Numbers in a vector that goes in.
    pub inputs: usize,
    /// Numbers in a vector that comes out.
    pub outputs: usize,
    /// Which vectors the map was fitted for.
    pub sides: Sides,
}

impl Map {
    /// The map that leaves vectors of `dim` numbers as they are, to the bit.
    pub fn identity(dim: usize) -> Map {
        let mut weight = vec![0.0; dim * dim];
        (0..dim).for_each(|i| weight[i * dim + i] = 1.0);
        Map { weight, bias: None, inputs: dim, outputs: dim, sides: Sides::Both }
    }

    /// Maps `n` rows: `[n, in]` to `[n, out]`, row-major, in 32 bits on the current rayon pool.
    ///
    /// The same bytes for any number of threads.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `vectors` holds `n` rows of [`Map::inputs`], or the weights do not fit the map's sizes.
    pub fn apply(&self, vectors: &[f32], n: usize) -> Result<Vec<f32>, Error> {
        check_rows("vectors", vectors, n, self.inputs)?;
        check_rows("weights", &self.weight, self.outputs, self.inputs)?;
        if let Some(bias) = &self.bias {
            check_rows("biases", bias, self.outputs, 1)?;
        }
        let mut mapped = vec![0.0; n * self.outputs];
        if self.outputs == 0 {
            return Ok(mapped);
        }
        mapped.par_chunks_mut(ROWS * self.outputs).enumerate().for_each(|(block, mapped)| {
            let rows = mapped.len() / self.outputs;
            let from = &vectors[block * ROWS * self.inputs..][..rows * self.inputs];
            gemm::nt(rows, self.outputs, self.inputs, from, &self.weight, 0.0, mapped);
            if let Some(bias) = &self.bias {
                for row in mapped.chunks_exact_mut(self.outputs) {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
            }
        });
        Ok(mapped)
    }
}

/// `y = W (x − centre) + offset` in 64 bits.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    /// Row-major `[outputs, inputs]`.
    pub(crate) weight: Vec<f64>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) centre: Option<Vec<f64>>,
    pub(crate) offset: Option<Vec<f64>>,
}

impl Affine {
    /// `offset − W·centre`, or none where both are absent.
    pub(crate) fn bias(&self) -> Option<Vec<f64>> {
        if self.centre.is_none() && self.offset.is_none() {
            return None;
        }
        let mut bias = self.offset.clone().unwrap_or_else(|| vec![0.0; self.outputs]);
        if let Some(centre) = &self.centre {
            for (b, row) in bias.iter_mut().zip(self.weight.chunks_exact(self.inputs)) {
                *b -= row.iter().zip(centre).map(|(w, c)| w * c).sum::<f64>();
            }
        }
        Some(bias)
    }

    /// The map in 32 bits.
    pub(crate) fn to_map(&self, sides: Sides) -> Result<Map, Error> {
        let narrow = |values: &[f64]| -> Result<Vec<f32>, Error> {
            let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            if narrow.iter().any(|value| !value.is_finite()) {
                return Err(Error::Range { what: "a weight of the map leaves the range of 32-bit numbers" });
            }
            Ok(narrow)
        };
        Ok(Map {
            weight: narrow(&self.weight)?,
            bias: self.bias().as_deref().map(narrow).transpose()?,
            inputs: self.inputs,
            outputs: self.outputs,
            sides,
        })
    }
}
