//! The rows of a run: where texts and vectors come from, and which belong together.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use parallax_data::sampler::text_hash;
use parallax_data::{Labels, Parts, Roles, Shape, Table, Vectors};
use parallax_nn::{Input, SentenceEncoder, TextTower};
use parallax_train::{Example, Examples};
use sha2::{Digest, Sha256};

use super::outcome::DataSummary;
use crate::config::RunConfig;
use crate::error::{Error, Result};

/// Rows embedded at once; bounds what is held in memory beside the result.
const CHUNK: usize = 8192;

/// A table, stored vectors, or both.
pub(super) struct Dataset {
    table: Option<Table>,
    roles: Option<Roles>,
    vectors: Option<Vectors>,
    labels: Option<Labels>,
    files: Vec<String>,
    hash: String,
}

/// How rows become inputs of a model.
pub(super) struct Reader {
    text: Option<(TextTower, String)>,
}

impl Dataset {
    pub(super) fn open(config: &RunConfig) -> Result<Self> {
        let data = &config.data;
        let vectors = data.vectors.as_ref().map(Vectors::open).transpose()?;
        if let Some(vectors) = &vectors {
            vectors.check_finite()?;
        }
        let table = if data.path.0.is_empty() {
            None
        } else {
            Some(Table::open(&data.path.0, &data.table_options())?)
        };
        let roles = match (&table, &vectors) {
            (Some(table), Some(_)) => Some(data.columns().beside_vectors(table.columns())?),
            (Some(table), None) => Some(Roles::of(table, &data.columns())?),
            (None, _) => None,
        };
        let labels = match (&table, roles.as_ref().map(|r| &r.shape), &data.labels) {
            (_, _, Some(path)) if vectors.is_some() => Some(Labels::from_npy(path)?),
            (Some(table), Some(Shape::Labelled { label, .. } | Shape::Vectors { label: Some(label) }), _) => {
                Some(Labels::from_table(table, *label)?)
            }
            _ => None,
        };
        match (&vectors, &labels, &roles) {
            (None, _, None) => {
                return Err(Error::setting_with(
                    "there is no data",
                    "set data.path, or data.vectors and data.labels",
                ));
            }
            (Some(_), None, _) => {
                return Err(Error::setting_with(
                    "the stored vectors have no classes",
                    "set data.labels to an .npy of integers, or data.path to a table with a label column",
                ));
            }
            (Some(vectors), Some(labels), _) if vectors.rows() != labels.len() => {
                return Err(Error::Data(parallax_data::Error::LengthsDiffer {
                    first: vectors.path().display().to_string(),
                    first_rows: vectors.rows(),
                    second: "the labels".into(),
                    second_rows: labels.len(),
                }));
            }
            (_, _, Some(Roles { shape: Shape::ScoredPairs { .. }, .. })) => {
                return Err(Error::setting_with(
                    "the rows are pairs with a score, which no loss of this version learns from",
                    "use labelled rows or pairs; data.score = \"\" cannot be ignored silently",
                ));
            }
            _ => {}
        }
        let mut files: Vec<std::path::PathBuf> = data.path.0.clone();
        files.extend(data.vectors.clone());
        files.extend(data.labels.clone());
        let mut hash = Sha256::new();
        for path in &files {
            let mut file = File::open(path).map_err(Error::io(path, "read"))?;
            let mut block = vec![0; 1 << 20];
            loop {
                let n = file.read(&mut block).map_err(Error::io(path, "read"))?;
                if n == 0 {
                    break;
                }
                hash.update(&block[..n]);
            }
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let files =
            files.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
        Ok(Dataset { table, roles, vectors, labels, files, hash })
    }

    pub(super) fn len(&self) -> usize {
        self.vectors.as_ref().map_or_else(|| self.table.as_ref().map_or(0, Table::len), Vectors::rows)
    }

    pub(super) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// The class of every row; `None` for pairs.
    pub(super) fn classes(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    pub(super) fn vector_dim(&self) -> Option<usize> {
        self.vectors.as_ref().map(Vectors::dim)
    }

    pub(super) fn split_column(&self) -> Option<String> {
        let column = self.roles.as_ref()?.split?;
        self.table.as_ref()?.columns().get(column).cloned()
    }

    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// The mapping of columns to roles, a line each.
    pub(super) fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("data: {} rows of {}", self.len(), self.files.join(", "))];
        if let Some(roles) = &self.roles {
            lines.extend(roles.to_string().lines().map(str::to_owned));
        }
        if let Some(labels) = &self.labels {
            lines.push(format!("classes: {}", labels.classes()));
        }
        lines
    }

    pub(super) fn summary(&self, parts: &Parts) -> DataSummary {
        let roles = self.roles.iter().flat_map(|roles| &roles.bindings);
        DataSummary {
            files: self.files.clone(),
            sha256: self.hash.clone(),
            rows: self.len(),
            classes: self.labels.as_ref().map(Labels::classes),
            roles: roles.map(|b| (b.role.to_owned(), b.column.clone())).collect(),
            train: parts.train.len(),
            validation: parts.validation.len(),
            test: parts.test.len(),
        }
    }

    pub(super) fn reader(&self, model: &SentenceEncoder, prompt: Option<&str>) -> Result<Reader> {
        let text = match model.text() {
            Some(tower) => Some((tower.clone(), model.prompt(prompt)?.to_owned())),
            None => None,
        };
        Ok(Reader { text })
    }

    /// One input for each row, of a column of texts or of the vectors.
    fn inputs(
        &self,
        reader: &Reader,
        column: usize,
        rows: &[u32],
    ) -> Result<Vec<Input>, parallax_train::Error> {
        if let Some(vectors) = &self.vectors {
            return Ok(rows.iter().map(|&row| Input::Vector(vectors.row(row as usize))).collect());
        }
        let texts = self.texts(column, rows)?;
        reader.tokenize(&texts)
    }

    fn texts(&self, column: usize, rows: &[u32]) -> Result<Vec<String>, parallax_data::Error> {
        let table = self.table.as_ref().expect("rows without vectors come from a table");
        rows.iter().map(|&row| table.cell(row as usize, column)).collect()
    }

    /// The column of a row's own text, and of the text that belongs to it where rows are pairs.
    fn columns(&self) -> (usize, Option<usize>) {
        match self.roles.as_ref().map(|roles| &roles.shape) {
            Some(Shape::Labelled { text, .. }) => (*text, None),
            Some(
                Shape::Pairs { anchor, positive }
                | Shape::Triplets { anchor, positive, .. }
                | Shape::ScoredPairs { anchor, positive, .. },
            ) => (*anchor, Some(*positive)),
            Some(Shape::Vectors { .. }) | None => (0, None),
        }
    }

    /// Embeddings of rows, row-major; for pairs those of both sides.
    pub(super) fn embed(
        &self,
        reader: &Reader,
        model: &SentenceEncoder,
        rows: &[u32],
        batch_tokens: usize,
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let side = |column: usize| -> Result<Vec<f32>> {
            let mut all = Vec::with_capacity(rows.len() * model.dim());
            for chunk in rows.chunks(CHUNK) {
                all.extend(model.embed(&self.inputs(reader, column, chunk)?, batch_tokens, |_| ())?);
            }
            Ok(all)
        };
        let (own, other) = self.columns();
        Ok((side(own)?, other.map(side).transpose()?))
    }

    /// Which rows are relevant for each other: their classes, or for pairs the groups of [`groups`].
    pub(super) fn relevance(&self, rows: &[u32]) -> Result<Vec<u32>> {
        match &self.labels {
            Some(labels) => Ok(labels.select(rows)),
            None => {
                let (anchors, positives) = self.pair_hashes(rows)?;
                Ok(groups(&anchors, &positives))
            }
        }
    }

    fn pair_hashes(&self, rows: &[u32]) -> Result<(Vec<u64>, Vec<u64>)> {
        let (anchor, positive) = self.columns();
        let hashes = |column| -> Result<Vec<u64>> {
            Ok(self.texts(column, rows)?.iter().map(|text| text_hash(text)).collect())
        };
        Ok((hashes(anchor)?, hashes(positive.unwrap_or(anchor))?))
    }
}

impl Reader {
    fn tokenize(&self, texts: &[String]) -> Result<Vec<Input>, parallax_train::Error> {
        let Some((tower, prompt)) = &self.text else {
            return Err(parallax_train::Error::Setting("this model reads stored vectors, not texts".into()));
        };
        Ok(tower.tokenize(texts, prompt)?)
    }
}

/// Numbers for pairs such that two pairs that share a text on the same side have the same number.
///
/// Such pairs are not each other's negatives: the shared text belongs to both.
fn groups(anchors: &[u64], positives: &[u64]) -> Vec<u32> {
    let mut parent: Vec<u32> = (0..anchors.len() as u32).collect();
    fn root(parent: &mut [u32], mut at: u32) -> u32 {
        while parent[at as usize] != at {
            parent[at as usize] = parent[parent[at as usize] as usize];
            at = parent[at as usize];
        }
        at
    }
    for side in [anchors, positives] {
        let mut first: HashMap<u64, u32> = HashMap::new();
        for (row, hash) in (0u32..).zip(side) {
            let other = *first.entry(*hash).or_insert(row);
            let (a, b) = (root(&mut parent, row), root(&mut parent, other));
            parent[a.max(b) as usize] = a.min(b);
        }
    }
    (0..anchors.len() as u32).map(|row| root(&mut parent, row)).collect()
}

/// The training part, as the trainer sees it.
pub(super) struct TrainRows<'a> {
    data: &'a Dataset,
    reader: &'a Reader,
    rows: &'a [u32],
    labels: Vec<u32>,
    /// For pairs: hashes of both sides of every row.
    hashes: Vec<Vec<u64>>,
    /// For pairs: the group of every positive text.
    known: HashMap<u64, u32>,
}

impl<'a> TrainRows<'a> {
    pub(super) fn new(data: &'a Dataset, reader: &'a Reader, rows: &'a [u32]) -> Result<Self> {
        let mut train =
            TrainRows { data, reader, rows, labels: Vec::new(), hashes: Vec::new(), known: HashMap::new() };
        match data.classes() {
            Some(labels) => train.labels = labels.select(rows),
            None => {
                let (anchors, positives) = data.pair_hashes(rows)?;
                train.labels = groups(&anchors, &positives);
                train.known = positives.iter().copied().zip(train.labels.iter().copied()).collect();
                train.hashes = vec![anchors, positives];
            }
        }
        Ok(train)
    }

    pub(super) fn hashes(&self) -> &[Vec<u64>] {
        &self.hashes
    }
}

impl Examples for TrainRows<'_> {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn paired(&self) -> bool {
        self.data.classes().is_none()
    }

    fn fetch(&self, rows: &[u32]) -> Result<Vec<Example>, parallax_train::Error> {
        let rows: Vec<u32> = rows.iter().map(|&row| self.rows[row as usize]).collect();
        let (own, other) = self.data.columns();
        let anchors = self.data.inputs(self.reader, own, &rows)?;
        let mut positives = match other {
            Some(column) => self.data.inputs(self.reader, column, &rows)?.into_iter().map(Some).collect(),
            None => vec![None; rows.len()],
        };
        let mut negatives = vec![Vec::new(); rows.len()];
        if let Some(Shape::Triplets { negatives: columns, .. }) = self.data.roles.as_ref().map(|r| &r.shape) {
            let table = self.data.table.as_ref().expect("triplets come from a table");
            for (found, &row) in negatives.iter_mut().zip(&rows) {
                let texts = parallax_data::roles::negatives(&table.row(row as usize)?, columns)?;
                let inputs = self.reader.tokenize(&texts)?;
                *found = texts
                    .iter()
                    .zip(inputs)
                    .map(|(text, input)| {
                        let hash = text_hash(text);
                        // A negative that is some row's positive must not count against that row's group. Any other text
                        // gets a number that no group has.
                        let label = self.known.get(&hash).copied().unwrap_or(u32::MAX - (hash as u32 >> 2));
                        (input, label)
                    })
                    .collect();
            }
        }
        Ok(anchors
            .into_iter()
            .zip(positives.drain(..))
            .zip(negatives)
            .map(|((anchor, positive), negatives)| Example { anchor, positive, negatives })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn pairs_that_share_a_text_are_one_group() {
        assert_eq!(groups(&[1, 2, 1, 3], &[5, 6, 7, 6]), [0, 1, 0, 1]);
        assert_eq!(groups(&[1, 2], &[2, 1]), [0, 1]);
    }
}
