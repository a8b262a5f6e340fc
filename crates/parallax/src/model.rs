use std::path::Path;

use parallax_nn::{Input, LoadOptions, Precision, Role, SentenceEncoder, cpu};

use crate::models::{self, Progress};
use crate::{Error, Result};

/// Tokens embedded at once where nothing else is said; memory and speed only.
pub const BATCH_TOKENS: usize = 16_384;

/// A model that turns texts, or stored vectors, into embeddings.
///
/// ```no_run
/// let model = parallax::Model::load("all-MiniLM-L6-v2")?;
/// let v = model.encode(["hello", "world"])?;
/// println!("{}", v.cosine(0, 1));
/// # Ok::<(), parallax::Error>(())
/// ```
#[derive(Clone)]
pub struct Model {
    encoder: SentenceEncoder,
}

impl Model {
    /// Loads a sentence-transformers folder by its path or its name; a name that is not on this machine is fetched. See
    /// [`models::resolve`].
    ///
    /// # Errors
    /// As [`models::resolve`], and [`Error::Model`] for a folder that is damaged or not understood.
    pub fn load(name_or_path: impl AsRef<Path>) -> Result<Model> {
        Model::load_with(name_or_path, &LoadOptions::default(), &mut |_| {})
    }

    /// [`load`](Self::load) with options, and told how a download goes on.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        name_or_path: impl AsRef<Path>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Model> {
        let given = name_or_path.as_ref();
        let path = match given.to_str() {
            Some(name) => models::resolve(name, progress)?,
            None => given.to_owned(),
        };
        Ok(Model { encoder: SentenceEncoder::load(&path, options, &cpu())? })
    }

    /// The embeddings of texts, each after the model's default prompt, if it has one.
    ///
    /// Runs on the current rayon pool; the result does not depend on its size.
    ///
    /// # Errors
    /// If the model reads stored vectors and not texts.
    pub fn encode<I>(&self, texts: I) -> Result<Vectors>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Sync,
    {
        self.encode_texts(texts, None, Role::Query)
    }

    /// The embeddings of texts that are searched with; as [`encode`](Self::encode).
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_query<I>(&self, texts: I) -> Result<Vectors>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Sync,
    {
        self.encode_texts(texts, None, Role::Query)
    }

    /// The embeddings of texts that are searched in. They differ from those of [`encode`](Self::encode) for models with a
    /// head that maps queries alone, such as `structural_sparse`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_document<I>(&self, texts: I) -> Result<Vectors>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Sync,
    {
        self.encode_texts(texts, None, Role::Document)
    }

    /// The embeddings of texts, each after the prompt of this name.
    ///
    /// # Errors
    /// If the model has no such prompt, or reads stored vectors.
    pub fn encode_with_prompt<I>(&self, texts: I, prompt: &str) -> Result<Vectors>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Sync,
    {
        self.encode_texts(texts, Some(prompt), Role::Query)
    }

    fn encode_texts<I>(&self, texts: I, prompt: Option<&str>, role: Role) -> Result<Vectors>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Sync,
    {
        let texts: Vec<I::Item> = texts.into_iter().collect();
        let inputs = self.encoder.tokenize(&texts, prompt)?;
        self.embed_as(role, &inputs, BATCH_TOKENS)
    }

    /// The embeddings of stored vectors, `[n, input_dim]` row after row, of a model that is a head alone; as queries, where
    /// that makes a difference.
    ///
    /// # Errors
    /// If the numbers are not whole rows of that dimension, or the model reads texts.
    pub fn transform(&self, values: &[f32]) -> Result<Vectors> {
        self.transform_as(Role::Query, values)
    }

    /// [`transform`](Self::transform) for one side of a search.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn transform_as(&self, role: Role, values: &[f32]) -> Result<Vectors> {
        let dim = self.encoder.input_dim();
        if !values.len().is_multiple_of(dim) {
            return Err(Error::setting(format!("{} numbers are not whole rows of {dim}", values.len())));
        }
        let inputs: Vec<Input> = values.chunks_exact(dim).map(|row| Input::Vector(row.to_vec())).collect();
        self.embed_as(role, &inputs, BATCH_TOKENS)
    }

    pub(crate) fn embed(&self, inputs: &[Input], batch_tokens: usize) -> Result<Vectors> {
        self.embed_as(Role::Query, inputs, batch_tokens)
    }

    fn embed_as(&self, role: Role, inputs: &[Input], batch_tokens: usize) -> Result<Vectors> {
        let values = self.encoder.embed_as(role, inputs, batch_tokens, |_| {})?;
        Ok(Vectors { values, dim: self.encoder.dim() })
    }

    /// The dimension of the embeddings.
    pub fn dim(&self) -> usize {
        self.encoder.dim()
    }

    /// Whether the model reads texts; otherwise it reads stored vectors.
    pub fn reads_text(&self) -> bool {
        self.encoder.text().is_some()
    }

    /// How the encoder's products are rounded: never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.encoder.precision()
    }

    /// The same model with the encoder's products rounded in another way. Vectors of different precisions differ slightly.
    ///
    /// # Errors
    /// [`Precision::Int8`] for a folder without a calibration; see [`convert::quantize`](crate::convert::quantize).
    pub fn with_precision(self, precision: Precision) -> Result<Self> {
        Ok(Model { encoder: self.encoder.with_precision(precision)? })
    }

    /// The layers behind it.
    pub fn encoder(&self) -> &SentenceEncoder {
        &self.encoder
    }
}

impl From<SentenceEncoder> for Model {
    fn from(encoder: SentenceEncoder) -> Self {
        Model { encoder }
    }
}

/// Embeddings, `[len, dim]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    values: Vec<f32>,
    dim: usize,
}

impl Vectors {
    /// The number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The numbers in each vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Vector `i`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    /// The cosine of the angle between vectors `i` and `j`, summed in 64 bits; 0 where either is the zero vector.
    ///
    /// # Panics
    /// If `i` or `j` is not below [`len`](Self::len).
    pub fn cosine(&self, i: usize, j: usize) -> f64 {
        cosine(self.row(i), self.row(j))
    }

    /// All values, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// All values, row after row.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// The cosine of the angle between two vectors, summed in 64 bits; 0 where either is the zero vector.
pub(crate) fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let norms = (dot(x, x) * dot(y, y)).sqrt();
    if norms == 0.0 { 0.0 } else { dot(x, y) / norms }
}
