mod load;
mod run;
mod tower;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

pub use self::load::LoadOptions;
pub use self::tower::{Input, TextTower};
use crate::encoder::{AttentionScore, Encoder};
use crate::folder::{Calibration, Classes, Similarity};
use crate::head::{Normalize, Stage};
use crate::pooling::Pooling;
use crate::{Error, Pass, Precision, Result, ops, parameters};

/// Everything that has parameters: the encoder, if there is one, and the stages after pooling.
#[derive(Module, Debug)]
pub struct Network {
    /// Texts to token states.
    pub encoder: Option<Encoder>,
    /// Pooled (or stored) vectors to embeddings.
    pub head: Vec<Stage>,
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
    /// The model without the [`Normalize`] that it ends in, if it does: embeddings with their lengths.
    pub fn without_normalize(mut self) -> Self {
        if self.normalized() {
            self.network.head.pop();
        }
        self
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

    /// The same parameters without gradient tracking, for inference. A learned score of the attention becomes a part of the
    /// query projections.
    pub fn frozen(&self) -> Self {
        let mut model = self.clone();
        model.network = model.network.valid();
        if let Some(Encoder::Transformer(encoder)) = model.network.encoder {
            model.network.encoder = Some(Encoder::Transformer(encoder.merged()));
        }
        model
    }

    /// The same model with another score in the encoder's attention, to be trained.
    ///
    /// # Errors
    /// A model without a transformer, or a score that does not fit it.
    pub fn with_attention(mut self, score: &AttentionScore) -> Result<Self> {
        let device = self.device();
        match self.network.encoder {
            Some(Encoder::Transformer(encoder)) => {
                self.network.encoder = Some(Encoder::Transformer(score.put(encoder, &device)?));
                Ok(self)
            }
            _ => Err(Error::Setting("[attention] changes a transformer, and the model has none".into())),
        }
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

    /// Every parameter in the order of the network's definition.
    pub fn parameters(&self) -> Vec<parameters::Parameter> {
        parameters::list(&self.network)
    }
}
