//! Gradients of a linear layer by its weight and its bias.

#[cfg(target_arch = "x86_64")]
mod tiles;
mod vectors;

use super::{Precision, check_isa, micro};
use crate::isa::{self, Isa};
use crate::share::{self, Parts};
use micro::portable;
#[cfg(target_arch = "x86_64")]
use micro::{avx2, avx512};
use std::ops::Range;

/// The product whose transpose is taken: `dw[n, k] = dy[m, n]ᵀ·x[m, k]`.
#[derive(Clone, Copy)]
struct Factors<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    m: usize,
    n: usize,
    k: usize,
}

impl<'a> Factors<'a> {
    /// Those of some of the m rows.
    fn rows(&self, rows: Range<usize>) -> Self {
        Self {
            dy: &self.dy[rows.start * self.n..rows.end * self.n],
            x: &self.x[rows.start * self.k..rows.end * self.k],
            m: rows.len(),
            ..*self
        }
    }
}

/// `dw[n, k] = dY[m, n]ᵀ·X[m, k]`, overwriting what stood there.
///
/// The sum over m runs in blocks of fixed size, in order; work is split over the outputs. [`Precision::Int8`], which is
/// for inference, counts as [`Precision::F32`]. The gradient by the input is a product with [`super::Packed::plain`].
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn weight_gradient(
    dy: &[f32],
    x: &[f32],
    m: usize,
    n: usize,
    k: usize,
    precision: Precision,
    dw: &mut [f32],
) {
    weight_gradient_on(isa::current(), dy, x, m, n, k, precision, dw);
}

/// [`weight_gradient`] on an instruction set other than the current one.
///
/// # Panics
/// As [`weight_gradient`], and if `isa` is above [`isa::current`].
pub fn weight_gradient_on(
    isa: Isa,
    dy: &[f32],
    x: &[f32],
    m: usize,
    n: usize,
    k: usize,
    precision: Precision,
    dw: &mut [f32],
) {
    check_isa(isa);
    assert!(
        dy.len() == m * n && x.len() == m * k && dw.len() == n * k,
        "gradient of {n}×{k} over {m} rows with slices of {}, {} and {} elements",
        dy.len(),
        x.len(),
        dw.len()
    );
    if m == 0 {
        dw.fill(0.0);
    }
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let factors = Factors { dy, x, m, n, k };
    let bf16 = precision == Precision::Bf16;
    // SAFETY: the instruction set runs here (`check_isa`).
    unsafe {
        match (isa, bf16) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, true) => tiles::sum(super::amx::Kind::Half, factors, dw),
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, false) if precision == Precision::Split => {
                tiles::sum(super::amx::Kind::Split, factors, dw);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, true) => {
                vectors::sum::<{ avx512::WIDTH }, u16, avx512::Float<u16>>(factors, dw);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx | Isa::Avx512, false) => {
                vectors::sum::<{ avx512::WIDTH }, f32, avx512::Float<f32>>(factors, dw);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, true) => vectors::sum::<{ avx2::WIDTH }, u16, avx2::Float<u16>>(factors, dw),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, false) => vectors::sum::<{ avx2::WIDTH }, f32, avx2::Float<f32>>(factors, dw),
            (_, true) => vectors::sum::<{ portable::WIDTH }, u16, portable::Float<u16>>(factors, dw),
            (_, false) => vectors::sum::<{ portable::WIDTH }, f32, portable::Float<f32>>(factors, dw),
        }
    }
}

/// `db[n] = Σ over rows of dY[m, n]`, overwriting what stood there; the sum runs in the order of the rows.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn bias_gradient(dy: &[f32], m: usize, n: usize, db: &mut [f32]) {
    assert!(dy.len() == m * n && db.len() == n, "gradient of {n} biases over {m} rows");
    /// Columns of a task: a few cache lines of each row.
    const COLUMNS: usize = 128;
    let out = Parts::new(db);
    share::jobs(n.div_ceil(COLUMNS), m * n, |job| {
        let columns = job * COLUMNS..n.min((job + 1) * COLUMNS);
        let mut sums = [0.0; COLUMNS];
        let sums = &mut sums[..columns.len()];
        for row in dy.chunks_exact(n) {
            sums.iter_mut().zip(&row[columns.clone()]).for_each(|(sum, dy)| *sum += dy);
        }
        // SAFETY: the columns of jobs do not overlap.
        unsafe { out.part(columns) }.copy_from_slice(sums);
    });
}
