//! Principal components.

use crate::examples::{check_finite, check_rows};
use crate::map::{Affine, Map, Sides};
use crate::matrix::{Eigen, add_tn, scaled_rows, trace};
use crate::moments::BLOCK;
use crate::{Error, error::require};

/// Mean and covariance of rows that arrive in pieces, in 64 bits.
///
/// Rows are gathered into blocks of a fixed size, so the result depends on the rows and their order, not on the pieces
/// or the threads. Memory is `8·(dim² + 512·dim)` bytes, whatever the number of rows.
#[derive(Clone, Debug)]
pub struct Covariance {
    dim: usize,
    rows: usize,
    /// Mean of the first block, which is taken off all rows so that a large mean costs no digits.
    origin: Option<Vec<f64>>,
    pending: Vec<f64>,
    sum: Vec<f64>,
    scatter: Vec<f64>,
}

impl Covariance {
    /// No rows yet.
    pub fn new(dim: usize) -> Self {
        Covariance {
            dim,
            rows: 0,
            origin: None,
            pending: Vec::new(),
            sum: vec![0.0; dim],
            scatter: vec![0.0; dim * dim],
        }
    }

    /// Adds rows, `[n, dim]` row-major.
    ///
    /// # Errors
    /// For values that do not fill rows, or are not finite (the row is counted over all pieces, from 1); nothing of the
    /// piece is added then.
    pub fn add(&mut self, vectors: &[f32]) -> Result<(), Error> {
        let dim = self.dim;
        check_rows("vectors", vectors, vectors.len() / dim.max(1), dim)?;
        check_finite("vectors", vectors, dim).map_err(|error| match error {
            Error::NotFinite { set, row, column, value } => {
                Error::NotFinite { set, row: self.rows + row, column, value }
            }
            error => error,
        })?;
        self.rows += vectors.len() / dim;
        let mut rest = vectors;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK * dim - self.pending.len()));
            self.pending.extend(now.iter().map(|&x| f64::from(x)));
            rest = later;
            if self.pending.len() == BLOCK * dim {
                self.flush();
            }
        }
        Ok(())
    }

    fn flush(&mut self) {
        let dim = self.dim;
        let rows = self.pending.len() / dim;
        if rows == 0 {
            return;
        }
        let origin = self.origin.get_or_insert_with(|| {
            let mut mean = vec![0.0; dim];
            self.pending
                .chunks_exact(dim)
                .for_each(|row| mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / rows as f64));
            mean
        });
        for row in self.pending.chunks_exact_mut(dim) {
            for ((x, o), sum) in row.iter_mut().zip(origin.iter()).zip(&mut self.sum) {
                *x -= o;
                *sum += *x;
            }
        }
        add_tn(dim, dim, rows, &self.pending, &self.pending, &mut self.scatter);
        self.pending.clear();
    }

    /// Principal components of the rows so far; see [`pca`].
    ///
    /// # Errors
    /// As for [`pca`].
    pub fn components(mut self, components: usize, whiten: f64) -> Result<Pca, Error> {
        let dim = self.dim;
        require(
            (1..=dim).contains(&components),
            "pca",
            "components",
            components as f64,
            "a whole number from 1 to the dimension",
        )?;
        require((0.0..=1.0).contains(&whiten), "pca", "whiten", whiten, "between 0 and 1")?;
        if self.rows < 2 {
            return Err(Error::FewRows { rows: self.rows });
        }
        self.flush();
        let n = self.rows as f64;
        let raw = trace(&self.scatter, dim);
        for i in 0..dim {
            for j in 0..dim {
                let about_mean = self.scatter[i * dim + j] - self.sum[i] * self.sum[j] / n;
                self.scatter[i * dim + j] = about_mean / (n - 1.0);
            }
        }
        let total_variance = trace(&self.scatter, dim);
        if total_variance * (n - 1.0) <= crate::matrix::NULL * raw {
            return Err(Error::NoVariance { rows: self.rows });
        }
        let eigen = Eigen::of(&self.scatter, dim)?;
        let origin = self.origin.unwrap_or_default();
        let mean: Vec<f64> = origin.iter().zip(&self.sum).map(|(o, s)| o + s / n).collect();
        let null = eigen.null();
        let scale: Vec<f64> = eigen.values[..components]
            .iter()
            .map(|&value| match (whiten == 0.0, value > null) {
                (true, _) => 1.0,
                (false, true) => value.powf(-whiten / 2.0),
                (false, false) => 0.0,
            })
            .collect();
        let axes = eigen.vectors[..components * dim].to_vec();
        let affine = Affine {
            weight: scaled_rows(&axes, dim, &scale),
            inputs: dim,
            outputs: components,
            centre: Some(mean.clone()),
            offset: None,
        };
        Ok(Pca {
            map: affine.to_map(Sides::Both)?,
            mean,
            axes,
            variances: eigen.values[..components].iter().map(|value| value.max(0.0)).collect(),
            total_variance,
        })
    }
}

/// Principal components of a set of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// `y_j = λ_j^(−p/2) · v_jᵀ(x − mean)`, with `p` the power of the whitening.
    pub map: Map,
    /// `[dim]`.
    pub mean: Vec<f64>,
    /// Unit eigenvectors `v_j` as rows `[components, dim]`, that of the largest eigenvalue first.
    pub axes: Vec<f64>,
    /// Eigenvalues `λ_j` of the covariance (divisor n − 1), largest first.
    pub variances: Vec<f64>,
    /// Σ of all `dim` eigenvalues, kept or not.
    pub total_variance: f64,
}

impl Pca {
    /// The share of the variance that each component explains.
    pub fn explained(&self) -> Vec<f64> {
        self.variances.iter().map(|variance| variance / self.total_variance).collect()
    }
}

/// Principal components of `n` rows `[n, dim]`: the `components` directions of largest variance, and the map onto them.
///
/// `whiten` is the power `p`: 0 leaves variances as they are, 1 makes them all 1. Each eigenvector has the sign that
/// makes its entry of largest size positive (the first of equal ones). A direction in which nothing varies (eigenvalue
/// below 10⁻¹² of the largest) is 0 after whitening, so fewer rows than dimensions and constant columns are no error.
///
/// # Errors
/// For `components` outside `1..=dim`, a power outside 0 to 1, values that do not make `n` rows, a value that is not
/// finite (with row and column), fewer than two rows, or rows that are all equal.
pub fn pca(vectors: &[f32], n: usize, dim: usize, components: usize, whiten: f64) -> Result<Pca, Error> {
    check_rows("vectors", vectors, n, dim)?;
    let mut covariance = Covariance::new(dim);
    covariance.add(vectors)?;
    covariance.components(components, whiten)
}
