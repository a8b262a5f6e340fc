//! Folds of whole classes, and what is measured in each.

use parallax_eval::{Gallery, Measure, RetrievalConfig, Similarity, Vectors, retrieval};
use parallax_random::Key;
use rayon::prelude::*;

use crate::error::require;
use crate::map::{Map, Sides};
use crate::{Error, Examples};

/// The fold of each class: classes that can be searched for are dealt out first, in random order, then the others.
pub(crate) fn deal(sizes: &[usize], folds: usize, key: Key) -> Result<(Vec<usize>, usize), Error> {
    require(folds >= 2, "selection", "folds", folds as f64, "a whole number from 2")?;
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    key.named("folds").shuffle(&mut order);
    let (usable, single): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&class| sizes[class] > 1);
    if usable.len() < 4 {
        return Err(Error::FewClasses { found: usable.len(), needed: 4 });
    }
    let folds = folds.min(usable.len() / 2);
    let mut fold_of = vec![0; sizes.len()];
    usable.into_iter().chain(single).enumerate().for_each(|(place, class)| fold_of[class] = place % folds);
    Ok((fold_of, folds))
}

/// What of the examples is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) rows: usize,
    pub(crate) queries: usize,
}

/// The held-out rows of one fold, queries first.
pub(crate) struct HeldOut {
    dim: usize,
    /// Labelled rows or anchors.
    queries: Vec<f32>,
    query_labels: Vec<u32>,
    /// Labelled rows that are no queries, or the positives of all pairs.
    others: Vec<f32>,
    other_labels: Vec<u32>,
    pairs: bool,
}

/// The held-out rows of every fold: a seeded choice of `caps.rows` examples, and of `caps.queries` queries among those
/// that have something to find.
pub(crate) fn held_out(
    examples: &Examples,
    classes: &[u32],
    fold_of: &[usize],
    folds: usize,
    caps: Caps,
    key: Key,
) -> Vec<HeldOut> {
    let mut rows: Vec<u32> = (0..classes.len() as u32).collect();
    key.named("rows").shuffle(&mut rows);
    rows.truncate(caps.rows);
    let pairs = matches!(examples, Examples::Pairs { .. });
    let mut sizes = vec![0usize; fold_of.len()];
    rows.iter().for_each(|&i| sizes[classes[i as usize] as usize] += 1);
    let findable = |i: u32| pairs || sizes[classes[i as usize] as usize] > 1;
    let mut chosen = vec![false; classes.len()];
    rows.iter().filter(|&&i| findable(i)).take(caps.queries).for_each(|&i| chosen[i as usize] = true);
    rows.sort_unstable();
    (0..folds)
        .map(|fold| {
            let mut set = HeldOut {
                dim: examples.dim(),
                queries: Vec::new(),
                query_labels: Vec::new(),
                others: Vec::new(),
                other_labels: Vec::new(),
                pairs,
            };
            for &i in rows.iter().filter(|&&i| fold_of[classes[i as usize] as usize] == fold) {
                let (label, is_query) = (classes[i as usize], chosen[i as usize]);
                let mut vectors = examples.vectors_of(i as usize);
                let first = vectors.next().unwrap_or_default();
                if is_query {
                    set.queries.extend_from_slice(first);
                    set.query_labels.push(label);
                } else if !pairs {
                    set.others.extend_from_slice(first);
                    set.other_labels.push(label);
                }
                if let Some(positive) = vectors.next() {
                    set.others.extend_from_slice(positive);
                    set.other_labels.push(label);
                }
            }
            set
        })
        .collect()
}

/// How held-out rows are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yardstick {
    pub(crate) measure: Measure,
    pub(crate) similarity: Similarity,
}

/// The rows of one fold under a map, to be blended with the rows as they are.
pub(crate) struct Mapped<'a> {
    set: &'a HeldOut,
    queries: Vec<f32>,
    others: Option<Vec<f32>>,
    scale: f64,
}

impl HeldOut {
    /// The classes of the queries, in their order.
    pub(crate) fn query_classes(&self) -> &[u32] {
        &self.query_labels
    }

    /// The measure of each query as the vectors are.
    pub(crate) fn measured(&self, yardstick: Yardstick) -> Result<Vec<f64>, Error> {
        self.measure(yardstick, &self.queries, &self.others)
    }

    /// Applies `map`; `scale` is the `s` of the blend.
    pub(crate) fn mapped(&self, map: &Map, scale: f64) -> Result<Mapped<'_>, Error> {
        let apply = |values: &[f32]| map.apply(values, values.len() / self.dim);
        let others = if map.sides == Sides::Both { Some(apply(&self.others)?) } else { None };
        Ok(Mapped { set: self, queries: apply(&self.queries)?, others, scale })
    }

    fn measure(&self, yardstick: Yardstick, queries: &[f32], others: &[f32]) -> Result<Vec<f64>, Error> {
        if self.query_labels.is_empty() {
            return Ok(Vec::new());
        }
        let config = RetrievalConfig {
            measures: vec![yardstick.measure],
            similarity: yardstick.similarity,
            resamples: 0,
            // Small, so that a few hundred queries occupy several threads.
            query_tile: 64,
            ..Default::default()
        };
        let dim = self.dim;
        let query_set = Vectors { values: queries, dim, labels: &self.query_labels };
        let result = if self.pairs {
            let set = Vectors { values: others, dim, labels: &self.other_labels };
            retrieval(&config, query_set, Gallery::Reference(set))?
        } else {
            let values = [queries, others].concat();
            let labels = [&self.query_labels[..], &self.other_labels].concat();
            let set = Vectors { values: &values, dim, labels: &labels };
            retrieval(&config, query_set, Gallery::QueriesFirst(set))?
        };
        Ok(result.column(yardstick.measure).map(<[f64]>::to_vec).unwrap_or_default())
    }
}

impl Mapped<'_> {
    /// The measure of each query under the blend `α`.
    pub(crate) fn measured(&self, yardstick: Yardstick, alpha: f64) -> Result<Vec<f64>, Error> {
        let queries = self.blend(alpha, &self.set.queries, &self.queries);
        match &self.others {
            Some(others) => {
                self.set.measure(yardstick, &queries, &self.blend(alpha, &self.set.others, others))
            }
            None => self.set.measure(yardstick, &queries, &self.set.others),
        }
    }

    fn blend(&self, alpha: f64, plain: &[f32], mapped: &[f32]) -> Vec<f32> {
        let (keep, take) = (((1.0 - alpha) * self.scale) as f32, alpha as f32);
        plain.par_iter().zip(mapped).map(|(x, y)| keep * x + take * y).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fold_has_two_classes_to_search_for() {
        let sizes = [1, 5, 2, 1, 1, 9, 3, 2, 1];
        for seed in 0..20 {
            let (fold_of, folds) = deal(&sizes, 5, Key::new(seed)).unwrap();
            assert_eq!(folds, 2);
            for fold in 0..folds {
                let usable = (0..sizes.len()).filter(|&c| fold_of[c] == fold && sizes[c] > 1).count();
                assert!(usable >= 2, "{fold_of:?}");
            }
        }
        assert_eq!(deal(&[2, 2, 2, 1], 5, Key::new(0)), Err(Error::FewClasses { found: 3, needed: 4 }));
        assert!(deal(&sizes, 1, Key::new(0)).is_err());
    }

    #[test]
    fn queries_are_capped_and_have_something_to_find() {
        let vectors: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let labels: Vec<u32> = (0..40).map(|i| i / 4).collect();
        let examples = Examples::Labelled { vectors: &vectors, labels: &labels, dim: 1 };
        let classes = examples.classes();
        let (fold_of, folds) = deal(&[4; 10], 5, Key::new(1)).unwrap();
        let sets =
            held_out(&examples, &classes, &fold_of, folds, Caps { rows: 30, queries: 12 }, Key::new(1));
        assert_eq!(sets.iter().map(|set| set.query_labels.len()).sum::<usize>(), 12);
        assert_eq!(sets.iter().map(|set| set.queries.len() + set.others.len()).sum::<usize>(), 30);
        for set in &sets {
            for label in &set.query_labels {
                let rows = set.query_labels.iter().chain(&set.other_labels).filter(|l| *l == label).count();
                assert!(rows > 1);
            }
        }
    }
}
