//! Log-loss of a softmax over the classes.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binary_cross_entropy::log_loss;
use super::{Logits, check_parts, evaluated, no_distance};
use crate::batch::Batch;
use crate::context::Context;
use crate::dense::DenseLoss;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::loss::softmax::log_sum_exp_in_place;
use crate::objective::Evaluated;
use crate::parts::Parts;
use crate::tiling::Shape;

/// `mean log(Σ_c e^(z_c)) − z_y` over rows; of a model with one output, whose classes have the logits 0 and `z`, the same as
/// `binary_cross_entropy`. It has no parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {}

impl DenseLoss for CrossEntropy {
    const NAME: &'static str = "cross_entropy";
    const ITSELF: bool = true;
    const LOGITS: bool = true;

    fn distance(&self) -> DistanceConfig {
        no_distance()
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
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
        let rows = batch.labels.len();
        let mut grad = vec![T::ZERO; batch.x.len()];
        if logits.outputs == 1 {
            let value = log_loss(&logits, 1.0, &mut grad);
            return evaluated(value, grad, rows, Vec::new());
        }
        let scale = 1.0 / rows as f64;
        let (mut value, mut row) = (0.0, vec![0.0; logits.outputs]);
        let slopes = grad.chunks_exact_mut(logits.outputs);
        for ((z, slopes), &label) in logits.values.chunks_exact(logits.outputs).zip(slopes).zip(batch.labels)
        {
            row.iter_mut().zip(z).for_each(|(row, z)| *row = z.f64());
            let own = row[label as usize];
            value += scale * (log_sum_exp_in_place(&mut row, false) - own);
            row[label as usize] -= 1.0;
            slopes.iter_mut().zip(&row).for_each(|(slope, row)| *slope = T::of(scale * row));
        }
        evaluated(value, grad, rows, Vec::new())
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        (shape.anchors * shape.value_bytes + 8) * shape.dim + (4 << 10)
    }
}
