//! A run as a TOML file.
//!
//! ```
//! let text = r#"
//!     [data]
//!     path = "support.csv"
//!     split = { name = "class_disjoint", seen = 38 }
//!     [model]
//!     path = "all-MiniLM-L6-v2"
//!     [objective]
//!     loss = { name = "contrastive", neg_margin = 0.3 }
//!     miner = "multi_similarity"
//! "#;
//! let config = parallax::RunConfig::parse(text, &["train.epochs=3"])?;
//! assert_eq!(config.train.epochs, 3);
//! # Ok::<(), parallax::Error>(())
//! ```
//!
//! Wherever a component is expected (a loss, a miner, a split, an optimiser, ...), its bare name stands for a table with
//! that name and default settings, and a table without a name keeps the default component. Unknown keys and names are
//! refused with the nearest valid one.

mod check;
mod infer;
mod keys;
mod read;
mod template;

use std::path::PathBuf;

use parallax_data::labels::MultiLabel;
use parallax_data::table::{Format, HeaderOption};
use parallax_data::{Columns, Split, TableOptions};
use parallax_eval::Measure;
use parallax_linear::SelectionConfig;
use parallax_metric::Objective;
use parallax_nn::Precision;
use parallax_nn::encoder::AttentionScore;
use parallax_nn::head::Head;
use parallax_nn::pooling::Mode;
use parallax_train::Training;
use parallax_tune::Tuning;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::schema;
pub(crate) use check::{named_variants, nearest, plain_schema, resolved};
pub use infer::{Inferred, infer};
pub use keys::keys;
pub use read::parse_component;

/// A run: what is trained on which data, how, and what is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run and of its folder; the name of the file without `.toml` where it is not given.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// What is learned from and measured on.
    pub data: Data,
    /// The model to start from. Absent where stored vectors are given.
    pub model: Option<Start>,
    /// A head put after the model, or over the stored vectors.
    pub head: Option<Head>,
    /// What scores a query and a key in the encoder's attention, instead of their inner product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<AttentionScore>,
    /// A model whose similarities guide the loss: they mask false negatives (`multiple_negatives_ranking` with
    /// `teacher_guided`), are what losses on scores learn where the table has none (`margin_mse`, `listwise_kl`, ...), or what
    /// all similarities of a batch should be (`similarity_distillation`). It embeds the training texts once, before the first
    /// step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Start>,
    /// A map fitted in closed form instead of training: the model stays as it is, and the best map after it, or none, is
    /// found by cross-validation over the classes of the training rows.
    pub adapter: Option<SelectionConfig>,
    /// What training minimises.
    pub objective: Objective,
    /// How the model is trained.
    pub train: Training,
    /// What is measured before and after.
    pub evaluate: Evaluate,
    /// How `parallax tune` searches for settings; without a meaning for a run itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tuning>,
    /// Where results go.
    pub output: Output,
}

/// The rows: a table, stored vectors, or vectors described by a table.
///
/// In paths `${NAME}` stands for an environment variable and `${NAME:-default}` for one with a default. A relative path
/// is looked for beside the run file first, then in the current folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The table, or several with the same columns read as one: .csv, .tsv or .jsonl.
    pub path: Files,
    /// Stored vectors: an .npy matrix with one row for each row of the table, or of `labels`.
    pub vectors: Option<PathBuf>,
    /// The other sides of pairs of stored vectors: an .npy matrix whose row i belongs to row i of `vectors`, which are the
    /// anchors. Pairs have no classes; a table beside them gives the split.
    pub positives: Option<PathBuf>,
    /// Classes of the stored vectors where there is no table: an .npy list of integers.
    pub labels: Option<PathBuf>,
    /// The column with the text of a labelled row; found by its name where it is not given.
    pub text: Option<String>,
    /// The column with the class of a row; found by its name where it is not given.
    pub label: Option<String>,
    /// The class, or classes, that a classifier tells from all others; of two classes the rarer one where it is not given, and of
    /// more each has an output then. For the losses of a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_class: Option<Strings>,
    /// The column with the first text of a pair; found by its name where it is not given.
    pub anchor: Option<String>,
    /// The column with the text that belongs to the anchor; found by its name where it is not given.
    pub positive: Option<String>,
    /// The column, or columns, with texts that do not belong to the anchor; found by name where it is not given.
    pub negatives: Option<Strings>,
    /// The column with the similarity of a pair; found by its name where it is not given. Beside negatives, the column with a
    /// list, or the columns, of what a teacher says of the positive and of each negative, or of the margin to each negative.
    pub score: Option<Strings>,
    /// The column with a name for the row; found by its name where it is not given.
    pub id: Option<String>,
    /// The format of the table: csv, tsv or jsonl; by the extension where it is not given.
    pub format: Option<Format>,
    /// The character between fields; a comma or a tab, by the format, where it is not given.
    pub delimiter: Option<char>,
    /// Whether a field that starts with a quote runs to the closing quote.
    pub quoted: bool,
    /// What a cell with several labels ("a|b", a JSON list) means: its first label, the set of them, or the cell as it is.
    pub multi_label: Option<MultiLabel>,
    /// The column names of a CSV or TSV file without a header row, or false for column_1, column_2, ...
    pub header: Option<HeaderOption>,
    /// How rows are divided into training, validation and test.
    pub split: Option<Split>,
}

impl Default for Data {
    fn default() -> Self {
        Data {
            path: Files::default(),
            vectors: None,
            positives: None,
            labels: None,
            text: None,
            label: None,
            positive_class: None,
            anchor: None,
            positive: None,
            negatives: None,
            score: None,
            id: None,
            format: None,
            delimiter: None,
            quoted: true,
            multi_label: None,
            header: None,
            split: None,
        }
    }
}

impl Data {
    /// The columns that were named.
    pub fn columns(&self) -> Columns {
        Columns {
            text: self.text.clone(),
            label: self.label.clone(),
            anchor: self.anchor.clone(),
            positive: self.positive.clone(),
            negatives: self.negatives.clone().map(|names| names.0),
            score: self.score.clone().map(|names| names.0),
            split: match &self.split {
                Some(Split::Column(split)) => Some(split.column.clone()),
                _ => None,
            },
            id: self.id.clone(),
        }
    }

    /// How the files are read.
    pub fn table_options(&self) -> TableOptions {
        TableOptions {
            format: self.format,
            delimiter: self.delimiter,
            quoted: self.quoted,
            header: self.header.clone().and_then(HeaderOption::names),
        }
    }
}

/// One text or a list of texts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> From<OneOrMany<T>> for Vec<T> {
    fn from(value: OneOrMany<T>) -> Self {
        match value {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        }
    }
}

impl<T> From<Vec<T>> for OneOrMany<T> {
    fn from(mut values: Vec<T>) -> Self {
        match (values.len(), values.pop()) {
            (1, Some(value)) => OneOrMany::One(value),
            (_, last) => {
                values.extend(last);
                OneOrMany::Many(values)
            }
        }
    }
}

/// Paths of files; in a run file one text or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany<PathBuf>", into = "OneOrMany<PathBuf>")]
pub struct Files(pub Vec<PathBuf>);

impl From<OneOrMany<PathBuf>> for Files {
    fn from(value: OneOrMany<PathBuf>) -> Self {
        Files(value.into())
    }
}

impl From<Files> for OneOrMany<PathBuf> {
    fn from(value: Files) -> Self {
        value.0.into()
    }
}

/// Names; in a run file one text or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany<String>", into = "OneOrMany<String>")]
pub struct Strings(pub Vec<String>);

impl From<OneOrMany<String>> for Strings {
    fn from(value: OneOrMany<String>) -> Self {
        Strings(value.into())
    }
}

impl From<Strings> for OneOrMany<String> {
    fn from(value: Strings) -> Self {
        value.0.into()
    }
}

/// A model: the one that a run starts from, or its teacher.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// A sentence-transformers folder, a known name, or `organisation/name` on the model hub.
    pub path: String,
    /// The pooling of a bare checkpoint without `modules.json`.
    pub pooling: Option<Mode>,
    /// Longest text in tokens, special tokens included; the model's own limit where it is not given.
    pub max_tokens: Option<usize>,
    /// How the encoder's products are rounded where texts are embedded to be measured: auto, f32, bf16 or int8.
    pub precision: Precision,
    /// The name of the prompt put before every text; the model's default where it is not given.
    pub prompt: Option<String>,
}

/// What stands for a vector where rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Codes {
    /// Its signs, one bit a number, 0 and above counting as one sign; compared by Hamming distance.
    Binary,
}

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Retrieval measures, such as `map@r` or `recall@5`. Pairs with scores are measured by `spearman` and `pearson` instead,
    /// and classifiers by their own measures, such as `f1`.
    pub measures: Vec<Measure>,
    /// Whether rows are compared by binary codes, the signs of their vectors, and Hamming distance, instead of by the vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes: Option<Codes>,
    /// Tokens embedded at once; memory and speed only.
    pub batch_tokens: usize,
    /// Bootstrap resamples of the 95 % intervals; 0 leaves them out.
    pub resamples: usize,
}

impl Default for Evaluate {
    fn default() -> Self {
        use parallax_eval::Cutoff;
        Evaluate {
            measures: vec![
                Measure::Precision(1),
                Measure::RPrecision,
                Measure::MapAtR,
                Measure::Mrr(Cutoff::All),
                Measure::Recall(5),
            ],
            codes: None,
            batch_tokens: 16_384,
            resamples: 10_000,
        }
    }
}

/// Where results go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// The folder of all runs, from the current folder; this one's is `<dir>/<name>`.
    pub dir: PathBuf,
    /// Whether a page with curves, maps and single queries is written: `report.html`.
    pub report: bool,
    /// Whether the curves are also written as TensorBoard event files, into the run's folder.
    pub tensorboard: bool,
}

impl Default for Output {
    fn default() -> Self {
        Output { dir: "runs".into(), report: true, tensorboard: false }
    }
}

impl Output {
    /// The folder of the run called `name`.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

#[cfg(test)]
mod tests;
