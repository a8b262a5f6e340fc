//! Scores of a confusion matrix, with their derivatives by its four cells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NAME;
use super::dual::Dual;
use super::formula::Formula;
use crate::error::{Error, require};

/// A score of a confusion matrix, with 1 the best.
///
/// A rate whose denominator is 0 (no positive, or no negative, in the batch) is left out: a mean is then of the other rate
/// alone, and a score that is nothing else is 0 with a slope of 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// `2·tp / (2·tp + fp + fn)`.
    #[default]
    F1,
    /// `(tp + tn) / n`.
    Accuracy,
    /// The mean of recall and of `tn / (tn + fp)`.
    BalancedAccuracy,
    /// The geometric mean of recall and of `tn / (tn + fp)`.
    GMean,
    /// `tp / (tp + fp)`.
    Precision,
    /// `tp / (tp + fn)`.
    Recall,
    /// `(1 + β²)·tp / ((1 + β²)·tp + β²·fn + fp)`, β from 0 on: a larger β counts recall for more.
    FBeta(f64),
    /// Any formula of `tp`, `fp`, `fn`, `tn` and `n`, with `+ - * / ^ ( )`, `sqrt(...)` and numbers, such as
    /// `"tp / (tp + fp + fn)"` (Jaccard).
    Formula(String),
}

/// The cells of a confusion matrix, whole or soft.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cells {
    /// Positives called positive.
    pub tp: f64,
    /// Negatives called positive.
    pub fp: f64,
    /// Positives called negative.
    pub fn_: f64,
    /// Negatives called negative.
    pub tn: f64,
}

/// A score that has been checked, ready for batches.
pub(super) enum Prepared {
    Named(Score),
    Formula(Formula),
}

impl Score {
    /// Refuses a formula that cannot be read, and a β out of range.
    ///
    /// # Errors
    /// [`Error::Refused`] with the place in a formula; [`Error::Parameter`].
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Score::FBeta(beta) => {
                let valid = *beta >= 0.0 && beta.is_finite();
                require(valid, NAME, "score.f_beta", *beta, "a finite number of at least 0")
            }
            Score::Formula(text) => Formula::parse(text).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The score of a confusion matrix, and its derivatives by `tp`, `fp`, `fn` and `tn`.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`Error::Refused`] where a formula has no finite value.
    pub fn of(&self, cells: Cells) -> Result<(f64, [f64; 4]), Error> {
        self.prepared()?.of(cells)
    }

    pub(super) fn prepared(&self) -> Result<Prepared, Error> {
        self.check()?;
        Ok(match self {
            Score::Formula(text) => Prepared::Formula(Formula::parse(text)?),
            named => Prepared::Named(named.clone()),
        })
    }
}

impl Prepared {
    pub(super) fn of(&self, cells: Cells) -> Result<(f64, [f64; 4]), Error> {
        let Cells { tp, fp, fn_, tn } = cells;
        let duals = Dual::variables([tp, fp, fn_, tn]);
        let found = match self {
            Prepared::Formula(formula) => formula.evaluate(duals),
            Prepared::Named(score) => named(score, duals),
        };
        if found.value.is_finite() && found.slopes.iter().all(|slope| slope.is_finite()) {
            return Ok((found.value, found.slopes));
        }
        let score = match self {
            Prepared::Formula(formula) => formula.text().to_owned(),
            Prepared::Named(score) => format!("{score:?}"),
        };
        let what = format!(
            "score {score} has no finite value or slope where tp = {tp}, fp = {fp}, fn = {fn_}, tn = {tn}"
        );
        Err(Error::Refused { component: NAME, what })
    }
}

fn named(score: &Score, [tp, fp, fn_, tn]: [Dual; 4]) -> Dual {
    let (recall, specificity) = (tp.over(tp + fn_), tn.over(tn + fp));
    let (positives, negatives) = ((tp + fn_).value > 0.0, (tn + fp).value > 0.0);
    match score {
        Score::F1 => f_beta(1.0, tp, fp, fn_),
        Score::FBeta(beta) => f_beta(*beta, tp, fp, fn_),
        Score::Accuracy => (tp + tn).over(tp + fp + fn_ + tn),
        Score::Precision => tp.over(tp + fp),
        Score::Recall => recall,
        Score::BalancedAccuracy if positives && negatives => Dual::of_number(0.5) * (recall + specificity),
        Score::GMean if positives && negatives => (recall * specificity).sqrt(),
        Score::BalancedAccuracy | Score::GMean if positives => recall,
        Score::BalancedAccuracy | Score::GMean => specificity,
        // Read beforehand.
        Score::Formula(_) => Dual::of_number(f64::NAN),
    }
}

fn f_beta(beta: f64, tp: Dual, fp: Dual, fn_: Dual) -> Dual {
    let square = Dual::of_number(beta * beta);
    let twice = (Dual::of_number(1.0) + square) * tp;
    twice.over(twice + square * fn_ + fp)
}
