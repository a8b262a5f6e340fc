//! Rows to learn from or to measure on: where texts and vectors come from, and which belong together.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;

use parallax_data::labels::LabelColumn;
use parallax_data::sampler::text_hash;
use parallax_data::split::{ClassDisjointSplit, ColumnSplit, RandomSplit, Split};
use parallax_data::{Labels, Roles, Shape, Table, Vectors};
use parallax_nn::{Input, Role, SentenceEncoder, TextTower};
use sha2::{Digest, Sha256};

use crate::config::Data;
use crate::embed::pipeline::{self, GO_ON, WINDOW_ROWS};
use crate::error::{Error, Result};

/// A table, stored vectors, or both.
pub(crate) struct Dataset {
    table: Option<Table>,
    roles: Option<Roles>,
    vectors: Option<Vectors>,
    /// The other sides of pairs of stored vectors.
    positives: Option<Vectors>,
    labels: Option<Labels>,
    /// What is worth knowing about how the files were read.
    notes: Vec<String>,
    /// The files as they were named, and every file that was read.
    files: Vec<PathBuf>,
    read: Vec<PathBuf>,
    sha256: OnceLock<String>,
}

/// How rows become inputs of a model.
pub(crate) struct Reader {
    text: Option<(TextTower, String)>,
}

impl Dataset {
    /// Opens and checks the files of a `[data]` table.
    pub(crate) fn open(data: &Data) -> Result<Self> {
        let vectors = data.vectors.as_ref().map(Vectors::open).transpose()?;
        if let Some(vectors) = &vectors {
            vectors.check_finite()?;
        }
        let positives = open_positives(data, vectors.as_ref())?;
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
        let mut notes = table.as_ref().map_or(Vec::new(), |table| table.notes().to_vec());
        let labels = match (&table, roles.as_ref().map(|r| &r.shape), &data.labels) {
            _ if positives.is_some() => None,
            (_, _, Some(path)) if vectors.is_some() => Some(Labels::from_npy(path)?),
            (Some(table), Some(Shape::Labelled { label, .. } | Shape::Vectors { label: Some(label) }), _) => {
                let column = LabelColumn::read(table, *label, data.multi_label)?;
                notes.extend(column.notes);
                Some(column.labels)
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
            (Some(vectors), None, _) if positives.is_none() => {
                return Err(Error::setting_with(
                    format!("{}: the stored vectors have no classes", vectors.path().display()),
                    "set data.labels to an .npy of integers, or data.path to a table with a label column; or \
                     data.positives to an .npy of the vectors that belong to them",
                ));
            }
            (Some(vectors), labels, _) => {
                let tables = table.as_ref().map(|table| {
                    let names: Vec<String> = table.files().map(|file| file.display().to_string()).collect();
                    (names.join(" and "), table.len())
                });
                let named = data.labels.as_ref().zip(labels.as_ref());
                let labels = named.map(|(path, labels)| (path.display().to_string(), labels.len()));
                let differs = tables.into_iter().chain(labels).find(|other| other.1 != vectors.rows());
                if let Some((second, second_rows)) = differs {
                    return Err(Error::Data(parallax_data::Error::LengthsDiffer {
                        first: vectors.path().display().to_string(),
                        first_rows: vectors.rows(),
                        second,
                        second_rows,
                    }));
                }
            }
            _ => {}
        }
        let mut read: Vec<PathBuf> = table.as_ref().map_or(Vec::new(), |table| table.read_files().collect());
        read.extend(data.vectors.iter().chain(&data.positives).chain(&data.labels).cloned());
        let mut files: Vec<PathBuf> = data.path.0.clone();
        files.extend(data.vectors.clone());
        files.extend(data.positives.clone());
        files.extend(data.labels.clone());
        Ok(Dataset { table, roles, vectors, positives, labels, notes, files, read, sha256: OnceLock::new() })
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.as_ref().map_or_else(|| self.table.as_ref().map_or(0, Table::len), Vectors::rows)
    }

    pub(crate) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// The roles of the table's columns.
    pub(crate) fn table_roles(&self) -> Option<&Roles> {
        self.roles.as_ref()
    }

    /// The class of every row; `None` for pairs.
    pub(crate) fn classes(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    pub(crate) fn vector_dim(&self) -> Option<usize> {
        self.vectors.as_ref().map(Vectors::dim)
    }

    /// The split that was asked for; else by the split column, by class, or at random.
    pub(crate) fn split(&self, asked: Option<&Split>) -> Split {
        let column = self.roles.as_ref().and_then(|roles| roles.split);
        let column = column.and_then(|at| self.table.as_ref()?.columns().get(at).cloned());
        match (asked, column, &self.labels) {
            (Some(split), ..) => split.clone(),
            (None, Some(column), _) => Split::Column(ColumnSplit { column, ..ColumnSplit::default() }),
            (None, None, Some(_)) => Split::ClassDisjoint(ClassDisjointSplit::default()),
            (None, None, None) => Split::Random(RandomSplit::default()),
        }
    }

    /// What the rows are: labelled rows, pairs, stored vectors.
    pub(crate) fn shape(&self) -> &'static str {
        if self.positives.is_some() {
            return "pairs of stored vectors";
        }
        self.roles.as_ref().map_or("stored vectors", |roles| roles.shape.name())
    }

    /// What the rows are, with their columns.
    pub(crate) fn kind(&self) -> Shape {
        self.roles.as_ref().map_or(Shape::Vectors { label: None }, |roles| roles.shape.clone())
    }

    /// The name of the column that says which part a row belongs to.
    pub(crate) fn split_column(&self) -> Option<String> {
        let at = self.roles.as_ref().and_then(|roles| roles.split)?;
        self.table.as_ref()?.columns().get(at).cloned()
    }

    /// The files, in order.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Their names without folders.
    pub(crate) fn file_names(&self) -> Vec<String> {
        self.files.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect()
    }

    /// (role, column) of every column that is used.
    pub(crate) fn roles(&self) -> Vec<(String, String)> {
        let bindings = self.roles.iter().flat_map(|roles| &roles.bindings);
        bindings.map(|b| (b.role.to_owned(), b.column.clone())).collect()
    }

    /// SHA-256 over the bytes of the files, in order. They are read once, however often it is asked for.
    pub(crate) fn sha256(&self) -> Result<&str> {
        if let Some(known) = self.sha256.get() {
            return Ok(known);
        }
        let mut hash = Sha256::new();
        for path in &self.read {
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
        Ok(self.sha256.get_or_init(|| hash))
    }

    /// The mapping of columns to roles, a line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("data: {} rows of {}", self.len(), self.file_names().join(", "))];
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        if let Some(roles) = &self.roles {
            lines.extend(roles.to_string().lines().map(str::to_owned));
        }
        if let Some(labels) = &self.labels {
            lines.push(format!("classes: {}", labels.classes()));
        }
        lines
    }

    /// How the rows become inputs of `model`.
    pub(crate) fn reader(&self, model: &SentenceEncoder, prompt: Option<&str>) -> Result<Reader> {
        let text = match model.text() {
            Some(tower) => Some((tower.clone(), model.prompt(prompt)?.to_owned())),
            None => None,
        };
        Ok(Reader { text })
    }

    /// One input for each row, of a column of texts or of the vectors.
    pub(crate) fn inputs(
        &self,
        reader: &Reader,
        column: usize,
        rows: &[u32],
    ) -> Result<Vec<Input>, parallax_train::Error> {
        let side = if column == POSITIVE { &self.positives } else { &self.vectors };
        if let Some(vectors) = side {
            return Ok(rows.iter().map(|&row| Input::Vector(vectors.row(row as usize))).collect());
        }
        let texts = self.texts(column, rows)?;
        reader.tokenize(&texts)
    }

    pub(crate) fn texts(&self, column: usize, rows: &[u32]) -> Result<Vec<String>, parallax_data::Error> {
        let table = self.table.as_ref().expect("rows without vectors come from a table");
        rows.iter().map(|&row| table.cell(row as usize, column)).collect()
    }

    /// The text of a row, for show; empty where it has none.
    pub(crate) fn text(&self, column: usize, row: u32) -> String {
        let has =
            !matches!(self.roles.as_ref().map(|roles| &roles.shape), Some(Shape::Vectors { .. }) | None);
        let table = self.table.as_ref().filter(|_| has);
        table.and_then(|table| table.cell(row as usize, column).ok()).unwrap_or_default()
    }

    /// The column of a row's own text, and of the text that belongs to it where rows are pairs.
    pub(crate) fn columns(&self) -> (usize, Option<usize>) {
        match self.roles.as_ref().map(|roles| &roles.shape) {
            Some(Shape::Labelled { text, .. }) => (*text, None),
            Some(
                Shape::Pairs { anchor, positive }
                | Shape::Triplets { anchor, positive, .. }
                | Shape::ScoredPairs { anchor, positive, .. },
            ) => (*anchor, Some(*positive)),
            Some(Shape::Vectors { .. }) | None => (0, self.positives.as_ref().map(|_| POSITIVE)),
        }
    }

    /// The texts of a row that do not belong to its anchor.
    pub(crate) fn negatives(&self, row: u32) -> Result<Vec<String>, parallax_data::Error> {
        match (self.roles.as_ref().map(|roles| &roles.shape), &self.table) {
            (Some(Shape::Triplets { negatives, .. }), Some(table)) => {
                parallax_data::roles::negatives(&table.row(row as usize)?, negatives)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Embeddings of rows, row-major; for pairs those of both sides, anchors as queries and positives as documents. `progress` is told how many texts are done.
    pub(crate) fn embed(
        &self,
        reader: &Reader,
        model: &SentenceEncoder,
        rows: &[u32],
        batch_tokens: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let mut done = 0;
        let mut side = |column: usize, role: Role| -> Result<Vec<f32>> {
            let mut all = Vec::with_capacity(rows.len() * model.dim());
            let mut chunks = rows.chunks(WINDOW_ROWS);
            let prepare = || match chunks.next() {
                Some(chunk) => Ok(Some(((), self.inputs(reader, column, chunk)?))),
                None => Ok(None),
            };
            let finish = |(), values: &[f32]| {
                all.extend_from_slice(values);
                Ok(())
            };
            let mut tell = |now| progress(done + now);
            done += pipeline::run(model, role, batch_tokens, &GO_ON, prepare, finish, &mut tell)?;
            Ok(all)
        };
        let (own, other) = self.columns();
        let anchors = side(own, Role::Query)?;
        Ok((anchors, other.map(|column| side(column, Role::Document)).transpose()?))
    }

    /// Which rows are relevant for each other: their classes, or for pairs the groups of [`groups`].
    pub(crate) fn relevance(&self, rows: &[u32]) -> Result<Vec<u32>> {
        match &self.labels {
            Some(labels) => Ok(labels.select(rows)),
            None => {
                let (anchors, positives) = self.pair_hashes(rows)?;
                Ok(groups(&anchors, &positives))
            }
        }
    }

    /// The scores of rows, for pairs that have one.
    ///
    /// # Errors
    /// A score that is no finite number.
    pub(crate) fn scores(&self, rows: &[u32]) -> Result<Option<Vec<f64>>> {
        let Some(Roles { shape: Shape::ScoredPairs { score, .. }, .. }) = &self.roles else {
            return Ok(None);
        };
        let table = self.table.as_ref().expect("scored pairs come from a table");
        let number = |&row: &u32| -> Result<f64> { Ok(table.row(row as usize)?.number(*score)?) };
        rows.iter().map(number).collect::<Result<_>>().map(Some)
    }

    /// How many negatives each of these rows has.
    ///
    /// # Errors
    /// A row that cannot be read, and the first with another number than the first of all.
    pub(crate) fn negatives_each(&self, rows: &[u32]) -> Result<usize> {
        let mut each = None;
        for &row in rows {
            let found = self.negatives(row)?.len();
            if found != *each.get_or_insert(found) {
                let place =
                    self.table.as_ref().map_or_else(String::new, |t| t.place(row as usize).to_string());
                return Err(Error::setting_with(
                    format!("{place}: {found} negatives, and rows before it have {}", each.unwrap_or(0)),
                    "a loss on lists needs as many negatives in every row",
                ));
            }
        }
        Ok(each.unwrap_or(0))
    }

    /// What a teacher says of the positive and of each of the `negatives` negatives of these rows, row by row, for rows that
    /// have such scores.
    ///
    /// # Errors
    /// Scores that are missing, no numbers, or of another number.
    pub(crate) fn candidate_scores(&self, rows: &[u32], negatives: usize) -> Result<Option<Vec<f64>>> {
        let (Some(Shape::Triplets { scores, .. }), Some(table)) = (self.shape_of(), &self.table) else {
            return Ok(None);
        };
        if scores.is_empty() {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(rows.len() * (1 + negatives));
        for &row in rows {
            all.extend(parallax_data::roles::scores(&table.row(row as usize)?, scores, negatives)?);
        }
        Ok(Some(all))
    }

    /// Whether rows are pairs with negatives and scores of all of them.
    pub(crate) fn has_candidate_scores(&self) -> bool {
        matches!(self.shape_of(), Some(Shape::Triplets { scores, .. }) if !scores.is_empty())
    }

    fn shape_of(&self) -> Option<&Shape> {
        self.roles.as_ref().map(|roles| &roles.shape)
    }

    /// Whether rows are pairs with a score.
    pub(crate) fn scored(&self) -> bool {
        matches!(self.roles.as_ref().map(|roles| &roles.shape), Some(Shape::ScoredPairs { .. }))
    }

    /// Hashes of both sides of pairs.
    pub(crate) fn pair_hashes(&self, rows: &[u32]) -> Result<(Vec<u64>, Vec<u64>)> {
        if let (Some(anchors), Some(positives)) = (&self.vectors, &self.positives) {
            let hashes =
                |side: &Vectors| rows.iter().map(|&row| vector_hash(&side.row(row as usize))).collect();
            return Ok((hashes(anchors), hashes(positives)));
        }
        let (anchor, positive) = self.columns();
        let hashes = |column| -> Result<Vec<u64>> {
            Ok(self.texts(column, rows)?.iter().map(|text| text_hash(text)).collect())
        };
        Ok((hashes(anchor)?, hashes(positive.unwrap_or(anchor))?))
    }
}

impl Reader {
    pub(crate) fn tokenize(&self, texts: &[String]) -> Result<Vec<Input>, parallax_train::Error> {
        let Some((tower, prompt)) = &self.text else {
            return Err(parallax_train::Error::Setting("this model reads stored vectors, not texts".into()));
        };
        Ok(tower.tokenize(texts, prompt)?)
    }
}

/// Where [`Dataset::columns`] says that positives are, for pairs of stored vectors: beyond the columns of any table.
const POSITIVE: usize = usize::MAX;

/// Opens the other sides of pairs of stored vectors and checks them against the first.
fn open_positives(data: &Data, vectors: Option<&Vectors>) -> Result<Option<Vectors>> {
    let (Some(path), Some(vectors)) = (&data.positives, vectors) else { return Ok(None) };
    if data.labels.is_some() || data.label.is_some() {
        return Err(Error::setting_with(
            "data.positives and classes are both given, and pairs have no classes",
            "take out data.positives, or data.labels and data.label",
        ));
    }
    let positives = Vectors::open(path)?;
    positives.check_finite()?;
    if positives.rows() != vectors.rows() {
        return Err(Error::Data(parallax_data::Error::LengthsDiffer {
            first: vectors.path().display().to_string(),
            first_rows: vectors.rows(),
            second: path.display().to_string(),
            second_rows: positives.rows(),
        }));
    }
    if positives.dim() != vectors.dim() {
        return Err(Error::Model(parallax_nn::Error::Dimension {
            what: format!("{} against {}", path.display(), vectors.path().display()),
            expected: vectors.dim(),
            found: positives.dim(),
        }));
    }
    Ok(Some(positives))
}

/// A hash of a stored vector: 64-bit FNV-1a over its bits.
fn vector_hash(vector: &[f32]) -> u64 {
    let bytes = vector.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Numbers for pairs such that two pairs that share a text on the same side have the same number.
///
/// Such pairs are not each other's negatives: the shared text belongs to both.
pub(crate) fn groups(anchors: &[u64], positives: &[u64]) -> Vec<u32> {
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

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn pairs_that_share_a_text_are_one_group() {
        assert_eq!(groups(&[1, 2, 1, 3], &[5, 6, 7, 6]), [0, 1, 0, 1]);
        assert_eq!(groups(&[1, 2], &[2, 1]), [0, 1]);
    }
}
