//! The closed-form way: the model stays as it is, and a map after it is fitted to the training rows.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parallax_linear::{Adapter, Examples, Map, Selection, SelectionConfig, grid, select};
use parallax_nn::head::{Dense, Normalize, Stage};
use parallax_nn::layer::{Activation, Linear};
use parallax_nn::{SentenceEncoder, cpu, parameters};
use parallax_random::Key;

use super::Event;
use crate::dataset::{Dataset, Reader};
use crate::error::{Error, Result};

/// A model with the best map after it, or as it was.
pub(super) struct Adapted {
    pub(super) model: SentenceEncoder,
    pub(super) selection: Selection,
    pub(super) seconds: f64,
}

pub(super) fn adapt(
    config: &SelectionConfig,
    base: &SentenceEncoder,
    data: &Dataset,
    reader: &Reader,
    rows: &[u32],
    batch_tokens: usize,
    key: Key,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Adapted> {
    let begun = Instant::now();
    let (mut vectors, mut others) = data.embed(reader, base, rows, batch_tokens, &mut |_| ())?;
    let dim = base.dim();
    // A search by cosine sees directions; long rows must not count more.
    let cosine = matches!(config.similarity, parallax_eval::Similarity::Cosine);
    for values in std::iter::once(&mut vectors).chain(others.as_mut()).filter(|_| cosine) {
        values.chunks_exact_mut(dim).for_each(normalize);
    }
    let labels = data.relevance(rows)?;
    let examples = match &others {
        Some(positives) => Examples::Pairs { anchors: &vectors, positives, dim },
        None => Examples::Labelled { vectors: &vectors, labels: &labels, dim },
    };
    let mut config = config.clone();
    if others.is_some() {
        // A rotation of both sides changes no cosine, so these maps are for queries alone; a model maps both.
        let one_sided = |adapter: &Adapter| matches!(adapter, Adapter::Ridge(_) | Adapter::Procrustes(_));
        if let Some(adapter) = config.adapters.iter().find(|adapter| one_sided(adapter)) {
            return Err(Error::setting_with(
                format!(
                    "adapter.adapters: {} of pairs maps queries alone, and a model maps both sides",
                    adapter.name()
                ),
                "whitening and linear_discriminant map both",
            ));
        }
        if config.adapters.is_empty() {
            config.adapters = grid(true).into_iter().filter(|adapter| !one_sided(adapter)).collect();
        }
    }
    let config = SelectionConfig { seed: key.named("adapter").bits(0) ^ config.seed, ..config };
    let progress = &mut |progress: parallax_linear::Progress| {
        let spent = begun.elapsed().as_secs_f64();
        let each = spent / progress.done.max(1) as f64;
        on_event(&Event::Progress {
            what: format!("maps tried; next {}", progress.next),
            done: progress.done as u64,
            total: progress.total as u64,
            left: each * (progress.total - progress.done) as f64,
        });
    };
    let selection = select(&config, &examples, progress, stop).map_err(|error| match error {
        parallax_linear::Error::Cancelled => Error::Interrupted,
        error => error.into(),
    })?;
    let model = if selection.helps() {
        let map = selection.fit(&examples)?;
        let mut stages =
            if cosine && !base.normalized() { vec![Stage::Normalize(Normalize {})] } else { Vec::new() };
        stages.push(dense(&map)?);
        if cosine {
            stages.push(Stage::Normalize(Normalize {}));
        }
        base.clone().with_head(stages)?
    } else {
        base.clone()
    };
    Ok(Adapted { model, selection, seconds: begun.elapsed().as_secs_f64() })
}

/// Divides a row by its length; a row of zeros stays.
pub(super) fn normalize(row: &mut [f32]) {
    let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
    row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
}

/// A map as a layer.
fn dense(map: &Map) -> Result<Stage> {
    let linear = Linear::zeros(map.inputs, map.outputs, map.bias.is_some(), &cpu());
    let linear = parameters::write(linear, |path, _| match path {
        "weight" => Some(map.weight.clone()),
        _ => map.bias.clone(),
    });
    Ok(Stage::Dense(Dense { linear, activation: Activation::Identity, residual: false }))
}
