//! A run without a run file: what the data themselves say about how to learn from them.

use std::path::{Path, PathBuf};

use parallax_data::sampler::{PerClassSampler, Sampler, ShuffledSampler};
use parallax_data::split::{
    ClassDisjointSplit, ClassOrder, ColumnSplit, RandomSplit, Share, Split, StratifiedSplit,
};
use parallax_data::{Labels, Shape};
use parallax_linear::SelectionConfig;
use parallax_metric::loss::{MultiSimilarity, MultipleNegativesRanking};
use parallax_metric::miner;
use parallax_metric::scored::{Cosent, Targets};
use parallax_metric::{LossConfig, MinerConfig, Objective};
use parallax_train::Training;
use parallax_train::optimizer::{AdamW, Optimizer};
use parallax_train::schedule::{Schedule, Warmup};

use super::{Data, Files, RunConfig, Start};
use crate::dataset::Dataset;
use crate::models;
use crate::{Error, Result};

/// A run that was made from data alone, and why it is as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// The run, everything that was chosen written out.
    pub config: RunConfig,
    /// What the rows are.
    pub shape: Shape,
    /// The choices with their reasons, a line each.
    pub reasons: Vec<String>,
}

/// Fewer classes than this are split by rows: a share of so few classes says little about new ones.
const FEW_CLASSES: usize = 10;

/// Steps that a run without a run file takes at least, and about; an epoch at least.
const STEPS: u64 = 300;

/// Makes a run from files: a table or a folder of texts (one or several), or stored vectors with their classes.
///
/// `data` holds what is known already, such as named columns; `model` is the model to start from, the built-in starter
/// where it is not given.
///
/// # Errors
/// Files that cannot be read, and columns whose roles are not clear; the error says what to type.
pub fn infer(files: &[PathBuf], data: Data, model: Option<&str>) -> Result<Inferred> {
    let mut config = RunConfig { data, ..RunConfig::default() };
    let mut reasons = Vec::new();
    place(files, &mut config.data)?;
    config.name = name(files);
    let rows = Dataset::open(&config.data)?;
    let shape = rows.kind();

    let closed_form = rows.vector_dim().is_some();
    config.data.split = Some(split(&rows, config.data.split.take(), closed_form, &mut reasons));
    config.model = match (rows.vector_dim(), model) {
        (Some(_), Some(model)) => {
            return Err(Error::setting_with(
                format!("the data are stored vectors, and the model {model} would read texts"),
                "leave out the model to adapt the vectors",
            ));
        }
        (Some(dim), None) => {
            reasons.push(format!("model: none; the data are stored vectors of {dim} dimensions"));
            None
        }
        (None, Some(model)) => Some(Start { path: model.to_owned(), ..Start::default() }),
        (None, None) => {
            let megabytes = models::STARTER_BYTES as f64 / 1e6;
            reasons.push(format!(
                "model: {}, built in ({megabytes:.1} MB); --model all-MiniLM-L6-v2 is stronger and slower",
                models::STARTER
            ));
            Some(Start { path: models::STARTER.to_owned(), ..Start::default() })
        }
    };
    config.objective = objective(&shape, &mut reasons);
    let small = config.model.as_ref().is_none_or(|model| models::is_static(&model.path));
    config.train = training(&rows, config.data.split.as_ref(), small)?;
    if config.model.is_none() {
        config.adapter = Some(SelectionConfig::default());
        reasons.push(
            "adapter: the best closed-form map by cross-validation over classes; take out [adapter] to train a head"
                .to_owned(),
        );
    }
    Ok(Inferred { config, shape, reasons })
}

impl Inferred {
    /// With settings of the form `a.b=value`, as on a command line. A loss that is named takes the place of the chosen one
    /// together with its miner, which not every loss has a use for.
    ///
    /// # Errors
    /// A setting that does not exist, or a value that does not fit.
    pub fn with_sets<S: AsRef<str>>(mut self, sets: &[S]) -> Result<Inferred> {
        let key = |set: &S| set.as_ref().split('=').next().map(|key| key.trim().to_owned());
        let named = |key: String| matches!(key.as_str(), "objective.loss" | "objective.loss.name");
        if sets.iter().filter_map(key).any(named) {
            self.config.objective.miner = None;
        }
        self.config = RunConfig::parse(&self.config.to_toml()?, sets)?;
        Ok(self)
    }

    /// Writes the run file with every setting explained and the objectives that fit the rows marked.
    ///
    /// # Errors
    /// A file that exists, unless `force`; one that cannot be written.
    pub fn write(&self, path: &Path, force: bool) -> Result<()> {
        if !force && path.exists() {
            return Err(Error::setting_with(
                format!("{} exists", path.display()),
                "--force replaces it; -o FILE writes elsewhere",
            ));
        }
        let mut fits = vec![format!("The rows are {}.", self.shape.name())];
        let losses = crate::catalogue::family("losses").map_or(Vec::new(), |family| family.entries);
        for (fit, head) in [(true, "Losses that fit them:"), (false, "Losses for other rows:")] {
            let names: Vec<&str> = losses
                .iter()
                .map(|entry| entry.name.as_str())
                .filter(|name| fits_rows(name, &self.shape) == fit)
                .collect();
            if !names.is_empty() {
                fits.push(format!("{head} {}.", names.join(", ")));
            }
        }
        let mut notes = vec![("objective.loss", fits)];
        notes.push(("", self.reasons.clone()));
        let text = self.config.to_commented_toml(&notes)?;
        Ok(parallax_data::atomic_write(path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
    }
}

/// Whether a loss, with its default settings, can learn from such rows.
fn fits_rows(loss: &str, shape: &Shape) -> bool {
    let Ok(loss) = super::parse_component::<LossConfig>(loss, "objective.loss") else { return false };
    let wants = loss.wants();
    match shape {
        Shape::Labelled { .. } | Shape::Vectors { .. } => !wants.pairs && wants.targets.is_none(),
        Shape::Triplets { scores, .. } if !scores.is_empty() => {
            !wants.itself && wants.proxies.is_none() && wants.targets != Some(Targets::Pairs)
        }
        Shape::Pairs { .. } | Shape::Triplets { .. } => {
            !wants.itself && wants.proxies.is_none() && wants.targets.is_none()
        }
        Shape::ScoredPairs { .. } => wants.targets == Some(Targets::Pairs),
    }
}

/// Puts the files where they belong: `vectors.npy`, `vectors.npy labels.npy`, `vectors.npy table.csv`, or tables.
fn place(files: &[PathBuf], data: &mut Data) -> Result<()> {
    let npy = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
    match files {
        [vectors, labels] if npy(vectors) && npy(labels) => {
            data.vectors = Some(vectors.clone());
            data.labels = Some(labels.clone());
        }
        [vectors, tables @ ..] if npy(vectors) => {
            data.vectors = Some(vectors.clone());
            data.path = Files(tables.to_vec());
        }
        [tables @ .., vectors] if npy(vectors) && !tables.is_empty() => {
            data.vectors = Some(vectors.clone());
            data.path = Files(tables.to_vec());
        }
        tables => data.path = Files(tables.to_vec()),
    }
    Ok(())
}

/// A folder's name for the run: that of the first file, without its extension.
fn name(files: &[PathBuf]) -> String {
    let stem = files.first().and_then(|file| {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let stem = if file.is_dir() { file.file_name() } else { file.file_stem() };
        stem.map(|stem| stem.to_string_lossy().into_owned())
    });
    stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| "run".to_owned())
}

/// Cross-validation makes a validation part of its own, so a closed-form run needs none.
fn split(rows: &Dataset, asked: Option<Split>, closed_form: bool, reasons: &mut Vec<String>) -> Split {
    if let Some(split) = asked {
        return split;
    }
    if let Some(column) = rows.split_column() {
        reasons.push(format!("split: by the column \"{column}\""));
        return Split::Column(ColumnSplit { column, ..ColumnSplit::default() });
    }
    match rows.classes().map(Labels::classes) {
        Some(classes) if classes >= FEW_CLASSES => {
            let split = ClassDisjointSplit {
                seen: Share::Fraction(0.6),
                validation: Share::Fraction(if closed_form { 0.0 } else { 0.25 }),
                order: ClassOrder::Random,
            };
            reasons.push(format!(
                "split: by class; {classes} classes are enough to measure on classes that training never saw"
            ));
            Split::ClassDisjoint(split)
        }
        Some(classes) => {
            reasons.push(format!(
                "split: by rows within each class; {classes} classes are too few to keep some for the test alone"
            ));
            Split::Stratified(StratifiedSplit {
                validation: if closed_form { 0.0 } else { 0.15 },
                test: 0.25,
                seed: None,
            })
        }
        None => {
            reasons.push("split: by rows at random; pairs have no classes".to_owned());
            Split::Random(RandomSplit { validation: 0.1, test: 0.2, seed: None })
        }
    }
}

fn objective(shape: &Shape, reasons: &mut Vec<String>) -> Objective {
    match shape {
        Shape::Labelled { .. } | Shape::Vectors { .. } => {
            reasons
                .push("objective: multi_similarity with its miner, a strong choice for classes".to_owned());
            Objective {
                miner: Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity::default())),
                ..LossConfig::MultiSimilarity(MultiSimilarity::default()).into()
            }
        }
        Shape::ScoredPairs { .. } => {
            reasons.push("objective: cosent, which puts pairs in the order of their scores".to_owned());
            LossConfig::Cosent(Cosent::default()).into()
        }
        Shape::Triplets { scores, .. } if !scores.is_empty() => {
            let what = "objective: multiple_negatives_ranking, with the negatives masked that the scores put above the positive; \
                        margin_mse and listwise_kl learn the scores themselves";
            reasons.push(what.to_owned());
            let loss =
                MultipleNegativesRanking { teacher_guided: true, ..MultipleNegativesRanking::default() };
            LossConfig::MultipleNegativesRanking(loss).into()
        }
        Shape::Pairs { .. } | Shape::Triplets { .. } => {
            reasons.push(
                "objective: multiple_negatives_ranking, which tells each pair from the other pairs of a batch".to_owned(),
            );
            LossConfig::MultipleNegativesRanking(MultipleNegativesRanking::default()).into()
        }
    }
}

/// `small`: the model is a token table or a head over vectors, whose steps cost little and whose rates are high.
fn training(rows: &Dataset, split: Option<&Split>, small: bool) -> Result<Training> {
    let sampler = PerClassSampler::default();
    // How many classes a split leaves for training does not depend on its seed.
    let key = parallax_random::Key::new(0);
    let parts = rows.split(split).assign(rows.len(), rows.classes(), rows.table(), key)?;
    let most = match rows.classes() {
        Some(labels) => {
            let counts = labels.counts_among(parts.train.iter().map(|&row| row as usize));
            counts.iter().filter(|&&count| count > 0).count() * sampler.per_class
        }
        None => parts.train.len(),
    };
    let batch_size = 128.min(most).max(2);
    let per_epoch = (parts.train.len() / batch_size).max(1) as u64;
    let epochs = if small {
        STEPS.div_ceil(per_epoch).clamp(1, 40)
    } else {
        (STEPS / 2).div_ceil(per_epoch).clamp(1, 8)
    };
    let lr = if small { 3e-3 } else { 2e-5 };
    let sampler = match rows.classes() {
        Some(_) => Sampler::PerClass(sampler),
        None => Sampler::Shuffled(ShuffledSampler::default()),
    };
    Ok(Training {
        epochs,
        batch_size,
        sampler: Some(sampler),
        optimizer: Optimizer::Adamw(AdamW { lr, ..AdamW::default() }),
        validate_with: if rows.scored() { "spearman".to_owned() } else { Training::default().validate_with },
        schedule: Schedule::Cosine(Warmup { warmup: 0.1 }),
        ..Training::default()
    })
}
