//! A fitted adapter, and its blend with the identity.

use crate::map::{Affine, Map, Sides};
use crate::matrix::{Eigen, tn, trace};
use crate::{Error, adapter::require_alpha};

/// A fitted map and what its blend with the identity needs.
///
/// The blend is `W_α = (1 − α)·s·I + α·P`, with `s² = tr(P C Pᵀ) / tr(C)` and `C` the covariance of the rows that are
/// mapped: the two terms then spread those rows equally far, so `α` means the same for every adapter and every scale
/// of the vectors. The bias of the blend is `α` times that of `P`.
///
/// `P` stands for the map in the space of its inputs. For a map that is fitted towards points of that space (ridge
/// towards centroids or positives, Procrustes) it is the map itself. Any other map is fixed only up to a rotation of
/// its outputs, which no cosine, product or distance between mapped vectors sees; there `P = (WᵀW)^½`, the one
/// rotation of it that turns nothing, so that a sum with the identity makes sense.
#[derive(Clone, Debug)]
pub struct Fit {
    map: Affine,
    aligned: Affine,
    scale: f64,
    sides: Sides,
}

impl Fit {
    /// A map into the space of its inputs; `covariance` is that of the rows that are mapped.
    pub(crate) fn aligned(map: Affine, covariance: &[f64], sides: Sides) -> Result<Fit, Error> {
        let scale = scale_of(&map, covariance)?;
        Ok(Fit { aligned: map.clone(), map, scale, sides })
    }

    /// A map whose outputs may be rotated, with its rotation-free form where that is known.
    pub(crate) fn rotatable(
        map: Affine,
        symmetric: Option<Vec<f64>>,
        covariance: &[f64],
    ) -> Result<Fit, Error> {
        let dim = map.inputs;
        let weight = match symmetric {
            Some(weight) => weight,
            None => Eigen::of(&tn(dim, dim, map.outputs, &map.weight, &map.weight), dim)?
                .map(|value| value.max(0.0).sqrt()),
        };
        let aligned = Affine { weight, inputs: dim, outputs: dim, centre: map.centre.clone(), offset: None };
        let scale = scale_of(&aligned, covariance)?;
        Ok(Fit { map, aligned, scale, sides: Sides::Both })
    }

    /// The map as it was fitted: `α = 1`.
    ///
    /// # Errors
    /// [`Error::Range`] if a weight leaves the range of 32-bit numbers.
    pub fn map(&self) -> Result<Map, Error> {
        self.map.to_map(self.sides)
    }

    /// `W_α`. For `α = 1` this is [`Fit::map`]; for smaller `α` the outputs are as many as the inputs.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an `α` outside 0 to 1, [`Error::Range`] as for [`Fit::map`].
    pub fn blend(&self, alpha: f64) -> Result<Map, Error> {
        require_alpha(alpha)?;
        if alpha == 1.0 {
            return self.map();
        }
        let dim = self.aligned.inputs;
        if alpha == 0.0 {
            return Ok(Map { sides: self.sides, ..Map::identity(dim) });
        }
        let mut weight: Vec<f64> = self.aligned.weight.iter().map(|w| alpha * w).collect();
        (0..dim).for_each(|i| weight[i * dim + i] += (1.0 - alpha) * self.scale);
        let offset = self.aligned.bias().map(|bias| bias.iter().map(|b| alpha * b).collect());
        Affine { weight, inputs: dim, outputs: dim, centre: None, offset }.to_map(self.sides)
    }

    /// `P` as a map, and `s`: a blend of mapped rows is the same blend of maps.
    pub(crate) fn parts(&self) -> Result<(Map, f64), Error> {
        Ok((self.aligned.to_map(self.sides)?, self.scale))
    }
}

/// `√(tr(P C Pᵀ) / tr(C))`.
fn scale_of(map: &Affine, covariance: &[f64]) -> Result<f64, Error> {
    let n = map.inputs;
    // tr(P C Pᵀ) = Σ (PᵀP) ∘ C.
    let gram = tn(n, n, map.outputs, &map.weight, &map.weight);
    let spread: f64 = gram.iter().zip(covariance).map(|(g, c)| g * c).sum();
    let scale = (spread.max(0.0) / trace(covariance, n)).sqrt();
    if scale.is_finite() { Ok(scale) } else { Err(Error::Range { what: "the spread of the mapped rows" }) }
}
