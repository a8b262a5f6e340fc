//! The order of pairs by their scores, on angles in the complex plane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScoredLoss, Scores, Similarity, Targets, cosent};
use crate::error::{Error, require};

/// [`Cosent`](super::Cosent) on [`Similarity::Angle`] instead of the cosine, whose derivative does not vanish where the cosine
/// is near ±1.
///
/// This is the angle term of the paper, as in sentence-transformers; the paper adds CoSENT on cosines and an in-batch term.
///
/// Defaults: scale 20, cosine (rows are normalised). Li and Li, *AnglE-optimized Text Embeddings*, ACL 2024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Angle {
    /// Factor of the similarities, greater than 0.
    pub scale: f64,
}

impl Default for Angle {
    fn default() -> Self {
        Angle { scale: 20.0 }
    }
}

impl ScoredLoss for Angle {
    const NAME: &'static str = "angle";
    const TARGETS: Targets = Targets::Pairs;

    fn similarity(&self) -> Similarity {
        Similarity::Angle
    }

    fn check(&self) -> Result<(), Error> {
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, Self::NAME, "scale", self.scale, "a finite number greater than 0")
    }

    fn score(&self, scores: &Scores<'_>, slopes: &mut [f64]) -> f64 {
        cosent::order(self.scale, scores, slopes)
    }
}
