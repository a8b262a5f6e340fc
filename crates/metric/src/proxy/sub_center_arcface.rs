//! ArcFace with several proxies a class.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cross_entropy::pooled_cross_entropy;
use super::{Arcface, Needs, ProxyRow};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// [`Arcface`] on the largest cosine to the `K` proxies of each class, one element an anchor.
///
/// An anchor pulls the nearest proxy of its class only, so wrongly labelled items gather at proxies of their own. Of equal
/// proxies the first receives the gradient.
///
/// Defaults: margin 28.6°, scale 64, 3 proxies a class, cosine, mean. Deng et al., *Sub-center ArcFace: Boosting Face
/// Recognition by Large-Scale Noisy Web Faces*, ECCV 2020.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SubCenterArcface {
    /// What is added to the angle to the anchor's own class, in degrees, from 0 to 180.
    pub margin: f64,
    /// Factor of the cosines, greater than 0.
    pub scale: f64,
    /// Proxies of each class, at least 1.
    pub sub_centers: usize,
}

impl Default for SubCenterArcface {
    fn default() -> Self {
        let Arcface { margin, scale } = Arcface::default();
        SubCenterArcface { margin, scale, sub_centers: 3 }
    }
}

impl SubCenterArcface {
    fn arcface(&self) -> Arcface {
        Arcface { margin: self.margin, scale: self.scale }
    }
}

impl RowLoss for SubCenterArcface {
    const NAME: &'static str = "sub_center_arcface";

    fn check(&self) -> Result<(), Error> {
        self.arcface().check_as(Self::NAME)?;
        let k = self.sub_centers;
        require(k >= 1, Self::NAME, "sub_centers", k as f64, "at least 1")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let arcface = self.arcface();
        let scale = T::of(self.scale);
        pooled_cross_entropy(row, slopes, self.sub_centers, scale, largest, |s| arcface.target(s));
    }
}

impl ProxyRow for SubCenterArcface {
    const NEEDS: Needs = Needs::Cosine;

    fn per_class(&self) -> usize {
        self.sub_centers
    }
}

/// The largest value, and 1 as the derivative by the first that has it.
fn largest<T: Real>(values: &[T], slopes: &mut [T]) -> T {
    let mut best = 0;
    for (k, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = k;
        }
    }
    slopes.fill(T::ZERO);
    slopes[best] = T::ONE;
    values[best]
}
