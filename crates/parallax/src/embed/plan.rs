use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parallax_train::duration;
use serde::Serialize;

use super::{EmbedOptions, Source, has_extension, unknown_format};
use crate::model::Model;
use crate::{Error, Result};

/// What embedding a file would write, and what it would cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmbedPlan {
    /// The file that would be written.
    pub output: PathBuf,
    /// Its rows: all of the input was read.
    pub rows: usize,
    /// Numbers in each.
    pub dim: usize,
    /// Tokens of all rows, special tokens included; for stored vectors the rows.
    pub tokens: usize,
    /// Rows that are as long as the model reads, and so are probably cut off.
    pub longest: usize,
    /// Estimated seconds.
    pub seconds: f64,
}

/// Reads all of the input, embeds a few rows for the estimate and writes nothing.
///
/// # Errors
/// As [`embed`](super::embed), as far as that can be known before; and for standard input, which can be read only once.
pub fn plan(model: &Model, input: &Path, output: &Path, options: &EmbedOptions<'_>) -> Result<EmbedPlan> {
    if input.as_os_str() == "-" {
        let hint = "give a file, or leave out --dry-run";
        return Err(Error::setting_with("standard input can be read only once", hint));
    }
    if !has_extension(output, "npy") && !has_extension(output, "jsonl") {
        return Err(unknown_format(output));
    }
    let folder = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(Error::io(output, "create")(std::io::ErrorKind::NotFound.into()));
    }
    let limit = model.encoder().text().map_or(usize::MAX, |tower| tower.max_tokens);
    let mut source = Source::open(model, input, options)?;
    let (mut rows, mut tokens, mut longest, mut per_token) = (0, 0, 0, 0.0);
    while let Some((_, inputs)) = source.next(model, options)? {
        if rows == 0 {
            // Twice, because the first computation warms up.
            let few = &inputs[..inputs.len().min(32)];
            for _ in 0..2 {
                let begun = Instant::now();
                model.embed(few, options.batch_tokens)?;
                let counted: usize = few.iter().map(|input| input.tokens()).sum();
                per_token = begun.elapsed().as_secs_f64() / counted as f64;
            }
        }
        rows += inputs.len();
        tokens += inputs.iter().map(|input| input.tokens()).sum::<usize>();
        longest += inputs.iter().filter(|input| input.tokens() >= limit).count();
    }
    if rows == 0 {
        return Err(parallax_data::Error::Empty(source.name()).into());
    }
    let seconds = per_token * tokens as f64;
    Ok(EmbedPlan { output: output.to_owned(), rows, dim: model.dim(), tokens, longest, seconds })
}

impl fmt::Display for EmbedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} rows of {} numbers", self.output.display(), self.rows, self.dim)?;
        writeln!(f, "{:.1} tokens a row on average", self.tokens as f64 / self.rows as f64)?;
        if self.longest > 0 {
            writeln!(f, "{} rows are as long as the model reads, or longer", self.longest)?;
        }
        write!(f, "estimated time: {}\ndry run: nothing was written", duration(self.seconds))
    }
}
