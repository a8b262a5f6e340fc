//! Scores of a confusion matrix, with their derivatives by its four cells.

use std::ops::{Add, Div, Mul, Neg, Sub};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formula::Formula;
use crate::error::{Error, require};

/// Below this number a root has the slope that it has here, which is infinite at 0.
const ROOT_FLOOR: f64 = 1e-14;

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
    /// [`Error::Formula`] with the place; [`Error::Parameter`].
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Score::FBeta(beta) => {
                let valid = *beta >= 0.0 && beta.is_finite();
                require(valid, "anyloss", "score.f_beta", *beta, "a finite number of at least 0")
            }
            Score::Formula(text) => Formula::parse(text).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The score of a confusion matrix, and its derivatives by `tp`, `fp`, `fn` and `tn`.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`Error::Score`] where a formula has no finite value.
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
        let duals = Dual::of(cells);
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
        let Cells { tp, fp, fn_, tn } = cells;
        Err(Error::Score { score, tp, fp, fn_, tn })
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

/// A number with its derivatives by the four cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dual {
    pub(super) value: f64,
    pub(super) slopes: [f64; 4],
}

impl Dual {
    pub(super) fn of_number(value: f64) -> Dual {
        Dual { value, slopes: [0.0; 4] }
    }

    fn of(Cells { tp, fp, fn_, tn }: Cells) -> [Dual; 4] {
        let mut duals = [tp, fp, fn_, tn].map(Dual::of_number);
        duals.iter_mut().enumerate().for_each(|(at, dual)| dual.slopes[at] = 1.0);
        duals
    }

    /// `f` of this number, where `slope` is `f'`.
    fn through(self, value: f64, slope: f64) -> Dual {
        Dual { value, slopes: self.slopes.map(|own| if own == 0.0 { 0.0 } else { own * slope }) }
    }

    fn with(self, other: Dual, value: f64, slope: impl Fn(f64, f64) -> f64) -> Dual {
        let mut slopes = [0.0; 4];
        let pairs = self.slopes.iter().zip(&other.slopes);
        slopes.iter_mut().zip(pairs).for_each(|(out, (&a, &b))| *out = slope(a, b));
        Dual { value, slopes }
    }

    /// The quotient; 0 without a slope for nothing of nothing.
    pub(super) fn over(self, other: Dual) -> Dual {
        if self.value == 0.0 && other.value == 0.0 { Dual::of_number(0.0) } else { self / other }
    }

    pub(super) fn sqrt(self) -> Dual {
        self.through(self.value.sqrt(), 0.5 / self.value.max(ROOT_FLOOR).sqrt())
    }

    pub(super) fn power(self, exponent: Dual) -> Dual {
        let (a, b) = (self.value, exponent.value);
        let value = a.powf(b);
        let base = if b < 1.0 && a >= 0.0 { a.max(ROOT_FLOOR) } else { a };
        let by_base = if b == 0.0 { 0.0 } else { b * base.powf(b - 1.0) };
        // A constant exponent has no logarithm of the base in it, which may be negative.
        let by_exponent = if value == 0.0 { 0.0 } else { value * a.ln() };
        self.with(exponent, value, |x, y| {
            let first = if x == 0.0 { 0.0 } else { x * by_base };
            let second = if y == 0.0 { 0.0 } else { y * by_exponent };
            first + second
        })
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        self.with(other, self.value + other.value, |a, b| a + b)
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, other: Dual) -> Dual {
        self.with(other, self.value - other.value, |a, b| a - b)
    }
}

impl Mul for Dual {
    type Output = Dual;
    // The product rule.
    #[allow(clippy::suspicious_arithmetic_impl)]
    fn mul(self, other: Dual) -> Dual {
        self.with(other, self.value * other.value, |a, b| a * other.value + b * self.value)
    }
}

impl Div for Dual {
    type Output = Dual;
    // The quotient rule.
    #[allow(clippy::suspicious_arithmetic_impl)]
    fn div(self, other: Dual) -> Dual {
        let value = self.value / other.value;
        self.with(other, value, |a, b| (a - value * b) / other.value)
    }
}

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        self.through(-self.value, -1.0)
    }
}
