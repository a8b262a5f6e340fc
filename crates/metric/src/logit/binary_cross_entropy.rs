//! Log-loss of each output by itself.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Logits, check_parts, evaluated, no_distance};
use crate::batch::Batch;
use crate::context::Context;
use crate::dense::DenseLoss;
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::loss::softmax::softplus;
use crate::objective::Evaluated;
use crate::parts::Parts;
use crate::tiling::Shape;

/// `mean w·y·log(1 + e^(−z)) + (1 − y)·log(1 + e^z)` over rows, and over outputs where there are several, each class then
/// against all others.
///
/// Default: `w = 1`, as `torch.nn.BCEWithLogitsLoss`, whose `pos_weight` is `w`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryCrossEntropy {
    /// Weight `w` of the positive rows, greater than 0.
    pub positive_weight: f64,
}

impl Default for BinaryCrossEntropy {
    fn default() -> Self {
        BinaryCrossEntropy { positive_weight: 1.0 }
    }
}

/// Value of the mean log-loss of all outputs; adds its derivative to `grad`.
pub(super) fn log_loss<T: Real>(logits: &Logits<'_, T>, weight: f64, grad: &mut [T]) -> f64 {
    let scale = 1.0 / logits.values.len() as f64;
    let mut value = 0.0;
    for output in 0..logits.outputs {
        let slopes = grad.iter_mut().skip(output).step_by(logits.outputs);
        for ((z, positive), slope) in logits.output(output).zip(slopes) {
            let (term, by_z) = if positive {
                let (term, by) = softplus(-z);
                (weight * term, -weight * by)
            } else {
                softplus(z)
            };
            value += scale * term;
            *slope += T::of(scale * by_z);
        }
    }
    value
}

impl DenseLoss for BinaryCrossEntropy {
    const NAME: &'static str = "binary_cross_entropy";
    const ITSELF: bool = true;
    const LOGITS: bool = true;

    fn distance(&self) -> DistanceConfig {
        no_distance()
    }

    fn check(&self) -> Result<(), Error> {
        let weight = self.positive_weight;
        let valid = weight > 0.0 && weight.is_finite();
        require(valid, Self::NAME, "positive_weight", weight, "a finite number greater than 0")
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        check_parts(Self::NAME, parts)
    }

    fn evaluate<T: Real>(
        &self,
        _parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        _context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let logits = Logits::of(Self::NAME, batch)?;
        let mut grad = vec![T::ZERO; batch.x.len()];
        let value = log_loss(&logits, self.positive_weight, &mut grad);
        evaluated(value, grad, batch.labels.len(), Vec::new())
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        shape.anchors * shape.dim * shape.value_bytes + (4 << 10)
    }
}
