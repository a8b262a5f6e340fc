use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::component_count;
use crate::error::require;
use crate::fit::Fit;
use crate::map::Affine;
use crate::matrix::scaled_rows;
use crate::{Error, Statistics};

/// Whose variance is evened out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scatter {
    /// That of all rows about their mean; needs no labels.
    #[default]
    Total,
    /// That of rows about the mean of their class (within-class covariance normalisation, Hatch et al. 2006).
    Within,
}

/// Which of the rotations of a whitened space is meant; cosines and distances are the same in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The nearest to the vectors as they came (zero-phase component analysis, Bell and Sejnowski 1997).
    #[default]
    Zca,
    /// Principal components, largest variance first.
    Pca,
}

/// Evens out variances: with `C = Σ λ_j v_j v_jᵀ` the covariance,
///
/// ```text
/// pca:  y_j = μ_j^(−p/2) · v_jᵀ (x − mean)            zca:  y = Σ_j μ_j^(−p/2) v_j v_jᵀ (x − mean)
/// μ_j = max(λ_j, floor · mean of λ)
/// ```
///
/// A direction in which nothing varies stays, scaled as the floor says; without a floor it is 0. Pairs are whitened by
/// all their vectors, or as classes of two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Whitening {
    /// Whose variance is evened out.
    pub scatter: Scatter,
    /// How far, from 0 (not at all) to 1 (all variances become 1).
    pub power: f64,
    /// Smallest eigenvalue that is divided by, as a share of the mean eigenvalue; smaller ones count as this.
    pub floor: f64,
    /// Directions of largest variance that are kept; 0 keeps all.
    pub components: usize,
    /// Which rotation of the whitened space to return.
    pub basis: Basis,
    /// Subtract the mean.
    pub centre: bool,
}

impl Default for Whitening {
    fn default() -> Self {
        Whitening {
            scatter: Scatter::Total,
            power: 1.0,
            floor: 0.1,
            components: 0,
            basis: Basis::Zca,
            centre: true,
        }
    }
}

impl Whitening {
    pub(crate) const NAME: &'static str = "whitening";

    pub(crate) fn check(&self, dim: usize) -> Result<(), Error> {
        require((0.0..=1.0).contains(&self.power), Self::NAME, "power", self.power, "between 0 and 1")?;
        let floor = self.floor;
        require(floor.is_finite() && floor >= 0.0, Self::NAME, "floor", floor, "a finite number from 0")?;
        component_count(Self::NAME, self.components, dim).map(|_| ())
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let default = Whitening::default();
        let mut settings = Vec::new();
        if self.scatter == Scatter::Within {
            settings.push("within classes".to_owned());
        }
        if self.power != default.power {
            settings.push(format!("power {}", self.power));
        }
        if self.floor != default.floor {
            settings.push(format!("floor {}", self.floor));
        }
        if self.components != default.components {
            settings.push(format!("{} components", self.components));
        }
        if !self.centre {
            settings.push("not centred".to_owned());
        }
        settings
    }

    pub(crate) fn fit(&self, statistics: &Statistics) -> Result<Fit, Error> {
        let dim = statistics.dim;
        let kept = component_count(Self::NAME, self.components, dim)?;
        let eigen = match self.scatter {
            Scatter::Total => statistics.total_eigen()?,
            Scatter::Within => statistics.within_eigen(Self::NAME)?,
        };
        let (floor, null) = (self.floor * eigen.mean(), eigen.null());
        let mut scale: Vec<f64> = eigen
            .values
            .iter()
            .map(|&value| {
                let value = value.max(floor);
                if value > null { value.powf(-self.power / 2.0) } else { 0.0 }
            })
            .collect();
        scale[kept..].fill(0.0);
        let zca = crate::matrix::tn(dim, dim, dim, &eigen.vectors, &scaled_rows(&eigen.vectors, dim, &scale));
        let centre = self.centre.then(|| statistics.mean.clone());
        let (weight, outputs) = match self.basis {
            Basis::Zca => (zca.clone(), dim),
            Basis::Pca => (scaled_rows(&eigen.vectors[..kept * dim], dim, &scale[..kept]), kept),
        };
        let map = Affine { weight, inputs: dim, outputs, centre, offset: None };
        Fit::rotatable(map, Some(zca), &statistics.total)
    }
}
