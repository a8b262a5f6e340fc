//! The squared error of margins against a teacher's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScoredLoss, Scores, Targets};
use crate::distance::{DistanceConfig, Dot};
use crate::error::Error;

/// `mean_{i,k} ((s_i0 − s_ik) − (t_i0 − t_ik))²` over the hard negatives `k ≥ 1`: the margin between the positive and a negative
/// should be the teacher's, whatever the level of the scores. Without negatives it is 0. It has no parameter.
///
/// Default: inner product of the embeddings as they are. Hofstätter et al., *Improving Efficient Neural Ranking Models with
/// Cross-Architecture Knowledge Distillation*, 2020.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MarginMse {}

impl ScoredLoss for MarginMse {
    const NAME: &'static str = "margin_mse";
    const TARGETS: Targets = Targets::Lists;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::Dot(Dot::default())
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn score(&self, scores: &Scores<'_>, slopes: &mut [f64]) -> f64 {
        let columns = scores.columns;
        let margins = scores.similarities.len() / columns * (columns - 1);
        if margins == 0 {
            return 0.0;
        }
        let rows = scores.similarities.chunks_exact(columns).zip(scores.targets.chunks_exact(columns));
        let mut sum = 0.0;
        for (slopes, (s, t)) in slopes.chunks_exact_mut(columns).zip(rows) {
            for k in 1..columns {
                let error = (s[0] - s[k]) - (t[0] - t[k]);
                sum += error * error;
                let slope = 2.0 * error / margins as f64;
                slopes[0] += slope;
                slopes[k] = -slope;
            }
        }
        sum / margins as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{MarginMse, ScoredLoss, Scores};

    #[test]
    fn one_list_by_hand() {
        // Margins 2 and 1 against 1 and 3: errors 1 and −2.
        let scores = Scores { similarities: &[3.0, 1.0, 2.0], targets: &[10.0, 9.0, 7.0], columns: 3 };
        let mut slopes = [0.0; 3];
        assert_eq!((MarginMse {}.score(&scores, &mut slopes), slopes), (2.5, [-1.0, -1.0, 2.0]));
        let alone = Scores { similarities: &[3.0], targets: &[1.0], columns: 1 };
        let mut slopes = [0.0];
        assert_eq!((MarginMse {}.score(&alone, &mut slopes), slopes), (0.0, [0.0]));
    }
}
