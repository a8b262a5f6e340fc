//! The lifted structure loss.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::{log_add, log_sum_exp};
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::row::{Pairs, Row, RowLoss, SPREAD, Slopes, Stat};

/// `½ max(0, J)²` with `J = log( Σ_N(a) e^(neg_margin − d_an) + Σ_N(p) e^(neg_margin − d_pn) ) + d_ap − pos_margin` for each
/// positive pair, one element a positive pair.
///
/// The negatives of both ends push. In a batch against itself the positive's negatives are those of its own row, after
/// mining; against a separate reference set a positive has no row, and only the anchor's negatives push. With a
/// similarity the differences turn round. A pair without any negative has a sum of 1.
///
/// Two passes over the rows come before the gradient: `log Σ_N e^(neg_margin − d)` of each row, and the derivative of the
/// loss by it.
///
/// Defaults: neg_margin 1, pos_margin 0, normalised Euclidean distance, mean over positive pairs. Oh Song et al., *Deep
/// Metric Learning via Lifted Structured Feature Embedding*, CVPR 2016, equation 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LiftedStructure {
    /// Negatives farther than this push little.
    pub neg_margin: f64,
    /// Offset of the positive distance.
    pub pos_margin: f64,
}

impl Default for LiftedStructure {
    fn default() -> Self {
        LiftedStructure { neg_margin: 1.0, pos_margin: 0.0 }
    }
}

/// Refuses margins that are not finite.
pub(super) fn finite_margins(name: &'static str, pos_margin: f64, neg_margin: f64) -> Result<(), Error> {
    require(pos_margin.is_finite(), name, "pos_margin", pos_margin, "a finite number")?;
    require(neg_margin.is_finite(), name, "neg_margin", neg_margin, "a finite number")
}

/// Where a row's own sum of negatives stands in its statistic.
const OWN: usize = 0;

impl LiftedStructure {
    /// Sum of negatives of both ends, J, and max(0, J) if the reducer keeps the element.
    fn pair<T: Real>(&self, row: &Row<'_, T>, k: usize) -> (f64, f64, f64) {
        let own = row.stat()[OWN];
        let other = row.stat_of(row.positive_columns[k]).map_or(f64::NEG_INFINITY, |stat| stat[OWN]);
        let both = log_add(own, other);
        let pull = row.sign().f64() * (self.pos_margin - row.positives[k].f64());
        let j = if both == f64::NEG_INFINITY { pull } else { both + pull };
        let open = j.max(0.0);
        (both, open, if row.range().holds(0.5 * open * open) { open } else { 0.0 })
    }
}

impl RowLoss for LiftedStructure {
    const NAME: &'static str = "lifted_structure";
    const PASSES: usize = 2;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn check(&self) -> Result<(), Error> {
        finite_margins(Self::NAME, self.pos_margin, self.neg_margin)
    }

    fn defined(&self, pairs: Pairs) -> bool {
        pairs.positive > 0 && pairs.negative > 0
    }

    fn stat<T: Real>(&self, pass: usize, row: &Row<'_, T>, spread: &mut [f64]) -> Stat {
        if pass == 0 {
            let mut weights = vec![T::ZERO; row.negatives.len()];
            let margin = T::of(self.neg_margin);
            let sum = log_sum_exp(row.negatives, row.sign(), margin, false, &mut weights);
            return [sum.f64(), 0.0, 0.0, 0.0];
        }
        let own = row.stat()[OWN];
        let pairs: Vec<(f64, f64, f64)> = (0..row.positives.len()).map(|k| self.pair(row, k)).collect();
        let share = row.share(pairs.len());
        let mut adjoint = 0.0;
        for (k, &(both, _, kept)) in pairs.iter().enumerate() {
            if both > f64::NEG_INFINITY {
                adjoint += share * kept * (own - both).exp();
                let other = row.stat_of(row.positive_columns[k]).map_or(f64::NEG_INFINITY, |stat| stat[OWN]);
                spread[k] = share * kept * (other - both).exp();
            }
        }
        let mut stat = [own, 0.0, 0.0, 0.0];
        stat[SPREAD] = adjoint;
        stat
    }

    fn positives_suffice(&self, pass: usize) -> bool {
        pass == 1
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let sign = row.sign();
        for k in 0..row.positives.len() {
            let (_, open, _) = self.pair(row, k);
            let weight = slopes.element(0, T::of(0.5 * open * open));
            slopes.positives[k] = -sign * weight * T::of(open);
        }
        log_sum_exp(row.negatives, sign, T::of(self.neg_margin), false, slopes.negatives);
        let weight = sign * slopes.weight_of_batch(0) * T::of(row.stat()[SPREAD]);
        vector::scale(slopes.negatives, weight);
    }
}
