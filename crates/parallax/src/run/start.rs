//! What a run starts from: a folder that is free or holds its checkpoint, a model, and what tells it from other runs.

use std::fs;
use std::path::Path;

use parallax_eval::Measure;
use parallax_nn::folder::Classes;
use parallax_nn::head::{Head, LinearHead};
use parallax_nn::{LoadOptions, SentenceEncoder, cpu};
use parallax_random::Key;
use parallax_train::{Criterion, checkpoint};
use sha2::{Digest, Sha256};

use super::{Event, Outcome, classes};
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// The outcome of a finished run that is resumed; an error where a run stands and is not to be resumed.
pub(super) fn existing(folder: &Path, resume: bool) -> Result<Option<Outcome>> {
    let results = folder.join("metrics.json");
    let found = checkpoint::find(&folder.join("checkpoint"));
    if resume {
        if results.exists() {
            let text = fs::read_to_string(&results).map_err(Error::io(&results, "read"))?;
            return serde_json::from_str(&text)
                .map(Some)
                .map_err(|e| Error::setting(format!("{}: {e}", results.display())));
        }
        return Ok(None);
    }
    if results.exists() || found.is_some() {
        return Err(Error::setting_with(
            format!("{} already holds a run", folder.display()),
            "--resume goes on with it; --out DIR or --set name=... writes elsewhere",
        ));
    }
    Ok(None)
}

/// The model as it is (for "before") and with its new head (to be trained).
pub(super) fn load(
    config: &RunConfig,
    data: &Dataset,
    classes: Option<&Classes>,
    loss: &str,
    key: Key,
    on_event: &mut dyn FnMut(&Event),
) -> Result<(SentenceEncoder, SentenceEncoder)> {
    let device = cpu();
    let default = Head::Linear(LinearHead::default());
    let (base, head) = match (&config.model, data.vector_dim()) {
        (Some(_), Some(_)) => {
            return Err(Error::setting_with(
                "model and data.vectors are both given",
                "leave out [model] to train a head on stored vectors",
            ));
        }
        (None, None) => {
            return Err(Error::setting_with("there is neither a model nor stored vectors", "set model.path"));
        }
        (None, Some(dim)) => {
            (SentenceEncoder::over_vectors(dim, Vec::new())?, Some(config.head.as_ref().unwrap_or(&default)))
        }
        (Some(start), None) => {
            let path = crate::models::resolve(&start.path, &mut |message| {
                on_event(&Event::Message(message.to_string()));
            })?;
            let load = LoadOptions {
                pooling: start.pooling,
                max_tokens: start.max_tokens,
                precision: start.precision,
            };
            (SentenceEncoder::load(&path, &load, &device)?, config.head.as_ref())
        }
    };
    // The model as it is stays without a new score of its attention, which computes the same until it is trained.
    let scored = |model: &SentenceEncoder| match &config.attention {
        Some(score) => model.clone().with_attention(score),
        None => Ok(model.clone()),
    };
    if let Some(classes) = classes {
        // A classifier of the same classes goes on with what it has learned.
        if config.head.is_none() && base.classes() == Some(classes) {
            return Ok((base.clone(), scored(&base)?));
        }
        let head = classes::head(config.head.as_ref(), classes, loss)?;
        let stages = head.build(base.dim(), key, &device)?;
        let trained = scored(&base)?.with_head(stages)?.with_classes(classes.clone())?;
        return Ok((base, trained));
    }
    if base.two_sided() && (head.is_some() || config.adapter.is_some()) {
        return Err(Error::setting_with(
            "the model maps queries alone already, and nothing can follow that",
            "take out [head] and [adapter], or start from the model without its structural_sparse head",
        ));
    }
    let trained = match head {
        Some(head) => scored(&base)?.with_head(head.build(base.dim(), key, &device)?)?,
        None => scored(&base)?,
    };
    if trained.two_sided() && data.columns().1.is_none() {
        return Err(Error::setting_with(
            "head.name = \"structural_sparse\" compares queries with documents, and the rows have classes",
            "give pairs: a table with anchors and positives, or data.vectors with data.positives",
        ));
    }
    Ok((base, trained))
}

/// The measures of scored pairs.
pub(crate) const CORRELATIONS: [&str; 2] = ["spearman", "pearson"];

pub(super) fn check_validation(config: &RunConfig, scored: bool, classified: bool) -> Result<()> {
    let names: Vec<String> = match scored {
        _ if classified => classes::deciders(),
        true => CORRELATIONS.map(str::to_owned).to_vec(),
        false => config.evaluate.measures.iter().map(Measure::to_string).collect(),
    };
    if names.contains(&config.train.validate_with) {
        return Ok(());
    }
    if scored || classified {
        let on = if classified { "a classifier, or smaller is better" } else { "scored pairs" };
        return Err(Error::setting_with(
            format!("train.validate_with = \"{}\" is not measured on {on}", config.train.validate_with),
            format!("set it to one of {}", names.join(", ")),
        ));
    }
    Err(Error::setting_with(
        format!("train.validate_with = \"{}\" is not among evaluate.measures", config.train.validate_with),
        format!("it can be one of {}", names.join(", ")),
    ))
}

/// SHA-256 over everything that decides a run's result: settings, data, starting weights and the teacher.
pub(super) fn fingerprint(
    config: &RunConfig,
    own: Option<&dyn Criterion>,
    data: &str,
    base: &SentenceEncoder,
    teacher: Option<&str>,
) -> Result<String> {
    let mut hash = Sha256::new();
    let mut settings = config.clone();
    settings.name.clear();
    settings.output = Default::default();
    settings.tune = None;
    hash.update(settings.to_toml()?);
    if let Some(own) = own {
        hash.update(format!("{own:?}"));
    }
    hash.update(data);
    add_weights(&mut hash, base);
    hash.update(teacher.unwrap_or_default());
    Ok(hex(hash))
}

/// Adds every parameter of a model, with its path.
pub(super) fn add_weights(hash: &mut Sha256, model: &SentenceEncoder) {
    parallax_nn::parameters::read(model.network(), |path, _, values| {
        hash.update(path);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        hash.update(bytes);
    });
}

/// The digest as it is written.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
