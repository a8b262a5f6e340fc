//! Measuring retrieval of a model, or of stored vectors, on labelled rows or pairs.

mod plan;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use parallax_data::Parts;
use parallax_eval::{
    CLASSIFICATION, Gallery, Retrieval, RetrievalConfig, SCORED_PAIRS, Similarity, Vectors, classification,
    retrieval, scored_pairs,
};
use parallax_nn::{Precision, SentenceEncoder};
use parallax_random::Key;
use serde::{Deserialize, Serialize};

use crate::config::{Codes, Data, Evaluate};
use crate::dataset::{Dataset, Reader};
use crate::definitions::definitions;
use crate::model::Model;
use crate::{Error, Result};
pub use plan::{EvaluationPlan, plan};

/// A part of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All rows, whatever the split.
    #[default]
    All,
    /// The rows to train on.
    Train,
    /// The rows to choose with.
    Validation,
    /// The rows to report on.
    Test,
}

impl Part {
    fn of(self, parts: Parts) -> Vec<u32> {
        match self {
            Part::All => {
                let mut rows = parts.train;
                rows.extend(parts.validation);
                rows.extend(parts.test);
                rows.sort_unstable();
                rows
            }
            Part::Train => parts.train,
            Part::Validation => parts.validation,
            Part::Test => parts.test,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Part::All => "all",
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

/// What is measured on what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The rows; with [`Data::vectors`] those are measured, through the model if there is one.
    pub data: Data,
    /// The measures.
    pub evaluate: Evaluate,
    /// The part of [`Data::split`] that is measured.
    pub part: Part,
    /// The seed of the split and of the intervals.
    pub seed: u64,
    /// What makes two vectors near; the model's own similarity, or cosine, where it is not given.
    pub similarity: Option<Similarity>,
    /// The prompt put before every text; the model's default where it is not given.
    pub prompt: Option<String>,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// The files that were measured on.
    pub data: Vec<PathBuf>,
    /// What the rows are: labelled rows, pairs, stored vectors.
    pub shape: String,
    /// The part that was measured.
    pub part: Part,
    /// Rows of that part.
    pub rows: usize,
    /// Classes among them; absent for pairs.
    pub classes: Option<usize>,
    /// Dimension of the embeddings.
    pub dim: usize,
    /// How the encoder's products were rounded; absent for stored vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The measures with their definitions.
    #[serde(flatten)]
    pub retrieval: Retrieval,
}

impl fmt::Display for EvaluationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Retrieval { queries, dropped, gallery, mode, similarity, .. } = &self.retrieval;
        write!(f, "{} {}", self.rows, self.shape)?;
        if let Some(classes) = self.classes {
            write!(f, " of {classes} classes")?;
        }
        write!(f, " ({}), {} dimensions", self.part.name(), self.dim)?;
        writeln!(f, "{}", self.precision.map_or(String::new(), |precision| format!(" in {precision}")))?;
        let scored = mode == SCORED_PAIRS;
        let classified = mode == CLASSIFICATION;
        if classified {
            write!(f, "called {similarity}")?;
        } else if scored {
            write!(f, "similarity: {similarity}")?;
        } else {
            write!(
                f,
                "{queries} queries against {gallery} rows, {}, by {similarity}",
                mode.replace('_', " ")
            )?;
        }
        if *dropped > 0 {
            write!(f, "; {dropped} queries have nothing relevant and do not count")?;
        }
        let width = self.retrieval.measures.iter().map(|m| m.name.len()).max().unwrap_or(0).max(7);
        if scored {
            write!(f, "\n\n{:<width$}   value", "measure")?;
        } else if classified {
            write!(f, "\n\n{:<width$}   value   95 % interval", "measure")?;
        } else {
            write!(f, "\n\n{:<width$}   value   95 % interval      class mean", "measure")?;
        }
        for measure in &self.retrieval.measures {
            if scored {
                write!(f, "\n{:<width$} {:>7.4}", measure.name, measure.value)?;
                continue;
            }
            let interval = match measure.interval {
                Some([low, high]) => format!("[{low:.4}, {high:.4}]"),
                None => "-".to_owned(),
            };
            if classified {
                write!(f, "\n{:<width$}  {:.4}  {interval}", measure.name, measure.value)?;
                continue;
            }
            write!(
                f,
                "\n{:<width$}  {:.4}  {interval:<17}  {:.4}",
                measure.name, measure.value, measure.class_mean
            )?;
        }
        let all = self.retrieval.measures.iter().map(|m| (m.name.as_str(), m.definition.as_str()));
        write!(f, "\n\n{}", definitions(all).join("\n"))
    }
}

/// Measures retrieval: of labelled rows among themselves, each left out of its own ranking; of pairs from every anchor to
/// the positives.
///
/// A classifier is measured by its own measures (see [`parallax_eval::classification`]), on rows with classes that it knows.
///
/// Pairs with a score are measured by how well their similarity follows it (Spearman's and Pearson's correlation), whatever
/// measures are asked for. Two pairs that share a text on the same side are relevant for each other's anchors. `progress` is told how many rows are
/// embedded.
///
/// # Errors
/// Data that cannot be read or that the model cannot take, rows without labels, an empty part.
pub fn evaluate(
    model: Option<&Model>,
    evaluation: &Evaluation,
    progress: &mut dyn FnMut(usize),
) -> Result<EvaluationReport> {
    let Prepared { rows, encoder, selected, settings, reader } = Prepared::new(model, evaluation)?;
    let result =
        measure(&rows, &reader, &encoder, &selected, &settings, &evaluation.evaluate, progress)?.retrieval;
    Ok(EvaluationReport {
        data: rows.files().to_vec(),
        shape: rows.shape().to_owned(),
        part: evaluation.part,
        rows: selected.len(),
        classes: classes(&rows, &selected),
        dim: encoder.dim(),
        precision: encoder.text().is_some().then(|| encoder.precision()),
        retrieval: result.without_per_query(),
    })
}

/// The classes among rows; `None` for pairs.
fn classes(data: &Dataset, rows: &[u32]) -> Option<usize> {
    data.classes().map(|labels| labels.select(rows).into_iter().collect::<BTreeSet<_>>().len())
}

/// An evaluation with everything checked that can be before the first row is embedded.
struct Prepared {
    rows: Dataset,
    encoder: SentenceEncoder,
    selected: Vec<u32>,
    settings: RetrievalConfig,
    reader: Reader,
}

impl Prepared {
    fn new(model: Option<&Model>, evaluation: &Evaluation) -> Result<Self> {
        let Evaluation { data, evaluate, part, seed, prompt, .. } = evaluation;
        let key = Key::new(*seed);
        let rows = Dataset::open(data)?;
        let encoder = match (model, rows.vector_dim()) {
            (Some(model), Some(_)) if model.reads_text() => {
                let what = "the model reads texts, and stored vectors were given";
                return Err(Error::setting_with(what, "leave out the model, or the vectors"));
            }
            (Some(model), None) if !model.reads_text() => {
                let what = "the model reads stored vectors, and there are none";
                return Err(Error::setting_with(what, "give an .npy file, or a model that reads texts"));
            }
            // The parameters are shared, not copied.
            (Some(model), _) => model.encoder().clone(),
            (None, Some(dim)) => SentenceEncoder::over_vectors(dim, Vec::new())?,
            (None, None) => {
                return Err(Error::setting_with(
                    "there are no stored vectors to measure",
                    "give an .npy file, or a model",
                ));
            }
        };
        let selected: Vec<u32> = match &data.split {
            None if *part == Part::All => (0..rows.len() as u32).collect(),
            split => {
                part.of(rows.split(split.as_ref()).assign(rows.len(), rows.classes(), rows.table(), key)?)
            }
        };
        if selected.is_empty() {
            let what = format!("the {} part has no rows", part.name());
            return Err(Error::setting_with(what, "choose another part, or set the split"));
        }
        let settings = RetrievalConfig {
            measures: evaluate.measures.clone(),
            similarity: match evaluation.similarity {
                Some(similarity) => similarity,
                None => own_similarity(&encoder)?,
            },
            resamples: evaluate.resamples,
            seed: key.named("evaluate").bits(0),
            ..RetrievalConfig::default()
        };
        let reader = rows.reader(&encoder, prompt.as_deref())?;
        Ok(Prepared { rows, encoder, selected, settings, reader })
    }
}

/// Rows that were measured: what they gave, and their vectors, both sides of them for pairs.
pub(crate) struct Measured {
    pub(crate) retrieval: Retrieval,
    pub(crate) dim: usize,
    pub(crate) vectors: Vec<f32>,
    pub(crate) others: Option<Vec<f32>>,
}

/// Embeds rows and measures retrieval: of labelled rows among themselves, of pairs from anchors to positives. Of pairs with
/// scores, the correlation of similarities with scores instead.
pub(crate) fn measure(
    data: &Dataset,
    reader: &Reader,
    encoder: &SentenceEncoder,
    rows: &[u32],
    settings: &RetrievalConfig,
    evaluate: &Evaluate,
    progress: &mut dyn FnMut(usize),
) -> Result<Measured> {
    if encoder.two_sided() && data.columns().1.is_none() {
        return Err(Error::setting_with(
            "the model has one vector for a query and another for a document, and the rows are not pairs",
            "measure it on pairs: a table with anchors and positives, or data.vectors with data.positives",
        ));
    }
    let (mut values, mut other) = data.embed(reader, encoder, rows, evaluate.batch_tokens, progress)?;
    let dim = encoder.dim();
    if let Some(classes) = encoder.classes() {
        let targets = data.targets(classes, rows)?;
        let retrieval = classification(&values, dim, &targets, settings.resamples, settings.seed)?;
        return Ok(Measured { retrieval, dim, vectors: values, others: None });
    }
    let mut settings = settings.clone();
    if evaluate.codes == Some(Codes::Binary) {
        values.iter_mut().chain(other.iter_mut().flatten()).for_each(|value| {
            *value = if *value >= 0.0 { 1.0 } else { -1.0 };
        });
        // Of D signs each, D less twice the signs that differ: a whole number, exact in 64 bits.
        settings.similarity = Similarity::Dot;
    }
    let named = |found: Retrieval| match evaluate.codes {
        Some(Codes::Binary) => Retrieval { similarity: BY_SIGNS.to_owned(), ..found },
        None => found,
    };
    if let (Some(scores), Some(second)) = (data.scores(rows)?, &other) {
        let retrieval = named(scored_pairs(&values, second, dim, &scores, settings.similarity)?);
        // Pairs with scores say nothing of which texts belong together, so there is nothing to search in.
        return Ok(Measured { retrieval, dim, vectors: Vec::new(), others: None });
    }
    let labels = data.relevance(rows)?;
    let queries = Vectors { values: &values, dim, labels: &labels };
    let gallery = match &other {
        None => Gallery::LeaveOneOut,
        Some(values) => Gallery::Reference(Vectors { values, dim, labels: &labels }),
    };
    let retrieval = named(retrieval(&settings, queries, gallery)?);
    Ok(Measured { retrieval, dim, vectors: values, others: other })
}

/// What ranks binary codes.
const BY_SIGNS: &str = "-(numbers whose signs differ)";

/// The similarity that a model's folder asks for.
pub(crate) fn own_similarity(encoder: &SentenceEncoder) -> Result<Similarity> {
    use parallax_nn::folder::Similarity as Own;
    match encoder.similarity() {
        Own::Cosine => Ok(Similarity::Cosine),
        Own::Dot => Ok(Similarity::Dot),
        Own::Euclidean => Ok(Similarity::Euclidean),
        Own::Manhattan => {
            let what = "the model compares by Manhattan distance, which is not measured here";
            Err(Error::setting_with(what, "choose cosine, dot or euclidean"))
        }
    }
}
