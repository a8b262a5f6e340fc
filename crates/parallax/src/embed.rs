//! Embedding a file of texts or of stored vectors in constant memory.

mod plan;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parallax_data::{AtomicFile, NpyWriter, TableOptions, TextStream};
use parallax_nn::Input;
use serde::Serialize;

use crate::model::{BATCH_TOKENS, Model};
use crate::{Error, Result};
pub use plan::{EmbedPlan, plan};

/// How a file is embedded.
#[derive(Clone, Copy, Debug)]
pub struct EmbedOptions<'a> {
    /// The column of the text; found by its name where it is not given.
    pub column: Option<&'a str>,
    /// The prompt put before every text; the model's default where it is not given.
    pub prompt: Option<&'a str>,
    /// Tokens embedded at once; memory and speed only.
    pub batch_tokens: usize,
    /// Rows read at once: sorted by length together, and in memory together.
    pub chunk_rows: usize,
    /// Set from outside to stop; nothing is written then.
    pub stop: &'a AtomicBool,
}

/// Never set.
static GO_ON: AtomicBool = AtomicBool::new(false);

impl Default for EmbedOptions<'_> {
    fn default() -> Self {
        EmbedOptions {
            column: None,
            prompt: None,
            batch_tokens: BATCH_TOKENS,
            chunk_rows: 4096,
            stop: &GO_ON,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Embedded {
    /// The file.
    pub output: PathBuf,
    /// Its rows.
    pub rows: usize,
    /// Numbers in each.
    pub dim: usize,
}

/// Embeds the texts of `input` (a table, plain lines, or standard input for `-`), or its stored vectors if it is an `.npy`
/// file, into `output`: an `.npy` matrix, or `.jsonl` rows `{"text": ..., "embedding": [...]}`.
///
/// Memory does not grow with the file. The output appears when it is complete. `progress` is told how many rows are done.
///
/// # Errors
/// An output of another kind, input that cannot be read or that the model does not take, an embedding that is not finite.
pub fn embed(
    model: &Model,
    input: &Path,
    output: &Path,
    options: &EmbedOptions<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Embedded> {
    let mut source = Source::open(model, input, options)?;
    let dim = model.dim();
    let mut sink = Sink::create(output, dim)?;
    let mut rows = 0;
    while let Some((texts, inputs)) = source.next(model, options)? {
        if options.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let values = model.embed(&inputs, options.batch_tokens)?.into_values();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let what =
                format!("{}: the embedding of row {} is not finite", input.display(), rows + at / dim + 1);
            return Err(Error::setting_with(what, "the weights of the model hold NaN or are far too large"));
        }
        sink.push(&texts, &values, dim).map_err(|e| match e {
            Failure::Data(error) => Error::Data(error),
            Failure::Io(source) => Error::Io { path: output.to_owned(), action: "write", source },
        })?;
        rows += inputs.len();
        progress(rows);
    }
    if rows == 0 {
        return Err(parallax_data::Error::Empty(source.name()).into());
    }
    sink.finish()?;
    Ok(Embedded { output: output.to_owned(), rows, dim })
}

pub(crate) enum Source {
    Texts(Box<TextStream>, PathBuf),
    Vectors(parallax_data::Vectors, usize),
}

impl Source {
    pub(crate) fn open(model: &Model, input: &Path, options: &EmbedOptions<'_>) -> Result<Source> {
        let stored = has_extension(input, "npy");
        if stored == model.reads_text() {
            let (what, hint) = if stored {
                ("the model reads texts, and the input is stored vectors", "give a table or plain lines")
            } else {
                ("the model reads stored vectors, not texts", "give an .npy file")
            };
            return Err(Error::setting_with(format!("{}: {what}", input.display()), hint));
        }
        if !stored {
            let stream = TextStream::open(input, options.column, &TableOptions::default())?;
            let name = if input.as_os_str() == "-" { Path::new("standard input") } else { input };
            return Ok(Source::Texts(Box::new(stream), name.to_owned()));
        }
        let vectors = parallax_data::Vectors::open(input)?;
        vectors.check_finite()?;
        if vectors.dim() != model.encoder().input_dim() {
            return Err(Error::Model(parallax_nn::Error::Dimension {
                what: input.display().to_string(),
                expected: model.encoder().input_dim(),
                found: vectors.dim(),
            }));
        }
        Ok(Source::Vectors(vectors, 0))
    }

    fn name(&self) -> PathBuf {
        match self {
            Source::Texts(_, name) => name.clone(),
            Source::Vectors(vectors, _) => vectors.path().to_owned(),
        }
    }

    /// The next rows: their texts (none for stored vectors) and the model's inputs.
    pub(crate) fn next(
        &mut self,
        model: &Model,
        options: &EmbedOptions<'_>,
    ) -> Result<Option<(Vec<String>, Vec<Input>)>> {
        let size = options.chunk_rows.max(1);
        match self {
            Source::Texts(stream, _) => {
                let Some(texts) = stream.chunk(size).transpose()? else { return Ok(None) };
                let inputs = model.encoder().tokenize(&texts, options.prompt)?;
                Ok(Some((texts, inputs)))
            }
            Source::Vectors(vectors, at) => {
                let rows = *at..(*at + size).min(vectors.rows());
                *at = rows.end;
                let inputs: Vec<Input> = rows.map(|row| Input::Vector(vectors.row(row))).collect();
                Ok(if inputs.is_empty() { None } else { Some((Vec::new(), inputs)) })
            }
        }
    }
}

enum Sink {
    Npy(NpyWriter),
    Jsonl(AtomicFile),
}

enum Failure {
    Data(parallax_data::Error),
    Io(io::Error),
}

impl Sink {
    fn create(output: &Path, dim: usize) -> Result<Sink> {
        if has_extension(output, "npy") {
            Ok(Sink::Npy(NpyWriter::create(output, dim)?))
        } else if has_extension(output, "jsonl") {
            Ok(Sink::Jsonl(AtomicFile::create(output)?))
        } else {
            Err(unknown_format(output))
        }
    }

    fn push(&mut self, texts: &[String], values: &[f32], dim: usize) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<&'a str>,
            embedding: &'a [f32],
        }
        match self {
            Sink::Npy(writer) => writer.push_rows(values).map_err(Failure::Data),
            Sink::Jsonl(file) => {
                for (row, embedding) in values.chunks_exact(dim).enumerate() {
                    let line = Line { text: texts.get(row).map(String::as_str), embedding };
                    serde_json::to_writer(&mut *file, &line).map_err(|e| Failure::Io(e.into()))?;
                    file.write_all(b"\n").map_err(Failure::Io)?;
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Sink::Npy(writer) => Ok(writer.finish()?),
            Sink::Jsonl(file) => Ok(file.commit()?),
        }
    }
}

fn unknown_format(output: &Path) -> Error {
    let what = format!("{}: cannot tell the format from the name", output.display());
    Error::setting_with(what, "name an .npy or a .jsonl file")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
