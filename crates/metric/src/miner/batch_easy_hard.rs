//! One positive and one negative an anchor, chosen by how hard they are.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, RowMiner};
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Which pair of an anchor is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The farthest positive, or the nearest negative.
    Hard,
    /// The hardest of those on the right side of the other pair: the farthest positive nearer than the negative, or the
    /// nearest negative farther than the positive.
    Semihard,
    /// The nearest positive, or the farthest negative.
    Easy,
    /// Every pair.
    All,
}

/// Takes one positive and one negative of each anchor by their strategies, among those within the allowed ranges.
///
/// An anchor that lacks either keeps nothing, unless a strategy is `all`: then positives and negatives are taken without
/// regard to each other. Of equally hard pairs the first counts. `semihard` needs the other strategy to be `hard` or `easy`.
///
/// Defaults: easy positives and semihard negatives without ranges. Xuan, Stylianou, Pless, *Improved Embeddings with Easy
/// Positive Triplet Mining*, WACV 2020.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchEasyHard {
    /// Which positive is taken.
    pub pos_strategy: Strategy,
    /// Which negative is taken.
    pub neg_strategy: Strategy,
    /// Smallest and largest value of the distance at which a positive may be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_pos_range: Option<[f64; 2]>,
    /// Smallest and largest value of the distance at which a negative may be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_neg_range: Option<[f64; 2]>,
}

impl Default for BatchEasyHard {
    fn default() -> Self {
        BatchEasyHard {
            pos_strategy: Strategy::Easy,
            neg_strategy: Strategy::Semihard,
            allowed_pos_range: None,
            allowed_neg_range: None,
        }
    }
}

/// The first entry with the largest `rank` among those that pass.
fn best<T: Real>(side: &Candidates<T>, passes: impl Fn(T) -> bool, rank: impl Fn(T) -> T) -> Option<usize> {
    let mut best: Option<(usize, T)> = None;
    for (k, &s) in side.values().iter().enumerate() {
        if passes(s) && best.is_none_or(|(_, top)| rank(s) > top) {
            best = Some((k, rank(s)));
        }
    }
    best.map(|(k, _)| k)
}

impl RowMiner for BatchEasyHard {
    fn check(&self) -> Result<(), Error> {
        use Strategy::{All, Semihard};
        let (p, n) = (self.pos_strategy, self.neg_strategy);
        if matches!((p, n), (Semihard, Semihard | All) | (All, Semihard)) {
            let must = "a strategy `semihard` needs the other strategy to be `hard` or `easy`";
            return Err(Error::Combination { component: "batch_easy_hard miner", must });
        }
        let ranges =
            [("allowed_pos_range", self.allowed_pos_range), ("allowed_neg_range", self.allowed_neg_range)];
        for (field, range) in ranges {
            let [low, high] = range.unwrap_or([0.0, 0.0]);
            let must = "at most the second number of the range";
            require(low <= high, "batch_easy_hard miner", field, low, must)?;
        }
        Ok(())
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let sign = at.sign();
        let within = |range: Option<[f64; 2]>, s: T| {
            range.is_none_or(|[low, high]| !(s > T::of(high) || s < T::of(low)))
        };
        let positive = |nearer_than: Option<T>| {
            let passes = |s: T| {
                within(self.allowed_pos_range, s) && nearer_than.is_none_or(|limit| sign * s > sign * limit)
            };
            let far = if self.pos_strategy == Strategy::Easy { -sign } else { sign };
            best(positives, passes, |s| -far * s)
        };
        let negative = |farther_than: Option<T>| {
            let passes = |s: T| {
                within(self.allowed_neg_range, s) && farther_than.is_none_or(|limit| sign * s < sign * limit)
            };
            let near = if self.neg_strategy == Strategy::Easy { -sign } else { sign };
            best(negatives, passes, |s| near * s)
        };
        let (p, n) = match (self.pos_strategy, self.neg_strategy) {
            (Strategy::Semihard, _) => {
                let n = negative(None);
                (n.and_then(|n| positive(Some(negatives.values()[n]))), n)
            }
            (_, Strategy::Semihard) => {
                let p = positive(None);
                (p, p.and_then(|p| negative(Some(positives.values()[p]))))
            }
            _ => (positive(None), negative(None)),
        };
        let all_positives = self.pos_strategy == Strategy::All;
        let all_negatives = self.neg_strategy == Strategy::All;
        let both = all_positives || all_negatives || (p.is_some() && n.is_some());
        if !all_positives {
            positives.keep_only(p.filter(|_| both));
        }
        if !all_negatives {
            negatives.keep_only(n.filter(|_| both));
        }
        Chosen::All
    }
}
