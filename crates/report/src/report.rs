use serde::{Deserialize, Serialize};

use crate::Evidence;
use crate::metrics::key_name;

/// Everything that the page of a run shows. Any part may be left empty, and is then left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Name of the run.
    pub title: String,
    /// What was done, in a sentence or two.
    pub summary: String,
    /// The data: files, rows, classes, split.
    pub data: String,
    /// The model that was started from.
    pub model: String,
    /// The run's seed.
    pub seed: Option<u64>,
    /// What was measured on, for example "test rows of 39 classes that training never saw".
    pub measured_on: String,
    /// Name of the measure that decides; the first one where it is empty or unknown.
    pub main: String,
    /// The measures, in the order of the table. Names differ; a name that comes again is left out.
    pub measures: Vec<MeasureChange>,
    /// How the intervals were made.
    pub interval_method: String,
    /// Queries measured.
    pub queries: Option<usize>,
    /// Queries left out because nothing is relevant for them.
    pub dropped: Option<usize>,
    /// What it took: steps, seconds, memory, rows. Names differ, as for measures.
    pub figures: Vec<Figure>,
    /// Curves against the step.
    pub charts: Vec<Chart>,
    /// Maps, confusions and single queries.
    pub evidence: Option<Evidence>,
    /// The resolved settings as TOML.
    pub config: String,
    /// Versions, machine, time.
    pub facts: Vec<Fact>,
    /// What a reader should know before trusting or using the result.
    pub advice: Vec<String>,
}

/// One measure before and after, on the same queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeasureChange {
    /// Name, for example `map@r`.
    pub name: String,
    /// Mean over queries before; `None` where nothing was measured before.
    pub before: Option<f64>,
    /// 95 % interval of `before`.
    pub before_interval: Option<[f64; 2]>,
    /// Mean over queries after.
    pub after: Option<f64>,
    /// 95 % interval of `after`.
    pub after_interval: Option<[f64; 2]>,
    /// Mean over queries of after − before.
    pub change: Option<f64>,
    /// Paired 95 % interval of `change`.
    pub change_interval: Option<[f64; 2]>,
    /// What the number means.
    pub definition: String,
}

/// A number about the run that is not a measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figure {
    /// Name, for example `training time`.
    pub name: String,
    /// Value; not finite is shown as missing.
    pub value: f64,
    /// Decimals shown.
    pub digits: usize,
    /// Unit, shown after the value, for example `s`.
    pub unit: String,
}

/// A line chart against the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chart {
    /// Heading, for example "Training loss".
    pub title: String,
    /// A remark under the chart.
    pub note: String,
    /// Whether a moving mean is drawn over lines of 40 points and more; for what is noisy, as the loss of each step.
    pub smooth: bool,
    /// Its lines, at most eight.
    pub series: Vec<Series>,
}

/// One line of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Name; may be empty where the chart has one line.
    pub name: String,
    /// (step, value), ascending by step. Values that are not finite are gaps.
    pub points: Vec<(f64, f64)>,
}

/// A line of the facts about a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fact {
    /// What it is, for example "Processor".
    pub name: String,
    /// What it was.
    pub value: String,
}

impl Report {
    /// The measures in order, each name once.
    pub(crate) fn unique_measures(&self) -> Vec<&MeasureChange> {
        unique(&self.measures, |measure| &measure.name)
    }

    /// The figures in order, each name once.
    pub(crate) fn unique_figures(&self) -> Vec<&Figure> {
        unique(&self.figures, |figure| &figure.name)
    }

    /// The measure that decides.
    pub(crate) fn main_measure(&self) -> Option<&MeasureChange> {
        self.measures.iter().find(|measure| measure.name == self.main).or(self.measures.first())
    }
}

fn unique<T>(items: &[T], name: impl Fn(&T) -> &str) -> Vec<&T> {
    let mut seen = std::collections::BTreeSet::new();
    items.iter().filter(|item| seen.insert(key_name(name(item)))).collect()
}
