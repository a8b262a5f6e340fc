//! A score of a confusion matrix as a loss.

mod dual;
mod formula;
mod score;

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binary_cross_entropy::log_loss;
use super::{Logits, check_parts, evaluated, no_distance};
use crate::batch::Batch;
use crate::context::Context;
use crate::dense::DenseLoss;
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::loss::softmax::softplus;
use crate::objective::Evaluated;
use crate::parts::Parts;
use crate::tiling::Shape;

pub use self::formula::Formula;
use self::score::Prepared;
pub use self::score::{Cells, Score};

/// Its name in configs and messages.
const NAME: &str = "anyloss";

/// `1 − score(tp, fp, fn, tn)` of a soft confusion matrix: a row counts as positive to the degree
/// `ŷ = σ(L·(p − ½))`, `p = σ(z)`, and `tp = Σ y·ŷ`, `fn = Σ y·(1 − ŷ)`, `fp = Σ (1 − y)·ŷ`, `tn = Σ (1 − y)·(1 − ŷ)` over the
/// batch. The steeper `L`, the nearer is the loss to the score of hard decisions at `p = ½`.
///
/// The score is differentiated exactly by the four cells, whatever it is. All is computed in 64 bits, `ŷ` and `1 − ŷ` each
/// by itself and slopes by their logarithms, so that an `L` at which `ŷ` rounds to 1 in 32 bits still has a slope of the right
/// sign for every row; one below the smallest normal number is raised to it. Confident mistakes have hardly any slope: start
/// from a classifier of zeros, where every row is at `p = ½`. A short warm-up is worse than none for a rare class: it leaves
/// all its rows confidently negative; warm up until the positives are found, or not at all.
///
/// The loss of a batch is not a mean over its rows: a batch should hold rows of both classes (the `stratified` sampler), and a
/// small one gives a biased estimate. It sees one threshold alone and does not keep probabilities calibrated.
///
/// With several outputs each class is held against all others, `p` being `σ` of its own logit, and the loss is the mean over
/// the classes that occur in the batch; that is an extension of ours.
///
/// Defaults: F1, `L = 73` (the largest whole number whose `ŷ` at `p = 1` is below 1 in 64 bits), no warm-up. Han, Moniz,
/// Chawla, *AnyLoss: Transforming Classification Metrics into Loss Functions*, 2024, arXiv 2405.14745; unlike its code, the sums
/// are divided by the rows of the batch, and the slope of the G-mean is the true one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Anyloss {
    /// The score: `f1`, `accuracy`, `balanced_accuracy`, `g_mean`, `precision`, `recall`, `{ f_beta = 2.0 }`, or
    /// `{ formula = "..." }` of `tp`, `fp`, `fn`, `tn` and `n`.
    pub score: Score,
    /// Amplification L, greater than 0.
    pub amplification: f64,
    /// First steps, in which `binary_cross_entropy` is minimised instead.
    pub warm_up: u64,
}

impl Default for Anyloss {
    fn default() -> Self {
        Anyloss { score: Score::F1, amplification: 73.0, warm_up: 0 }
    }
}

impl DenseLoss for Anyloss {
    const NAME: &'static str = NAME;
    const ITSELF: bool = true;
    const LOGITS: bool = true;

    fn distance(&self) -> DistanceConfig {
        no_distance()
    }

    fn check(&self) -> Result<(), Error> {
        let steep = self.amplification;
        let valid = steep > 0.0 && steep.is_finite();
        require(valid, Self::NAME, "amplification", steep, "a finite number greater than 0")?;
        self.score.check()
    }

    fn check_parts(&self, parts: &Parts<'_>) -> Result<(), Error> {
        check_parts(Self::NAME, parts)
    }

    fn measure(&self) -> &'static str {
        match self.score {
            Score::Accuracy => "accuracy",
            Score::BalancedAccuracy => "balanced_accuracy",
            Score::GMean => "g_mean",
            Score::Precision => "precision",
            Score::Recall => "recall",
            Score::F1 | Score::FBeta(_) | Score::Formula(_) => "f1",
        }
    }

    fn state(&self) -> usize {
        // Steps so far, for the warm-up.
        usize::from(self.warm_up > 0)
    }

    fn evaluate<T: Real>(
        &self,
        _parts: &Parts<'_>,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let logits = Logits::of(Self::NAME, batch)?;
        let rows = batch.labels.len();
        let mut grad = vec![T::ZERO; batch.x.len()];
        let steps = context.state.and_then(|state| state.first().copied()).unwrap_or(0.0);
        let state = if self.warm_up > 0 { vec![(steps + 1.0).min(self.warm_up as f64)] } else { Vec::new() };
        if steps < self.warm_up as f64 {
            let value = log_loss(&logits, 1.0, &mut grad);
            return evaluated(value, grad, rows, state);
        }
        let score = self.score.prepared()?;
        let occurs = |output: usize| logits.outputs == 1 || batch.labels.contains(&(output as u32));
        let outputs: Vec<usize> = (0..logits.outputs).filter(|&output| occurs(output)).collect();
        let share = 1.0 / outputs.len() as f64;
        let mut value = 0.0;
        for output in outputs {
            value += share * self.one(&score, &logits, output, share, &mut grad)?;
        }
        evaluated(value, grad, rows, state)
    }

    fn memory_bytes(&self, shape: &Shape) -> usize {
        (shape.anchors * shape.value_bytes + 8) * shape.dim + (8 << 10)
    }
}

impl Anyloss {
    /// The loss of one output; adds `share` times its slopes to `grad`.
    fn one<T: Real>(
        &self,
        score: &Prepared,
        logits: &Logits<'_, T>,
        output: usize,
        share: f64,
        grad: &mut [T],
    ) -> Result<f64, Error> {
        let mut cells = Cells::default();
        for (z, positive) in logits.output(output) {
            let steep = self.steep(z);
            let (called, not_called) = (sigmoid(steep), sigmoid(-steep));
            let [yes, no] =
                if positive { [&mut cells.tp, &mut cells.fn_] } else { [&mut cells.fp, &mut cells.tn] };
            *yes += called;
            *no += not_called;
        }
        let (found, [tp, fp, fn_, tn]) = score.of(cells)?;
        let (of_positive, of_negative) = (fn_ - tp, tn - fp);
        let slopes = grad.iter_mut().skip(output).step_by(logits.outputs);
        for ((z, positive), slope) in logits.output(output).zip(slopes) {
            let by_called = share * if positive { of_positive } else { of_negative };
            *slope = signed(by_called, self.log_slope(z));
        }
        Ok(1.0 - found)
    }

    /// `L·(p − ½)`, by the odd function that keeps its digits around 0.
    fn steep(&self, z: f64) -> f64 {
        self.amplification * 0.5 * (0.5 * z).tanh()
    }

    /// `log dŷ/dz = log L·ŷ·(1 − ŷ)·p·(1 − p)`.
    fn log_slope(&self, z: f64) -> f64 {
        let steep = self.steep(z);
        let of = |u: f64| log_sigmoid(u) + log_sigmoid(-u);
        self.amplification.ln() + of(steep) + of(z)
    }
}

/// `factor · e^log`, where it is not 0 at least the smallest normal number with its sign.
fn signed<T: Real>(factor: f64, log: f64) -> T {
    if factor == 0.0 {
        return T::ZERO;
    }
    let size = T::of((factor.abs().ln() + log).exp()).max(T::MIN_POSITIVE);
    if factor > 0.0 { size } else { -size }
}

/// `log σ(u)`, stable for any `u`.
fn log_sigmoid(u: f64) -> f64 {
    -softplus(-u).0
}

/// `σ(u)`.
fn sigmoid(u: f64) -> f64 {
    softplus(u).1
}
