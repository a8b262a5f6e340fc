//! The order of pairs by their scores.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScoredLoss, Scores, Targets};
use crate::error::{Error, require};

/// `log(1 + Σ e^(λ(s_j − s_i)))` over the pairs of pairs whose targets say `t_i > t_j`: similarities should stand in the order
/// of the targets. Equal targets make no demand; only the order of targets counts.
///
/// `O(B log B)`, without a matrix of pairs of pairs. Defaults: scale λ = 20, cosine. Su, *CoSENT: a more efficient sentence
/// vector scheme than Sentence-BERT*, 2022; as in sentence-transformers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cosent {
    /// Factor λ of the similarities, greater than 0.
    pub scale: f64,
}

impl Default for Cosent {
    fn default() -> Self {
        Cosent { scale: 20.0 }
    }
}

impl ScoredLoss for Cosent {
    const NAME: &'static str = "cosent";
    const TARGETS: Targets = Targets::Pairs;

    fn check(&self) -> Result<(), Error> {
        let valid = self.scale > 0.0 && self.scale.is_finite();
        require(valid, Self::NAME, "scale", self.scale, "a finite number greater than 0")
    }

    fn score(&self, scores: &Scores<'_>, slopes: &mut [f64]) -> f64 {
        order(self.scale, scores, slopes)
    }
}

/// The loss and its derivatives for a factor `scale`.
///
/// In the order of the targets, `above[j]` is the log-sum-exp of `−λs_i` over the pairs with a greater target than `j`, and
/// `below[i]` that of `λs_j` over those with a smaller one; the exponents of `j` together are `λs_j + above[j]`.
pub(super) fn order(scale: f64, scores: &Scores<'_>, slopes: &mut [f64]) -> f64 {
    let (s, t) = (scores.similarities, scores.targets);
    let n = s.len();
    let mut sorted: Vec<usize> = (0..n).collect();
    sorted.sort_by(|&a, &b| t[a].total_cmp(&t[b]));
    let ties: Vec<&[usize]> = sorted.chunk_by(|&a, &b| t[a] == t[b]).collect();
    let mut above = vec![f64::NEG_INFINITY; n];
    let mut sum = f64::NEG_INFINITY;
    for group in ties.iter().rev() {
        group.iter().for_each(|&j| above[j] = sum);
        sum = group.iter().fold(sum, |sum, &i| log_add(sum, -scale * s[i]));
    }
    let mut below = vec![f64::NEG_INFINITY; n];
    let mut sum = f64::NEG_INFINITY;
    for group in &ties {
        group.iter().for_each(|&i| below[i] = sum);
        sum = group.iter().fold(sum, |sum, &j| log_add(sum, scale * s[j]));
    }
    let value = (0..n).fold(0.0, |value, j| log_add(value, scale * s[j] + above[j]));
    for k in 0..n {
        let pushed = (scale * s[k] + above[k] - value).exp();
        let pulled = (below[k] - scale * s[k] - value).exp();
        slopes[k] = scale * (pushed - pulled);
    }
    value
}

/// `log(eᵃ + eᵇ)`.
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::order;
    use crate::scored::Scores;

    #[test]
    fn the_sum_over_pairs_of_pairs() {
        let s: [f64; 6] = [0.3, -0.2, 0.9, 0.1, 0.4, 0.4];
        let t = [0.5, 0.1, 0.5, 1.0, 0.0, 0.1];
        let scores = Scores { similarities: &s, targets: &t, columns: 1 };
        let mut slopes = [0.0; 6];
        let value = order(3.0, &scores, &mut slopes);
        let (mut sum, mut by) = (1.0, [0.0; 6]);
        for i in 0..6 {
            for j in (0..6).filter(|&j| t[i] > t[j]) {
                let term = (3.0 * (s[j] - s[i])).exp();
                sum += term;
                by[j] += 3.0 * term;
                by[i] -= 3.0 * term;
            }
        }
        assert!((value - sum.ln()).abs() < 1e-14, "{value}");
        assert!(slopes.iter().zip(by).all(|(slope, by)| (slope - by / sum).abs() < 1e-14), "{slopes:?}");
    }

    #[test]
    fn equal_targets_and_large_scales() {
        let mut slopes = [0.0; 2];
        let equal = Scores { similarities: &[0.9, -0.9], targets: &[1.0, 1.0], columns: 1 };
        assert_eq!((order(20.0, &equal, &mut slopes), slopes), (0.0, [0.0; 2]));
        let wrong = Scores { similarities: &[0.9, -0.9], targets: &[0.0, 1.0], columns: 1 };
        assert_eq!((order(1e4, &wrong, &mut slopes), slopes), (1.8e4, [1e4, -1e4]));
    }
}
