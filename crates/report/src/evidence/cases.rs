//! Which single queries are shown.

use std::collections::BTreeMap;

use super::neighbours::Found;
use super::{Classes, Neighbour, QueryCase, QueryCases, QueryValues};

/// Queries of one class in one list, so that a list is not all of one class.
const OF_A_CLASS: usize = 2;

/// Chosen queries, as places in [`QueryValues`].
pub(super) struct Chosen {
    gained: Vec<usize>,
    lost: Vec<usize>,
    worst: Vec<usize>,
    /// Rows of all of them, in that order.
    pub(super) rows: Vec<usize>,
}

/// The largest gains, the largest losses, and the lowest values after; ties by row, at most two of a class.
pub(super) fn choose(most: usize, values: &QueryValues, labels: &Classes) -> Chosen {
    let pick = |wanted: &dyn Fn(usize) -> bool, rank: &dyn Fn(usize) -> f64| {
        let mut places: Vec<usize> = (0..values.rows.len()).filter(|&at| wanted(at)).collect();
        places.sort_by(|&a, &b| rank(a).total_cmp(&rank(b)).then(values.rows[a].cmp(&values.rows[b])));
        if !labels.names.is_empty() {
            let mut of_class = BTreeMap::new();
            places.retain(|&at| {
                let seen = of_class.entry(labels.queries[values.rows[at]]).or_insert(0);
                *seen += 1;
                *seen <= OF_A_CLASS
            });
        }
        places.truncate(most);
        places
    };
    let gain = |at: usize| values.before.get(at).map_or(0.0, |before| values.after[at] - before);
    let gained = pick(&|at| gain(at) > 0.0, &|at| -gain(at));
    let lost = pick(&|at| gain(at) < 0.0, &gain);
    let worst = pick(&|_| true, &|at| values.after[at]);
    let rows = [&gained, &lost, &worst].into_iter().flatten().map(|&at| values.rows[at]).collect();
    Chosen { gained, lost, worst, rows }
}

impl Chosen {
    /// With texts and neighbours; `before` and `after` are in the order of `rows`.
    pub(super) fn into_cases(
        self,
        values: &QueryValues,
        labels: &Classes,
        before: Option<Vec<Vec<Found>>>,
        after: Vec<Vec<Found>>,
        query_text: &dyn Fn(usize) -> String,
        item_text: &dyn Fn(usize) -> String,
    ) -> QueryCases {
        let neighbours = |query: usize, found: &[Found]| -> Vec<Neighbour> {
            found
                .iter()
                .map(|found| Neighbour {
                    row: found.row,
                    text: item_text(found.row),
                    class: labels.name(labels.gallery[found.row]),
                    relevant: labels.gallery[found.row] == labels.queries[query],
                    score: found.score,
                })
                .collect()
        };
        let mut place = 0;
        let mut list = |chosen: &[usize]| -> Vec<QueryCase> {
            chosen
                .iter()
                .map(|&at| {
                    let row = values.rows[at];
                    let case = QueryCase {
                        row,
                        text: query_text(row),
                        class: labels.name(labels.queries[row]),
                        before: values.before.get(at).copied(),
                        after: values.after[at],
                        neighbours_before: before.as_ref().map(|before| neighbours(row, &before[place])),
                        neighbours_after: neighbours(row, &after[place]),
                    };
                    place += 1;
                    case
                })
                .collect()
        };
        let (most_gained, most_lost, worst) = (list(&self.gained), list(&self.lost), list(&self.worst));
        let changed = |better: fn(&f64, &f64) -> bool| {
            let pairs = values.before.iter().zip(values.after);
            before.as_ref().map(|_| pairs.filter(|(before, after)| better(after, before)).count())
        };
        QueryCases {
            measure: values.measure.to_string(),
            queries: values.rows.len(),
            gained: changed(|after, before| after > before),
            lost: changed(|after, before| after < before),
            most_gained,
            most_lost,
            worst,
        }
    }
}
