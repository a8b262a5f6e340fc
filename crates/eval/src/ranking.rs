use crate::Measure;

/// Items with equal scores of which at least one is relevant.
///
/// Their order is unknown: every order of the `size` items is equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TieGroup {
    /// Items with a higher score.
    pub before: usize,
    /// Relevant items among those with a higher score.
    pub relevant_before: usize,
    /// Items that share this score, relevant or not.
    pub size: usize,
    /// Relevant items among them, at least 1.
    pub relevant: usize,
}

/// All that a measure of binary relevance can know about one query: where the relevant items stand.
///
/// Items that are not relevant and tie with no relevant item only appear in the counts of what stands before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    groups: Vec<TieGroup>,
    relevant: usize,
}

impl Ranking {
    pub(crate) fn new(groups: Vec<TieGroup>, relevant: usize) -> Self {
        Ranking { groups, relevant }
    }

    /// The ranking of a list without ties: `list[i]` says whether the item at rank `i + 1` is relevant, and `relevant`
    /// is `R`, which may count items below the end of the list.
    pub fn from_relevance(list: &[bool], relevant: usize) -> Self {
        let mut groups = Vec::new();
        for (before, _) in list.iter().enumerate().filter(|(_, hit)| **hit) {
            groups.push(TieGroup { before, relevant_before: groups.len(), size: 1, relevant: 1 });
        }
        Ranking { groups, relevant }
    }

    /// The ranking of scored items, higher first, in any order; equal scores tie. `R` is the number of relevant items.
    pub fn from_scores(items: &[(f64, bool)]) -> Self {
        let mut sorted = items.to_vec();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut groups = Vec::new();
        let (mut before, mut relevant_before) = (0, 0);
        for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
            let relevant = tied.iter().filter(|item| item.1).count();
            if relevant > 0 {
                groups.push(TieGroup { before, relevant_before, size: tied.len(), relevant });
            }
            before += tied.len();
            relevant_before += relevant;
        }
        Ranking { groups, relevant: relevant_before }
    }

    /// `R`: the relevant items that exist.
    pub fn relevant(&self) -> usize {
        self.relevant
    }

    /// The groups that hold relevant items, best first.
    pub fn groups(&self) -> &[TieGroup] {
        &self.groups
    }

    /// E[Σ_{i≤k} rel_i]: a group that the cut-off divides gives its relevant items in proportion.
    pub(crate) fn expected_hits(&self, k: usize) -> f64 {
        let (mut whole, mut part) = (0, 0.0);
        for group in self.groups.iter().take_while(|group| group.before < k) {
            let inside = k - group.before;
            if inside >= group.size {
                whole += group.relevant;
            } else {
                part = inside as f64 * group.relevant as f64 / group.size as f64;
            }
        }
        whole as f64 + part
    }

    /// E[Σ_{i≤k} P(i)·rel_i].
    ///
    /// Place `f` of a group holds a relevant item with probability r/t, and then the `f − 1` places before it hold
    /// `(f − 1)(r − 1)/(t − 1)` relevant items on average.
    pub(crate) fn expected_precision_sum(&self, k: usize) -> f64 {
        let mut sum = 0.0;
        for group in self.groups.iter().take_while(|group| group.before < k) {
            let (r, t) = (group.relevant as f64, group.size as f64);
            let others = if group.size > 1 { (r - 1.0) / (t - 1.0) } else { 0.0 };
            let hits = group.relevant_before as f64 + 1.0;
            let places = group.size.min(k - group.before);
            let mean_precisions: f64 =
                (0..places).map(|f| (hits + f as f64 * others) / (group.before + f + 1) as f64).sum();
            sum += r / t * mean_precisions;
        }
        sum
    }

    /// E[1/rank of the first relevant item], 0 for orders in which it stands below `k`.
    ///
    /// In a group of `t` items with `r` relevant the first stands at place `f` with probability
    /// `C(t − f, r − 1) / C(t, r)`.
    pub(crate) fn expected_reciprocal_rank(&self, k: usize) -> f64 {
        let Some(group) = self.groups.first().filter(|group| group.before < k) else { return 0.0 };
        let (r, t) = (group.relevant, group.size);
        let (mut none_yet, mut sum) = (1.0, 0.0);
        for f in 0..(t - r + 1).min(k - group.before) {
            let here = none_yet * r as f64 / (t - f) as f64;
            sum += here / (group.before + f + 1) as f64;
            none_yet *= (t - f - r) as f64 / (t - f) as f64;
            if none_yet == 0.0 {
                break;
            }
        }
        sum
    }

    /// The probability that a relevant item stands among the first `k`.
    pub(crate) fn probability_of_hit(&self, k: usize) -> f64 {
        let Some(group) = self.groups.first().filter(|group| group.before < k) else { return 0.0 };
        let (r, t, places) = (group.relevant, group.size, k - group.before);
        if places > t - r {
            return 1.0;
        }
        1.0 - (0..places).map(|f| (t - r - f) as f64 / (t - f) as f64).product::<f64>()
    }

    /// Whether the order inside `group` can change `measure`.
    pub(crate) fn order_matters(&self, group: &TieGroup, measure: Measure, most_relevant: usize) -> bool {
        let k = measure.horizon(self.relevant, most_relevant);
        let TieGroup { before, relevant_before, size, relevant } = *group;
        if relevant == size || before >= k {
            return false;
        }
        match measure {
            Measure::Map(_) | Measure::MapAtR => true,
            Measure::Mrr(_) => relevant_before == 0,
            Measure::Recall(_) => relevant_before == 0 && k - before <= size - relevant,
            Measure::Precision(_) | Measure::RPrecision | Measure::IrRecall(_) => k - before < size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURES: [&str; 13] = [
        "precision@1",
        "precision@3",
        "r_precision",
        "map@r",
        "map",
        "map@2",
        "map@max_bin_count",
        "mrr",
        "mrr@3",
        "recall@1",
        "recall@3",
        "ir_recall@2",
        "ir_recall@4",
    ];

    /// The textbook value of one strict order.
    fn textbook(measure: Measure, list: &[bool], relevant: usize, most: usize) -> f64 {
        let k = measure.horizon(relevant, most).min(list.len());
        let hits = |k: usize| list[..k].iter().filter(|hit| **hit).count() as f64;
        match measure {
            Measure::Precision(at) => hits(k) / at as f64,
            Measure::RPrecision | Measure::IrRecall(_) => hits(k) / relevant as f64,
            Measure::Map(_) | Measure::MapAtR => {
                (0..k).filter(|&i| list[i]).map(|i| hits(i + 1) / (i + 1) as f64).sum::<f64>()
                    / relevant as f64
            }
            Measure::Mrr(_) => list[..k].iter().position(|hit| *hit).map_or(0.0, |i| 1.0 / (i + 1) as f64),
            Measure::Recall(_) => f64::from(u8::from(hits(k) > 0.0)),
        }
    }

    /// Every order of the items that keeps higher scores first.
    fn orders(items: &[(f64, bool)]) -> Vec<Vec<bool>> {
        let mut out = Vec::new();
        let mut left: Vec<usize> = (0..items.len()).collect();
        fn go(items: &[(f64, bool)], left: &mut Vec<usize>, list: &mut Vec<bool>, out: &mut Vec<Vec<bool>>) {
            if left.is_empty() {
                out.push(list.clone());
                return;
            }
            let best = left.iter().map(|&i| items[i].0).fold(f64::NEG_INFINITY, f64::max);
            for place in 0..left.len() {
                if items[left[place]].0 == best {
                    let item = left.remove(place);
                    list.push(items[item].1);
                    go(items, left, list, out);
                    list.pop();
                    left.insert(place, item);
                }
            }
        }
        go(items, &mut left, &mut Vec::new(), &mut out);
        out
    }

    #[test]
    fn expected_values_equal_the_mean_over_every_order() {
        let key = parallax_random::Key::new(11);
        let (mut cases, mut moved) = (0, 0);
        for case in 0..400_u64 {
            let key = key.at(case);
            let n = 2 + key.below(0, 6);
            let levels = 1 + key.below(1, 4);
            let items: Vec<(f64, bool)> = (0..n as u64)
                .map(|i| (key.below(10 + i, levels) as f64, key.uniform(100 + i) < 0.45))
                .collect();
            let relevant = items.iter().filter(|item| item.1).count();
            if relevant == 0 {
                continue;
            }
            let most = relevant + key.below(2, 2);
            let (ranking, orders) = (Ranking::from_scores(&items), orders(&items));
            for name in MEASURES {
                let measure: Measure = name.parse().unwrap();
                let values: Vec<f64> = orders.iter().map(|o| textbook(measure, o, relevant, most)).collect();
                let want = values.iter().sum::<f64>() / values.len() as f64;
                let got = measure.expected(&ranking, most);
                assert!((got - want).abs() < 1e-12, "{name} of {items:?}: {got}, every order {want}");
                let varies = values.iter().any(|v| (v - values[0]).abs() > 1e-12);
                let matters = ranking.groups().iter().any(|g| ranking.order_matters(g, measure, most));
                assert_eq!(varies, matters, "{name} of {items:?}");
                moved += usize::from(varies);
            }
            cases += 1;
        }
        assert!(cases > 300 && moved > 800, "{cases} cases, {moved} of them with ties that matter");
    }

    #[test]
    fn a_list_equals_its_textbook_value() {
        let list = [false, true, true, false, false, true];
        for relevant in [3, 5] {
            let ranking = Ranking::from_relevance(&list, relevant);
            for name in MEASURES {
                let measure: Measure = name.parse().unwrap();
                let want = textbook(measure, &list, relevant, 4);
                assert!((measure.expected(&ranking, 4) - want).abs() < 1e-15, "{name}");
            }
        }
    }

    #[test]
    fn a_constant_scorer_gets_chance() {
        // 1,000 items, 10 relevant, all tied: P@1 = 10/1000, and MRR is far from the 1 that a lucky order gives.
        let items: Vec<(f64, bool)> = (0..1000).map(|i| (0.0, i < 10)).collect();
        let ranking = Ranking::from_scores(&items);
        assert_eq!(Measure::Precision(1).expected(&ranking, 10), 0.01);
        assert_eq!(Measure::RPrecision.expected(&ranking, 10), 0.01);
        let mrr = Measure::Mrr(crate::Cutoff::All).expected(&ranking, 10);
        assert!((mrr - 0.049_9).abs() < 0.003, "{mrr}");
        assert_eq!(Measure::Recall(991).expected(&ranking, 10), 1.0);
    }
}
