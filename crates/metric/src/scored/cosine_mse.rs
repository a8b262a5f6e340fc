//! The squared error of similarities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScoredLoss, Scores, Targets};
use crate::error::Error;

/// `mean_i (s_i − t_i)²`: similarities should equal the targets. It has no parameter.
///
/// Default: cosine. Reimers and Gurevych, *Sentence-BERT*, EMNLP 2019.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CosineMse {}

impl ScoredLoss for CosineMse {
    const NAME: &'static str = "cosine_mse";
    const TARGETS: Targets = Targets::Pairs;

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn score(&self, scores: &Scores<'_>, slopes: &mut [f64]) -> f64 {
        let n = scores.similarities.len() as f64;
        let mut sum = 0.0;
        let pairs = scores.similarities.iter().zip(scores.targets);
        for (slope, (s, t)) in slopes.iter_mut().zip(pairs) {
            sum += (s - t) * (s - t);
            *slope = 2.0 * (s - t) / n;
        }
        sum / n
    }
}

#[cfg(test)]
mod tests {
    use super::{CosineMse, ScoredLoss, Scores};

    #[test]
    fn two_pairs_by_hand() {
        let mut slopes = [0.0; 2];
        let scores = Scores { similarities: &[0.5, -1.0], targets: &[1.0, 0.0], columns: 1 };
        assert_eq!((CosineMse {}.score(&scores, &mut slopes), slopes), (0.625, [-0.5, -1.0]));
    }
}
