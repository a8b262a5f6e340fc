use std::path::{Path, PathBuf};

use serde_json::Value;

use super::json::read_json;
use crate::{Error, Result};

/// One entry of `modules.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// What it is.
    pub kind: ModuleKind,
    /// Its folder.
    pub path: PathBuf,
}

/// The modules that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// Tokenizer and encoder.
    Transformer,
    /// Tokenizer and token table.
    StaticEmbedding,
    /// Token states to one vector.
    Pooling,
    /// Linear layer with an activation.
    Dense,
    /// Division by the length.
    Normalize,
    /// Our heads, each normalised, concatenated.
    MultiHeadProjection,
    /// Our map of queries alone.
    StructuralSparse,
    /// Our blocks of filters over images.
    Convolution,
}

/// The type strings that are written.
pub(crate) const TRANSFORMER: &str = "sentence_transformers.models.Transformer";
pub(crate) const STATIC: &str = "sentence_transformers.models.StaticEmbedding";
pub(crate) const POOLING: &str = "sentence_transformers.models.Pooling";
pub(crate) const DENSE: &str = "sentence_transformers.models.Dense";
pub(crate) const NORMALIZE: &str = "sentence_transformers.models.Normalize";
pub(crate) const MULTI_HEAD: &str = "parallax.MultiHeadProjection";
pub(crate) const STRUCTURAL: &str = "parallax.StructuralSparse";
pub(crate) const CONVOLUTION: &str = "parallax.Convolution";

fn kind(name: &str) -> Option<ModuleKind> {
    match name {
        MULTI_HEAD => return Some(ModuleKind::MultiHeadProjection),
        STRUCTURAL => return Some(ModuleKind::StructuralSparse),
        CONVOLUTION => return Some(ModuleKind::Convolution),
        _ => {}
    }
    let rest = name.strip_prefix("sentence_transformers.")?;
    // The old generation keeps all modules in `models`, the new one spreads them over packages.
    match rest.rsplit('.').next()? {
        "Transformer" => Some(ModuleKind::Transformer),
        "StaticEmbedding" => Some(ModuleKind::StaticEmbedding),
        "Pooling" => Some(ModuleKind::Pooling),
        "Dense" => Some(ModuleKind::Dense),
        "Normalize" => Some(ModuleKind::Normalize),
        _ => None,
    }
}

/// Reads `modules.json` of a folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Module>> {
    let path = folder.join("modules.json");
    let json = read_json(&path)?;
    let entries = json.as_array().ok_or_else(|| Error::format(&path, "expected a list of modules"))?;
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let field = |name: &str| {
                entry[name].as_str().ok_or_else(|| {
                    Error::format(&path, format!("entry {index}: field \"{name}\" is missing"))
                })
            };
            let name = field("type")?;
            let kind = kind(name).ok_or_else(|| Error::UnknownModule {
                path: path.clone(),
                module: name.into(),
                index,
            })?;
            let relative = Path::new(field("path")?);
            // A folder from elsewhere must not make us read outside of it.
            if relative.components().any(|part| {
                use std::path::Component::{CurDir, Normal};
                !matches!(part, Normal(_) | CurDir)
            }) {
                return Err(Error::format(
                    &path,
                    format!("entry {index}: path {relative:?} leaves the folder"),
                ));
            }
            Ok(Module { kind, path: folder.join(relative) })
        })
        .collect()
}

/// The entry for a module that is written.
pub(super) fn entry(index: usize, kind: &str, path: &str) -> Value {
    serde_json::json!({ "idx": index, "name": index.to_string(), "path": path, "type": kind })
}
