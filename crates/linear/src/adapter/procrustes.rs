use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fit::Fit;
use crate::map::{Affine, Sides};
use crate::matrix::{nearest_orthogonal, trace, transposed};
use crate::{Error, Statistics};

/// The rotation (or reflection) that brings anchors nearest to their positives:
///
/// ```text
/// Q = argmin_{QᵀQ = I} Σ ‖Q(a − ā) − (p − p̄)‖² = U Vᵀ,  E[(p − p̄)(a − ā)ᵀ] = U Σ Vᵀ         y = s·Q(a − ā) + p̄
/// ```
///
/// The map is for queries only: turned on both sides, nothing would change. For the same reason there is none for
/// labelled rows: the sum of products of rows with their own centroids is symmetric and positive, so the rotation
/// nearest to it is the identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Procrustes {
    /// Turn about the means of anchors and positives, and move one onto the other; off, turn about the origin.
    pub centre: bool,
    /// Also scale by `s = tr(Σ) / E‖a‖²`, the best of one factor; no cosine sees it.
    pub scale: bool,
}

impl Default for Procrustes {
    fn default() -> Self {
        Procrustes { centre: true, scale: false }
    }
}

impl Procrustes {
    pub(crate) const NAME: &'static str = "procrustes";

    pub(crate) fn settings(&self) -> Vec<String> {
        let mut settings = Vec::new();
        if !self.centre {
            settings.push("not centred".to_owned());
        }
        if self.scale {
            settings.push("scaled".to_owned());
        }
        settings
    }

    pub(crate) fn fit(&self, statistics: &Statistics) -> Result<Fit, Error> {
        let dim = statistics.dim;
        let pairs = statistics.pairs.as_ref().ok_or(Error::NeedsPairs {
            adapter: Self::NAME,
            why: "the rotation of rows nearest to the centroids of their classes is the identity",
        })?;
        let about_origin = |centred: &[f64], right: &[f64]| -> Vec<f64> {
            let mean = |i: usize| pairs.anchor_mean[i / dim] * right[i % dim];
            centred.iter().enumerate().map(|(i, c)| c + mean(i)).collect()
        };
        let (cross, anchors) = if self.centre {
            (pairs.cross.clone(), pairs.anchors.clone())
        } else {
            (
                about_origin(&pairs.cross, &pairs.positive_mean),
                about_origin(&pairs.anchors, &pairs.anchor_mean),
            )
        };
        let spread = trace(&anchors, dim);
        if spread <= 0.0 {
            return Err(Error::NoVariance { rows: statistics.rows / 2 });
        }
        let (mut weight, strength) = nearest_orthogonal(&transposed(dim, dim, &cross), dim)?;
        if self.scale {
            weight.iter_mut().for_each(|w| *w *= strength / spread);
        }
        let map = Affine {
            weight,
            inputs: dim,
            outputs: dim,
            centre: self.centre.then(|| pairs.anchor_mean.clone()),
            offset: self.centre.then(|| pairs.positive_mean.clone()),
        };
        Fit::aligned(map, &anchors, Sides::Queries)
    }
}
