//! Symmetric matrices in 64 bits, row-major, with the same bytes for any number of threads.
//!
//! Products are split over rows of the output in panels of a fixed width; decompositions run on the calling thread.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, Par, diag::Diag};
use parallax_kernels::panel;
use rayon::prelude::*;

use crate::Error;

/// Columns of the left factor in one panel.
const PANEL: usize = 64;

/// Eigenvalues below this fraction of the largest are rounding, and their directions do not vary.
pub(crate) const NULL: f64 = 1e-12;

/// `c[m, n] += a[k, m]ᵀ · b[k, n]`.
pub(crate) fn add_tn(m: usize, n: usize, k: usize, a: &[f64], b: &[f64], c: &mut [f64]) {
    if n == 0 {
        return;
    }
    c.par_chunks_mut(PANEL * n).enumerate().for_each(|(i, c)| {
        panel::add_tn(i * PANEL, c.len() / n, n, k, m, a, b, c);
    });
}

/// `aᵀ · b` for `a[k, m]`, `b[k, n]`.
pub(crate) fn tn(m: usize, n: usize, k: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    add_tn(m, n, k, a, b, &mut c);
    c
}

/// `a · b` for `a[m, k]`, `b[k, n]`.
pub(crate) fn nn(m: usize, n: usize, k: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    tn(m, n, k, &transposed(m, k, a), b)
}

/// `a[m, n]` as `[n, m]`.
pub(crate) fn transposed(m: usize, n: usize, a: &[f64]) -> Vec<f64> {
    let mut t = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            t[j * m + i] = a[i * n + j];
        }
    }
    t
}

/// Row `i` of `a` times `scale[i]`.
pub(crate) fn scaled_rows(a: &[f64], n: usize, scale: &[f64]) -> Vec<f64> {
    let mut scaled = a.to_vec();
    if n > 0 {
        scaled
            .chunks_exact_mut(n)
            .zip(scale)
            .for_each(|(row, scale)| row.iter_mut().for_each(|x| *x *= scale));
    }
    scaled
}

/// Σ of the diagonal of `a[n, n]`.
pub(crate) fn trace(a: &[f64], n: usize) -> f64 {
    (0..n).map(|i| a[i * n + i]).sum()
}

/// `A = Σ_j values[j] · v_j v_jᵀ`, largest value first; row `j` of `vectors[n, n]` is `v_j`.
///
/// The sign of `v_j` is such that its entry of largest size, the first of them, is positive.
#[derive(Clone, Debug)]
pub(crate) struct Eigen {
    pub(crate) n: usize,
    pub(crate) values: Vec<f64>,
    pub(crate) vectors: Vec<f64>,
}

impl Eigen {
    /// Decomposes a symmetric matrix; only its lower triangle is read.
    pub(crate) fn of(a: &[f64], n: usize) -> Result<Eigen, Error> {
        let range = || Error::Range { what: "an eigendecomposition did not converge" };
        if a.iter().any(|x| !x.is_finite()) {
            return Err(range());
        }
        // faer's own scale-free arithmetic is for larger ranges than squares of 32-bit numbers need; a power of two
        // brings the matrix near 1 without a rounding.
        let largest = a.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let unit = if largest > 0.0 { f64::from_bits(largest.to_bits() & (0x7ff << 52)) } else { 1.0 };
        let unit = if unit > 0.0 { unit } else { f64::MIN_POSITIVE };
        let matrix = Mat::from_fn(n, n, |i, j| a[i.max(j) * n + i.min(j)] / unit);
        let mut vectors = Mat::zeros(n, n);
        let mut values = Diag::zeros(n);
        let scratch =
            self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
        self_adjoint_evd(
            matrix.as_ref(),
            values.as_mut(),
            Some(vectors.as_mut()),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            Default::default(),
        )
        .map_err(|_| range())?;
        let found: Vec<f64> = (0..n).map(|j| values.column_vector()[j]).collect();
        if found.iter().any(|x| !x.is_finite()) {
            return Err(range());
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| found[j].total_cmp(&found[i]));
        let mut rows = Vec::with_capacity(n * n);
        for &j in &order {
            let start = rows.len();
            rows.extend((0..n).map(|i| vectors[(i, j)]));
            settle_sign(&mut rows[start..]);
        }
        Ok(Eigen { n, values: order.iter().map(|&j| found[j] * unit).collect(), vectors: rows })
    }

    /// `Σ_j f(values[j]) · v_j v_jᵀ`.
    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let scale: Vec<f64> = self.values.iter().map(|&value| f(value)).collect();
        tn(self.n, self.n, self.n, &self.vectors, &scaled_rows(&self.vectors, self.n, &scale))
    }

    /// The value at or below which a direction counts as not varying.
    pub(crate) fn null(&self) -> f64 {
        NULL * self.values.first().copied().unwrap_or(0.0).max(0.0)
    }

    /// Mean of the eigenvalues.
    pub(crate) fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.n as f64
    }
}

fn settle_sign(row: &mut [f64]) {
    // A component may have two entries of equal size up to rounding; the first within rounding decides.
    let largest = row.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    if row.iter().find(|x| x.abs() >= largest * (1.0 - 1e-9)).is_some_and(|&x| x < 0.0) {
        row.iter_mut().for_each(|x| *x = -*x);
    }
}

/// The orthogonal matrix nearest to `a[n, n]`: `U Vᵀ` of `a = U Σ Vᵀ`, with the sum of Σ.
pub(crate) fn nearest_orthogonal(a: &[f64], n: usize) -> Result<(Vec<f64>, f64), Error> {
    let range = || Error::Range { what: "a singular value decomposition did not converge" };
    if a.iter().any(|x| !x.is_finite()) {
        return Err(range());
    }
    let matrix = Mat::from_fn(n, n, |i, j| a[i * n + j]);
    let (mut u, mut v, mut values) = (Mat::zeros(n, n), Mat::zeros(n, n), Diag::zeros(n));
    let thin = ComputeSvdVectors::Thin;
    let scratch = svd_scratch::<f64>(n, n, thin, thin, Par::Seq, Default::default());
    svd(
        matrix.as_ref(),
        values.as_mut(),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| range())?;
    let rows = |m: &Mat<f64>| -> Vec<f64> { (0..n * n).map(|i| m[(i / n, i % n)]).collect() };
    let product = tn(n, n, n, &transposed(n, n, &rows(&u)), &transposed(n, n, &rows(&v)));
    Ok((product, (0..n).map(|j| values.column_vector()[j]).sum()))
}
