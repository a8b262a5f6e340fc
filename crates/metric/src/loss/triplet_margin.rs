//! The triplet margin loss on all triplets of a row, without listing them.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::softmax::softplus;
use crate::distance::DistanceConfig;
use crate::error::{Error, require};
use crate::reducer::{Range, ReducerConfig};
use crate::row::{Elements, Mate, Row, RowLoss, Slopes};
use crate::triplets::Triplets;

/// `max(0, d_ap − d_an + margin)` for each triplet, or `log(1 + e^(d_ap − d_an + margin))` with `smooth_loss`, one element a
/// triplet.
///
/// Every positive of an anchor meets every negative, or the triplets that a miner chose. With `swap` the nearer of the
/// negative's distances to the anchor and to the positive counts. With a similarity the difference turns round.
///
/// The hinges of a row cost O((P + N) log min(P, N)): the smaller side is sorted, and each item of the other finds by
/// bisection which triplets are open. Smooth triplets cost O(P · N). With `swap` each row needs the rows of its class,
/// which costs as many matrix products as the largest class has items and is for a batch against itself.
///
/// Defaults: margin 0.05, no swap, not smooth, normalised Euclidean distance, mean over the non-zero triplets. Weinberger and
/// Saul, *Distance Metric Learning for Large Margin Nearest Neighbor Classification*, JMLR 2009; Schroff et al., *FaceNet*,
/// CVPR 2015; swap: Balntas et al., *Learning local feature descriptors with triplets*, BMVC 2016.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TripletMargin {
    /// How much nearer the positive should be than the negative.
    pub margin: f64,
    /// Whether the negative's distance to the positive counts where it is the smaller.
    pub swap: bool,
    /// Whether the hinge is rounded off.
    pub smooth_loss: bool,
}

impl Default for TripletMargin {
    fn default() -> Self {
        TripletMargin { margin: 0.05, swap: false, smooth_loss: false }
    }
}

/// Up to this many items of the smaller side, each is compared with the whole other side at once.
const FEW: usize = 12;

impl TripletMargin {
    /// Value and derivative of a triplet's element where the hinge's argument is `v`.
    fn element<T: Real>(&self, v: T) -> (T, T) {
        if self.smooth_loss {
            softplus(v)
        } else if v > T::ZERO {
            (v, T::ONE)
        } else {
            (T::ZERO, T::ZERO)
        }
    }

    /// One triplet after another.
    fn each<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, margin) = (row.sign(), T::of(self.margin));
        row.triplets.each(sign, row.positives, row.negatives, |p, n, by| {
            let (value, slope) = self.element(margin - by);
            let slope = sign * slopes.element(0, value) * slope;
            slopes.positives[p] += -slope;
            slopes.negatives[n] += slope;
        });
    }

    /// All smooth triplets, a positive at a time.
    fn smooth<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, margin) = (row.sign(), T::of(self.margin));
        let mut open = vec![T::ZERO; row.negatives.len()];
        for (p, &s) in row.positives.iter().enumerate() {
            // d_ap − d_an + margin = sign · (s_an − s_ap) + margin = sign · (s_an − (s_ap − sign · margin)).
            let sum = vector::softplus_sum(row.negatives, sign, s - sign * margin, &mut open);
            let count = open.len() as u64;
            let weight = sign * slopes.elements(0, Elements { count, active: count, kept: count, sum });
            let pull = T::of(vector::add_scaled(slopes.negatives, weight, &open));
            slopes.positives[p] = -pull;
        }
    }

    /// All hinges where one side has few items.
    fn few<T: Real>(&self, row: &Row<'_, T>, keeps_zeros: bool, slopes: &mut Slopes<'_, T>) {
        let (sign, margin) = (row.sign(), T::of(self.margin));
        let weight = slopes.elements(0, Elements::default());
        let by_negative = row.positives.len() > row.negatives.len();
        let (few, many, turn) = if by_negative {
            (row.negatives, row.positives, -sign)
        } else {
            (row.positives, row.negatives, sign)
        };
        let mut sums = Elements::default();
        // A turn of infinity is one that no hinge is open in.
        let none = turn * T::INFINITY;
        for (k, four) in few.chunks(4).enumerate() {
            let mut shifts = [none; 4];
            shifts.iter_mut().zip(four).for_each(|(shift, &s)| *shift = s - turn * margin);
            let (to_few, to_many) = if by_negative {
                (&mut *slopes.negatives, &mut *slopes.positives)
            } else {
                (&mut *slopes.positives, &mut *slopes.negatives)
            };
            let found = vector::hinge_sums(many, turn, shifts, turn * weight, to_many);
            for (to, (active, sum)) in to_few[4 * k..].iter_mut().zip(found).take(four.len()) {
                let count = many.len() as u64;
                sums.count += count;
                sums.active += active;
                sums.kept += if keeps_zeros { count } else { active };
                sums.sum += sum;
                *to = -turn * weight * T::of(active as f64);
            }
        }
        slopes.elements(0, sums);
    }

    /// All hinges between two large sides, or those whose margin lies in an interval: the smaller side is sorted.
    fn sorted<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, margin, range) = (row.sign(), T::of(self.margin), slopes.range());
        let (above, upto) = match row.triplets {
            Triplets::Margin { above, upto } => (above, upto),
            _ => (T::NEG_INFINITY, T::INFINITY),
        };
        let weight = sign * slopes.elements(0, Elements::default());
        let by_negative = row.positives.len() > row.negatives.len();
        let (few, many) =
            if by_negative { (row.negatives, row.positives) } else { (row.positives, row.negatives) };
        // A triplet's margin is sign · (s_ap − s_an); along the sorted side it never grows.
        let by = |few: T, many: T| if by_negative { sign * (many - few) } else { sign * (few - many) };
        let mut order: Vec<u32> = (0..few.len() as u32).collect();
        let nearest_last = by_negative == row.larger_is_nearer;
        order.sort_by(|&a, &b| {
            let (a, b) = (few[a as usize], few[b as usize]);
            let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
            if nearest_last { order } else { order.reverse() }
        });
        let few: Vec<T> = order.iter().map(|&k| few[k as usize]).collect();
        let mut prefix = vec![0.0f64];
        prefix.extend(few.iter().scan(0.0, |sum, s| {
            *sum += s.f64();
            Some(*sum)
        }));
        let mut opened = vec![0i64; few.len() + 1];
        let mut sums = Elements::default();
        let keeps_zeros = range.holds(0.0);
        for (j, &s) in many.iter().enumerate() {
            let from = few.partition_point(|&f| by(f, s) > upto);
            let to = few.partition_point(|&f| by(f, s) > above).max(from);
            let closed = few[from..to].partition_point(|&f| margin - by(f, s) <= T::ZERO) + from;
            let value = |f: T| (margin - by(f, s)).f64();
            let kept = few[closed..to].partition_point(|&f| value(f) <= range.low) + closed;
            let end = few[kept..to].partition_point(|&f| value(f) < range.high) + kept;
            let count = (end - kept) as u64;
            sums.count += (to - from) as u64;
            sums.active += (to - closed) as u64;
            sums.kept += count + if keeps_zeros { (closed - from) as u64 } else { 0 };
            if count > 0 {
                let f = prefix[end] - prefix[kept];
                let by = sign.f64()
                    * if by_negative { count as f64 * s.f64() - f } else { f - count as f64 * s.f64() };
                sums.sum += count as f64 * self.margin - by;
                opened[kept] += 1;
                opened[end] -= 1;
                let slope = weight * T::of(count as f64);
                if by_negative { slopes.positives[j] = -slope } else { slopes.negatives[j] = slope }
            }
        }
        let mut open = 0;
        for (&k, step) in order.iter().zip(&opened) {
            open += step;
            let slope = weight * T::of(open as f64);
            if by_negative {
                slopes.negatives[k as usize] = slope
            } else {
                slopes.positives[k as usize] = -slope
            }
        }
        slopes.elements(0, sums);
    }

    /// Triplets whose negative may be compared with the positive: the anchor's own triplets, and those of its class where
    /// its row is the positive's.
    fn swapped<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (sign, margin) = (row.sign(), T::of(self.margin));
        let half = T::of(0.5);
        // How much of the derivative goes to the first of two similarities, of which the nearer counts.
        let first = |a: T, b: T| {
            if sign * a > sign * b {
                T::ONE
            } else if a == b {
                half
            } else {
                T::ZERO
            }
        };
        let nearer = |a: T, b: T| if sign * a > sign * b { a } else { b };
        row.triplets.each(sign, row.positives, row.negatives, |p, n, _| {
            let column = row.positive_columns[p];
            let Ok(k) = row.mates.binary_search_by_key(&column, |mate| mate.anchor) else { return };
            let across = row.mates[k].values[row.negative_columns[n] as usize];
            let own = row.negatives[n];
            let (value, slope) = self.element(sign * (nearer(own, across) - row.positives[p]) + margin);
            let slope = sign * slopes.element(0, value) * slope;
            slopes.positives[p] += -slope;
            slopes.negatives[n] += slope * first(own, across);
        });
        for mate in row.mates {
            let Ok(p) = mate.positive_columns.binary_search(&(row.anchor as u32)) else { continue };
            self.as_positive(row, mate, p, slopes, &nearer, &first);
        }
    }

    /// The triplets of a class mate in which this row's anchor is the positive, at position `p` of the mate's list.
    fn as_positive<T: Real>(
        &self,
        row: &Row<'_, T>,
        mate: &Mate<T>,
        p: usize,
        slopes: &mut Slopes<'_, T>,
        nearer: &dyn Fn(T, T) -> T,
        first: &dyn Fn(T, T) -> T,
    ) {
        let (sign, margin) = (row.sign(), T::of(self.margin));
        let near: Vec<T> = mate.positive_columns.iter().map(|&c| mate.values[c as usize]).collect();
        let far: Vec<T> = mate.negative_columns.iter().map(|&c| mate.values[c as usize]).collect();
        let mut triplets = 0;
        let mut found: Vec<(u32, T)> = Vec::new();
        let range = slopes.range();
        mate.triplets().each(sign, &near, &far, |q, n, _| {
            triplets += 1;
            if q != p {
                return;
            }
            let column = mate.negative_columns[n];
            let across = row.values[column as usize];
            let (value, slope) = self.element(sign * (nearer(far[n], across) - near[p]) + margin);
            if slope > T::ZERO && range.holds(value.f64()) {
                found.push((column, slope * first(across, far[n])));
            }
        });
        let weight = sign * slopes.weight_elsewhere(0, triplets);
        slopes.others.extend(found.into_iter().map(|(column, slope)| (column, weight * slope)));
    }
}

impl RowLoss for TripletMargin {
    const NAME: &'static str = "triplet_margin";

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::euclidean()
    }

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::avg_non_zero()
    }

    fn check(&self) -> Result<(), Error> {
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")
    }

    fn mates(&self) -> bool {
        self.swap
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let range = slopes.range();
        let non_zero = range == Range { low: 0.0, ..Range::ALL };
        let plain = non_zero || range == Range::ALL;
        let all = row.triplets == Triplets::All;
        let few = row.positives.len().min(row.negatives.len()) <= FEW;
        if self.swap {
            self.swapped(row, slopes);
        } else if self.smooth_loss && all && plain {
            self.smooth(row, slopes);
        } else if self.smooth_loss || matches!(row.triplets, Triplets::Listed(_)) {
            self.each(row, slopes);
        } else if all && plain && few {
            self.few(row, !non_zero, slopes);
        } else {
            self.sorted(row, slopes);
        }
    }
}
