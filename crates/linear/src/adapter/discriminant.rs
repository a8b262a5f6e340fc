use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::component_count;
use crate::error::require;
use crate::fit::Fit;
use crate::map::Affine;
use crate::matrix::{Eigen, nn, scaled_rows, tn, trace, transposed};
use crate::{Error, Statistics};

/// How much a discriminant direction counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// By √(λ/(1 + λ)), with λ the variance of class means over that within classes: directions that tell no classes
    /// apart fade. All of them together are the metric S_w⁻¹ − (S_w + S_b)⁻¹ (Köstinger et al. 2012).
    #[default]
    Ratio,
    /// All alike: with all components this is S_w^(−½).
    Unit,
}

/// Linear discriminant directions, scaled so that rows of one class scatter equally far in each:
///
/// ```text
/// S_w(γ) = (1 − γ)·S_w + γ·tr(S_w)/dim·I        pooled covariance within classes
/// S_b(ρ) = (1 − ρ)·S_b + ρ·tr(S_b)/dim·I        covariance of the true class means (analysis of variance)
/// S_b v = λ S_w v,  vᵀ S_w v = 1                y_j = g(λ_j) · v_jᵀ (x − mean),  largest λ first
/// ```
///
/// Fisher's classical discriminant keeps the directions with λ > 0, at most one less than there are classes. A search
/// has to tell apart classes it was never shown, and most of what separates those lies in other directions. So all
/// `dim` are kept by default: `unit` counts them alike, and `ratio` gives each the weight that `S_b(ρ)` expects of it,
/// in which `ρ` is the share of class differences supposed to lie anywhere.
///
/// A pair is a class of two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearDiscriminant {
    /// γ, from 0 (the covariance as measured) to 1 (all directions alike within classes).
    pub within_shrinkage: f64,
    /// ρ, from 0 (class means differ only as measured) to 1 (anywhere alike); used by `ratio`, and by `components`.
    pub between_shrinkage: f64,
    /// How much each direction counts.
    pub weighting: Weighting,
    /// Directions that are kept; 0 keeps all.
    pub components: usize,
    /// Subtract the mean.
    pub centre: bool,
}

impl Default for LinearDiscriminant {
    fn default() -> Self {
        LinearDiscriminant {
            within_shrinkage: 0.3,
            between_shrinkage: 0.1,
            weighting: Weighting::Ratio,
            components: 0,
            centre: true,
        }
    }
}

impl LinearDiscriminant {
    pub(crate) const NAME: &'static str = "linear_discriminant";

    pub(crate) fn check(&self, dim: usize) -> Result<(), Error> {
        for (field, value) in
            [("within_shrinkage", self.within_shrinkage), ("between_shrinkage", self.between_shrinkage)]
        {
            require((0.0..=1.0).contains(&value), Self::NAME, field, value, "between 0 and 1")?;
        }
        component_count(Self::NAME, self.components, dim).map(|_| ())
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let mut settings = Vec::new();
        if self.weighting == Weighting::Unit {
            settings.push("unit".to_owned());
        }
        settings.push(format!("within {}", self.within_shrinkage));
        if self.weighting == Weighting::Ratio || self.components > 0 {
            settings.push(format!("between {}", self.between_shrinkage));
        }
        if self.components > 0 {
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
        statistics.require_classes(Self::NAME)?;
        let within = statistics.within_eigen(Self::NAME)?;
        let (level, null) = (within.mean(), within.null());
        let roots: Vec<f64> = within
            .values
            .iter()
            .map(|&value| {
                let value = (1.0 - self.within_shrinkage) * value.max(0.0) + self.within_shrinkage * level;
                if value > null { 1.0 / value.sqrt() } else { 0.0 }
            })
            .collect();
        let whitener = scaled_rows(&within.vectors, dim, &roots);
        let weight = if self.weighting == Weighting::Unit && kept == dim {
            whitener
        } else {
            let mut signal = statistics.signal(Self::NAME)?.to_vec();
            let anywhere = self.between_shrinkage * trace(&signal, dim) / dim as f64;
            signal.iter_mut().for_each(|s| *s *= 1.0 - self.between_shrinkage);
            (0..dim).for_each(|i| signal[i * dim + i] += anywhere);
            let turned = nn(dim, dim, dim, &whitener, &signal);
            let turned = nn(dim, dim, dim, &turned, &transposed(dim, dim, &whitener));
            let eigen = Eigen::of(&turned, dim)?;
            let weights: Vec<f64> = eigen.values[..kept]
                .iter()
                .map(|&value| match self.weighting {
                    Weighting::Unit => 1.0,
                    Weighting::Ratio => (value.max(0.0) / (1.0 + value.max(0.0))).sqrt(),
                })
                .collect();
            let directions = scaled_rows(&eigen.vectors[..kept * dim], dim, &weights);
            tn(kept, dim, dim, &transposed(kept, dim, &directions), &whitener)
        };
        let centre = self.centre.then(|| statistics.mean.clone());
        Fit::rotatable(
            Affine { weight, inputs: dim, outputs: kept, centre, offset: None },
            None,
            &statistics.total,
        )
    }
}
