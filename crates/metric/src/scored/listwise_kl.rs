//! The divergence of a list's scores from a teacher's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScoredLoss, Scores, Targets};
use crate::distance::{DistanceConfig, Dot};
use crate::error::{Error, require};

/// `τ² · mean_i KL( softmax(t_i / τ_t) ‖ softmax(s_i / τ) )` over the candidates of each list, the positive and its hard
/// negatives; `τ²` keeps the size of the gradient. A list of one candidate says nothing, and its loss is 0.
///
/// Defaults: student temperature τ = 1, teacher temperature τ_t = 1, inner product of the embeddings as they are. Hinton et
/// al., *Distilling the Knowledge in a Neural Network*, 2015; as DistillKLDivLoss of sentence-transformers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListwiseKl {
    /// Divisor τ of the similarities, greater than 0.
    pub student_temperature: f64,
    /// Divisor τ_t of the teacher's scores, greater than 0.
    pub teacher_temperature: f64,
}

impl Default for ListwiseKl {
    fn default() -> Self {
        ListwiseKl { student_temperature: 1.0, teacher_temperature: 1.0 }
    }
}

impl ScoredLoss for ListwiseKl {
    const NAME: &'static str = "listwise_kl";
    const TARGETS: Targets = Targets::Lists;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::Dot(Dot::default())
    }

    fn check(&self) -> Result<(), Error> {
        check_temperatures(Self::NAME, self.student_temperature, self.teacher_temperature)
    }

    fn score(&self, scores: &Scores<'_>, slopes: &mut [f64]) -> f64 {
        let columns = scores.columns;
        let rows = scores.similarities.len() / columns;
        let tau = self.student_temperature;
        let lists = scores.similarities.chunks_exact(columns).zip(scores.targets.chunks_exact(columns));
        let mut sum = 0.0;
        for (slopes, (s, t)) in slopes.chunks_exact_mut(columns).zip(lists) {
            let student = log_softmax(s, tau);
            let teacher = log_softmax(t, self.teacher_temperature);
            for k in 0..columns {
                let p = teacher[k].exp();
                if p > 0.0 {
                    sum += p * (teacher[k] - student[k]);
                }
                slopes[k] = tau * (student[k].exp() - p) / rows as f64;
            }
        }
        tau * tau * sum / rows as f64
    }
}

/// Refuses temperatures that nothing can be divided by.
pub(crate) fn check_temperatures(loss: &'static str, student: f64, teacher: f64) -> Result<(), Error> {
    for (field, value) in [("student_temperature", student), ("teacher_temperature", teacher)] {
        let valid = value > 0.0 && value.is_finite();
        require(valid, loss, field, value, "a finite number greater than 0")?;
    }
    Ok(())
}

fn log_softmax(values: &[f64], temperature: f64) -> Vec<f64> {
    let top = values.iter().fold(f64::NEG_INFINITY, |top, v| top.max(v / temperature));
    let sum: f64 = values.iter().map(|v| (v / temperature - top).exp()).sum();
    values.iter().map(|v| v / temperature - top - sum.ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::{ListwiseKl, ScoredLoss, Scores};

    #[test]
    fn one_list_by_hand() {
        // The student says (½, ½), the teacher (¾, ¼).
        let t = [3f64.ln(), 0.0];
        let scores = Scores { similarities: &[0.7, 0.7], targets: &t, columns: 2 };
        let mut slopes = [0.0; 2];
        let value = ListwiseKl::default().score(&scores, &mut slopes);
        assert!((value - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-15, "{value}");
        assert!((slopes[0] + 0.25).abs() < 1e-15 && (slopes[1] - 0.25).abs() < 1e-15, "{slopes:?}");
        let mut slopes = [0.0];
        let alone = Scores { similarities: &[5.0], targets: &[1.0], columns: 1 };
        assert_eq!((ListwiseKl::default().score(&alone, &mut slopes), slopes), (0.0, [0.0]));
    }
}
