//! The tuplet margin loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_sum_exp, softplus};
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::row::{Pairs, Row, RowLoss, Slopes};

/// `log(1 + Σ_N e^(scale (cos θₙ − cos(θₚ − margin))))` for each positive pair, one element a positive pair.
///
/// The margin is an angle by which the positive is brought nearer before it is compared, which spares the positives that
/// are hardest. A positive that is nearer than the margin already is pushed back to it. A coincident positive has no
/// direction, so its own derivative is 0.
///
/// Defaults: margin 5.73 degrees, scale 64, cosine (required), mean over positive pairs. Yu and Tao, *Deep Metric Learning
/// with Tuplet Margin Loss*, ICCV 2019, equation 7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TupletMargin {
    /// Angle in degrees.
    pub margin: f64,
    /// Sharpness, greater than 0.
    pub scale: f64,
}

impl Default for TupletMargin {
    fn default() -> Self {
        TupletMargin { margin: 5.73, scale: 64.0 }
    }
}

impl RowLoss for TupletMargin {
    const NAME: &'static str = "tuplet_margin";

    fn check(&self) -> Result<(), Error> {
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")?;
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, Self::NAME, "scale", self.scale, "a finite number greater than 0")
    }

    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        let cosine = distance.larger_is_nearer() && distance.norm().is_some();
        if cosine { Ok(()) } else { Err(Error::Distance { component: Self::NAME, needs: "the cosine" }) }
    }

    fn defined(&self, pairs: Pairs) -> bool {
        pairs.positive > 0 && pairs.negative > 0
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = T::of(self.scale);
        let (sin, cos) = self.margin.to_radians().sin_cos();
        let negatives = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        let mut repulsion = T::ZERO;
        for (k, &s) in row.positives.iter().enumerate() {
            let s = s.f64().clamp(-1.0, 1.0);
            let height = (1.0 - s * s).max(0.0).sqrt();
            let shifted = T::of(s * cos + height * sin);
            let by_s = if height > 0.0 { cos - s * sin / height } else { 0.0 };
            let (value, slope) = softplus(negatives - scale * shifted);
            let slope = slopes.element(0, value) * slope * scale;
            slopes.positives[k] = -slope * T::of(by_s);
            repulsion += slope;
        }
        vector::scale(slopes.negatives, repulsion);
    }
}
