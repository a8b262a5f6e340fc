//! Linear adapters: what is fitted to examples in closed form.

mod discriminant;
mod procrustes;
mod ridge;
mod whitening;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use discriminant::{LinearDiscriminant, Weighting};
pub use procrustes::Procrustes;
pub use ridge::{Ridge, Targets};
pub use whitening::{Basis, Scatter, Whitening};

use crate::error::require;
use crate::fit::Fit;
use crate::map::{Affine, Sides};
use crate::{Error, Examples, Statistics};

/// A linear map that is fitted in closed form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Adapter {
    /// Leaves vectors as they are.
    Identity(Identity),
    /// Evens out the variance of all rows, or of rows within classes (Kessy, Lewin, Strimmer 2018; Hatch et al. 2006).
    Whitening(Whitening),
    /// Regression of each row onto the centroid or the indicator of its class, or of each anchor onto its positive
    /// (Hoerl, Kennard 1970).
    Ridge(Ridge),
    /// Rotation of anchors onto their positives, for queries only (Schönemann 1966).
    Procrustes(Procrustes),
    /// Discriminant metric with a regularised scatter within classes, of full rank (Friedman 1989; Köstinger et al. 2012).
    LinearDiscriminant(LinearDiscriminant),
}

/// Leaves vectors as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {}

impl Default for Adapter {
    /// [`Adapter::LinearDiscriminant`] with its own defaults.
    fn default() -> Self {
        Adapter::LinearDiscriminant(LinearDiscriminant::default())
    }
}

impl Adapter {
    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Adapter::Identity(_) => "identity",
            Adapter::Whitening(_) => Whitening::NAME,
            Adapter::Ridge(_) => Ridge::NAME,
            Adapter::Procrustes(_) => Procrustes::NAME,
            Adapter::LinearDiscriminant(_) => LinearDiscriminant::NAME,
        }
    }

    /// The name with the settings that differ from their defaults, for tables and sentences.
    pub fn describe(&self) -> String {
        let settings = match self {
            Adapter::Identity(_) => Vec::new(),
            Adapter::Whitening(adapter) => adapter.settings(),
            Adapter::Ridge(adapter) => adapter.settings(),
            Adapter::Procrustes(adapter) => adapter.settings(),
            Adapter::LinearDiscriminant(adapter) => adapter.settings(),
        };
        if settings.is_empty() {
            self.name().into()
        } else {
            format!("{} ({})", self.name(), settings.join(", "))
        }
    }

    /// Checks the settings against vectors of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the setting and its range.
    pub fn check(&self, dim: usize) -> Result<(), Error> {
        match self {
            Adapter::Identity(_) | Adapter::Procrustes(_) => Ok(()),
            Adapter::Whitening(adapter) => adapter.check(dim),
            Adapter::Ridge(adapter) => adapter.check(),
            Adapter::LinearDiscriminant(adapter) => adapter.check(dim),
        }
    }

    /// Fits the adapter to examples: `Statistics::of(examples)`, then [`Adapter::fit_to`].
    ///
    /// # Errors
    /// For settings out of range, examples that cannot be read ([`Statistics::of`]), and what [`Adapter::fit_to`] says.
    pub fn fit(&self, examples: &Examples) -> Result<Fit, Error> {
        self.check(examples.dim())?;
        self.fit_to(&Statistics::of(examples)?)
    }

    /// Fits the adapter to statistics, which any number of adapters can share.
    ///
    /// # Errors
    /// Where the adapter needs what the examples do not have: two classes, a class with two different rows, pairs.
    pub fn fit_to(&self, statistics: &Statistics) -> Result<Fit, Error> {
        self.check(statistics.dim)?;
        match self {
            Adapter::Identity(_) => {
                let dim = statistics.dim;
                let mut weight = vec![0.0; dim * dim];
                (0..dim).for_each(|i| weight[i * dim + i] = 1.0);
                let map = Affine { weight, inputs: dim, outputs: dim, centre: None, offset: None };
                Fit::aligned(map, &statistics.total, Sides::Both)
            }
            Adapter::Whitening(adapter) => adapter.fit(statistics),
            Adapter::Ridge(adapter) => adapter.fit(statistics),
            Adapter::Procrustes(adapter) => adapter.fit(statistics),
            Adapter::LinearDiscriminant(adapter) => adapter.fit(statistics),
        }
    }
}

/// Passes for a weight of the adapter between 0 and 1.
pub(crate) fn require_alpha(alpha: f64) -> Result<(), Error> {
    require((0.0..=1.0).contains(&alpha), "selection", "alpha", alpha, "between 0 and 1")
}

/// How many components are meant: 0 stands for all.
fn component_count(name: &'static str, components: usize, dim: usize) -> Result<usize, Error> {
    require(components <= dim, name, "components", components as f64, "at most the dimension, or 0 for all")?;
    Ok(if components == 0 { dim } else { components })
}
