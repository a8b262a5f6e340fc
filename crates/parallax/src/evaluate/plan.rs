use std::fmt;

use parallax_eval::{CLASSIFIER_MEASURES, Measure, Similarity};
use parallax_train::duration;
use serde::Serialize;

use super::{Evaluation, Part, Prepared, classes};
use crate::Result;
use crate::model::Model;
use crate::run::{CORRELATIONS, seconds_per_row};

/// What an evaluation would measure, and what it would cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationPlan {
    /// The files and the mapping of columns to roles, a line each.
    pub notes: Vec<String>,
    /// The part that would be measured.
    pub part: Part,
    /// Rows of that part.
    pub rows: usize,
    /// Classes among them; absent for pairs.
    pub classes: Option<usize>,
    /// Dimension of the embeddings.
    pub dim: usize,
    /// The measures by their names.
    pub measures: Vec<String>,
    /// What would make two vectors near.
    pub similarity: Similarity,
    /// Estimated seconds for embedding.
    pub seconds: f64,
}

/// Goes through an evaluation up to its first batch, and embeds a few rows for the estimate.
///
/// # Errors
/// As [`evaluate`](super::evaluate), as far as that can be known before.
pub fn plan(model: Option<&Model>, evaluation: &Evaluation) -> Result<EvaluationPlan> {
    let Prepared { rows, encoder, selected, settings, reader } = Prepared::new(model, evaluation)?;
    let seconds = seconds_per_row(&rows, &reader, &encoder, &selected, evaluation.evaluate.batch_tokens)?;
    Ok(EvaluationPlan {
        notes: rows.describe(),
        part: evaluation.part,
        rows: selected.len(),
        classes: classes(&rows, &selected),
        dim: encoder.dim(),
        measures: match rows.scored() {
            _ if encoder.classes().is_some() => CLASSIFIER_MEASURES.map(str::to_owned).to_vec(),
            true => CORRELATIONS.map(str::to_owned).to_vec(),
            false => settings.measures.iter().map(Measure::to_string).collect(),
        },
        similarity: settings.similarity,
        seconds: seconds * selected.len() as f64,
    })
}

impl fmt::Display for EvaluationPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        write!(f, "to measure: {} rows", self.rows)?;
        if let Some(classes) = self.classes {
            write!(f, " of {classes} classes")?;
        }
        writeln!(f, " ({}), {} dimensions, by {}", self.part.name(), self.dim, self.similarity.definition())?;
        writeln!(f, "measures: {}", self.measures.join(", "))?;
        write!(f, "estimated time: {}\ndry run: nothing was measured", duration(self.seconds))
    }
}
