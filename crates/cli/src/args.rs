//! What can be typed.

mod bench;
mod index;
mod systems;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use parallax::{Measure, Precision};

pub(crate) use bench::{Bench, BenchEncode, BenchPart};
pub(crate) use index::{Index, IndexBuild, Search};
pub(crate) use systems::{Reproduce, Systems, Tune};

/// The end of `parallax --help`, and of what `parallax` alone says.
const AFTER_HELP: &str = "\
First steps:
  parallax quickstart                              all of it in a minute, on a sample that comes along
  parallax doctor                                  what this machine offers, and where models are looked for
  parallax data check data.csv                     what is odd about a table
  parallax train data.csv --dry-run                what a run would do and cost, without doing it
  parallax train data.csv                          adapt a model to your data, and measure what it gained
  parallax tune run.toml --minutes 20              search for better settings, and measure what they gain
  parallax runs list                               the runs so far, with what they gained
  parallax embed MODEL texts.txt -o vectors.npy    vectors of texts
  parallax search INDEX \"a text\" -k 5              the nearest rows of an index (\"parallax index build\" makes one)

Exit codes:
  0    it worked; for \"doctor parity\" also: the vectors are the same
  1    it failed, and the last lines on standard error say why and what to do; \"doctor parity\": the vectors differ
  2    the command line makes no sense
  130  stopped by Ctrl-C; \"train\" has left a checkpoint, and --resume goes on

Colour is off in a pipe and where NO_COLOR is set. PARALLAX_LOG=debug says more.";

#[derive(Debug, Parser)]
#[command(
    name = "parallax",
    version,
    about = "Adapt, evaluate and use embedding models",
    after_help = AFTER_HELP,
    styles = crate::style::HELP,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Threads to work with; 0 takes one for each processor. Results do not depend on it.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
    /// Seed of everything random; instead of the run file's, or of 0.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How a text encoder's products are rounded: f32, bf16, int8 (of a folder by "convert quantize"), or auto: bf16 where
    /// the processor has AMX, else f32. A search does as for the rows where it is not given.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) precision: Option<Precision>,
    /// Print the result as one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing to standard error but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train on a table, a folder of texts or stored vectors, or as a run file says, and measure what was gained.
    #[command(visible_aliases = ["fit", "finetune"])]
    Train(Train),
    /// Write a run file for a table, every setting explained, to be edited and trained.
    Init(Init),
    /// Look at data before anything is trained on them.
    #[command(subcommand)]
    Data(Data),
    /// Measure retrieval of a model, or of stored vectors, on labelled rows or pairs.
    #[command(visible_alias = "evaluate")]
    Eval(Eval),
    /// Turn a file of texts into a file of vectors.
    #[command(visible_alias = "encode")]
    Embed(Embed),
    /// See all of it in a minute, without a network: adapt, measure, index and search on a sample that comes along.
    Quickstart(Quickstart),
    /// Put rows with their vectors, texts and attributes on disk, to be searched.
    #[command(subcommand)]
    Index(Index),
    /// Find the rows of an index that are nearest to a text.
    Search(Search),
    /// Make another model of a model.
    #[command(subcommand)]
    Convert(Convert),
    /// Search for settings by cross-validation over the training rows, and measure what the best of them gain.
    Tune(Tune),
    /// Published systems: what each claims, and whether it holds here.
    #[command(subcommand)]
    Systems(Systems),
    /// List, show and compare the runs of "train".
    #[command(subcommand)]
    Runs(Runs),
    /// Say what this machine offers and where models are looked for; compare with vectors of another program.
    Doctor {
        #[command(subcommand)]
        command: Option<Doctor>,
    },
    /// Measure how fast a model is on this machine.
    #[command(subcommand)]
    Bench(Bench),
    /// Show what there is to choose from: losses, miners, heads, measures, models, ...
    List(List),
    /// Look into a component: the weight that a loss puts on a pair.
    #[command(subcommand)]
    Inspect(Inspect),
    /// Show the schema of run files, or a run file with everything written out.
    #[command(subcommand)]
    Config(Config),
    /// Print a script that completes command lines in a shell.
    Completions(Completions),
}

/// Which column is what, where the names and contents do not tell.
#[derive(Debug, Default, Args)]
pub(crate) struct Columns {
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text: Option<String>,
    /// The column of the class.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// The column of the first text of a pair.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) anchor: Option<String>,
    /// The column of the text that belongs to it.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) positive: Option<String>,
    /// The column of the similarity of a pair; beside negatives that of a teacher's scores, given once for each column.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) score: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A table (.csv, .tsv, .json, .jsonl), a folder of texts, or stored vectors (.npy) with their classes.
    #[arg(required = true, value_name = "DATA")]
    pub(crate) data: Vec<PathBuf>,
    /// The run file to write; the name of the data with .toml where it is not given.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The model to start from; the built-in starter where it is not given.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) columns: Columns,
    /// Set a key of the run file, such as data.multi_label=first; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Replace a run file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Report duplicates, conflicting labels, lonely classes, empty and truncated texts, balance, leaks between splits.
    Check(Check),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A table (.csv, .tsv, .json, .jsonl) or a folder of texts.
    #[arg(required = true, value_name = "DATA")]
    pub(crate) data: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: Columns,
    /// Set how the data are read, such as data.multi_label=first; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// How rows are divided, as in a run file: stratified, or "{ name = 'class_disjoint', seen = 38 }".
    #[arg(long)]
    pub(crate) split: Option<String>,
    /// The model whose tokenizer counts the tokens of texts.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// The longest text in tokens; the model's own limit where it is not given.
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// The folder to work in.
    #[arg(long, short, value_name = "FOLDER", default_value = "quickstart")]
    pub(crate) output: PathBuf,
    /// Class splits to adapt and measure on; more say better what to expect.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) splits: usize,
    /// Replace what an earlier quickstart left in the folder.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Convert {
    /// Distil a text encoder into a static model: a table of token vectors, tens of times smaller and faster.
    Distill(Distill),
    /// Look at the sizes of numbers inside a text encoder, so that it can be used in 8 bits (--precision int8).
    Quantize(Quantize),
}

#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// A model folder, a known name, or organisation/name.
    pub(crate) model: PathBuf,
    /// Texts like those that will be embedded: a table or a file of lines. The first 4,096 are looked at.
    #[arg(long, value_name = "FILE")]
    pub(crate) texts: PathBuf,
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// The folder to write.
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Distill {
    /// The teacher: a model folder, a known name, or organisation/name.
    pub(crate) model: PathBuf,
    /// Texts in which token frequencies are counted: a table or a file of lines. Zipf's law stands in where they are not given.
    pub(crate) texts: Option<PathBuf>,
    /// The folder to write.
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// Dimensions of the static model.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) dim: usize,
    /// The constant a of the frequency weights a / (a + p).
    #[arg(long, value_name = "A", default_value_t = 1e-4)]
    pub(crate) sif: f64,
    /// Store the table in 8 bits with one scale a token.
    #[arg(long)]
    pub(crate) int8: bool,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// A run file (.toml); or data: a table (.csv, .tsv, .json, .jsonl), a folder of texts, or stored vectors (.npy) with
    /// their classes.
    #[arg(required = true, value_name = "RUN|DATA")]
    pub(crate) what: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: Columns,
    /// The model to start from, for a run without a run file; the built-in starter where it is not given.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Set a key of the run file, such as train.epochs=3; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Go on from the run's checkpoint.
    #[arg(long)]
    pub(crate) resume: bool,
    /// The folder of the run, instead of the one the run file gives.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Say what the run would do and cost, and stop before anything is written or fetched.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also write the curves as TensorBoard event files, into the run's folder.
    #[arg(long)]
    pub(crate) tensorboard: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Part {
    All,
    Train,
    Validation,
    Test,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Similarity {
    Cosine,
    Dot,
    Euclidean,
}

/// What stands for a vector.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Codes {
    /// Its signs.
    Binary,
}

impl From<Codes> for parallax::config::Codes {
    fn from(codes: Codes) -> Self {
        match codes {
            Codes::Binary => parallax::config::Codes::Binary,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// A model folder, a known name, or organisation/name; or stored vectors (.npy).
    #[arg(value_name = "MODEL|VECTORS")]
    pub(crate) what: PathBuf,
    /// Tables with the same columns (.csv, .tsv, .jsonl), or the classes of stored vectors (.npy).
    #[arg(required_unless_present = "positives", value_name = "DATA")]
    pub(crate) data: Vec<PathBuf>,
    /// Stored vectors, row by row those that belong to the others: pairs instead of classes.
    #[arg(long, value_name = "NPY")]
    pub(crate) positives: Option<PathBuf>,
    /// Stored vectors that the model reads, when it is a head alone.
    #[arg(long, value_name = "NPY")]
    pub(crate) vectors: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: Columns,
    /// A measure, such as map@r or recall@5; may be repeated.
    #[arg(long = "measure", value_name = "NAME")]
    pub(crate) measures: Vec<Measure>,
    /// How rows are divided, as in a run file: stratified, or "{ name = 'class_disjoint', seen = 38 }".
    #[arg(long)]
    pub(crate) split: Option<String>,
    /// The part to measure: test where a split is given, else all.
    #[arg(long)]
    pub(crate) part: Option<Part>,
    /// What makes two vectors near; the model's own, or cosine, where it is not given.
    #[arg(long)]
    pub(crate) similarity: Option<Similarity>,
    /// Compare binary codes, the signs of the vectors, by Hamming distance.
    #[arg(long, value_name = "CODES", conflicts_with = "similarity")]
    pub(crate) codes: Option<Codes>,
    /// The name of the prompt put before every text.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Bootstrap resamples of the intervals; 0 leaves them out.
    #[arg(long, value_name = "N")]
    pub(crate) resamples: Option<usize>,
    /// Say what would be measured and how long it would take, and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Tokens embedded at once; memory and speed only.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Load {
    /// The longest text in tokens; the model's own limit where it is not given.
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// The pooling of a bare checkpoint; "parallax list poolings" names them.
    #[arg(long, value_name = "NAME")]
    pub(crate) pooling: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Embed {
    /// A model folder, a known name, or organisation/name.
    pub(crate) model: PathBuf,
    /// A table (.csv, .tsv, .jsonl), a file of lines, - for lines of standard input, or stored vectors (.npy).
    pub(crate) input: PathBuf,
    /// The file to write: .npy for a float32 matrix, .jsonl for one object a line.
    #[arg(long, short, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Read the input, say what would be written and how long it would take, and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// The name of the prompt put before every text.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,
    /// The side of a search that the rows stand on; it matters to a model with a structural_sparse head.
    #[arg(long = "as", value_name = "SIDE", default_value = "query")]
    pub(crate) side: Side,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Tokens embedded at once; memory and speed only.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
}

/// A side of a search.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Side {
    /// What is searched with.
    Query,
    /// What is searched in.
    Document,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// A family, such as losses; all of them in short where it is not given.
    pub(crate) family: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inspect {
    /// How strongly a loss draws a positive pair together and pushes a negative one apart, by the pair's cosine.
    Weights(InspectWeights),
}

#[derive(Debug, Args)]
pub(crate) struct InspectWeights {
    /// The loss, such as multi_similarity; "parallax list losses" names them.
    pub(crate) loss: String,
    /// Set a parameter of the loss, such as alpha=2.0; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Cosines of the anchor's other positives, or of its own proxy; 0.6 where they are not given.
    #[arg(long, value_name = "COSINE,...", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) positives: Vec<f64>,
    /// Cosines of the anchor's other negatives; 0.4 and 0.2 where they are not given.
    #[arg(long, value_name = "COSINE,...", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) negatives: Vec<f64>,
    /// Similarities to look at, evenly from -1 to 1.
    #[arg(long, value_name = "N", default_value_t = 21)]
    pub(crate) points: usize,
    /// Write the curves as a picture (.svg) too.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// The JSON schema of run files, for editors and tools.
    Schema,
    /// A run file with every default written out and overrides applied.
    Show {
        /// The run file (TOML).
        config: PathBuf,
        /// Set a key of the run file; may be repeated.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// A line for each run: when, on what, how far, and what it gained; the newest last.
    List {
        /// The folder of runs; "runs" where it is not given.
        dir: Option<PathBuf>,
    },
    /// The settings, results, curves and files of a run.
    Show {
        /// The name of a run, or its folder.
        run: PathBuf,
        /// The folder of runs.
        #[arg(long, value_name = "DIR", default_value = "runs")]
        dir: PathBuf,
    },
    /// Two runs side by side: the settings that differ, and the measures.
    Diff {
        /// The name of a run, or its folder.
        #[arg(value_name = "RUN")]
        a: PathBuf,
        /// The name of another run, or its folder.
        #[arg(value_name = "OTHER_RUN")]
        b: PathBuf,
        /// The folder of runs.
        #[arg(long, value_name = "DIR", default_value = "runs")]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Doctor {
    /// Compare a model's vectors with those that another program made of the same texts; exit code 1 if they differ.
    Parity(Parity),
    /// Print the texts that "doctor parity" uses where none are given, one a line.
    Texts,
}

#[derive(Debug, Args)]
pub(crate) struct Parity {
    /// A model folder, a known name, or organisation/name.
    pub(crate) model: PathBuf,
    /// The vectors of the other program: a matrix (.npy) with one row for each text.
    #[arg(long, value_name = "NPY")]
    pub(crate) against: PathBuf,
    /// The texts: a table (.csv, .tsv, .jsonl) or a file of lines; those of "doctor texts" where it is not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) texts: Option<PathBuf>,
    /// The column of the text.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,
    /// The name of the prompt put before every text.
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,
    /// The lowest cosine that still counts as the same.
    #[arg(long, value_name = "COSINE", default_value_t = 0.9999)]
    pub(crate) min_cosine: f64,
    /// How many of the worst rows are shown.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) worst: usize,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Tokens embedded at once; memory and speed only.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_tokens: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be 1 or more".into()),
        Ok(number) => Ok(number),
        Err(e) => Err(format!("{e}")),
    }
}

/// A text as TOML writes it.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Columns {
    /// As settings of a run file.
    pub(crate) fn sets(&self) -> Vec<String> {
        let Columns { text, label, anchor, positive, score } = self;
        let named = [("text", text), ("label", label), ("anchor", anchor), ("positive", positive)];
        let set = |(key, name): (&str, &Option<String>)| Some(format!("data.{key}={}", name.as_ref()?));
        let mut sets: Vec<String> = named.into_iter().filter_map(set).collect();
        match &score[..] {
            [] => {}
            [one] => sets.push(format!("data.score={one}")),
            several => {
                let names: Vec<String> = several.iter().map(|name| toml_text(name)).collect();
                sets.push(format!("data.score=[{}]", names.join(", ")));
            }
        }
        sets
    }

    /// The `[data]` table of a run file with these columns, and with those of the settings that are about data: how the
    /// data are read must be known before anything is inferred from them.
    pub(crate) fn data(&self, settings: &[String]) -> parallax::Result<parallax::config::Data> {
        let mut sets = self.sets();
        sets.extend(settings.iter().filter(|set| set.trim_start().starts_with("data.")).cloned());
        Ok(parallax::RunConfig::parse("", &sets)?.data)
    }
}
