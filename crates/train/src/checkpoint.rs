//! Everything a run needs to go on as if it had never stopped.
//!
//! A checkpoint is a folder: `state.json`, `model.safetensors` (every parameter by path), `optimizer.safetensors` (two
//! moments per trained parameter), `objective.safetensors` where the objective learns proxies or numbers of its own or
//! remembers embeddings, and, once there has been a validation, `best.safetensors`. It is written beside the old one and put
//! in its place by renaming. Batches and dropout are functions of (seed, step), so no generator state is
//! needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parallax_nn::folder::weights::{self, Weights};
use parallax_nn::{SentenceEncoder, parameters};
use serde::{Deserialize, Serialize};

use crate::kept::Kept;
use crate::learned::Learned;
use crate::optimizer::{Moments, State};
use crate::{Error, Result};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Version of this format.
    pub version: u32,
    /// What identifies the run: data, model, settings and seed. Another run's checkpoint is refused.
    pub fingerprint: String,
    /// Steps taken.
    pub step: u64,
    /// Length of `metrics.jsonl`.
    pub log_bytes: u64,
    /// Value and step of the best validation.
    pub best: Option<(f64, u64)>,
    /// Validations since then.
    pub stale: u64,
    /// Sum of training seconds so far; not part of what is compared.
    pub seconds: f64,
    /// A memory of earlier batches, without its embeddings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Ring>,
    /// The numbers that the loss keeps from batch to batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<f64>,
}

/// A memory of earlier batches, without its embeddings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// Classes of the remembered embeddings.
    pub labels: Vec<u32>,
    /// The place of the next embedding.
    pub next: usize,
    /// Steps so far.
    pub steps: u64,
}

pub(crate) const VERSION: u32 = 1;

/// The path of remembered embeddings, as a parameter's.
const MEMORY: &str = "objective.memory";

/// Values of parameters by path.
pub type Values = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Every parameter of a model by path.
pub(crate) fn values(model: &SentenceEncoder) -> Values {
    let mut values = Values::new();
    parameters::read(model.network(), |path, shape, v| {
        values.insert(path.into(), (shape.to_vec(), v.to_vec()));
    });
    values
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_owned(), source }
}

fn old(folder: &Path) -> PathBuf {
    folder.with_extension("old")
}

/// Writes a checkpoint and puts it in the place of the one before.
pub(crate) fn write(
    folder: &Path,
    position: &Position,
    model: &SentenceEncoder,
    learned: &Learned,
    kept: &Kept,
    state: &State,
    best: Option<&Values>,
) -> Result<()> {
    let work = folder.with_extension("tmp");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(io(&work))?;
    }
    fs::create_dir_all(&work).map_err(io(&work))?;
    let tensors = |values: &Values| -> Vec<weights::Tensor> {
        values.iter().map(|(path, (shape, v))| weights::Tensor::f32(path, shape, v)).collect()
    };
    weights::write(&work.join("model.safetensors"), &tensors(&values(model)))?;
    let moments: Vec<weights::Tensor> = state
        .moments
        .iter()
        .flat_map(|(path, m)| {
            let shape = [m.first.len()];
            [
                weights::Tensor::f32(format!("{path}/first"), &shape, &m.first),
                weights::Tensor::f32(format!("{path}/second"), &shape, &m.second),
            ]
        })
        .collect();
    weights::write(&work.join("optimizer.safetensors"), &moments)?;
    let mut own: Vec<weights::Tensor> =
        learned.parts().map(|(path, values)| weights::Tensor::f32(path, &[values.len()], values)).collect();
    let mut position = Position { state: kept.state.clone(), ..position.clone() };
    if let Some(memory) = &kept.memory {
        let (values, labels) = memory.contents();
        own.push(weights::Tensor::f32(MEMORY, &[values.len()], values));
        position.memory = Some(Ring { labels: labels.to_vec(), next: memory.next(), steps: memory.steps() });
    }
    if !own.is_empty() {
        weights::write(&work.join("objective.safetensors"), &own)?;
    }
    if let Some(best) = best {
        weights::write(&work.join("best.safetensors"), &tensors(best))?;
    }
    let path = work.join("state.json");
    let text = serde_json::to_string_pretty(&position).map_err(|e| io(&path)(e.into()))?;
    fs::write(&path, text).map_err(io(&path))?;
    // On disk before it takes the place of the old one.
    for entry in fs::read_dir(&work).map_err(io(&work))? {
        let path = entry.map_err(io(&work))?.path();
        fs::File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
    }
    let old = old(folder);
    if old.exists() {
        fs::remove_dir_all(&old).map_err(io(&old))?;
    }
    if folder.exists() {
        fs::rename(folder, &old).map_err(io(folder))?;
    }
    fs::rename(&work, folder).map_err(io(folder))?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(io(&old))?;
    }
    Ok(())
}

/// Where the newest complete checkpoint is: a kill between the two renames leaves only the old one.
pub fn find(folder: &Path) -> Option<PathBuf> {
    [folder.to_owned(), old(folder)].into_iter().find(|path| path.join("state.json").exists())
}

/// Removes a checkpoint and what is left of unfinished ones.
pub fn remove(folder: &Path) -> Result<()> {
    for path in [folder.to_owned(), old(folder), folder.with_extension("tmp")] {
        if path.exists() {
            fs::remove_dir_all(&path).map_err(io(&path))?;
        }
    }
    Ok(())
}

/// A checkpoint, read.
pub(crate) struct Loaded {
    pub position: Position,
    pub model: SentenceEncoder,
    pub learned: Learned,
    pub kept: Kept,
    pub state: State,
    pub best: Option<Values>,
}

/// Reads a checkpoint into `model`, `learned` and `kept`, which must have the same parameters.
pub(crate) fn read(
    folder: &Path,
    fingerprint: &str,
    model: SentenceEncoder,
    mut learned: Learned,
    mut kept: Kept,
) -> Result<Loaded> {
    let bad = |path: &Path, what: String| Error::Checkpoint { path: path.to_owned(), what };
    let at = folder.join("state.json");
    let text = fs::read_to_string(&at).map_err(io(&at))?;
    let mut position: Position = serde_json::from_str(&text).map_err(|e| bad(&at, e.to_string()))?;
    if position.version != VERSION {
        return Err(bad(&at, format!("has format {}, this program reads {VERSION}", position.version)));
    }
    if position.fingerprint != fingerprint {
        return Err(bad(
            &at,
            "belongs to a run with other data, another model, other settings or another seed".into(),
        ));
    }
    let load = |name: &str| -> Result<Values> {
        let weights = Weights::open_files(vec![folder.join(name)])?;
        Ok(weights.read_floats().into_iter().map(|(path, t)| (path, (t.shape, t.values))).collect())
    };
    let mut values = load("model.safetensors")?;
    let model = restore(model, &mut values, &folder.join("model.safetensors"))?;
    let mut moments: BTreeMap<String, Moments> = BTreeMap::new();
    for (name, (_, values)) in load("optimizer.safetensors")? {
        let path = folder.join("optimizer.safetensors");
        let (parameter, which) =
            name.rsplit_once('/').ok_or_else(|| bad(&path, format!("tensor \"{name}\"")))?;
        let entry = moments.entry(parameter.into()).or_default();
        match which {
            "first" => entry.first = values,
            _ => entry.second = values,
        }
    }
    let mut stored = match learned.parts().next().is_some() || kept.memory.is_some() {
        true => load("objective.safetensors")?,
        false => Values::new(),
    };
    let own = folder.join("objective.safetensors");
    for (name, values) in learned.parts_mut() {
        let found = stored.remove(name).map(|(_, found)| found);
        *values = found
            .filter(|found| found.len() == values.len())
            .ok_or_else(|| bad(&own, format!("parameter \"{name}\" is missing or has another size")))?;
    }
    if position.state.len() != kept.state.len() {
        let what =
            format!("holds {} numbers of the loss, which keeps {}", position.state.len(), kept.state.len());
        return Err(bad(&at, what));
    }
    kept.state = std::mem::take(&mut position.state);
    if let Some(memory) = &mut kept.memory {
        let missing = || bad(&own, "the remembered embeddings are missing".into());
        let Ring { labels, next, steps } = position.memory.take().ok_or_else(missing)?;
        let (_, values) = stored.remove(MEMORY).ok_or_else(missing)?;
        *memory = memory.with_contents(values, labels, next, steps).map_err(|e| bad(&own, e.to_string()))?;
    }
    let parameters = model.parameters();
    let of_model = parameters.iter().map(|parameter| (parameter.path.as_str(), parameter.len()));
    for (name, n) in of_model.chain(learned.parts().map(|(path, values)| (path, values.len()))) {
        if moments.get(name).is_some_and(|m| m.first.len() != n || m.second.len() != n) {
            let path = folder.join("optimizer.safetensors");
            return Err(bad(&path, format!("moments of \"{name}\" have the wrong size")));
        }
    }
    let best = if position.best.is_some() { Some(load("best.safetensors")?) } else { None };
    let state = State { steps: position.step, moments };
    Ok(Loaded { position, model, learned, kept, state, best })
}

/// Puts values into a model.
pub(crate) fn restore(model: SentenceEncoder, values: &mut Values, path: &Path) -> Result<SentenceEncoder> {
    for parameter in model.parameters() {
        if values.get(&parameter.path).is_none_or(|(shape, _)| *shape != parameter.shape) {
            return Err(Error::Checkpoint {
                path: path.to_owned(),
                what: format!("parameter \"{}\" is missing or has another shape", parameter.path),
            });
        }
    }
    Ok(model.map_network(|network| parameters::write(network, |path, _| values.remove(path).map(|(_, v)| v))))
}
