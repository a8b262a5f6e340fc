use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use parallax_data::text::Tokenizer;
use rayon::prelude::*;

use crate::encoder::{Config, Encoder, StaticEmbedding, Transformer, names};
use crate::folder::weights::Weights;
use crate::folder::{self, Calibration, Classes, Folder, Similarity};
use crate::head::{Normalize, Stage};
use crate::pooling::{Mode, Pooling};
use crate::{Error, Pass, Precision, Result, Role, ops, parameters};

/// The longest text that is not cut, in tokens, where the model itself has no limit.
const UNLIMITED: usize = 1 << 20;

/// Everything that has parameters: the encoder, if there is one, and the stages after pooling.
#[derive(Module, Debug)]
pub struct Network {
    /// Texts to token states.
    pub encoder: Option<Encoder>,
    /// Pooled (or stored) vectors to embeddings.
    pub head: Vec<Stage>,
}

/// What turns texts into token ids and token states into one vector.
#[derive(Clone)]
pub struct TextTower {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// How token states are pooled.
    pub pooling: Pooling,
    /// Longest text in tokens, special tokens included.
    pub max_tokens: usize,
    /// Whether texts are lower-cased first.
    pub lower_case: bool,
    /// The folder that tokenizer files and unused tensors are copied from.
    pub source: PathBuf,
    /// What stands before every tensor name in the checkpoint.
    pub prefix: String,
    width: usize,
    padding: u32,
    /// Whether the encoder is a token table, which has a vector for a text without tokens.
    tabular: bool,
}

impl TextTower {
    /// The text side of a token table: no special tokens, and no limit unless one is set.
    fn over_table(tokenizer: Tokenizer, table: &StaticEmbedding, max_tokens: Option<usize>) -> Result<Self> {
        let [rows, width] = table.dims();
        let max_tokens = max_tokens.unwrap_or(UNLIMITED).clamp(1, UNLIMITED);
        let tokenizer = tokenizer.without_special_tokens().with_max_tokens(max_tokens)?;
        if tokenizer.id_bound() > rows {
            return Err(Error::Dimension {
                what: format!(
                    "{}: tokens of the tokenizer against the token table",
                    tokenizer.folder().display()
                ),
                expected: rows,
                found: tokenizer.id_bound(),
            });
        }
        Ok(TextTower {
            pooling: Pooling::new(Mode::Mean),
            max_tokens,
            lower_case: false,
            source: tokenizer.folder().to_owned(),
            prefix: String::new(),
            tokenizer,
            width,
            padding: 0,
            tabular: true,
        })
    }

    /// Width of the token states.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Tokenises texts, each after the text of a prompt, in parallel on the current pool.
    ///
    /// # Errors
    /// A text that the tokenizer cannot represent.
    pub fn tokenize<S: AsRef<str> + Sync>(&self, texts: &[S], prompt: &str) -> Result<Vec<Input>> {
        let full: Vec<String> = texts
            .iter()
            .map(|text| {
                let text = format!("{prompt}{}", text.as_ref());
                if self.lower_case { text.to_lowercase() } else { text }
            })
            .collect();
        // The prompt alone, less the closing special token.
        let prompt_tokens =
            if prompt.is_empty() { 0 } else { self.tokenizer.encode(prompt)?.ids.len().saturating_sub(1) };
        let encoded = self.tokenizer.encode_batch(&full)?;
        Ok(encoded
            .into_iter()
            .map(|encoding| {
                let mut ids = encoding.ids;
                if ids.is_empty() && !self.tabular {
                    // A tokenizer without special tokens finds nothing in an empty text.
                    ids.push(self.padding);
                }
                Input::Tokens { prompt_tokens: prompt_tokens.min(ids.len()), ids }
            })
            .collect())
    }
}

/// Tokens that are looked at together for a calibration.
const CALIBRATED_AT_ONCE: usize = 16_384;

/// Tokens that one thread works on at once: what they become inside a block still fits the second-level cache.
const PIECE: usize = 1024;

/// Consecutive texts of about equal numbers of tokens, at least one for each thread as long as there are texts.
fn pieces<'a>(batch: &'a [usize], inputs: &[Input]) -> Vec<&'a [usize]> {
    let tokens: usize = batch.iter().map(|&i| inputs[i].tokens()).sum();
    let threads = rayon::current_num_threads();
    let count = tokens.div_ceil(PIECE).max(threads).min(batch.len()).max(1);
    let (mut pieces, mut from, mut sum) = (Vec::with_capacity(count), 0, 0);
    for (at, &i) in batch.iter().enumerate() {
        sum += inputs[i].tokens();
        if sum * count >= tokens * (pieces.len() + 1) && pieces.len() + 1 < count {
            pieces.push(&batch[from..=at]);
            from = at + 1;
        }
    }
    if from < batch.len() {
        pieces.push(&batch[from..]);
    }
    pieces
}

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

/// One input of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A tokenised text.
    Tokens {
        /// Token ids, special tokens included; at least one, but for a token table.
        ids: Vec<u32>,
        /// How many of the first belong to a prompt.
        prompt_tokens: usize,
    },
    /// A stored vector.
    Vector(Vec<f32>),
}

impl Input {
    /// Its length in tokens (1 for a vector).
    pub fn tokens(&self) -> usize {
        match self {
            Input::Tokens { ids, .. } => ids.len(),
            Input::Vector(_) => 1,
        }
    }
}

/// A model that turns texts, or stored vectors, into embeddings: what a sentence-transformers folder holds.
#[derive(Clone)]
pub struct SentenceEncoder {
    network: Network,
    text: Option<TextTower>,
    input: usize,
    prompts: BTreeMap<String, String>,
    default_prompt: Option<String>,
    similarity: Similarity,
    precision: Precision,
    /// What the folder says about products of 8-bit integers; of the weights that were read.
    calibration: Option<Arc<Calibration>>,
    /// What the outputs stand for, where it is a classifier.
    classes: Option<Arc<Classes>>,
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
        let model = SentenceEncoder {
            input: text.width,
            network: Network { encoder: Some(Encoder::Static(table)), head },
            text: Some(text),
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

    /// The model without the [`Normalize`] that it ends in, if it does: embeddings with their lengths.
    pub fn without_normalize(mut self) -> Self {
        if self.normalized() {
            self.network.head.pop();
        }
        self
    }

    /// A model over stored vectors of dimension `input`: no encoder, only a head.
    pub fn over_vectors(input: usize, head: Vec<Stage>) -> Result<Self> {
        let model = SentenceEncoder {
            network: Network { encoder: None, head },
            text: None,
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

    /// Puts stages at the end. A [`Normalize`] that already stands there stays before them.
    pub fn with_head(mut self, stages: Vec<Stage>) -> Result<Self> {
        self.network.head.extend(stages);
        // They were of other outputs.
        self.classes = None;
        self.check_widths()?;
        Ok(self)
    }

    /// The same model as a classifier, whose outputs are the logits of these classes.
    ///
    /// # Errors
    /// If it has another number of outputs.
    pub fn with_classes(mut self, classes: Classes) -> Result<Self> {
        let (expected, found) = (classes.outputs(), self.dim());
        if expected != found {
            return Err(Error::Dimension { what: "outputs of the classifier".into(), expected, found });
        }
        self.classes = Some(Arc::new(classes));
        Ok(self)
    }

    /// What the outputs stand for, where the model is a classifier.
    pub fn classes(&self) -> Option<&Classes> {
        self.classes.as_deref()
    }

    /// The same model with its token states pooled in another way; a model over stored vectors stays as it is.
    ///
    /// # Errors
    /// If the head does not fit the width of the new vectors.
    pub fn with_pooling(mut self, pooling: Pooling) -> Result<Self> {
        if let Some(tower) = &mut self.text {
            self.input = pooling.output(tower.width);
            tower.pooling = pooling;
        }
        self.check_widths()?;
        Ok(self)
    }

    /// The same model with the encoder's products rounded in another way at inference. Only transformers have any; the
    /// rest is computed in 32 bits whatever is asked for.
    ///
    /// # Errors
    /// [`Precision::Int8`] for a transformer without a calibration.
    pub fn with_precision(mut self, precision: Precision) -> Result<Self> {
        let Some(Encoder::Transformer(encoder)) = &mut self.network.encoder else { return Ok(self) };
        self.precision = precision.resolved();
        if self.precision == Precision::Int8 {
            let source = self.text.as_ref().map(|tower| tower.source.clone()).unwrap_or_default();
            let calibration = self.calibration.as_ref().ok_or(Error::NotCalibrated { path: source })?;
            calibration.apply(encoder)?;
        }
        Ok(self)
    }

    /// Notes how large the inputs of the encoder's linear layers are on some texts, for [`Precision::Int8`]; written by
    /// [`folder::save`]. `progress` is told how many texts are done.
    ///
    /// # Errors
    /// A model without a transformer, or inputs that it does not read.
    pub fn calibrate(&mut self, inputs: &[Input], progress: impl FnMut(usize)) -> Result<()> {
        let pass = Pass::inference().observing();
        self.run(inputs, CALIBRATED_AT_ONCE, &pass, progress)?;
        let Some(Encoder::Transformer(encoder)) = &mut self.network.encoder else {
            return Err(Error::Setting("only a transformer has products to calibrate".into()));
        };
        self.calibration = Some(Arc::new(Calibration::of(encoder)));
        Ok(())
    }

    /// What [`calibrate`](Self::calibrate) noted, or the folder says.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_deref()
    }

    /// How the encoder's products are rounded by [`embed`](Self::embed): never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn check_widths(&self) -> Result<()> {
        let mut width = self.input;
        for (index, stage) in self.network.head.iter().enumerate() {
            if let Some(expected) = stage.input().filter(|&expected| expected != width) {
                return Err(Error::Dimension {
                    what: format!("input of head stage {index}"),
                    expected,
                    found: width,
                });
            }
            width = stage.output(width);
        }
        Ok(())
    }

    /// The dimension of the embeddings.
    pub fn dim(&self) -> usize {
        self.network.head.iter().fold(self.input, |width, stage| stage.output(width))
    }

    /// The dimension that the head reads: of the pooled text, or of the stored vectors.
    pub fn input_dim(&self) -> usize {
        self.input
    }

    /// Whether the embeddings have length 1.
    pub fn normalized(&self) -> bool {
        matches!(self.network.head.last(), Some(Stage::Normalize(Normalize {})))
    }

    /// The text side, if there is one.
    pub fn text(&self) -> Option<&TextTower> {
        self.text.as_ref()
    }

    /// The parameters.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The model with other parameters.
    pub fn map_network(mut self, f: impl FnOnce(Network) -> Network) -> Self {
        self.update_network(f);
        self
    }

    /// Replaces the parameters in place, for a training step.
    pub fn update_network(&mut self, f: impl FnOnce(Network) -> Network) {
        // It was of other weights.
        self.calibration = None;
        let empty = Network { encoder: None, head: Vec::new() };
        self.network = f(std::mem::replace(&mut self.network, empty));
    }

    /// The same parameters without gradient tracking, for inference.
    pub fn frozen(&self) -> Self {
        let mut model = self.clone();
        model.network = model.network.valid();
        model
    }

    /// Prompts by name.
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        &self.prompts
    }

    /// The prompt that is used where none is asked for.
    pub fn default_prompt(&self) -> Option<&str> {
        self.default_prompt.as_deref()
    }

    /// How two embeddings are compared: as the folder says, and by the inner product where queries and documents differ.
    pub fn similarity(&self) -> Similarity {
        if self.two_sided() { Similarity::Dot } else { self.similarity }
    }

    /// Whether an input has one embedding as a query and another as a document.
    pub fn two_sided(&self) -> bool {
        self.network.head.iter().any(|stage| matches!(stage, Stage::StructuralSparse(_)))
    }

    /// The text of a prompt: that of `name`, else of the default prompt, else none.
    ///
    /// # Errors
    /// A prompt that the model does not have.
    pub fn prompt(&self, name: Option<&str>) -> Result<&str> {
        match name.or(self.default_prompt.as_deref()) {
            None => Ok(""),
            Some(name) => self.prompts.get(name).map(String::as_str).ok_or_else(|| {
                let known: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
                Error::Setting(format!("the model has no prompt \"{name}\"; it has: {}", known.join(", ")))
            }),
        }
    }

    /// Tokenises texts, each after the named prompt (or the default one).
    ///
    /// # Errors
    /// A prompt that the model does not have, or a model without an encoder.
    pub fn tokenize<S: AsRef<str> + Sync>(&self, texts: &[S], prompt: Option<&str>) -> Result<Vec<Input>> {
        let tower = self.text.as_ref().ok_or_else(|| {
            Error::Setting("this model has no text encoder; it reads stored vectors".into())
        })?;
        tower.tokenize(texts, self.prompt(prompt)?)
    }

    /// The embeddings `[B, dim]` of a batch: all tokenised texts, or all stored vectors.
    ///
    /// # Errors
    /// A vector of another dimension than [`Self::input_dim`], or inputs of the wrong kind.
    pub fn forward(&self, batch: &[&Input], pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.stages(self.pooled(batch, pass)?, 0, pass.queries()))
    }

    /// What is left of the head from stage `from` on, for what that stage reads; the first `queries` rows are queries, the rest
    /// documents.
    pub fn stages(&self, x: Tensor<2>, from: usize, queries: usize) -> Tensor<2> {
        let left = &self.network.head[from.min(self.network.head.len())..];
        left.iter().fold(x, |x, stage| stage.forward(x, queries))
    }

    /// The stage of the head with the last linear layer before the embedding; none without such a stage.
    pub fn metric_layer(&self) -> Option<usize> {
        self.network.head.iter().rposition(|stage| stage.linear().is_some())
    }

    /// What the head reads `[B, input]`: the pooled texts of a batch, or its stored vectors.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn pooled(&self, batch: &[&Input], pass: &Pass) -> Result<Tensor<2>> {
        let device = self.device();
        let mut texts: Vec<&[u32]> = Vec::new();
        let mut prompts = Vec::new();
        let mut vectors: Vec<f32> = Vec::new();
        for input in batch {
            match input {
                Input::Tokens { ids, prompt_tokens } => {
                    texts.push(ids);
                    prompts.push(*prompt_tokens);
                }
                Input::Vector(vector) => {
                    if vector.len() != self.input {
                        return Err(Error::Dimension {
                            what: "stored vector".into(),
                            expected: self.input,
                            found: vector.len(),
                        });
                    }
                    vectors.extend_from_slice(vector);
                }
            }
        }
        Ok(match (&self.network.encoder, &self.text) {
            (Some(encoder), Some(tower)) if texts.len() == batch.len() => match encoder {
                Encoder::Static(table) => table.forward(&texts),
                Encoder::Transformer(encoder) => {
                    let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
                    let layout = ops::layout(&lengths, &device).from_row(pass.first_row());
                    let states = encoder.forward(&texts, &layout, pass);
                    tower.pooling.forward(states, &layout, &prompts)
                }
            },
            (None, _) if texts.is_empty() => {
                Tensor::from_data(TensorData::new(vectors, [batch.len(), self.input]), &device)
            }
            (Some(_), _) => return Err(Error::Setting("this model reads texts, not stored vectors".into())),
            _ => return Err(Error::Setting("this model reads stored vectors, not texts".into())),
        })
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.network.devices().into_iter().next().unwrap_or_else(crate::cpu)
    }

    /// Embeddings of tokenised texts or stored vectors as queries, row-major `[n, dim]`, in batches of similar length that hold
    /// about `token_budget` tokens; `progress` is told how many are done.
    ///
    /// Runs on the current rayon pool. On the CPU a text's vector is the same to the last bit whatever stands beside it in
    /// a batch, and for any number of threads.
    pub fn embed(
        &self,
        inputs: &[Input],
        token_budget: usize,
        progress: impl FnMut(usize),
    ) -> Result<Vec<f32>> {
        self.embed_as(Role::Query, inputs, token_budget, progress)
    }

    /// [`embed`](Self::embed) for one side of a search; the same for models that are not
    /// [`two_sided`](Self::two_sided).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn embed_as(
        &self,
        role: Role,
        inputs: &[Input],
        token_budget: usize,
        progress: impl FnMut(usize),
    ) -> Result<Vec<f32>> {
        let pass = Pass::inference().with_precision(self.precision).on_side(role);
        self.run(inputs, token_budget, &pass, progress)
    }

    fn run(
        &self,
        inputs: &[Input],
        token_budget: usize,
        pass: &Pass,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f32>> {
        let dim = self.dim();
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(inputs[i].tokens()), i));
        let mut out = vec![0f32; inputs.len() * dim];
        let parallel = ops::fused_on(&self.device());
        let (mut from, mut done) = (0, 0);
        while from < order.len() {
            let longest = inputs[order[from]].tokens().max(1);
            let to = (from + (token_budget / longest).max(1)).min(order.len());
            let batch = &order[from..to];
            let pieces = if parallel { pieces(batch, inputs) } else { vec![batch] };
            let vectors = |piece: &&[usize]| -> Result<Vec<f32>> {
                let batch: Vec<&Input> = piece.iter().map(|&i| &inputs[i]).collect();
                let data = self.forward(&batch, pass)?.into_data();
                data.try_into_vec().map_err(|e| Error::Setting(format!("{e:?}")))
            };
            let vectors: Vec<Vec<f32>> = if pieces.len() == 1 {
                vec![vectors(&pieces[0])?]
            } else {
                pieces.par_iter().with_max_len(1).map(vectors).collect::<Result<_>>()?
            };
            for (&i, row) in batch.iter().zip(vectors.iter().flat_map(|values| values.chunks_exact(dim))) {
                out[i * dim..(i + 1) * dim].copy_from_slice(row);
            }
            done += to - from;
            progress(done);
            from = to;
        }
        Ok(out)
    }

    /// Every parameter in the order of the network's definition.
    pub fn parameters(&self) -> Vec<parameters::Parameter> {
        parameters::list(&self.network)
    }
}
