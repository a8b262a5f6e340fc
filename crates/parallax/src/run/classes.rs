//! What a classifier tells: the classes of the rows, or one of them, or a few, against the rest.

use std::path::Path;

use parallax_data::split::StratifiedSplit;
use parallax_data::{Labels, NpyWriter, Parts, Split};
use parallax_eval::CLASSIFIER_MEASURES;
use parallax_metric::LossConfig;
use parallax_nn::folder::Classes;
use parallax_nn::head::{Classifier, Head};
use parallax_train::Training;

use super::Event;
use crate::catalogue;
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// The file with what a classifier made of every measured row after training: a float32 matrix `[rows, 1 + outputs]`, the class of
/// the row (1 is the positive one of two) and then its logits, the rows by their number.
pub(crate) const PREDICTIONS: &str = "predictions.npy";

/// The classes that a loss on logits learns to tell, where the run has one: the rows of `data` are labelled by them, and the
/// measure that decides is one of a classifier.
///
/// With `data.positive_class`, or of two classes, one output tells the positive ones from all others; which of two is positive
/// is by itself the rarer one. Of more classes each has an output.
///
/// # Errors
/// A class that does not occur, rows without classes.
pub(super) fn learn_from(
    config: &mut RunConfig,
    data: &mut Dataset,
    logits: bool,
    loss: &str,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<Classes>> {
    let positive = config.data.positive_class.as_ref().map(|names| names.0.clone());
    if !logits {
        if positive.is_some() {
            return Err(Error::setting_with(
                format!("data.positive_class is given, and {loss} is not a loss of a classifier"),
                format!("set objective.loss to one of {}, or take it out", losses_on_logits().join(", ")),
            ));
        }
        if matches!(config.head, Some(Head::Classifier(_))) {
            return Err(Error::setting_with(
                format!("head.name = \"classifier\" has logits, and {loss} compares embeddings"),
                format!(
                    "set objective.loss to one of {}, or choose another head",
                    losses_on_logits().join(", ")
                ),
            ));
        }
        return Ok(None);
    }
    let Some(labels) = data.classes() else {
        return Err(Error::setting_with(
            format!("{loss} needs rows with a class, and these are {}", data.shape()),
            "name the column with data.label",
        ));
    };
    if labels.classes() < 2 {
        return Err(Error::setting_with("all rows are of one class", "is the right column the label?"));
    }
    let counts = labels.counts();
    let classes = match positive {
        Some(positive) => {
            if let Some(missing) = positive.iter().find(|name| !labels.names.contains(name)) {
                let names: Vec<&str> = labels.names.iter().map(String::as_str).collect();
                return Err(Error::unknown_name("class in data.positive_class", missing, &names));
            }
            let negative: Vec<String> =
                labels.names.iter().filter(|name| !positive.contains(name)).cloned().collect();
            if positive.is_empty() || negative.is_empty() {
                return Err(Error::setting_with(
                    "data.positive_class leaves no class on one side",
                    "name some of the classes",
                ));
            }
            // Of many classes the rest is whatever is not positive; of two the other one has a name.
            let negative = if labels.classes() == 2 { negative } else { Vec::new() };
            Classes::Binary { positive, negative }
        }
        None if labels.classes() == 2 => {
            // The later of two equally rare ones: 1 rather than 0, yes rather than no.
            let rarer = usize::from(counts[1] <= counts[0]);
            on_event(&Event::Message(format!(
                "positive class: \"{}\", the rarer one; data.positive_class names another",
                labels.names[rarer]
            )));
            let name = |at: usize| vec![labels.names[at].clone()];
            Classes::Binary { positive: name(rarer), negative: name(1 - rarer) }
        }
        None => Classes::Several { names: labels.names.clone() },
    };
    let known = || Error::setting("a class has no number");
    let numbers: Vec<u32> =
        labels.names.iter().map(|name| classes.number(name).ok_or_else(known)).collect::<Result<_>>()?;
    let ids: Vec<u32> = labels.ids.iter().map(|&id| numbers[id as usize]).collect();
    let labels = Labels { ids, names: classes.names() };
    if classes.outputs() == 1 {
        let rows = labels.counts()[1];
        let share = 100.0 * rows as f64 / labels.len() as f64;
        on_event(&Event::Message(format!("positive: {rows} of {} rows ({share:.1} %)", labels.len())));
    }
    data.classify(labels, classes.clone());
    if config.train.validate_with == Training::default().validate_with {
        config.train.validate_with = deciding(&config.objective.loss).to_owned();
    }
    Ok(Some(classes))
}

/// The measure of a classifier that a loss is after.
pub(crate) fn deciding(loss: &LossConfig) -> &'static str {
    loss.wants().measure.unwrap_or("f1")
}

/// Names of the losses on logits.
fn losses_on_logits() -> Vec<String> {
    let losses = catalogue::family("losses").map_or_else(Vec::new, |family| family.entries);
    let logits = |name: &String| {
        let loss = serde_json::from_value::<LossConfig>(serde_json::json!({ "name": name }));
        loss.is_ok_and(|loss| loss.wants().logits)
    };
    losses.into_iter().map(|loss| loss.name).filter(logits).collect()
}

/// Names of measures that can decide: the larger the better.
pub(super) fn deciders() -> Vec<String> {
    CLASSIFIER_MEASURES.iter().filter(|name| **name != "log_loss").map(|&name| name.to_owned()).collect()
}

/// The split of a classifier's rows where none is asked for: at random within each class.
///
/// # Errors
/// A split by class, after which a classifier would be measured on classes that it has no output for.
pub(super) fn split(asked: Option<&Split>, data: &Dataset) -> Result<Split> {
    match asked {
        Some(Split::ClassDisjoint(_)) => Err(Error::setting_with(
            "data.split = \"class_disjoint\" tests on classes that a classifier has not learned",
            "use stratified, random or column",
        )),
        Some(split) => Ok(split.clone()),
        None if data.split_column().is_some() => Ok(data.split(None)),
        None => Ok(Split::Stratified(StratifiedSplit::default())),
    }
}

/// Refuses a class without a row to learn it from.
pub(super) fn check_parts(data: &Dataset, parts: &Parts) -> Result<()> {
    let Some(labels) = data.classes() else { return Ok(()) };
    let counts = labels.counts_among(parts.train.iter().map(|&row| row as usize));
    match counts.iter().position(|&count| count == 0) {
        None => Ok(()),
        Some(class) => Err(Error::setting_with(
            format!("the class \"{}\" has no training row", labels.names[class]),
            "check data.split, or leave the rows of the class out",
        )),
    }
}

/// The head of a classifier: the configured one with an output for each class.
///
/// # Errors
/// Another head, or another number of outputs.
pub(super) fn head(configured: Option<&Head>, classes: &Classes, loss: &str) -> Result<Head> {
    let outputs = Some(classes.outputs());
    match configured {
        None => Ok(Head::Classifier(Classifier { outputs, ..Classifier::default() })),
        Some(Head::Classifier(head)) if head.outputs.is_none_or(|given| Some(given) == outputs) => {
            Ok(Head::Classifier(Classifier { outputs, ..head.clone() }))
        }
        Some(Head::Classifier(head)) => Err(Error::setting_with(
            format!(
                "head.outputs = {}, and the classes need {}",
                head.outputs.unwrap_or_default(),
                classes.outputs()
            ),
            "leave it out",
        )),
        Some(_) => Err(Error::setting_with(
            format!("{loss} needs logits, and the head gives embeddings"),
            "set head.name = \"classifier\", or leave [head] out",
        )),
    }
}

/// Writes [`PREDICTIONS`].
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write_predictions(folder: &Path, rows: &[u32], classes: &[u32], logits: &[f32]) -> Result<()> {
    let outputs = logits.len() / rows.len().max(1);
    let mut file = NpyWriter::create(folder.join(PREDICTIONS), 1 + outputs)?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| rows[at]);
    for at in order {
        let mut line = vec![classes[at] as f32];
        line.extend(&logits[at * outputs..][..outputs]);
        file.push_rows(&line)?;
    }
    Ok(file.finish()?)
}
