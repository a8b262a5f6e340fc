//! What `index` and `search` are told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Codes, Load, at_least_one};

#[derive(Debug, Subcommand)]
pub(crate) enum Index {
    /// Build an index, or add rows to one.
    Build(IndexBuild),
    /// Show what an index holds.
    Info {
        /// The index.
        index: PathBuf,
    },
    /// Delete rows by their ids.
    Delete {
        /// The index.
        index: PathBuf,
        /// The ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Write an index anew, without its deleted rows.
    Compact {
        /// The index.
        index: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct IndexBuild {
    /// A table with texts (.csv, .tsv, .json, .jsonl), a folder of texts, or stored vectors (.npy) with or without a table.
    #[arg(required = true, value_name = "TABLE|VECTORS")]
    pub(crate) source: Vec<PathBuf>,
    /// The index to write: a folder.
    #[arg(long, short, value_name = "INDEX")]
    pub(crate) output: PathBuf,
    /// The model that embeds the texts, and queries later; the built-in starter where it is not given.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text: Option<String>,
    /// The column of the id; the number of the row where there is none.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id: Option<String>,
    /// Add the rows to the index that is there.
    #[arg(long, conflicts_with = "force")]
    pub(crate) append: bool,
    /// Replace an index that is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// The name of the prompt put before every text.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,
    /// Store binary codes, one bit a number, instead of vectors, and compare them by Hamming distance.
    #[arg(long, value_name = "CODES")]
    pub(crate) codes: Option<Codes>,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Tokens embedded at once; memory and speed only.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// The index.
    pub(crate) index: PathBuf,
    /// The text, or several.
    #[arg(required = true, value_name = "TEXT")]
    pub(crate) query: Vec<String>,
    /// Rows to find.
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub(crate) k: usize,
    /// Which rows may be found, such as "intent = 'refund' AND year >= 2024".
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// The model that embeds the text, instead of the index's own.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// The name of the prompt put before the text, instead of the one of the rows.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,
}
