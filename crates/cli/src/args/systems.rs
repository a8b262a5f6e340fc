use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Systems {
    /// Every published system with its status, as committed results support it.
    List,
    /// A system: what it is, how it is asked for, what is claimed, what came out.
    Show {
        /// Its name, such as multi-similarity.
        name: String,
    },
    /// Run the recipe of a system: both arms with every seed, the interval, the verdict, and a report.
    Reproduce(Reproduce),
    /// Write a page of documentation for every system.
    Docs {
        /// The folder.
        #[arg(long, short, value_name = "FOLDER")]
        output: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reproduce {
    /// The system, such as multi-similarity; or a recipe of your own (.toml).
    #[arg(value_name = "SYSTEM|RECIPE")]
    pub(crate) what: String,
    /// Seeds of each arm, instead of what the recipe says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// Show in under a minute that everything works; decides nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The folder for result.json and report.html.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Also write the result into this folder of results, as <system>.json.
    #[arg(long, value_name = "FOLDER", conflicts_with = "quick")]
    pub(crate) results: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Tune {
    /// A run file (.toml), with the space in [tune.space]; or data as for train.
    #[arg(required = true, value_name = "RUN|DATA")]
    pub(crate) what: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: super::Columns,
    /// The model to start from, for a run without a run file; the built-in starter where it is not given.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Set a key of the run file, such as train.epochs=3; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Search a key: "train.epochs=1..4", "train.optimizer.lr=1e-6..1e-3,log", "objective.loss=[contrastive,supcon]"; may be repeated.
    #[arg(long = "search", value_name = "KEY=VALUES")]
    pub(crate) search: Vec<String>,
    /// Points tried, the settings as they stand included.
    #[arg(long, value_name = "N")]
    pub(crate) trials: Option<usize>,
    /// End the search after so many minutes.
    #[arg(long, value_name = "N")]
    pub(crate) minutes: Option<f64>,
    /// Seeds with which the best settings are compared with those as they stand, on the test rows; 0 leaves that out.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) seeds: usize,
    /// Go on with the search that stands in the folder.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Replace the search that stands in the folder.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) force: bool,
    /// The folder of the search; <output.dir>/<name>-tune where it is not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
