//! Average precision over soft histograms of distances.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::{DistanceConfig, Form, SquaredEuclidean};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `1 − (1/P) Σₗ h⁺ₗ H⁺ₗ / Hₗ` for each anchor with positives, one element an anchor.
///
/// `h⁺` and `h` are histograms of the anchor's distances to its positives and to all its pairs, `H⁺` and `H` their running
/// sums. A distance falls on its two nearest of `num_bins + 1` evenly spaced centres between 0 and the largest distance
/// of normalised embeddings, in proportion to its nearness, which gives it a derivative. O(P + N + bins) a row.
///
/// Defaults: num_bins 10, squared Euclidean distance of normalised embeddings, mean over anchors with positives. Cakir et
/// al., *Deep Metric Learning to Rank*, CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FastAp {
    /// Intervals of the histogram, at least 1.
    pub num_bins: usize,
}

impl Default for FastAp {
    fn default() -> Self {
        FastAp { num_bins: 10 }
    }
}

/// A distance on its two nearest centres: the lower one, and the share of the upper one.
#[inline(always)]
fn place<T: Real>(value: T, per_width: f64, bins: usize) -> (usize, f64) {
    let at = (value.f64() * per_width).clamp(0.0, bins as f64);
    let lower = (at as usize).min(bins - 1);
    (lower, at - lower as f64)
}

/// The soft histogram of a list, and in `places` the lower centre of each value, or `bins` for one on a centre or beyond the
/// ends, where the pulses have a kink or end. Four histograms by turns, so that one count need not wait for another.
fn histogram<T: Real>(side: &[T], per_width: f64, bins: usize, places: &mut [T]) -> Vec<f64> {
    let mut parts = vec![[(0.0f64, 0.0f64); 4]; bins];
    for (values, places) in side.chunks(4).zip(places.chunks_mut(4)) {
        for (turn, (&value, to)) in values.iter().zip(places).enumerate() {
            let (lower, share) = place(value, per_width, bins);
            *to = T::of(if share <= 0.0 || share >= 1.0 { bins } else { lower } as f64);
            let (count, upper) = &mut parts[lower][turn];
            *count += 1.0;
            *upper += share;
        }
    }
    let mut histogram = vec![0.0; bins + 1];
    for (bin, turns) in parts.into_iter().enumerate() {
        let (count, upper) = turns.into_iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        histogram[bin] += count - upper;
        histogram[bin + 1] += upper;
    }
    histogram
}

impl RowLoss for FastAp {
    const NAME: &'static str = "fast_ap";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::SquaredEuclidean(SquaredEuclidean::default())
    }

    fn check(&self) -> Result<(), Error> {
        let bins = self.num_bins as f64;
        require((1.0..=65_536.0).contains(&bins), Self::NAME, "num_bins", bins, "between 1 and 65536")
    }

    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        let needs = "the Euclidean distance of normalised embeddings, to some power";
        match distance.form() {
            Form::Euclidean { .. } if distance.norm().is_some() => Ok(()),
            _ => Err(Error::Distance { component: Self::NAME, needs }),
        }
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() {
            return;
        }
        let bins = self.num_bins;
        let width = row.largest / bins as f64;
        let per_width = 1.0 / width;
        let positive = histogram(row.positives, per_width, bins, slopes.positives);
        let mut all = histogram(row.negatives, per_width, bins, slopes.negatives);
        all.iter_mut().zip(&positive).for_each(|(all, positive)| *all += positive);
        // F = Σ hₗ Hₗ / Tₗ. By hⱼ: Hⱼ/Tⱼ + Σ_{l≥j} (hₗ/Tₗ − hₗHₗ/Tₗ²); by a negative's bin: −Σ_{l≥j} hₗHₗ/Tₗ².
        let (mut running, mut total, mut sum) = (0.0, 0.0, 0.0);
        let mut parts = Vec::with_capacity(bins + 1);
        for (h, t) in positive.iter().zip(&all) {
            running += h;
            total += t;
            let precision = if total > 0.0 { running / total } else { 0.0 };
            let (by_running, by_total) =
                if *h > 0.0 { (h / total, -h * running / (total * total)) } else { (0.0, 0.0) };
            sum += h * precision;
            parts.push((precision, by_running, by_total));
        }
        let count = row.positives.len() as f64;
        let weight = slopes.element(0, T::of(1.0 - sum / count)).f64();
        let (mut tail_positive, mut tail_negative) = (0.0, 0.0);
        let mut by_bin = vec![(0.0f64, 0.0f64); bins + 1];
        for (j, (precision, by_running, by_total)) in parts.into_iter().enumerate().rev() {
            tail_positive += by_running + by_total;
            tail_negative += by_total;
            by_bin[j] = (precision + tail_positive, tail_negative);
        }
        let factor = -weight / (count * width);
        let step = |by: &dyn Fn(usize) -> f64| -> Vec<T> {
            let slopes = (0..bins).map(|bin| T::of(factor * (by(bin + 1) - by(bin))));
            slopes.chain([T::ZERO]).collect()
        };
        let (by_positive, by_negative) = (step(&|bin| by_bin[bin].0), step(&|bin| by_bin[bin].1));
        slopes.positives.iter_mut().for_each(|d| *d = by_positive[d.f64() as usize]);
        slopes.negatives.iter_mut().for_each(|d| *d = by_negative[d.f64() as usize]);
    }
}
