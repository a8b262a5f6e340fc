//! Negatives drawn so that all distances are equally likely.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::angular::keep_listed;
use super::{At, RowMiner};
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Draws one negative for each positive pair with probability in proportion to
/// `d^(2 − D) (1 − d²/4)^(−(D − 3)/2)`, one over the density of distances between points drawn evenly on the sphere.
///
/// `d` is the Euclidean distance of normalised embeddings, raised to `cutoff` where it is less, so that the noisiest
/// negatives do not take over; negatives at `nonzero_loss_cutoff` or more are not drawn. An anchor without such negatives
/// keeps nothing. Draws depend on the context's key, the anchor and the positive. The triplets of a row are listed: as many
/// as it has positives.
///
/// Defaults: cutoff 0.5, nonzero_loss_cutoff 1.4. Wu et al., *Sampling Matters in Deep Embedding Learning*, ICCV 2017,
/// equation 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistanceWeighted {
    /// Distances below are taken for this one; greater than 0.
    pub cutoff: f64,
    /// Negatives at this distance or farther are not drawn.
    pub nonzero_loss_cutoff: f64,
}

impl Default for DistanceWeighted {
    fn default() -> Self {
        DistanceWeighted { cutoff: 0.5, nonzero_loss_cutoff: 1.4 }
    }
}

impl RowMiner for DistanceWeighted {
    fn check(&self) -> Result<(), Error> {
        let valid = self.cutoff > 0.0 && self.cutoff < 2.0;
        require(valid, "distance_weighted miner", "cutoff", self.cutoff, "between 0 and 2, both excluded")?;
        let value = self.nonzero_loss_cutoff;
        require(value > 0.0, "distance_weighted miner", "nonzero_loss_cutoff", value, "greater than 0")
    }

    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        let needs = "a function of the angle: cosine or Euclidean distance of normalised embeddings";
        let component = "distance_weighted miner";
        if distance.on_sphere(0.0).is_some() { Ok(()) } else { Err(Error::Distance { component, needs }) }
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let dims = at.x.row(at.anchor).len() as f64;
        let log_weight = |s: T| {
            let d = at.distance.on_sphere(s.f64()).unwrap_or(2.0).max(self.cutoff);
            if d >= self.nonzero_loss_cutoff || d >= 2.0 {
                return f64::NEG_INFINITY;
            }
            (2.0 - dims) * d.ln() - (dims - 3.0) / 2.0 * (1.0 - 0.25 * d * d).ln()
        };
        let logs: Vec<f64> = negatives.values().iter().map(|&s| log_weight(s)).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sums = Vec::with_capacity(logs.len());
        let mut sum = 0.0;
        for log in &logs {
            if *log > f64::NEG_INFINITY {
                sum += (log - top).exp();
            }
            sums.push(sum);
        }
        let (mut has_positive, mut has_negative) =
            (vec![false; positives.len()], vec![false; negatives.len()]);
        let mut list = Vec::new();
        if sum > 0.0 {
            let key = at.key.named("distance_weighted").at(at.anchor as u64);
            for (p, &column) in positives.columns().iter().enumerate() {
                let drawn = key.uniform(u64::from(column)) * sum;
                let n = sums.partition_point(|&sum| sum <= drawn).min(sums.len() - 1);
                list.push((p as u32, n as u32));
                (has_positive[p], has_negative[n]) = (true, true);
            }
        }
        keep_listed(list, &has_positive, &has_negative, positives, negatives)
    }
}
