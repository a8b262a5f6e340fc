//! What an objective wants of the network beside embeddings: the output of the metric layer, and embeddings of mixtures.
//!
//! Both leave the graph as numbers and come back as gradients, like the embeddings. The output of the metric layer is
//! computed from an input that is cut off the graph, so that its gradient ends in that layer's parameters. A mixture is made
//! of numbers too: what is behind it in the graph gets its gradient through the rows that were mixed. So batches in chunks
//! need nothing of their own.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use parallax_metric::mixup::{Level, Mixtures};
use parallax_metric::regularizer::Confused;
use parallax_metric::{Evaluated, Layer, Mixed};
use parallax_nn::{Input, Pass, SentenceEncoder, parameters};
use parallax_random::Key;

use crate::step::Gradients;
use crate::{Criterion, Error, Result};

/// What is taken out of the network in one step.
pub(crate) struct Beside {
    /// The stage with the metric layer, and whether its input is cut off the graph.
    layer: Option<(usize, bool)>,
    /// The stage whose input is mixed, where that is not the embedding, and whether a gradient goes through it.
    feature: Option<usize>,
    mixtures: Option<Mixtures>,
}

/// What a pass over some rows gave.
pub(crate) struct Forwarded {
    x: Tensor<2>,
    z: Option<Tensor<2>>,
    feature: Option<Tensor<2>>,
}

/// Numbers of the whole batch, and gradients by them.
#[derive(Default)]
pub(crate) struct Given {
    z: Vec<f32>,
    layer_width: usize,
    feature: Vec<f32>,
    feature_width: usize,
    /// The mixtures, and their embeddings where they are made before the embedding.
    mixed: Option<(Mixtures, Option<Vec<f32>>)>,
    layer_grad: Vec<f32>,
    mixed_grad: Vec<f32>,
    feature_grad: Vec<f32>,
}

/// Mixtures in a graph that begins with them.
pub(crate) struct InGraph {
    mixed: Tensor<2>,
    embeddings: Tensor<2>,
}

impl Beside {
    /// What `criterion` wants of a batch of `rows` rows; mixtures are drawn from `key`.
    pub(crate) fn new(criterion: &dyn Criterion, model: &SentenceEncoder, rows: usize, key: Key) -> Self {
        let layer = criterion.confusion().and_then(|confusion| {
            model.metric_layer().map(|stage| (stage, confusion.trains == Confused::MetricLayer))
        });
        let metrix = criterion.mixup();
        let feature = metrix.and_then(|metrix| match metrix.level {
            Level::Input | Level::Pooled => Some(0),
            Level::Feature => Some(model.metric_layer().unwrap_or(0)),
            Level::Embedding => None,
        });
        let mixtures = metrix.map(|metrix| Mixtures::draw(metrix, rows, key.named("mixup")));
        Beside { layer, feature, mixtures }
    }

    /// Embeds rows, and takes out what is wanted on the way.
    pub(crate) fn forward(
        &self,
        model: &SentenceEncoder,
        inputs: &[&Input],
        pass: &Pass,
    ) -> Result<Forwarded> {
        let mut x = model.pooled(inputs, pass)?;
        let (mut z, mut feature) = (None, None);
        for (at, stage) in model.network().head.iter().enumerate() {
            if self.feature == Some(at) {
                feature = Some(x.clone());
            }
            if let (Some((layer, cut)), Some(linear)) = (self.layer, stage.linear())
                && layer == at
            {
                z = Some(linear.forward(if cut { x.clone().detach() } else { x.clone() }));
            }
            x = stage.forward(x, pass.queries());
        }
        // A model without any stage.
        if self.feature.is_some() && feature.is_none() {
            feature = Some(x.clone());
        }
        Ok(Forwarded { x, z, feature })
    }

    /// Mixes the features of the batch and runs what is left of the network on them, in a graph unless the batch comes in
    /// chunks.
    pub(crate) fn mix(
        &self,
        model: &SentenceEncoder,
        frozen: Option<&SentenceEncoder>,
        given: &mut Given,
        chunk: usize,
    ) -> Result<Option<InGraph>> {
        let Some(mixtures) = &self.mixtures else { return Ok(None) };
        let Some(from) = self.feature else {
            given.mixed = Some((mixtures.clone(), None));
            return Ok(None);
        };
        let width = given.feature_width;
        let mixed = mixtures.mix(&given.feature, width);
        let (mut embeddings, mut graph) = (Vec::new(), None);
        match frozen {
            None if !mixtures.is_empty() => {
                let whole = InGraph::new(model, &mixed, width, from);
                numbers(&whole.embeddings, &mut embeddings)?;
                graph = Some(whole);
            }
            None => {}
            Some(frozen) => {
                for part in mixed.chunks(chunk.max(1) * width) {
                    let part = TensorData::new(part.to_vec(), [part.len() / width, width]);
                    let part = Tensor::<2>::from_data(part, &frozen.device());
                    numbers(&frozen.stages(part, from, usize::MAX), &mut embeddings)?;
                }
            }
        }
        given.mixed = Some((mixtures.clone(), Some(embeddings)));
        Ok(graph)
    }

    /// Takes the gradient by the embeddings of mixtures back to the parameters and to the features that were mixed.
    pub(crate) fn mix_backward(
        &self,
        model: &SentenceEncoder,
        graph: Option<InGraph>,
        given: &mut Given,
        chunk: usize,
        add: &mut dyn FnMut(Gradients),
    ) -> Result<()> {
        let (Some(mixtures), Some(from)) = (&self.mixtures, self.feature) else { return Ok(()) };
        let (width, dim) = (given.feature_width, model.dim());
        if given.mixed_grad.iter().all(|&g| g == 0.0) {
            return Ok(());
        }
        let mut by_mixtures = Vec::with_capacity(mixtures.len() * width);
        match graph {
            Some(graph) => graph.backward(model, &given.mixed_grad, &mut by_mixtures, add)?,
            None => {
                let mixed = mixtures.mix(&given.feature, width);
                let rows = chunk.max(1);
                let gradients = given.mixed_grad.chunks(rows * dim);
                for (part, gradient) in mixed.chunks(rows * width).zip(gradients) {
                    InGraph::new(model, part, width, from).backward(
                        model,
                        gradient,
                        &mut by_mixtures,
                        add,
                    )?;
                }
            }
        }
        // Stored vectors have no gradient.
        if from > 0 || model.text().is_some() {
            given.feature_grad = vec![0.0; given.feature.len()];
            mixtures.mix_backward(&by_mixtures, width, &mut given.feature_grad);
        }
        Ok(())
    }
}

impl InGraph {
    fn new(model: &SentenceEncoder, mixed: &[f32], width: usize, from: usize) -> Self {
        let mixed = TensorData::new(mixed.to_vec(), [mixed.len() / width, width]);
        let mixed = Tensor::<2>::from_data(mixed, &model.device()).autodiff().require_grad();
        InGraph { embeddings: model.stages(mixed.clone(), from, usize::MAX), mixed }
    }

    fn backward(
        self,
        model: &SentenceEncoder,
        gradient: &[f32],
        by_mixtures: &mut Vec<f32>,
        add: &mut dyn FnMut(Gradients),
    ) -> Result<()> {
        let shape = self.embeddings.dims();
        let seed =
            Tensor::<2>::from_data(TensorData::new(gradient.to_vec(), shape), &self.embeddings.device());
        let mut found = (self.embeddings * seed).sum().backward();
        if let Some(by) = self.mixed.grad(&found) {
            numbers(&by, by_mixtures)?;
        } else {
            by_mixtures.extend(std::iter::repeat_n(0.0, self.mixed.dims().iter().product()));
        }
        add(parameters::gradients(model.network(), &mut found));
        Ok(())
    }
}

impl Forwarded {
    /// The embeddings as numbers; the rest is put beside what other rows gave.
    pub(crate) fn values(&self, given: &mut Given) -> Result<Vec<f32>> {
        if let Some(z) = &self.z {
            given.layer_width = z.dims()[1];
            numbers(z, &mut given.z)?;
        }
        if let Some(feature) = &self.feature {
            given.feature_width = feature.dims()[1];
            numbers(feature, &mut given.feature)?;
        }
        let mut values = Vec::new();
        numbers(&self.x, &mut values)?;
        Ok(values)
    }

    /// The sum whose derivatives by the embeddings of the rows in `range`, and by what was taken out on the way, are the
    /// gradients.
    pub(crate) fn seeded(self, gradient: &[f32], range: Range<usize>, given: &Given) -> Tensor<1> {
        let by = |values: Tensor<2>, gradient: &[f32]| {
            let seed = TensorData::new(gradient.to_vec(), values.dims());
            let seed = Tensor::<2>::from_data(seed, &values.device());
            (values * seed).sum()
        };
        let mut sum = by(self.x, gradient);
        let beside = [
            (self.z, &given.layer_grad, given.layer_width),
            (self.feature, &given.feature_grad, given.feature_width),
        ];
        for (values, gradient, width) in beside {
            let (Some(values), Some(gradient)) =
                (values, gradient.get(range.start * width..range.end * width))
            else {
                continue;
            };
            // What has no gradient leaves the graph of the embeddings as it is.
            if gradient.iter().any(|&g| g != 0.0) {
                sum = sum + by(values, gradient);
            }
        }
        sum
    }
}

impl Given {
    /// The output of the metric layer for the objective; `labels` are those of all rows.
    pub(crate) fn layer<'a>(&'a self, labels: &'a [u32]) -> Option<Layer<'a, f32>> {
        (self.layer_width > 0).then_some(Layer { z: &self.z, dim: self.layer_width, labels })
    }

    /// The mixtures for the objective.
    pub(crate) fn mixed(&self) -> Option<Mixed<'_, f32>> {
        self.mixed
            .as_ref()
            .map(|(mixtures, embeddings)| Mixed { mixtures, embeddings: embeddings.as_deref() })
    }

    /// Takes over the gradients by what was given.
    pub(crate) fn take_gradients(&mut self, evaluated: &mut Evaluated<f32>) {
        self.layer_grad = std::mem::take(&mut evaluated.layer_grad);
        self.mixed_grad = std::mem::take(&mut evaluated.mixed_grad);
    }
}

fn numbers(from: &Tensor<2>, to: &mut Vec<f32>) -> Result<()> {
    let data = from.clone().without_autodiff().into_data();
    let values = data.try_into_vec::<f32>().map_err(|e| Error::Setting(format!("{e:?}")))?;
    if to.is_empty() {
        *to = values;
    } else {
        to.extend(values);
    }
    Ok(())
}

/// Refuses a model that lacks what a criterion is on.
pub(crate) fn check(
    criterion: &dyn Criterion,
    model: &SentenceEncoder,
    freeze: &[String],
    paired: bool,
) -> Result<()> {
    if let Some(confusion) = criterion.confusion() {
        let Some(stage) = model.metric_layer() else {
            return Err(Error::NoMetricLayer { what: "objective.regularizer energy_confusion".into() });
        };
        let layer = format!("head.{stage}.linear.weight");
        let frozen = parameters::selected(freeze, &layer);
        if frozen && confusion.weight > 0.0 && confusion.trains == Confused::MetricLayer {
            return Err(Error::Setting(format!(
                "objective.regularizer energy_confusion trains \"{layer}\" alone, and train.freeze leaves that out"
            )));
        }
    }
    let Some(metrix) = criterion.mixup() else { return Ok(()) };
    if paired {
        return Err(Error::Setting(
            "objective.mixup mixes rows of different classes, and the rows are pairs".into(),
        ));
    }
    if metrix.level == Level::Input && model.text().is_some() {
        return Err(Error::TextsNotMixed);
    }
    Ok(())
}
