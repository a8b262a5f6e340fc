//! Embedding a file of texts or of stored vectors in constant memory.

pub(crate) mod pipeline;
mod plan;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use parallax_data::{AtomicFile, NpyWriter, TableOptions, TextStream};
use parallax_nn::{Input, Role, SentenceEncoder};
use rayon::prelude::*;
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
    /// The side of a search that the rows stand on, for models whose sides differ.
    pub role: Role,
    /// Tokens embedded at once; memory and speed only.
    pub batch_tokens: usize,
    /// Rows read at once: sorted by length together, and in memory together, three times this many in all.
    pub chunk_rows: usize,
    /// Set from outside to stop; nothing is written then.
    pub stop: &'a AtomicBool,
}

impl Default for EmbedOptions<'_> {
    fn default() -> Self {
        EmbedOptions {
            column: None,
            prompt: None,
            role: Role::Query,
            batch_tokens: BATCH_TOKENS,
            chunk_rows: pipeline::WINDOW_ROWS,
            stop: &pipeline::GO_ON,
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
/// Memory does not grow with the file: rows are tokenised, computed and written in three windows at the same time. The
/// output appears when it is complete, its rows in the order of the input. `progress` is told how many rows are computed.
///
/// # Errors
/// An output of another kind, input that cannot be read or that the model does not take, an embedding that is not finite:
/// each with its row.
pub fn embed(
    model: &Model,
    input: &Path,
    output: &Path,
    options: &EmbedOptions<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Embedded> {
    let mut source = Source::open(model, input, options)?;
    let name = source.name();
    let dim = model.dim();
    let mut sink = Sink::create(output, dim)?;
    let mut written = 0;
    let rows = pipeline::run(
        model.encoder(),
        options.role,
        options.batch_tokens,
        options.stop,
        || source.next(model, options),
        |texts: Vec<String>, values| {
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let what = format!(
                    "{}: the embedding of row {} is not finite",
                    name.display(),
                    written + at / dim + 1
                );
                return Err(Error::setting_with(
                    what,
                    "the weights of the model hold NaN or are far too large",
                ));
            }
            written += values.len() / dim;
            sink.push(&texts, values, dim).map_err(|e| match e {
                Failure::Data(error) => Error::Data(error),
                Failure::Io(source) => Error::Io { path: output.to_owned(), action: "write", source },
            })
        },
        progress,
    )?;
    if rows == 0 {
        return Err(parallax_data::Error::Empty(name).into());
    }
    sink.finish()?;
    Ok(Embedded { output: output.to_owned(), rows, dim })
}

/// How many rows [`embed`] would read, where that can be known before: by going through the file once, which takes a
/// hundredth of the time that embedding it takes, and for stored vectors from their header. `None` for standard input and
/// for other things that can be read only once, and where reading fails, which is then [`embed`]'s to say.
pub fn rows(input: &Path, options: &EmbedOptions<'_>) -> Option<usize> {
    if !std::fs::metadata(input).ok()?.is_file() {
        return None;
    }
    if has_extension(input, "npy") {
        return parallax_data::Vectors::open(input).ok().map(|vectors| vectors.rows());
    }
    let mut stream = TextStream::open(input, options.column, &TableOptions::default()).ok()?;
    let mut rows = 0;
    while let Some(texts) = stream.chunk(options.chunk_rows.max(1)).transpose().ok()? {
        rows += texts.len();
    }
    Some(rows)
}

/// Tokenises texts; `place` says in a message where text `i` stands.
///
/// # Errors
/// A prompt that the model does not have, and the first text that the tokenizer cannot represent.
pub(crate) fn tokenize<S: AsRef<str> + Sync>(
    encoder: &SentenceEncoder,
    texts: &[S],
    prompt: Option<&str>,
    place: impl Fn(usize) -> String,
) -> Result<Vec<Input>> {
    encoder.prompt(prompt)?;
    encoder.tokenize(texts, prompt).map_err(|error| {
        let refused =
            texts.iter().position(|text| encoder.tokenize(std::slice::from_ref(text), prompt).is_err());
        match refused {
            Some(at) => Error::setting(format!("{}: {error}", place(at))),
            None => error.into(),
        }
    })
}

pub(crate) enum Source {
    /// The texts, their name, and how many were read.
    Texts(Box<TextStream>, PathBuf, usize),
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
            return Ok(Source::Texts(Box::new(stream), name.to_owned(), 0));
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
            Source::Texts(_, name, _) => name.clone(),
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
            Source::Texts(stream, name, read) => {
                let Some(texts) = stream.chunk(size).transpose()? else { return Ok(None) };
                let place = |at: usize| format!("{}, row {}", name.display(), *read + at + 1);
                let inputs = tokenize(model.encoder(), &texts, options.prompt, place)?;
                *read += texts.len();
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

/// Lines that are formatted as one piece of work.
const LINES: usize = 64;

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
                // To write a number so that it reads back the same takes longer than to compute it: in parallel, in order.
                let lines: Vec<Result<Vec<u8>, serde_json::Error>> = values
                    .par_chunks(dim * LINES)
                    .enumerate()
                    .map(|(block, rows)| {
                        let mut lines = Vec::new();
                        for (row, embedding) in rows.chunks_exact(dim).enumerate() {
                            let text = texts.get(block * LINES + row).map(String::as_str);
                            serde_json::to_writer(&mut lines, &Line { text, embedding })?;
                            lines.push(b'\n');
                        }
                        Ok(lines)
                    })
                    .collect();
                for block in lines {
                    file.write_all(&block.map_err(|e| Failure::Io(e.into()))?).map_err(Failure::Io)?;
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
