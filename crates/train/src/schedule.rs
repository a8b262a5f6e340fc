//! The learning rate as a function of the step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes over a run of `n` steps, relative to the peak rate.
///
/// All begin with a linear warm-up over `warmup` steps (or a share of the run, below 1), in which step t (from 0) has
/// the factor (t + 1) / (warmup + 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Schedule {
    /// The peak rate throughout.
    Constant(Warmup),
    /// From the peak to 0 along a line.
    Linear(Warmup),
    /// From the peak to 0 along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).
    Cosine(Warmup),
}

/// The warm-up of a [`Schedule`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Warmup {
    /// Steps of warm-up; below 1, a share of the run.
    pub warmup: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Constant(Warmup::default())
    }
}

impl Schedule {
    /// The factor of the peak rate at `step` (from 0) of a run of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let (Schedule::Constant(settings) | Schedule::Linear(settings) | Schedule::Cosine(settings)) = self;
        let warmup =
            if settings.warmup < 1.0 { (settings.warmup * steps as f64).ceil() } else { settings.warmup };
        let t = step as f64;
        if t < warmup {
            return (t + 1.0) / (warmup + 1.0);
        }
        let progress = ((t - warmup) / (steps as f64 - warmup).max(1.0)).min(1.0);
        match self {
            Schedule::Constant(_) => 1.0,
            Schedule::Linear(_) => 1.0 - progress,
            Schedule::Cosine(_) => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }

    /// # Errors
    /// A warm-up that is negative or not finite.
    pub fn check(&self) -> Result<(), crate::Error> {
        let (Schedule::Constant(settings) | Schedule::Linear(settings) | Schedule::Cosine(settings)) = self;
        if settings.warmup.is_finite() && settings.warmup >= 0.0 {
            return Ok(());
        }
        Err(crate::Error::Setting(format!("train.schedule.warmup = {} must be 0 or more", settings.warmup)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_by_hand() {
        let warm = |warmup| Warmup { warmup };
        assert_eq!(Schedule::Constant(warm(0.0)).factor(7, 10), 1.0);
        assert_eq!(Schedule::Constant(warm(4.0)).factor(0, 10), 0.2);
        assert_eq!(Schedule::Constant(warm(4.0)).factor(4, 10), 1.0);
        // A share of 0.2 of 10 steps is 2 steps of warm-up; then 8 steps down to 0.
        assert_eq!(Schedule::Linear(warm(0.2)).factor(2, 10), 1.0);
        assert_eq!(Schedule::Linear(warm(0.2)).factor(6, 10), 0.5);
        assert!((Schedule::Cosine(warm(0.0)).factor(5, 10) - 0.5).abs() < 1e-12);
        assert!((Schedule::Cosine(warm(0.0)).factor(0, 10) - 1.0).abs() < 1e-12);
    }
}
