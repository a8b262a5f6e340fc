//! Forward and backward of one batch.

use burn::tensor::{Gradients, Tensor, TensorData};
use parallax_metric::{Batch, Objective, ObjectiveStats, Own, Refs};
use parallax_nn::{Input, Pass, SentenceEncoder};

use crate::{Error, Example, Result};

/// What a batch gave.
pub(crate) struct Computed {
    /// The loss.
    pub value: f64,
    /// What the batch held.
    pub stats: ObjectiveStats,
    /// Gradients of every parameter that the batch reached.
    pub gradients: Gradients,
    /// Whether any embedding has a gradient other than 0.
    pub moved: bool,
    /// Tokens, without padding.
    pub tokens: usize,
}

/// Loss and gradients of one batch; `labels` are those of the rows.
pub(crate) fn compute(
    model: &SentenceEncoder,
    objective: &Objective,
    examples: &[Example],
    labels: &[u32],
    pass: &Pass,
    step: u64,
) -> Result<Computed> {
    let mut inputs: Vec<&Input> = examples.iter().map(|e| &e.anchor).collect();
    inputs.extend(examples.iter().filter_map(|e| e.positive.as_ref()));
    inputs.extend(examples.iter().flat_map(|e| e.negatives.iter().map(|(input, _)| input)));
    let paired = inputs.len() > examples.len();
    let x = model.forward(&inputs, pass)?;
    let [rows, dim] = x.dims();
    let data = x.clone().without_autodiff().into_data();
    let values = data.as_slice::<f32>().map_err(|e| Error::Setting(format!("{e:?}")))?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::NotFinite {
            step,
            what: format!("the embedding of row {} of the batch", at / dim + 1),
        });
    }
    let split = examples.len() * dim;
    let ref_labels: Vec<u32> = if paired {
        labels
            .iter()
            .copied()
            .chain(examples.iter().flat_map(|e| e.negatives.iter().map(|(_, label)| *label)))
            .collect()
    } else {
        Vec::new()
    };
    let own = match objective.loss {
        parallax_metric::LossConfig::MultipleNegativesRanking(_) => Own::Positive,
        _ => Own::None,
    };
    let batch = Batch {
        x: &values[..split],
        dim,
        labels,
        refs: paired.then_some(Refs { r: &values[split..], labels: &ref_labels, own }),
    };
    let mut evaluated = objective.evaluate::<f32>(&batch, true)?;
    if !evaluated.value.is_finite() {
        return Err(Error::NotFinite { step, what: "the loss".into() });
    }
    let mut gradient = std::mem::take(&mut evaluated.grad);
    gradient.extend(evaluated.ref_grad.iter().flatten());
    let moved = gradient.iter().any(|&g| g != 0.0);
    // The gradient computed on the host enters the graph exactly: d/dx Σ x·G = G.
    let device = x.device();
    let seed = Tensor::<2>::from_data(TensorData::new(gradient, [rows, dim]), &device);
    let gradients = (x * seed).sum().backward();
    let tokens = inputs.iter().map(|input| input.tokens()).sum();
    Ok(Computed { value: evaluated.value, stats: evaluated.stats, gradients, moved, tokens })
}
