//! Measuring retrieval of a model, or of stored vectors, on labelled rows or pairs.

use std::fmt;
use std::path::PathBuf;

use parallax_data::{Labels, Parts, Roles, Shape, Split, Table};
use parallax_eval::{Gallery, Retrieval, RetrievalConfig, Similarity, retrieval};
use parallax_nn::Input;
use parallax_random::Key;
use serde::{Deserialize, Serialize};

use crate::config::{Data, Evaluate};
use crate::model::Model;
use crate::{Error, Result};

/// Rows that are read and embedded at once.
const CHUNK_ROWS: usize = 8192;

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
        writeln!(f, " ({}), {} dimensions", self.part.name(), self.dim)?;
        write!(f, "{queries} queries against {gallery} rows, {}, by {similarity}", mode.replace('_', " "))?;
        if *dropped > 0 {
            write!(f, "; {dropped} queries have nothing relevant and do not count")?;
        }
        let width = self.retrieval.measures.iter().map(|m| m.name.len()).max().unwrap_or(0).max(7);
        write!(f, "\n\n{:<width$}   value   95 % interval      class mean", "measure")?;
        for measure in &self.retrieval.measures {
            let interval = match measure.interval {
                Some([low, high]) => format!("[{low:.4}, {high:.4}]"),
                None => "-".to_owned(),
            };
            write!(
                f,
                "\n{:<width$}  {:.4}  {interval:<17}  {:.4}",
                measure.name, measure.value, measure.class_mean
            )?;
        }
        Ok(())
    }
}

/// Measures retrieval: of labelled rows among themselves, each left out of its own ranking; of pairs from every anchor to
/// the positives.
///
/// Two pairs with the same positive text are relevant for each other's anchors. `progress` is told how many rows are
/// embedded.
///
/// # Errors
/// Data that cannot be read or that the model cannot take, rows without labels, an empty part.
pub fn evaluate(
    model: Option<&Model>,
    evaluation: &Evaluation,
    progress: &mut dyn FnMut(usize),
) -> Result<EvaluationReport> {
    let Evaluation { data, evaluate, part, seed, prompt, .. } = evaluation;
    let key = Key::new(*seed);
    let rows = Rows::open(data, model)?;
    let selected = match &data.split {
        None if *part == Part::All => (0..rows.len() as u32).collect(),
        split => {
            let split = split.clone().unwrap_or_else(|| rows.usual_split());
            part.of(split.assign(rows.len(), rows.labels.as_ref(), rows.table.as_ref(), key)?)
        }
    };
    if selected.is_empty() {
        let what = format!("the {} part has no rows", part.name());
        return Err(Error::setting_with(what, "choose another part, or set the split"));
    }
    let settings = RetrievalConfig {
        measures: evaluate.measures.clone(),
        similarity: similarity(evaluation.similarity, model)?,
        resamples: evaluate.resamples,
        seed: key.named("evaluate").bits(0),
        ..RetrievalConfig::default()
    };
    let embed = |column: usize, progress: &mut dyn FnMut(usize)| {
        rows.embed(model, column, &selected, prompt.as_deref(), evaluate.batch_tokens, progress)
    };
    let (values, dim) = embed(rows.first, progress)?;
    let (labels, classes) = rows.relevance(&selected)?;
    let queries = parallax_eval::Vectors { values: &values, dim, labels: &labels };
    let result = match rows.second {
        None => retrieval(&settings, queries, Gallery::LeaveOneOut)?,
        Some(column) => {
            let (values, dim) = embed(column, &mut |done| progress(selected.len() + done))?;
            let gallery = parallax_eval::Vectors { values: &values, dim, labels: &labels };
            retrieval(&settings, queries, Gallery::Reference(gallery))?
        }
    };
    let files = data.path.0.iter().chain(&data.vectors).chain(&data.labels);
    Ok(EvaluationReport {
        data: files.cloned().collect(),
        shape: rows.shape.to_owned(),
        part: *part,
        rows: selected.len(),
        classes,
        dim,
        retrieval: result.without_per_query(),
    })
}

fn similarity(asked: Option<Similarity>, model: Option<&Model>) -> Result<Similarity> {
    use parallax_nn::folder::Similarity as Own;
    match (asked, model.map(|model| model.encoder().similarity())) {
        (Some(similarity), _) => Ok(similarity),
        (None, None | Some(Own::Cosine)) => Ok(Similarity::Cosine),
        (None, Some(Own::Dot)) => Ok(Similarity::Dot),
        (None, Some(Own::Euclidean)) => Ok(Similarity::Euclidean),
        (None, Some(Own::Manhattan)) => {
            let what = "the model compares by Manhattan distance, which is not measured here";
            Err(Error::setting_with(what, "choose cosine, dot or euclidean"))
        }
    }
}

/// What is measured on, opened and checked.
struct Rows {
    table: Option<Table>,
    vectors: Option<parallax_data::Vectors>,
    labels: Option<Labels>,
    split: Option<String>,
    shape: &'static str,
    /// The column of a row's text.
    first: usize,
    /// The column of the text that belongs to it.
    second: Option<usize>,
}

impl Rows {
    fn open(data: &Data, model: Option<&Model>) -> Result<Rows> {
        let vectors = data.vectors.as_ref().map(parallax_data::Vectors::open).transpose()?;
        match (model.map(Model::reads_text), &vectors) {
            (Some(true), Some(_)) => {
                let what = "the model reads texts, and stored vectors were given";
                return Err(Error::setting_with(what, "leave out the model, or the vectors"));
            }
            (Some(false) | None, None) => {
                let what = "there are no stored vectors to measure";
                return Err(Error::setting_with(what, "give an .npy file, or a model that reads texts"));
            }
            _ => {}
        }
        if let Some(vectors) = &vectors {
            vectors.check_finite()?;
        }
        let open = |paths: &Vec<PathBuf>| Table::open(paths, &data.table_options());
        let table = Some(&data.path.0).filter(|paths| !paths.is_empty()).map(open).transpose()?;
        let mut rows = Rows {
            table: None,
            vectors,
            labels: None,
            split: None,
            shape: "stored vectors",
            first: 0,
            second: None,
        };
        if let Some(path) = &data.labels {
            rows.labels = Some(Labels::from_npy(path)?);
        }
        let Some(table) = table else {
            rows.check_labels()?;
            return Ok(rows);
        };
        let columns = data.columns();
        let roles = match &rows.vectors {
            Some(_) => columns.beside_vectors(table.columns())?,
            None => Roles::of(&table, &columns)?,
        };
        rows.shape = roles.shape.name();
        let label = match roles.shape {
            Shape::Labelled { text, label } => {
                rows.first = text;
                Some(label)
            }
            Shape::Vectors { label } => label,
            Shape::Pairs { anchor, positive } | Shape::Triplets { anchor, positive, .. } => {
                rows.first = anchor;
                rows.second = Some(positive);
                None
            }
            Shape::ScoredPairs { .. } => {
                let what = "the rows are pairs with a similarity, and retrieval needs classes or pairs that belong together";
                return Err(Error::setting_with(
                    what,
                    "name the columns of a class, or of pairs without a score",
                ));
            }
        };
        if let (Some(column), None) = (label, &rows.labels) {
            rows.labels = Some(Labels::from_table(&table, column)?);
        }
        rows.split = roles.split.and_then(|column| table.columns().get(column).cloned());
        rows.table = Some(table);
        rows.check_labels()?;
        Ok(rows)
    }

    /// Stored vectors need a class each, and one row of the table each.
    fn check_labels(&self) -> Result<()> {
        let Some(vectors) = &self.vectors else { return Ok(()) };
        let differ = |second: &str, second_rows: usize| {
            let (first, first_rows) = (vectors.path().display().to_string(), vectors.rows());
            Err(parallax_data::Error::LengthsDiffer {
                first,
                first_rows,
                second: second.to_owned(),
                second_rows,
            }
            .into())
        };
        match (&self.labels, &self.table) {
            (_, Some(table)) if table.len() != vectors.rows() => {
                let names: Vec<String> = table.files().map(|file| file.display().to_string()).collect();
                differ(&names.join(" and "), table.len())
            }
            (Some(labels), _) if labels.len() != vectors.rows() => differ("the list of labels", labels.len()),
            (None, _) => Err(Error::setting_with(
                format!("{}: the stored vectors have no classes", vectors.path().display()),
                "give a table with a label column, or an .npy list of integers",
            )),
            _ => Ok(()),
        }
    }

    fn len(&self) -> usize {
        let table = || self.table.as_ref().map_or(0, Table::len);
        self.vectors.as_ref().map_or_else(table, parallax_data::Vectors::rows)
    }

    /// The split where none is given: by the split column, by class, or at random.
    fn usual_split(&self) -> Split {
        use parallax_data::split::{ClassDisjointSplit, ColumnSplit, RandomSplit};
        match (&self.split, &self.labels) {
            (Some(column), _) => {
                Split::Column(ColumnSplit { column: column.clone(), ..ColumnSplit::default() })
            }
            (None, Some(_)) => Split::ClassDisjoint(ClassDisjointSplit::default()),
            (None, None) => Split::Random(RandomSplit::default()),
        }
    }

    /// Embeddings of some rows, `[rows, dim]`.
    fn embed(
        &self,
        model: Option<&Model>,
        column: usize,
        rows: &[u32],
        prompt: Option<&str>,
        batch_tokens: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(Vec<f32>, usize)> {
        let Some(model) = model else {
            let Some(vectors) = &self.vectors else { return Ok((Vec::new(), 0)) };
            let mut values = vec![0.0; rows.len() * vectors.dim()];
            vectors.read_rows(rows, &mut values);
            return Ok((values, vectors.dim()));
        };
        let mut values = Vec::with_capacity(rows.len() * model.dim());
        for chunk in rows.chunks(CHUNK_ROWS) {
            let inputs: Vec<Input> = match (&self.vectors, &self.table) {
                (Some(vectors), _) => {
                    chunk.iter().map(|&row| Input::Vector(vectors.row(row as usize))).collect()
                }
                (None, Some(table)) => {
                    let texts = chunk.iter().map(|&row| table.cell(row as usize, column));
                    model.encoder().tokenize(&texts.collect::<Result<Vec<_>, _>>()?, prompt)?
                }
                (None, None) => Vec::new(),
            };
            let done = values.len() / model.dim();
            values.extend(model.encoder().embed(&inputs, batch_tokens, |now| progress(done + now))?);
        }
        Ok((values, model.dim()))
    }

    /// Numbers that are equal for rows that are relevant for each other, and how many classes there are.
    fn relevance(&self, rows: &[u32]) -> Result<(Vec<u32>, Option<usize>)> {
        if let Some(labels) = &self.labels {
            let ids = labels.select(rows);
            let mut classes = ids.clone();
            classes.sort_unstable();
            classes.dedup();
            return Ok((ids, Some(classes.len())));
        }
        let (Some(table), Some(column)) = (&self.table, self.second) else { return Ok((Vec::new(), None)) };
        let texts = rows.iter().map(|&row| table.cell(row as usize, column));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        Ok((Labels::from_names(&texts).ids, None))
    }
}
