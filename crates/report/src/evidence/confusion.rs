use std::collections::BTreeMap;

use super::neighbours::Found;
use super::{Classes, Confusion, ConfusionExample, ConfusionPair};

/// Count and first example (query, item) of each pair (class, retrieved class).
type Pairs = BTreeMap<(u32, u32), (usize, (usize, usize))>;

/// Counts the nearest items of another class.
pub(super) fn confusion(
    most: usize,
    labels: &Classes,
    picked: &[usize],
    before: Option<&[Vec<Found>]>,
    after: &[Vec<Found>],
    query_text: &dyn Fn(usize) -> String,
    item_text: &dyn Fn(usize) -> String,
) -> Confusion {
    let count = |nearest: &[Vec<Found>]| {
        let mut pairs = Pairs::new();
        for (&query, found) in picked.iter().zip(nearest) {
            let Some(first) = found.first() else { continue };
            let pair = (labels.queries[query], labels.gallery[first.row]);
            if pair.0 != pair.1 {
                pairs.entry(pair).or_insert((0, (query, first.row))).0 += 1;
            }
        }
        pairs
    };
    let total = |pairs: &Pairs| pairs.values().map(|&(count, _)| count).sum();
    let (old, new) = (before.map(count), count(after));
    let before_of = |pair| old.as_ref().map(|old| old.get(&pair).map_or(0, |&(count, _)| count));
    let after_of = |pair| new.get(&pair).map_or(0, |&(count, _)| count);

    let mut order: Vec<(u32, u32)> =
        new.keys().chain(old.iter().flat_map(|old| old.keys())).copied().collect();
    order.sort_unstable();
    order.dedup();
    let all_pairs = order.len();
    let rank = |&pair: &(u32, u32)| {
        let (before, after) = (before_of(pair).unwrap_or(0), after_of(pair));
        std::cmp::Reverse((before.max(after), before + after))
    };
    order.sort_by_key(rank);
    order.truncate(most);

    let of_class: BTreeMap<u32, usize> = picked.iter().fold(BTreeMap::new(), |mut counts, &query| {
        *counts.entry(labels.queries[query]).or_insert(0) += 1;
        counts
    });
    let pairs = order
        .into_iter()
        .map(|pair| {
            let is_after = new.contains_key(&pair);
            let found = new.get(&pair).or_else(|| old.as_ref().and_then(|old| old.get(&pair)));
            let example = found.map_or_else(ConfusionExample::default, |&(_, (query, item))| {
                ConfusionExample { after: is_after, query: query_text(query), item: item_text(item) }
            });
            ConfusionPair {
                class: labels.name(pair.0).unwrap_or_default(),
                retrieved: labels.name(pair.1).unwrap_or_default(),
                queries: of_class.get(&pair.0).copied().unwrap_or(0),
                before: before_of(pair),
                after: after_of(pair),
                example,
            }
        })
        .collect();
    Confusion {
        queries: picked.len(),
        wrong_before: old.as_ref().map(total),
        wrong_after: total(&new),
        all_pairs,
        pairs,
    }
}
