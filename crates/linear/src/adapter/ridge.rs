use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::fit::Fit;
use crate::map::{Affine, Sides};
use crate::matrix::nn;
use crate::{Error, Statistics};

/// What labelled rows are regressed onto.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// The mean of the row's class.
    #[default]
    Centroids,
    /// The indicator of the row's class divided by the root of the class's size: corners of a simplex where classes
    /// are of one size.
    Simplex,
}

/// Ridge regression. With `C` the covariance of all rows, `B` that of their class means and `λ' = λ · tr(C)/dim`:
///
/// ```text
/// centroids:  W = B (C + λ'I)⁻¹               minimises  Σ ‖W(x − m) − (m_class − m)‖² + n λ' ‖W‖²
/// simplex:    W = B^½ (C + λ'I)⁻¹             WᵀW is that of the regression onto indicators, so cosines are the same,
///                                             in `dim` outputs instead of one a class
/// pairs:      W = E[p aᵀ] (E[a aᵀ] + λ'I)⁻¹   about the means of anchors a and positives p; for queries only
/// ```
///
/// The rank is at most that of the class means, so what tells new classes apart can be lost: blend it with the
/// identity. Labels: `y = W(x − m)`, plus `m` where `centre` is off and the targets are centroids. Pairs:
/// `y = W(a − ā) + p̄`. Targets are not used for pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ridge {
    /// Penalty as a share of the mean variance of a direction; greater than 0.
    pub lambda: f64,
    /// What labelled rows are regressed onto.
    pub targets: Targets,
    /// Leave the mean out of the result; labelled rows only.
    pub centre: bool,
}

impl Default for Ridge {
    fn default() -> Self {
        Ridge { lambda: 1.0, targets: Targets::Centroids, centre: true }
    }
}

impl Ridge {
    pub(crate) const NAME: &'static str = "ridge";

    pub(crate) fn check(&self) -> Result<(), Error> {
        let lambda = self.lambda;
        require(lambda.is_finite() && lambda > 0.0, Self::NAME, "lambda", lambda, "a finite number above 0")
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let mut settings = Vec::new();
        if self.targets == Targets::Simplex {
            settings.push("simplex".to_owned());
        }
        if self.lambda != Ridge::default().lambda {
            settings.push(format!("lambda {}", self.lambda));
        }
        if !self.centre {
            settings.push("not centred".to_owned());
        }
        settings
    }

    pub(crate) fn fit(&self, statistics: &Statistics) -> Result<Fit, Error> {
        let dim = statistics.dim;
        if let Some(pairs) = &statistics.pairs {
            let eigen = crate::matrix::Eigen::of(&pairs.anchors, dim)?;
            let variance = eigen.mean();
            if variance <= 0.0 {
                return Err(Error::NoVariance { rows: statistics.rows / 2 });
            }
            let inverse = eigen.map(|value| 1.0 / (value.max(0.0) + self.lambda * variance));
            let map = Affine {
                weight: nn(dim, dim, dim, &crate::matrix::transposed(dim, dim, &pairs.cross), &inverse),
                inputs: dim,
                outputs: dim,
                centre: Some(pairs.anchor_mean.clone()),
                offset: Some(pairs.positive_mean.clone()),
            };
            return Fit::aligned(map, &pairs.anchors, Sides::Queries);
        }
        statistics.require_classes(Self::NAME)?;
        let eigen = statistics.total_eigen()?;
        let penalty = self.lambda * eigen.mean();
        let inverse = eigen.map(|value| 1.0 / (value.max(0.0) + penalty));
        let centre = Some(statistics.mean.clone());
        match self.targets {
            Targets::Centroids => {
                let map = Affine {
                    weight: nn(dim, dim, dim, &statistics.between, &inverse),
                    inputs: dim,
                    outputs: dim,
                    centre,
                    offset: (!self.centre).then(|| statistics.mean.clone()),
                };
                Fit::aligned(map, &statistics.total, Sides::Both)
            }
            Targets::Simplex => {
                let root = statistics.between_eigen()?.map(|value| value.max(0.0).sqrt());
                let centre = if self.centre { centre } else { None };
                let weight = nn(dim, dim, dim, &root, &inverse);
                let map = Affine { weight, inputs: dim, outputs: dim, centre, offset: None };
                Fit::rotatable(map, None, &statistics.total)
            }
        }
    }
}
