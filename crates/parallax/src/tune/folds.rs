//! Folds of the training rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use parallax_data::{Parts, Split};
use parallax_random::Key;

use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// Folds of the training and validation rows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// The rows of each fold, ascending.
    rows: Vec<Vec<u32>>,
    /// Whether only the first of them is ever measured on.
    held_out: bool,
    /// Whether whole classes were dealt.
    by_class: bool,
    classes: usize,
}

impl Folds {
    /// Deals whole classes where the split does so, else rows (those of each class evenly), and for pairs whole groups of pairs
    /// that share a text.
    pub(crate) fn new(data: &Dataset, split: &Split, parts: &Parts, folds: usize, key: Key) -> Result<Self> {
        let mut pool = parts.train.clone();
        pool.extend(&parts.validation);
        pool.sort_unstable();
        let of_row = data.relevance(&pool)?;
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        pool.iter().zip(&of_row).for_each(|(&row, &class)| members.entry(class).or_default().push(row));
        let classes = members.len();
        let labelled = data.classes().is_some();
        let by_class = labelled && disjoint(data, split, parts);
        let mut rows = vec![Vec::new(); folds];
        if by_class || !labelled {
            if classes < 2 * folds {
                let what = if labelled { "classes" } else { "groups of pairs" };
                return Err(Error::setting_with(
                    format!(
                        "{classes} {what} of the training rows cannot make {folds} folds of at least two"
                    ),
                    "set tune.folds to fewer",
                ));
            }
            // The largest class first to the smallest fold; equals in random order.
            let mut groups: Vec<Vec<u32>> = members.into_values().collect();
            key.shuffle(&mut groups);
            groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
            let mut counts = vec![0usize; folds];
            for group in groups {
                let least =
                    (0..folds).min_by_key(|&fold| (rows[fold].len() + counts[fold], fold)).unwrap_or(0);
                counts[least] += 1;
                rows[least].extend(group);
            }
        } else {
            let mut next = 0;
            for (class, mut group) in members {
                key.at(u64::from(class)).shuffle(&mut group);
                for row in group {
                    rows[next % folds].push(row);
                    next += 1;
                }
            }
        }
        rows.iter_mut().for_each(|fold| fold.sort_unstable());
        if folds > 1 && rows.iter().any(|fold| fold.len() < 2) {
            return Err(Error::setting_with(
                format!("{} training rows cannot make {folds} folds", pool.len()),
                "set tune.folds to fewer",
            ));
        }
        if folds == 1 {
            // One fold is a hold-out: a fifth of what there is.
            let five = Folds::new(data, split, parts, 5, key)?;
            return Ok(Folds { held_out: true, ..five });
        }
        Ok(Folds { rows, held_out: false, by_class, classes })
    }

    /// The other folds to train on, this one to measure on.
    pub fn parts(&self, fold: usize) -> Parts {
        let others = self.rows.iter().enumerate().filter(|(at, _)| *at != fold);
        let mut train: Vec<u32> = others.flat_map(|(_, rows)| rows.iter().copied()).collect();
        train.sort_unstable();
        Parts { train, validation: Vec::new(), test: self.rows[fold].clone() }
    }

    /// What they are made of, in words.
    pub fn describe(&self) -> String {
        let rows: usize = self.rows.iter().map(Vec::len).sum();
        let of =
            if self.by_class { format!("whole classes, {} in all", self.classes) } else { "rows".to_owned() };
        if self.held_out {
            let out = self.rows[0].len();
            return format!("{out} of {rows} training rows held out, {of}");
        }
        format!("{rows} training rows in {} folds of {of}", self.rows.len())
    }
}

/// Whether classes are trained on or tested on, and not both.
fn disjoint(data: &Dataset, split: &Split, parts: &Parts) -> bool {
    let Some(labels) = data.classes() else { return false };
    if parts.test.is_empty() {
        return matches!(split, Split::ClassDisjoint(_));
    }
    let mut side = BTreeMap::new();
    labels.select(&parts.train).into_iter().for_each(|class| {
        side.insert(class, ());
    });
    labels.select(&parts.test).into_iter().all(|class| matches!(side.entry(class), Entry::Vacant(_)))
}
