//! Models from folders, token tables and stored vectors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use parallax_data::text::Tokenizer;

use super::tower::UNLIMITED;
use super::{Network, SentenceEncoder, TextTower};
use crate::encoder::{Config, Encoder, StaticEmbedding, Transformer, names};
use crate::folder::weights::Weights;
use crate::folder::{self, Calibration, Classes, Folder, Similarity};
use crate::head::Stage;
use crate::pooling::{Mode, Pooling};
use crate::{Error, Precision, Result};

/// The transformer of a checkpoint's folder, and what stands before every name there.
fn read_transformer(config: &Config, at: &Path, device: &Device) -> Result<(Transformer, String)> {
    let weights = Weights::open(at)?;
    // Some checkpoints put "bert." or the like before every name.
    let anchor = "embeddings.word_embeddings.weight";
    let prefix = weights
        .names()
        .iter()
        .find_map(|name| name.strip_suffix(anchor).map(str::to_owned))
        .ok_or_else(|| Error::MissingTensor { path: weights.path().into(), tensor: anchor.into() })?;
    let zeros = Transformer::zeros(config, device);
    let name = |path: &str| format!("{prefix}{}", names::in_checkpoint(config.family, path));
    Ok((folder::fill(zeros, &weights, name)?, prefix))
}

/// How to load a folder where its own files do not say.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The pooling of a bare checkpoint without `modules.json`.
    pub pooling: Option<Mode>,
    /// A shorter limit than the folder's, in tokens.
    pub max_tokens: Option<usize>,
    /// How the encoder's products are rounded at inference.
    pub precision: Precision,
}

impl SentenceEncoder {
    /// Loads a sentence-transformers folder.
    ///
    /// # Errors
    /// A missing or damaged file, an unknown module, a tensor that is missing or has the wrong shape, each by name.
    pub fn load(path: &Path, options: &LoadOptions, device: &Device) -> Result<Self> {
        let folder = Folder::open(path, options.pooling)?;
        let head = folder.read_head(device)?;
        let mut encoder = None;
        let mut text = None;
        if let Some((config, at)) = &folder.encoder {
            let max_tokens = options.max_tokens.map_or(folder.max_tokens, |n| n.clamp(2, folder.max_tokens));
            // Two halves of the time that loading takes.
            let (read, tokenizer) = rayon::join(
                || read_transformer(config, at, device),
                || Tokenizer::from_folder(at, max_tokens),
            );
            let (transformer, prefix) = read?;
            let tokenizer = tokenizer?;
            encoder = Some(Encoder::Transformer(transformer));
            let pooling = folder.pooling.clone().unwrap_or_else(|| Pooling::new(Mode::Mean));
            if tokenizer.vocab_size() > config.vocabulary {
                return Err(Error::Dimension {
                    what: format!("{}: tokens of the tokenizer against the token table", at.display()),
                    expected: config.vocabulary,
                    found: tokenizer.vocab_size(),
                });
            }
            text = Some(TextTower {
                tokenizer,
                pooling,
                max_tokens,
                lower_case: folder.lower_case,
                source: at.clone(),
                prefix,
                width: config.width,
                padding: config.padding,
                tabular: false,
            });
        }
        if let Some(at) = &folder.table {
            let (table, tokenizer) =
                rayon::join(|| StaticEmbedding::read(at, device), || Tokenizer::from_folder(at, UNLIMITED));
            let table = table?;
            text = Some(TextTower::over_table(tokenizer?, &table, options.max_tokens)?);
            encoder = Some(Encoder::Static(table));
        }
        let input = match &text {
            Some(tower) => tower.pooling.output(tower.width),
            None => head.iter().find_map(Stage::input).ok_or_else(|| {
                Error::format(&path.join("modules.json"), "there is neither a Transformer nor a Dense module")
            })?,
        };
        let model = SentenceEncoder {
            network: Network { encoder, head },
            text,
            input,
            prompts: folder.prompts,
            default_prompt: folder.default_prompt,
            similarity: folder.similarity,
            precision: Precision::F32,
            calibration: Calibration::read(path)?.map(Arc::new),
            classes: None,
        };
        model.check_widths()?;
        let classes = Classes::read(path, model.dim())?.map(Arc::new);
        let model = SentenceEncoder { classes, ..model };
        model.with_precision(options.precision)
    }

    /// A static model: a token table behind a tokenizer, then the stages of a head.
    ///
    /// # Errors
    /// A tokenizer with tokens beyond the table, or a head of another width.
    pub fn over_table(tokenizer: Tokenizer, table: StaticEmbedding, head: Vec<Stage>) -> Result<Self> {
        let text = TextTower::over_table(tokenizer, &table, None)?;
        let input = text.width;
        SentenceEncoder::bare(Network { encoder: Some(Encoder::Static(table)), head }, Some(text), input)
    }

    /// A model over stored vectors of dimension `input`: no encoder, only a head.
    pub fn over_vectors(input: usize, head: Vec<Stage>) -> Result<Self> {
        SentenceEncoder::bare(Network { encoder: None, head }, None, input)
    }
    /// A model with nothing that only a folder says.
    fn bare(network: Network, text: Option<TextTower>, input: usize) -> Result<Self> {
        let model = SentenceEncoder {
            network,
            text,
            input,
            prompts: BTreeMap::new(),
            default_prompt: None,
            similarity: Similarity::Cosine,
            precision: Precision::F32,
            calibration: None,
            classes: None,
        };
        model.check_widths()?;
        Ok(model)
    }
}
