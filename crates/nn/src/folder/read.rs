use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::json::read_json;
use super::modules::{self, Module, ModuleKind};
use super::weights::Weights;
use crate::encoder::Config;
use crate::head::{Convolution, Dense, MultiHeadProjection, Normalize, Stage, StructuralSparse};
use crate::layer::{Activation, Linear};
use crate::parameters;
use crate::pooling::{Mode, Pooling};
use crate::{Error, Result};

/// The function that compares two embeddings of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Similarity {
    /// x · y / (‖x‖ ‖y‖).
    #[default]
    Cosine,
    /// x · y.
    Dot,
    /// −‖x − y‖₂.
    Euclidean,
    /// −‖x − y‖₁.
    Manhattan,
}

impl Similarity {
    /// The name in `config_sentence_transformers.json`.
    pub fn name(self) -> &'static str {
        match self {
            Similarity::Cosine => "cosine",
            Similarity::Dot => "dot",
            Similarity::Euclidean => "euclidean",
            Similarity::Manhattan => "manhattan",
        }
    }
}

/// What the files of a model folder say, checked, without weights.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// The modules in order.
    pub modules: Vec<Module>,
    /// The encoder's configuration and folder, where the first module is a Transformer.
    pub encoder: Option<(Config, PathBuf)>,
    /// The folder of the token table, where the first module is a StaticEmbedding.
    pub table: Option<PathBuf>,
    /// The pooling, where there is a Transformer.
    pub pooling: Option<Pooling>,
    /// Longest text in tokens, special tokens included.
    pub max_tokens: usize,
    /// Whether texts are lower-cased before tokenisation.
    pub lower_case: bool,
    /// Prompts by name, put before a text as they are.
    pub prompts: BTreeMap<String, String>,
    /// The prompt that is used where none is asked for.
    pub default_prompt: Option<String>,
    /// How two embeddings are compared.
    pub similarity: Similarity,
}

/// Names under which sentence-transformers has stored the Transformer module's settings.
const TRANSFORMER_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

impl Folder {
    /// Reads and checks the configuration files of a folder. `pooling` stands in where the folder has no `modules.json`:
    /// a bare Hugging Face checkpoint does not say how it is pooled, and guessing gives wrong vectors silently.
    pub fn open(path: &Path, pooling: Option<Mode>) -> Result<Self> {
        if !path.is_dir() {
            return Err(Error::format(path, "no such model folder"));
        }
        let bare = !path.join("modules.json").exists();
        let modules = match (bare, pooling) {
            (false, _) => modules::read(path)?,
            (true, Some(_)) => vec![
                Module { kind: ModuleKind::Transformer, path: path.to_owned() },
                Module { kind: ModuleKind::Pooling, path: path.join("1_Pooling") },
            ],
            (true, None) => {
                return Err(Error::format(
                    &path.join("modules.json"),
                    "no such file, so the pooling is not known; name it (model.pooling = \"mean\")",
                ));
            }
        };
        let listed = path.join("modules.json");
        for (index, module) in modules.iter().enumerate() {
            let right = match module.kind {
                ModuleKind::Transformer | ModuleKind::StaticEmbedding => index == 0,
                ModuleKind::Pooling => index == 1 && modules[0].kind == ModuleKind::Transformer,
                _ => modules[0].kind != ModuleKind::Transformer || index >= 2,
            };
            if !right {
                return Err(Error::format(
                    &listed,
                    format!("entry {index}: {:?} cannot stand here", module.kind),
                ));
            }
        }
        let mut folder = Folder {
            path: path.to_owned(),
            encoder: None,
            table: None,
            pooling: None,
            max_tokens: 0,
            lower_case: false,
            prompts: BTreeMap::new(),
            default_prompt: None,
            similarity: Similarity::Cosine,
            modules,
        };
        match folder.modules.first().map(|m| (m.kind, m.path.clone())) {
            None => return Err(Error::format(&listed, "the list of modules is empty")),
            Some((ModuleKind::Transformer, at)) => {
                let config = Config::from_file(&at.join("config.json"))?;
                folder.read_transformer_settings(&at, &config)?;
                folder.pooling = Some(match (bare, pooling, folder.modules.get(1)) {
                    (true, Some(mode), _) => Pooling::new(mode),
                    (_, _, Some(module)) => read_pooling(&module.path.join("config.json"), config.width)?,
                    _ => return Err(Error::format(&listed, "a Pooling module must follow the Transformer")),
                });
                folder.encoder = Some((config, at));
            }
            Some((ModuleKind::StaticEmbedding, at)) => folder.table = Some(at),
            Some(_) => {}
        }
        folder.read_model_settings()?;
        Ok(folder)
    }

    fn read_transformer_settings(&mut self, at: &Path, config: &Config) -> Result<()> {
        let mut longest = None;
        if let Some(path) = TRANSFORMER_CONFIGS.iter().map(|name| at.join(name)).find(|path| path.exists()) {
            let json = read_json(&path)?;
            longest = json["max_seq_length"].as_u64();
            self.lower_case = json["do_lower_case"].as_bool().unwrap_or(false);
        }
        let tokenizer = at.join("tokenizer_config.json");
        if longest.is_none() && tokenizer.exists() {
            // Newer folders keep the limit here; "no limit" is written as a huge float.
            longest =
                read_json(&tokenizer)?["model_max_length"].as_f64().filter(|n| *n < 1e6).map(|n| n as u64);
        }
        self.max_tokens = (longest.unwrap_or(u64::MAX).min(config.max_tokens() as u64) as usize).max(2);
        Ok(())
    }

    fn read_model_settings(&mut self) -> Result<()> {
        let path = self.path.join("config_sentence_transformers.json");
        if !path.exists() {
            return Ok(());
        }
        let json = read_json(&path)?;
        if let Some(kind) = json["model_type"].as_str().filter(|&kind| kind != "SentenceTransformer") {
            return Err(Error::format(&path, format!("field \"model_type\": \"{kind}\" is not supported")));
        }
        if let Some(prompts) = json["prompts"].as_object() {
            for (name, prompt) in prompts {
                let prompt = prompt
                    .as_str()
                    .ok_or_else(|| Error::format(&path, format!("prompt \"{name}\" is not a string")))?;
                self.prompts.insert(name.clone(), prompt.into());
            }
        }
        if let Some(name) = json["default_prompt_name"].as_str() {
            if !self.prompts.contains_key(name) {
                return Err(Error::format(
                    &path,
                    format!("default_prompt_name: there is no prompt \"{name}\""),
                ));
            }
            self.default_prompt = Some(name.into());
        }
        self.similarity = match json["similarity_fn_name"].as_str() {
            None | Some("cosine") => Similarity::Cosine,
            Some("dot") => Similarity::Dot,
            Some("euclidean") => Similarity::Euclidean,
            Some("manhattan") => Similarity::Manhattan,
            Some(other) => {
                return Err(Error::format(
                    &path,
                    format!("field \"similarity_fn_name\": \"{other}\" is not known"),
                ));
            }
        };
        Ok(())
    }

    /// Builds the stages after pooling and fills them with their weights.
    pub fn read_head(&self, device: &burn::tensor::Device) -> Result<Vec<Stage>> {
        self.modules
            .iter()
            .filter(|module| {
                use ModuleKind::{Pooling, StaticEmbedding, Transformer};
                !matches!(module.kind, Transformer | StaticEmbedding | Pooling)
            })
            .map(|module| read_stage(module, device))
            .collect()
    }
}

fn read_pooling(path: &Path, width: usize) -> Result<Pooling> {
    let json = read_json(path)?;
    let name = |value: &Value| -> Result<Mode> {
        let name = value.as_str().unwrap_or_default();
        Mode::from_name(name).ok_or_else(|| {
            Error::format(path, format!("field \"pooling_mode\": \"{name}\" is not supported"))
        })
    };
    let modes = match &json["pooling_mode"] {
        Value::Null => {
            let known =
                Mode::ALL.into_iter().filter(|mode| json[mode.flag()].as_bool() == Some(true)).collect();
            // A flag of a mode that does not exist here must not be dropped.
            let unknown = json.as_object().into_iter().flatten().find(|(key, value)| {
                key.starts_with("pooling_mode_")
                    && value.as_bool() == Some(true)
                    && Mode::ALL.iter().all(|mode| mode.flag() != key.as_str())
            });
            if let Some((key, _)) = unknown {
                return Err(Error::format(path, format!("field \"{key}\" is not supported")));
            }
            known
        }
        Value::Array(list) => list.iter().map(name).collect::<Result<Vec<_>>>()?,
        one => vec![name(one)?],
    };
    if modes.is_empty() {
        return Err(Error::format(path, "no pooling mode is set"));
    }
    for field in ["word_embedding_dimension", "embedding_dimension"] {
        if let Some(found) = json[field].as_u64().filter(|&found| found as usize != width) {
            return Err(Error::Dimension {
                what: format!("{}: field \"{field}\"", path.display()),
                expected: width,
                found: found as usize,
            });
        }
    }
    Ok(Pooling { modes, include_prompt: json["include_prompt"].as_bool().unwrap_or(true) })
}

fn read_stage(module: &Module, device: &burn::tensor::Device) -> Result<Stage> {
    if module.kind == ModuleKind::Normalize {
        return Ok(Stage::Normalize(Normalize {}));
    }
    let path = module.path.join("config.json");
    let json = read_json(&path)?;
    let size = |name: &str| -> Result<usize> {
        json[name]
            .as_u64()
            .filter(|n| (1..=1 << 20).contains(n))
            .map(|n| n as usize)
            .ok_or_else(|| Error::format(&path, format!("field \"{name}\" is missing or not a size")))
    };
    if module.kind == ModuleKind::StructuralSparse {
        let (dim, block) = (size("in_features")?, size("block")?);
        if !dim.is_multiple_of(block) {
            return Err(Error::format(&path, format!("block {block} does not divide in_features {dim}")));
        }
        let flag = |name: &str| json[name].as_bool().unwrap_or(false);
        let map = StructuralSparse::identity(dim, block, flag("sum"), flag("symmetric"), device);
        let weights = Weights::open(&module.path)?;
        return fill(Stage::StructuralSparse(map), &weights, |path| path.to_owned());
    }
    if module.kind == ModuleKind::Convolution {
        let image: [usize; 3] = serde_json::from_value(json["image"].clone())
            .map_err(|_| Error::format(&path, "field \"image\" is not channels, rows and columns"))?;
        let (filters, blocks) = (size("filters")?, size("blocks")?);
        if let Some(why) = Convolution::refuses(image, filters, blocks) {
            return Err(Error::format(&path, why));
        }
        let weights = Weights::open(&module.path)?;
        let filters = Convolution::zeros(image, filters, blocks, device);
        return fill(Stage::Convolution(filters), &weights, |path| path.to_owned());
    }
    let (input, output) = (size("in_features")?, size("out_features")?);
    let bias = json["bias"].as_bool().unwrap_or(true);
    let linear = Linear::zeros(input, output, bias, device);
    let stage = match module.kind {
        ModuleKind::Dense => {
            for field in ["module_input_name", "module_output_name"] {
                if let Some(name) = json[field].as_str().filter(|&name| name != "sentence_embedding") {
                    return Err(Error::format(
                        &path,
                        format!("field \"{field}\": \"{name}\" is not supported"),
                    ));
                }
            }
            let activation = match &json["activation_function"] {
                Value::Null => Activation::Tanh,
                value => {
                    let name = value.as_str().unwrap_or_default();
                    Activation::from_python(name).ok_or_else(|| {
                        Error::format(
                            &path,
                            format!("field \"activation_function\": \"{name}\" is not supported"),
                        )
                    })?
                }
            };
            let residual = json["use_residual"].as_bool().unwrap_or(false);
            if residual && input != output {
                return Err(Error::format(&path, "\"use_residual\" needs in_features = out_features"));
            }
            Stage::Dense(Dense { linear, activation, residual })
        }
        _ => {
            let heads = size("heads")?;
            if !output.is_multiple_of(heads) {
                return Err(Error::format(
                    &path,
                    format!("{heads} heads do not divide out_features {output}"),
                ));
            }
            Stage::MultiHead(MultiHeadProjection { linear, heads })
        }
    };
    let weights = Weights::open(&module.path)?;
    fill(stage, &weights, |path| path.to_owned())
}

/// Fills every parameter of a module from the tensor that `name` gives for its path.
///
/// # Errors
/// A tensor that is missing or has another shape.
pub(crate) fn fill<M: burn::module::Module>(
    module: M,
    weights: &Weights,
    name: impl Fn(&str) -> String,
) -> Result<M> {
    let stored = weights.floats();
    for parameter in parameters::list(&module) {
        let tensor = name(&parameter.path);
        let path = weights.path();
        let Some(found) = stored.get(&tensor) else {
            return Err(Error::MissingTensor { path: path.into(), tensor });
        };
        if found.shape != parameter.shape {
            return Err(Error::Shape {
                path: path.into(),
                tensor,
                found: found.shape.clone(),
                expected: parameter.shape,
            });
        }
        if let Some((at, value)) = found.not_finite() {
            return Err(Error::format(path, format!("tensor \"{tensor}\" holds {value} at index {at}")));
        }
    }
    Ok(parameters::write_data(module, |path, _| stored.get(&name(path)).map(|tensor| tensor.data())))
}
