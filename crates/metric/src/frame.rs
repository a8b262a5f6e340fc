//! The rows of a matrix in the form a distance needs, and the way back for gradients.
//!
//! A distance may divide a row by its norm and, for the signal-to-noise ratio, subtract its mean. Both are done once for
//! all pairs before the first tile, and undone once for the gradient after the last.

use std::borrow::Cow;

use parallax_kernels::{Real, vector};
use rayon::prelude::*;

use crate::distance::{DistanceConfig, Form};
use crate::error::Error;

/// Norms are not taken to be smaller than this, as in `torch.nn.functional.normalize`.
const SMALLEST_NORM: f64 = 1e-12;

/// Prepared rows of one matrix.
pub(crate) struct Frame<'a, T: Real> {
    raw: &'a [T],
    /// Prepared values, `[rows, dim]`.
    pub(crate) values: Cow<'a, [T]>,
    /// `‖values‖²` of each row; empty where the form does not use it.
    pub(crate) squares: Vec<T>,
    /// `1 / max(‖raw‖, 1e-12)` of each row and whether the norm was larger; empty without normalisation.
    inverse: Vec<(T, bool)>,
    norm: f64,
    centred: bool,
    /// What is added to a squared norm that divides.
    floor: T,
    dim: usize,
}

impl<'a, T: Real> Frame<'a, T> {
    /// Prepares `raw`, `[rows, dim]`.
    pub(crate) fn new(raw: &'a [T], dim: usize, distance: &DistanceConfig) -> Self {
        let centred = distance.form() == Form::SignalToNoise;
        let norm = distance.norm();
        let inverse: Vec<(T, bool)> = norm.map_or_else(Vec::new, |p| {
            raw.par_chunks_exact(dim)
                .with_min_len(64)
                .map(|row| {
                    let norm = norm_of(row, p);
                    (T::of(1.0 / norm.max(SMALLEST_NORM)), norm >= SMALLEST_NORM)
                })
                .collect()
        });
        let values = if norm.is_none() && !centred {
            Cow::Borrowed(raw)
        } else {
            let mut values = raw.to_vec();
            values.par_chunks_exact_mut(dim).with_min_len(64).enumerate().for_each(|(i, row)| {
                if let Some(&(inverse, _)) = inverse.get(i) {
                    row.iter_mut().for_each(|v| *v *= inverse);
                }
                if centred {
                    subtract_mean(row);
                }
            });
            Cow::Owned(values)
        };
        let squares = if distance.form().uses_norms() {
            values.par_chunks_exact(dim).with_min_len(64).map(|row| T::of(square(row))).collect()
        } else {
            Vec::new()
        };
        let floor = match distance {
            DistanceConfig::Snr(snr) => T::of(snr.eps * dim as f64),
            _ => T::ZERO,
        };
        Frame { raw, values, squares, inverse, norm: norm.unwrap_or(2.0), centred, floor, dim }
    }

    /// Row `i`, prepared.
    #[inline]
    pub(crate) fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    /// Row `i`, as it came.
    pub(crate) fn raw_row(&self, i: usize) -> &[T] {
        &self.raw[i * self.dim..(i + 1) * self.dim]
    }

    /// What row `i` divides by as an anchor, where the form uses norms: its squared norm, and what is added to it.
    #[inline]
    pub(crate) fn divisor(&self, i: usize) -> T {
        self.squares.get(i).map_or(T::ONE, |&square| square + self.floor)
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> usize {
        self.raw.len() / self.dim
    }

    /// Refuses an anchor without variance where the distance divides by it, and one dimension, which has none.
    pub(crate) fn check_variance(&self) -> Result<(), Error> {
        if self.centred && self.dim < 2 {
            let must = "embeddings of at least 2 dimensions are needed, over which a variance is taken";
            return Err(Error::Combination { component: "snr", must });
        }
        if !self.centred || self.floor > T::ZERO {
            return Ok(());
        }
        for (row, &square) in self.squares.iter().enumerate() {
            let inverse = self.inverse.get(row).map_or(1.0, |i| i.0.f64());
            let raw = &self.raw[row * self.dim..(row + 1) * self.dim];
            let size: f64 = raw.iter().map(|v| (v.f64() * inverse).powi(2)).sum();
            // Rounding leaves about eps·|x| a component after the mean is subtracted.
            let rounding = 4.0 * T::EPSILON.f64();
            if square.f64() <= size * rounding * rounding {
                return Err(Error::ConstantRow { row });
            }
        }
        Ok(())
    }

    /// Turns the gradient of the prepared rows into the gradient of the raw rows, in place.
    ///
    /// With `y = x / n`, `n = ‖x‖ₚ`: `dx = (dy − (y·dy) ∂n/∂x) / n`. Where the norm is below 1e-12, the divisor is the
    /// constant 1e-12, as in torch.
    pub(crate) fn backward(&self, gradient: &mut [T]) {
        if self.inverse.is_empty() && !self.centred {
            return;
        }
        gradient.par_chunks_exact_mut(self.dim).with_min_len(64).enumerate().for_each(|(i, d)| {
            if self.centred {
                subtract_mean(d);
            }
            let Some(&(inverse, long)) = self.inverse.get(i) else { return };
            let x = &self.raw[i * self.dim..(i + 1) * self.dim];
            if !long {
                d.iter_mut().for_each(|d| *d *= inverse);
                return;
            }
            let along = inverse * T::of(vector::dot(x, d));
            let p = self.norm;
            for (d, &x) in d.iter_mut().zip(x) {
                let y = x * inverse;
                let slope = if p == 2.0 {
                    y
                } else if y == T::ZERO {
                    T::ZERO
                } else {
                    let size = if p == 1.0 { T::ONE } else { y.abs().powf(T::of(p - 1.0)) };
                    if y > T::ZERO { size } else { -size }
                };
                *d = (*d - along * slope) * inverse;
            }
        });
    }
}

/// `Σ v²`, in eight sums that need not wait for one another.
fn square<T: Real>(row: &[T]) -> f64 {
    let mut sums = [0.0f64; 8];
    for part in row.chunks(8) {
        sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += v.f64() * v.f64());
    }
    sums.iter().sum()
}

fn norm_of<T: Real>(row: &[T], p: f64) -> f64 {
    let sizes = row.iter().map(|v| v.f64().abs());
    if p == 2.0 {
        square(row).sqrt()
    } else if p == 1.0 {
        sizes.sum()
    } else {
        sizes.map(|v| v.powf(p)).sum::<f64>().powf(1.0 / p)
    }
}

fn subtract_mean<T: Real>(row: &mut [T]) {
    let mean = T::of(row.iter().map(|v| v.f64()).sum::<f64>() / row.len() as f64);
    row.iter_mut().for_each(|v| *v -= mean);
}
