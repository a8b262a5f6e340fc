//! Forward and backward of one batch.

use burn::tensor::{Gradients, Tensor, TensorData};
use parallax_metric::{Batch, Context, ObjectiveStats, Own, Refs};
use parallax_nn::{Input, Pass, SentenceEncoder};
use parallax_random::Key;

use crate::learned::{self, Learned};
use crate::{Criterion, Error, Example, Result};

/// What a batch gave.
pub(crate) struct Computed {
    /// The loss.
    pub value: f64,
    /// What the batch held.
    pub stats: ObjectiveStats,
    /// Gradients of every parameter that the batch reached.
    pub gradients: Gradients,
    /// Gradients of what the objective learns.
    pub learned: learned::Gradients,
    /// Whether any embedding has a gradient other than 0.
    pub moved: bool,
    /// Tokens, without padding.
    pub tokens: usize,
}

/// The rows of a batch.
pub(crate) struct BatchRows<'a> {
    /// The rows.
    pub examples: &'a [Example],
    /// Their labels.
    pub labels: &'a [u32],
    /// Their scores, for scored pairs.
    pub scores: Option<&'a [f64]>,
}

/// Loss and gradients of one batch; `key` is what the objective draws from in this step.
pub(crate) fn compute(
    model: &SentenceEncoder,
    criterion: &dyn Criterion,
    learned: &Learned,
    BatchRows { examples, labels, scores }: BatchRows<'_>,
    pass: &Pass,
    key: Key,
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
    let own = if criterion.wants().pairs { Own::Positive } else { Own::None };
    let batch = Batch {
        x: &values[..split],
        dim,
        labels,
        refs: paired.then_some(Refs { r: &values[split..], labels: &ref_labels, own }),
    };
    let scalars: Vec<f64> = learned.scalars.iter().map(|&value| f64::from(value)).collect();
    let context = Context {
        want_ref_grad: true,
        scalars: (!scalars.is_empty()).then_some(&scalars),
        proxies: (!learned.proxies.is_empty()).then_some(&learned.proxies),
        targets: scores,
        key,
        ..Context::default()
    };
    let mut evaluated = criterion.evaluate(&batch, &context)?;
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
    let learned = learned::Gradients {
        proxies: std::mem::take(&mut evaluated.proxy_grad),
        scalars: evaluated.scalar_grad.iter().map(|&gradient| gradient as f32).collect(),
    };
    let tokens = inputs.iter().map(|input| input.tokens()).sum();
    Ok(Computed { value: evaluated.value, stats: evaluated.stats, gradients, learned, moved, tokens })
}
