//! Means, covariances and their eigenvectors: all that a fit looks at.

use std::sync::OnceLock;

use crate::Error;
use crate::examples::Examples;
use crate::matrix::{Eigen, NULL, trace};
use crate::moments::Moments;

/// What every adapter is fitted from; eigenvectors are computed when the first adapter asks for them, and kept.
///
/// Adapters that differ only in their settings share all of it, so a grid costs little more than one fit.
#[derive(Debug)]
pub struct Statistics {
    pub(crate) dim: usize,
    pub(crate) rows: usize,
    pub(crate) classes: usize,
    pub(crate) mean: Vec<f64>,
    /// Covariance of all rows about their mean, divided by n − 1.
    pub(crate) total: Vec<f64>,
    /// Scatter of the class means about the mean, weighted by class size, divided by n − 1 as `total` is.
    pub(crate) between: Vec<f64>,
    /// Pooled covariance within classes, divided by n − C; none where no class has two different rows.
    pub(crate) within: Option<Vec<f64>>,
    /// n₀ of the analysis of variance: (n − Σn_c²/n) / (C − 1).
    pub(crate) class_size: f64,
    pub(crate) pairs: Option<PairStatistics>,
    total_eigen: OnceLock<Result<Eigen, Error>>,
    within_eigen: OnceLock<Result<Eigen, Error>>,
    between_eigen: OnceLock<Result<Eigen, Error>>,
    signal: OnceLock<Result<Option<Vec<f64>>, Error>>,
}

/// Means and covariances of pairs (a, p), divided by the number of pairs.
#[derive(Clone, Debug)]
pub(crate) struct PairStatistics {
    pub(crate) anchor_mean: Vec<f64>,
    pub(crate) positive_mean: Vec<f64>,
    /// E (a − ā)(a − ā)ᵀ.
    pub(crate) anchors: Vec<f64>,
    /// E (a − ā)(p − p̄)ᵀ.
    pub(crate) cross: Vec<f64>,
}

impl Statistics {
    /// Reads all examples once.
    ///
    /// # Errors
    /// For shapes that do not fit, a value that is not finite (with row and column), fewer than two rows, or rows that
    /// are all equal.
    pub fn of(examples: &Examples) -> Result<Statistics, Error> {
        examples.check()?;
        let classes = examples.classes();
        let members: Vec<u32> = (0..examples.len() as u32).collect();
        Statistics::new(&Moments::of(examples, &classes, &members, &Moments::origin(examples)))
    }

    pub(crate) fn new(moments: &Moments) -> Result<Statistics, Error> {
        let Moments { dim, rows, classes, .. } = *moments;
        if rows < 2 {
            return Err(Error::FewRows { rows });
        }
        let centred = Moments::about_means(&moments.total, rows, &moments.sum, &moments.sum);
        if moments.is_constant(&centred) {
            return Err(Error::NoVariance { rows });
        }
        let between = Moments::about_means(&moments.between, rows, &moments.sum, &moments.sum);
        let mut within: Vec<f64> = centred.iter().zip(&between).map(|(t, b)| t - b).collect();
        let degrees = rows - classes;
        let has_within = degrees > 0 && trace(&within, dim) > NULL * trace(&centred, dim);
        within.iter_mut().for_each(|w| *w /= degrees.max(1) as f64);
        let per_row = |scatter: Vec<f64>| scatter.into_iter().map(|s| s / (rows - 1) as f64).collect();
        let mean_of = |sum: &[f64], n: usize| -> Vec<f64> {
            moments.origin.iter().zip(sum).map(|(o, s)| o + s / n as f64).collect()
        };
        let pairs = moments.pairs.as_ref().map(|pairs| {
            let n = pairs.pairs;
            let (a, p) = (&pairs.anchor_sum, &pairs.positive_sum);
            let covariance = |scatter: &[f64], left: &[f64], right: &[f64]| -> Vec<f64> {
                Moments::about_means(scatter, n, left, right).into_iter().map(|s| s / n as f64).collect()
            };
            PairStatistics {
                anchor_mean: mean_of(a, n),
                positive_mean: mean_of(p, n),
                anchors: covariance(&pairs.anchors, a, a),
                cross: covariance(&pairs.cross, a, p),
            }
        });
        let n = rows as f64;
        Ok(Statistics {
            dim,
            rows,
            classes,
            mean: mean_of(&moments.sum, rows),
            total: per_row(centred),
            between: per_row(between),
            within: has_within.then_some(within),
            class_size: (n - moments.squared_sizes / n) / classes.saturating_sub(1).max(1) as f64,
            pairs,
            total_eigen: OnceLock::new(),
            within_eigen: OnceLock::new(),
            between_eigen: OnceLock::new(),
            signal: OnceLock::new(),
        })
    }

    pub(crate) fn total_eigen(&self) -> Result<&Eigen, Error> {
        self.total_eigen.get_or_init(|| Eigen::of(&self.total, self.dim)).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn between_eigen(&self) -> Result<&Eigen, Error> {
        self.between_eigen.get_or_init(|| Eigen::of(&self.between, self.dim)).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn within_eigen(&self, adapter: &'static str) -> Result<&Eigen, Error> {
        let within = self.within(adapter)?;
        self.within_eigen.get_or_init(|| Eigen::of(within, self.dim)).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn within(&self, adapter: &'static str) -> Result<&[f64], Error> {
        self.within.as_deref().ok_or(Error::NoWithin { adapter, classes: self.classes })
    }

    /// Passes if there are two classes or more.
    pub(crate) fn require_classes(&self, adapter: &'static str) -> Result<(), Error> {
        if self.classes < 2 { Err(Error::OneClass { adapter, rows: self.rows }) } else { Ok(()) }
    }

    /// Covariance of the true class means: (MS_between − MS_within) / n₀ with its negative eigenvalues set to 0.
    ///
    /// A mean of `n₀` rows scatters by S_w/n₀ even where all classes have one true mean; that part is taken out.
    /// (Analysis of variance; Searle, Casella, McCulloch, *Variance components*, 1992, §3.6.)
    pub(crate) fn signal(&self, adapter: &'static str) -> Result<&[f64], Error> {
        self.require_classes(adapter)?;
        let within = self.within(adapter)?;
        let signal = self.signal.get_or_init(|| {
            let degrees = (self.rows - 1) as f64 / (self.classes - 1) as f64;
            let difference: Vec<f64> =
                self.between.iter().zip(within).map(|(b, w)| (b * degrees - w) / self.class_size).collect();
            let eigen = Eigen::of(&difference, self.dim)?;
            let floor = NULL * trace(within, self.dim) / self.dim as f64;
            Ok((eigen.values[0] > floor).then(|| eigen.map(|value| value.max(0.0))))
        });
        match signal {
            Ok(Some(signal)) => Ok(signal),
            Ok(None) => Err(Error::NoBetween { adapter, classes: self.classes }),
            Err(error) => Err(error.clone()),
        }
    }
}
