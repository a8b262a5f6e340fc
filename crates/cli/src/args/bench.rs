//! What `bench` is told.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Load, at_least_one};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measure embedding: a batch job, one text, the start of a process, lengths and batch sizes, memory.
    Encode(BenchEncode),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BenchPart {
    /// All texts at once.
    Batch,
    /// One text at a time.
    One,
    /// From the start of a process to the first vector.
    Start,
    /// Texts of several lengths in batches of several sizes.
    Shapes,
}

#[derive(Debug, Args)]
pub(crate) struct BenchEncode {
    /// A model folder, a known name, or organisation/name.
    pub(crate) model: PathBuf,
    /// A table (.csv, .tsv, .jsonl) or a file of lines; the messages of the quickstart where it is not given.
    pub(crate) texts: Option<PathBuf>,
    /// What to measure; may be repeated. All of it where it is not given.
    #[arg(long = "only", value_name = "PART")]
    pub(crate) parts: Vec<BenchPart>,
    /// How often each thing is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) runs: usize,
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// The name of the prompt put before every text.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Tokens embedded at once.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
}
