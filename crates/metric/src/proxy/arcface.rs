//! Softmax with a margin on the angle.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cross_entropy::cross_entropy;
use super::{Needs, ProxyRow};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^z / (e^z + Σ_{j≠y} e^(c·s_j)) )` with `z = c·cos(θ + m)`, `θ = arccos s_y`, one element an anchor.
///
/// Where `θ + m` would exceed 180°, `z = c·(s_y − m sin m)`, so that `z` keeps falling with `θ`. The derivative of
/// `cos(θ + m)` by the cosine grows without bound where the anchor coincides with its proxy; the sine in it is not taken to
/// be smaller than √ε of the number type.
///
/// Defaults: margin m = 28.6°, scale c = 64, cosine, mean. Deng et al., *ArcFace: Additive Angular Margin Loss for Deep Face
/// Recognition*, CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Arcface {
    /// What is added to the angle to the anchor's own proxy, in degrees, from 0 to 180.
    pub margin: f64,
    /// Factor of the cosines, greater than 0.
    pub scale: f64,
}

impl Default for Arcface {
    fn default() -> Self {
        Arcface { margin: 28.6, scale: 64.0 }
    }
}

impl Arcface {
    /// The logit of the anchor's own class at cosine `s`, and its derivative.
    pub(super) fn target<T: Real>(&self, s: T) -> (T, T) {
        let scale = T::of(self.scale);
        let margin = self.margin.to_radians();
        let (sin, cos) = (T::of(margin.sin()), T::of(margin.cos()));
        let s = s.max(-T::ONE).min(T::ONE);
        // θ ≤ π − m  ⇔  s ≥ −cos m
        if s >= -cos {
            // (1 − s)(1 + s) keeps the digits that 1 − s² loses near ±1.
            let sine = ((T::ONE - s) * (T::ONE + s)).sqrt();
            let slope = cos + sin * s / sine.max(T::EPSILON.sqrt());
            (scale * (s * cos - sine * sin), scale * slope)
        } else {
            (scale * (s - T::of(margin) * sin), scale)
        }
    }

    pub(super) fn check_as(&self, name: &'static str) -> Result<(), Error> {
        let valid = (0.0..=180.0).contains(&self.margin);
        require(valid, name, "margin", self.margin, "an angle from 0 to 180 degrees")?;
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, name, "scale", self.scale, "a finite number greater than 0")
    }
}

impl RowLoss for Arcface {
    const NAME: &'static str = "arcface";

    fn check(&self) -> Result<(), Error> {
        self.check_as(Self::NAME)
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        cross_entropy(row, slopes, T::of(self.scale), |s| self.target(s));
    }
}

impl ProxyRow for Arcface {
    const NEEDS: Needs = Needs::Cosine;
}

#[cfg(test)]
mod tests {
    use super::Arcface;

    #[test]
    fn the_angle_gains_the_margin_until_a_half_turn() {
        let loss = Arcface { margin: 30.0, scale: 1.0 };
        for degrees in [10.0f64, 60.0, 120.0, 149.0] {
            let (z, slope) = loss.target(degrees.to_radians().cos());
            let want = (degrees + 30.0).to_radians().cos();
            assert!((z - want).abs() < 1e-14, "{degrees}: {z}, not {want}");
            let by_angle = -(degrees + 30.0).to_radians().sin() / -degrees.to_radians().sin();
            assert!((slope - by_angle).abs() < 1e-12, "{degrees}: {slope}, not {by_angle}");
        }
        let (z, slope) = loss.target(-0.99);
        assert!((z - (-0.99 - 0.5 * 30f64.to_radians())).abs() < 1e-15 && slope == 1.0);
        let (z, slope) = loss.target(1.0f64);
        assert!((z - 0.75f64.sqrt()).abs() < 1e-15 && slope.is_finite());
    }
}
