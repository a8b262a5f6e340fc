//! Average precision with a smooth rank.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `1 − (1/G) Σ_j rank⁺(j) / rank(j)` for each anchor with positives, one element an anchor, where `j` runs over the `G`
/// references of the anchor's class, `rank(j) = 1 + Σ_(k≠j) σ((s_k − s_j)/τ)` over all references, and `rank⁺` over those of the class.
///
/// In a batch against itself the anchor is one of its own references, first in its ranking, as in the authors' code. A
/// distance enters with its sign turned. O(P · R) a row.
///
/// Defaults: temperature 0.01, cosine, mean over anchors with positives. Brown et al., *Smooth-AP: Smoothing the Path Towards Large-Scale
/// Image Retrieval*, ECCV 2020, equation 7. Classes may differ in size here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothAp {
    /// Width of the step between ranks, greater than 0.
    pub temperature: f64,
}

impl Default for SmoothAp {
    fn default() -> Self {
        SmoothAp { temperature: 0.01 }
    }
}

/// `Σ_N σ((sₙ − s_j)/τ)` for each `s_j` of a class. `factor(j, sum)` says with which factor its derivative enters: adds
/// `factor · ∂sum/∂sₙ` (without 1/τ) to `slopes`, and returns what each `s_j` has of the same with its sign turned.
pub(super) fn ranked_above<T: Real>(
    negatives: &[T],
    class: &[T],
    scale: T,
    slopes: &mut [T],
    mut factor: impl FnMut(usize, f64) -> f64,
) -> Vec<T> {
    const LISTS: usize = 4;
    let n = negatives.len();
    let mut above = vec![T::ZERO; LISTS * n];
    let mut pushes = Vec::with_capacity(class.len());
    for (k, class) in class.chunks(LISTS).enumerate() {
        let mut factors = [T::ZERO; LISTS];
        for (i, &s) in class.iter().enumerate() {
            let sum = vector::step_sum(negatives, scale, s, &mut above[i * n..(i + 1) * n]);
            factors[i] = T::of(factor(k * LISTS + i, sum));
        }
        let lists = std::array::from_fn(|i| &above[i * n..(i + 1) * n]);
        let sums = vector::add_scaled4(slopes, factors, lists);
        pushes.extend(sums.into_iter().take(class.len()).map(|sum| -T::of(sum)));
    }
    pushes
}

impl RowLoss for SmoothAp {
    const NAME: &'static str = "smooth_ap";

    fn check(&self) -> Result<(), Error> {
        let valid = self.temperature > 0.0 && self.temperature.is_finite();
        require(valid, Self::NAME, "temperature", self.temperature, "a finite number greater than 0")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = row.sign() / T::of(self.temperature);
        // The class: positives, and the anchor itself at the end.
        let mut class = row.positives.to_vec();
        class.extend(row.itself.map(|(_, value)| value));
        let count = class.len();
        if row.positives.is_empty() {
            return;
        }
        let mut by_class = vec![T::ZERO; count];
        let mut beside = vec![T::ZERO; count];
        let mut precision = 0.0;
        let pushes = ranked_above(row.negatives, &class, scale, slopes.negatives, |j, negatives| {
            // The comparison of j with itself is ½ and belongs to no rank.
            let rank_positive = 0.5 + vector::step_sum(&class, scale, class[j], &mut beside);
            let rank = rank_positive + negatives;
            precision += rank_positive / rank;
            beside[j] = T::ZERO;
            let mut pull = T::ZERO;
            let factor = T::of(negatives / (rank * rank));
            for (d, &slope) in by_class.iter_mut().zip(&beside) {
                *d += factor * slope;
                pull += factor * slope;
            }
            by_class[j] += -pull;
            -rank_positive / (rank * rank)
        });
        by_class.iter_mut().zip(pushes).for_each(|(d, push)| *d += push);
        let weight = slopes.element(0, T::of(1.0 - precision / count as f64));
        let factor = -weight * scale / T::of(count as f64);
        vector::scale(slopes.negatives, factor);
        for (d, by) in slopes.positives.iter_mut().zip(&by_class) {
            *d = factor * *by;
        }
        if row.itself.is_some() {
            slopes.itself = factor * by_class[count - 1];
        }
    }
}
