//! From a table to an index on disk, and from a text to the rows that are nearest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parallax_data::table::Cell;
use parallax_data::{Columns, Roles, Shape, Table, TableOptions, Vectors};
use parallax_nn::{Input, Role};
use parallax_search::{Attributes, Batch, Filter, Index, IndexConfig, IndexInfo, IndexWriter, SpelledColumn};
use serde_json::Value as Json;

use crate::config::Codes;
use crate::embed::pipeline::{self, WINDOW_ROWS};
use crate::{Error, LoadOptions, Model, Precision, Result, embed};

pub use parallax_search as store;

/// What an index is built from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The table, or several with the same columns.
    pub table: Vec<PathBuf>,
    /// Stored vectors, one for each row of the table, or alone.
    pub vectors: Option<PathBuf>,
    /// The column of the text; found where it is not given.
    pub text: Option<String>,
    /// The column of the id; found by its name, and else the number of the row, from 1.
    pub id: Option<String>,
}

/// How an index is written.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions<'a> {
    /// Rows are added to the index that is there.
    pub append: bool,
    /// An index that is there is replaced.
    pub force: bool,
    /// The prompt put before every text; the model's default where it is not given.
    pub prompt: Option<&'a str>,
    /// What is stored of a vector, and compared, instead of its numbers.
    pub codes: Option<Codes>,
    /// Tokens embedded at once; memory and speed only.
    pub batch_tokens: usize,
    /// Set from outside to stop; what was there stays as it was.
    pub stop: &'a AtomicBool,
}

/// Builds an index: the texts of a table embedded by `model`, or stored vectors, with the other columns as attributes.
///
/// `model` is a name or a path, and the model. It is written down in the index, which embeds queries with it. Memory does
/// not grow with the rows. The index appears, or changes, when all rows are in it.
///
/// # Errors
/// Rows that cannot be read, a model that does not read them, an index that is there already.
pub fn build(
    source: &Source,
    model: Option<(&str, &Model)>,
    output: &Path,
    options: &BuildOptions<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<IndexInfo> {
    let vectors = source.vectors.as_ref().map(Vectors::open).transpose()?;
    let table = match &source.table[..] {
        [] => None,
        files => Some(Table::open(files, &TableOptions::default())?),
    };
    let rows = match (&table, &vectors) {
        (None, None) => {
            return Err(Error::setting_with("there is nothing to index", "give a table, or an .npy file"));
        }
        (Some(table), Some(vectors)) if table.len() != vectors.rows() => {
            let files: Vec<String> = table.files().map(|file| file.display().to_string()).collect();
            return Err(Error::Data(parallax_data::Error::LengthsDiffer {
                first: vectors.path().display().to_string(),
                first_rows: vectors.rows(),
                second: files.join(" and "),
                second_rows: table.len(),
            }));
        }
        (_, Some(vectors)) => vectors.rows(),
        (Some(table), None) => table.len(),
    };
    if let Some(vectors) = &vectors {
        vectors.check_finite()?;
    }
    if vectors.is_none() && model.is_none_or(|(_, model)| !model.reads_text()) {
        return Err(Error::setting_with(
            "the table has texts, and no model reads them",
            "--model NAME embeds them; the built-in one is --model starter",
        ));
    }
    let layout = table.as_ref().map(|table| Layout::of(table, source, vectors.is_some())).transpose()?;
    let embeds = vectors.is_none() || model.is_some_and(|(_, model)| !model.reads_text());
    let config = IndexConfig {
        similarity: match (options.codes, model) {
            (Some(Codes::Binary), _) => store::Similarity::Hamming,
            (None, Some((_, model))) => similarity(model)?,
            (None, None) => store::Similarity::Cosine,
        },
        model: model.map(|(name, _)| lasting(name)),
        metadata: metadata(options.prompt, model.map(|(_, model)| model)),
        ..IndexConfig::default()
    };
    let mut writer = match (options.append, options.force) {
        (true, _) => {
            let open = Index::open(output)?;
            let (old, new) = (open.config().model.clone(), config.model.clone());
            if old != new && new.is_some() {
                return Err(Error::setting_with(
                    format!("{}: its vectors are of another model", output.display()),
                    format!(
                        "embed with {}, or build anew with --force",
                        old.unwrap_or_else(|| "the same one".into())
                    ),
                ));
            }
            if let (Some(old), Some(new)) =
                (open.config().metadata.get("precision"), config.metadata.get("precision"))
                && old != new
            {
                return Err(Error::setting_with(
                    format!(
                        "{}: its vectors were computed in {old}, and these would be in {new}",
                        output.display()
                    ),
                    format!("--precision {old}, or build anew with --force"),
                ));
            }
            if options.codes.is_some() && open.config().similarity != config.similarity {
                return Err(Error::setting_with(
                    format!("{}: it holds vectors, and not binary codes", output.display()),
                    "leave out --codes, or build anew with --force",
                ));
            }
            IndexWriter::append(output)?
        }
        (false, true) => IndexWriter::overwrite(output, config)?,
        (false, false) => IndexWriter::create(output, config)?,
    };
    let embedder = model.filter(|_| embeds).map(|(_, model)| model);
    let mut next = 0;
    let mut prepare = || -> Result<Option<(Rows, Vec<Input>)>> {
        let range = next..(next + WINDOW_ROWS).min(rows);
        if range.is_empty() {
            return Ok(None);
        }
        next = range.end;
        let read = Rows::read(range.clone(), table.as_ref(), layout.as_ref())?;
        let inputs = match (embedder, &vectors) {
            (Some(_), Some(vectors)) => range.map(|row| Input::Vector(vectors.row(row))).collect(),
            (Some(model), None) => {
                let place = |at: usize| format!("row {}", range.start + at + 1);
                embed::tokenize(model.encoder(), &read.texts, options.prompt, place)?
            }
            (None, _) => Vec::new(),
        };
        Ok(Some((read, inputs)))
    };
    let mut add = |Rows { ids, texts, attributes, .. }: Rows, vectors: &[f32]| -> Result<()> {
        Ok(writer.add(Batch { vectors, ids: &ids, texts: &texts, attributes: &attributes })?)
    };
    match (embedder, &vectors) {
        (Some(model), _) => {
            let (encoder, tokens) = (model.encoder(), options.batch_tokens);
            let tell = &mut |done| progress(done, rows);
            pipeline::run(encoder, Role::Document, tokens, options.stop, prepare, add, tell)?;
        }
        (None, vectors) => {
            while let Some((read, _)) = prepare()? {
                if options.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let range = read.range.clone();
                let stored: Vec<f32> = vectors
                    .iter()
                    .flat_map(|vectors| range.clone().flat_map(|row| vectors.row(row)))
                    .collect();
                add(read, &stored)?;
                progress(range.end, rows);
            }
        }
    }
    Ok(writer.finish()?)
}

/// Rows beside their vectors.
struct Rows {
    range: Range<usize>,
    ids: Vec<String>,
    texts: Vec<String>,
    attributes: Vec<Attributes>,
}

impl Rows {
    fn read(range: Range<usize>, table: Option<&Table>, layout: Option<&Layout>) -> Result<Rows> {
        let (mut ids, mut texts, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
        for row in range.clone() {
            match (table, layout) {
                (Some(table), Some(layout)) => {
                    let read = table.row(row)?;
                    let (id, text) = layout.name(row, &read)?;
                    ids.push(id);
                    texts.extend(text);
                    attributes.push(layout.attributes(table, read.cells()));
                }
                _ => ids.push((row + 1).to_string()),
            }
        }
        Ok(Rows { range, ids, texts, attributes })
    }
}

/// What queries must be embedded with too.
fn metadata(prompt: Option<&str>, model: Option<&Model>) -> BTreeMap<String, String> {
    let prompt = prompt.map(|prompt| ("prompt".to_owned(), prompt.to_owned()));
    let texts = model.filter(|model| model.reads_text());
    let precision = texts.map(|model| ("precision".to_owned(), model.precision().to_string()));
    prompt.into_iter().chain(precision).collect()
}

/// Which columns of a table become what.
struct Layout {
    id: Option<usize>,
    text: Option<usize>,
    /// The other columns with their types.
    attributes: Vec<(usize, SpelledColumn)>,
}

impl Layout {
    fn of(table: &Table, source: &Source, has_vectors: bool) -> Result<Layout> {
        let columns = Columns { text: source.text.clone(), id: source.id.clone(), ..Columns::default() };
        let text = match columns.text_column(table.columns()) {
            Ok(text) => Some(text),
            // Stored vectors need no text.
            Err(_) if has_vectors && source.text.is_none() => None,
            // Roles are found by content too, as for training; of a pair what is searched is the answer.
            Err(error) => match Roles::of(table, &columns).map(|roles| roles.shape) {
                Ok(Shape::Labelled { text, .. }) => Some(text),
                Ok(
                    Shape::Pairs { positive, .. }
                    | Shape::Triplets { positive, .. }
                    | Shape::ScoredPairs { positive, .. },
                ) => Some(positive),
                _ => return Err(error.into()),
            },
        };
        let id = match &source.id {
            Some(name) => Some(table.column(name)?),
            None => table
                .columns()
                .iter()
                .position(|name| ["id", "_id", "guid", "idx"].contains(&name.to_lowercase().as_str())),
        };
        let id = id.filter(|id| Some(*id) != text);
        let mut attributes: Vec<(usize, SpelledColumn)> = (0..table.columns().len())
            .filter(|column| Some(*column) != text && Some(*column) != id)
            .map(|column| (column, SpelledColumn::default()))
            .collect();
        for row in 0..table.len() {
            let read = table.row(row)?;
            for (column, spelled) in &mut attributes {
                if let Cell::Text(cell) = &read.cells()[*column] {
                    spelled.observe(cell);
                }
            }
        }
        Ok(Layout { id, text, attributes })
    }

    fn name(&self, row: usize, read: &parallax_data::table::Row<'_>) -> Result<(String, Option<String>)> {
        let id = match self.id {
            Some(column) => read.text(column)?.to_owned(),
            None => (row + 1).to_string(),
        };
        let text = self.text.map(|column| read.text(column).map(str::to_owned)).transpose()?;
        Ok((id, text))
    }

    fn attributes(&self, table: &Table, cells: &[Cell]) -> Attributes {
        let value = |(column, spelled): &(usize, SpelledColumn)| {
            let value = match &cells[*column] {
                Cell::Text(cell) => spelled.value(cell),
                Cell::List(items) => Json::String(items.join(", ")),
                Cell::Missing | Cell::Other(_) => Json::Null,
            };
            (table.columns()[*column].clone(), value)
        };
        self.attributes.iter().map(value).collect()
    }
}

/// A path that can be found from any folder; a name stays a name.
fn lasting(name: &str) -> String {
    let path = Path::new(name);
    match (path.is_dir(), std::path::absolute(path)) {
        (true, Ok(absolute)) => absolute.to_string_lossy().into_owned(),
        _ => name.to_owned(),
    }
}

fn similarity(model: &Model) -> Result<store::Similarity> {
    use parallax_eval::Similarity as S;
    Ok(match crate::evaluate::own_similarity(model.encoder())? {
        S::Cosine => store::Similarity::Cosine,
        S::Dot => store::Similarity::Dot,
        S::Euclidean => store::Similarity::Euclidean,
    })
}

/// An index with the model that embeds its queries.
pub struct Searcher {
    index: Index,
    model: Model,
    prompt: Option<String>,
}

impl Searcher {
    /// Opens an index and loads the model that it names, or `model` instead, in the precision that the rows were embedded
    /// in, or `precision` instead.
    ///
    /// # Errors
    /// No index, a damaged one, one without a model, a model of another dimension.
    pub fn open(path: &Path, model: Option<&str>, precision: Option<Precision>) -> Result<Searcher> {
        let index = Index::open(path)?;
        let Some(name) = model.or(index.config().model.as_deref()) else {
            return Err(Error::setting_with(
                format!("{}: the index does not say which model made its vectors", path.display()),
                "--model NAME embeds the query",
            ));
        };
        let written = index.config().metadata.get("precision").and_then(|name| name.parse().ok());
        let options =
            LoadOptions { precision: precision.or(written).unwrap_or_default(), ..LoadOptions::default() };
        let model = Model::load_with(name, &options, &mut |_| {})?;
        if !model.reads_text() {
            return Err(Error::setting_with(
                format!("{name} reads stored vectors, and a query is a text"),
                "--model NAME embeds the query",
            ));
        }
        if model.dim() != index.dim() {
            return Err(Error::Model(parallax_nn::Error::Dimension {
                what: format!("vectors of {name} against those of {}", path.display()),
                expected: index.dim(),
                found: model.dim(),
            }));
        }
        let prompt = index.config().metadata.get("prompt").cloned();
        Ok(Searcher { index, model, prompt })
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The `k` nearest rows of each text, among those that `filter` keeps. `prompt` is put before each, instead of the one
    /// that the rows were embedded with.
    ///
    /// # Errors
    /// A filter that names no attribute of the index, a prompt that the model does not have.
    pub fn search<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        k: usize,
        filter: Option<&str>,
        prompt: Option<&str>,
    ) -> Result<Vec<Vec<parallax_search::Hit<'_>>>> {
        let filter = filter.map(Filter::parse).transpose().map_err(parallax_search::Error::from)?;
        let vectors = match prompt.or(self.prompt.as_deref()) {
            Some(prompt) => self.model.encode_with_prompt(texts, prompt)?,
            None => self.model.encode_query(texts)?,
        };
        Ok(self.index.search(vectors.as_slice(), k, filter.as_ref())?)
    }
}
