use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::json::write_json;
use super::modules::{
    CONVOLUTION, DENSE, MULTI_HEAD, NORMALIZE, POOLING, STATIC, STRUCTURAL, TRANSFORMER, entry,
};
use super::weights::{Tensor, Weights, write};
use crate::encoder::{Encoder, names};
use crate::head::Stage;
use crate::layer::Activation;
use crate::parameters;
use crate::pooling::{Mode, Pooling};
use crate::sentence::SentenceEncoder;
use crate::{Error, Result};

/// Files of the source folder that are written anew, or hold weights in formats that would no longer be true.
const NOT_COPIED: [&str; 8] = [
    super::CLASSES,
    "modules.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "README.md",
    "sentence_bert_config.json",
];

/// Writes a sentence-transformers folder: everything into a temporary folder beside it first, then one rename, so that
/// nothing half-written is ever found under the final name. An existing model folder is replaced.
///
/// `card` is the text of `README.md`.
pub fn save(model: &SentenceEncoder, to: &Path, card: &str) -> Result<()> {
    let name =
        to.file_name().ok_or_else(|| Error::format(to, "not a folder name"))?.to_string_lossy().into_owned();
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if to.exists()
        && !to.join("modules.json").exists()
        && fs::read_dir(to).map_err(Error::io(to))?.next().is_some()
    {
        return Err(Error::format(to, "exists and is not a model folder; it is not overwritten"));
    }
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let work = parent.join(format!(".{name}.{}.tmp", std::process::id()));
    if work.exists() {
        fs::remove_dir_all(&work).map_err(Error::io(&work))?;
    }
    let result = fill(model, &work, card).and_then(|()| {
        if to.exists() {
            fs::remove_dir_all(to).map_err(Error::io(to))?;
        }
        fs::rename(&work, to).map_err(Error::io(to))
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&work);
    }
    result
}

fn fill(model: &SentenceEncoder, to: &Path, card: &str) -> Result<()> {
    fs::create_dir(to).map_err(Error::io(to))?;
    let mut modules = Vec::new();
    if let (Some(tower), Some(Encoder::Static(table))) = (model.text(), &model.network().encoder) {
        let folder = to.join("0_StaticEmbedding");
        fs::create_dir(&folder).map_err(Error::io(&folder))?;
        tower.tokenizer.save(&folder)?;
        write(&folder.join("model.safetensors"), &table.tensors())?;
        modules.push(entry(0, STATIC, "0_StaticEmbedding"));
    } else if let Some(tower) = model.text() {
        copy_files(&tower.source, to)?;
        write_encoder(model, to)?;
        if let Some(calibration) = model.calibration() {
            calibration.write(to)?;
        }
        let settings = json!({ "max_seq_length": tower.max_tokens, "do_lower_case": tower.lower_case });
        write_json(&to.join("sentence_bert_config.json"), &settings)?;
        modules.push(entry(0, TRANSFORMER, ""));
        let folder = to.join("1_Pooling");
        fs::create_dir(&folder).map_err(Error::io(&folder))?;
        write_json(&folder.join("config.json"), &pooling_config(&tower.pooling, tower.width()))?;
        modules.push(entry(1, POOLING, "1_Pooling"));
    }
    if let Some(classes) = model.classes() {
        classes.write(to)?;
    }
    for stage in &model.network().head {
        let index = modules.len();
        let (kind, class) = match stage {
            Stage::Dense(_) => (DENSE, "Dense"),
            Stage::Normalize(_) => (NORMALIZE, "Normalize"),
            Stage::MultiHead(_) => (MULTI_HEAD, "MultiHeadProjection"),
            Stage::StructuralSparse(_) => (STRUCTURAL, "StructuralSparse"),
            Stage::Convolution(_) => (CONVOLUTION, "Convolution"),
        };
        let path = format!("{index}_{class}");
        let folder = to.join(&path);
        fs::create_dir(&folder).map_err(Error::io(&folder))?;
        write_stage(stage, &folder)?;
        modules.push(entry(index, kind, &path));
    }
    write_json(&to.join("modules.json"), &Value::Array(modules))?;
    let settings = json!({
        "__version__": { "parallax": env!("CARGO_PKG_VERSION"), "sentence_transformers": "2.7.0" },
        "default_prompt_name": model.default_prompt(),
        "prompts": model.prompts(),
        "similarity_fn_name": model.similarity().name(),
    });
    write_json(&to.join("config_sentence_transformers.json"), &settings)?;
    let path = to.join("README.md");
    fs::write(&path, card).map_err(Error::io(&path))
}

/// Tokenizer and configuration files, byte for byte.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::io(from))? {
        let entry = entry.map_err(Error::io(from))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = [".json", ".txt", ".model"].iter().any(|end| name.ends_with(end));
        if text && !NOT_COPIED.contains(&name.as_str()) && entry.path().is_file() {
            fs::copy(entry.path(), to.join(&name)).map_err(Error::io(&entry.path()))?;
        }
    }
    Ok(())
}

/// The encoder's tensors under their checkpoint names; what the encoder does not use is carried through.
fn write_encoder(model: &SentenceEncoder, to: &Path) -> Result<()> {
    let (Some(tower), Some(Encoder::Transformer(encoder))) = (model.text(), &model.network().encoder) else {
        return Ok(());
    };
    let source = Weights::open(&tower.source)?;
    let family = encoder.config().family;
    let mut tensors = Vec::new();
    parameters::read(&encoder.clone().merged(), |path, shape, values| {
        let name = format!("{}{}", tower.prefix, names::in_checkpoint(family, path));
        tensors.push(Tensor::f32(name, shape, values));
    });
    let known: std::collections::HashSet<String> = tensors.iter().map(|t| t.name.clone()).collect();
    tensors.extend(source.read_raw(|name| !known.contains(name)));
    write(&to.join("model.safetensors"), &tensors)
}

fn pooling_config(pooling: &Pooling, width: usize) -> Value {
    let legacy =
        Mode::ALL.into_iter().filter(|mode| pooling.modes.contains(mode)).eq(pooling.modes.iter().copied());
    let mut config = json!({ "word_embedding_dimension": width, "include_prompt": pooling.include_prompt });
    if legacy {
        for mode in Mode::ALL {
            config[mode.flag()] = pooling.modes.contains(&mode).into();
        }
        config
    } else {
        // Flags have an order of their own; any other order needs the newer form.
        let modes: Vec<&str> = pooling.modes.iter().map(|mode| mode.name()).collect();
        json!({ "embedding_dimension": width, "pooling_mode": modes, "include_prompt": pooling.include_prompt })
    }
}

fn write_stage(stage: &Stage, folder: &Path) -> Result<()> {
    let (linear, mut config) = match stage {
        Stage::Normalize(_) => return Ok(()),
        Stage::Dense(dense) => {
            let python = dense.activation.python().ok_or_else(|| {
                Error::format(folder, format!("{:?} has no sentence-transformers module", dense.activation))
            })?;
            let mut config = json!({ "activation_function": python });
            if dense.residual && dense.activation != Activation::Identity {
                config["use_residual"] = true.into();
            }
            (&dense.linear, config)
        }
        Stage::MultiHead(heads) => (&heads.linear, json!({ "heads": heads.heads })),
        Stage::StructuralSparse(map) => {
            let config = json!({
                "in_features": map.dim(),
                "block": map.block(),
                "sum": map.diagonal.is_some(),
                "symmetric": map.symmetric,
            });
            return write_own(map, &config, folder);
        }
        Stage::Convolution(filters) => {
            let config = json!({
                "image": filters.image,
                "filters": filters.filters(),
                "blocks": filters.blocks.len(),
            });
            return write_own(filters, &config, folder);
        }
    };
    let (input, output) = linear.dims();
    config["in_features"] = input.into();
    config["out_features"] = output.into();
    config["bias"] = linear.bias.is_some().into();
    write_json(&folder.join("config.json"), &config)?;
    // (W + I) x is W x + x: without an activation between, the residual needs no flag that older readers refuse.
    let fold = matches!(stage, Stage::Dense(d) if d.residual && d.activation == Activation::Identity);
    let mut tensors = Vec::new();
    parameters::read(linear, |path, shape, values| {
        let mut values = values.to_vec();
        if fold && path == "weight" {
            (0..input).for_each(|i| values[i * input + i] += 1.0);
        }
        tensors.push(Tensor::f32(format!("linear.{path}"), shape, &values));
    });
    write(&folder.join("model.safetensors"), &tensors)
}

/// A module of our own: its settings, and its parameters under their paths.
fn write_own<M: burn::module::Module>(module: &M, config: &Value, folder: &Path) -> Result<()> {
    write_json(&folder.join("config.json"), config)?;
    let mut tensors = Vec::new();
    parameters::read(module, |path, shape, values| tensors.push(Tensor::f32(path, shape, values)));
    write(&folder.join("model.safetensors"), &tensors)
}
