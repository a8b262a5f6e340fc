//! Choosing an adapter by cross-validation over classes.

use std::sync::atomic::{AtomicBool, Ordering};

use parallax_eval::{METHOD, Measure, RESAMPLES, Similarity, paired_bootstrap};
use parallax_random::Key;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapter::require_alpha;
use crate::error::require;
use crate::folds::{Caps, Yardstick, deal, held_out};
use crate::moments::Moments;
use crate::{
    Adapter, Basis, Error, Examples, Identity, LinearDiscriminant, Map, Procrustes, Ridge, Scatter,
    Statistics, Targets, Weighting, Whitening,
};

/// What is tried, and how it is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionConfig {
    /// Adapters with their settings; empty means the grid for the kind of examples.
    pub adapters: Vec<Adapter>,
    /// Weights of the adapter against the identity, each from 0 to 1; 0 is always measured.
    pub alphas: Vec<f64>,
    /// Folds of whole classes; fewer where there are less than two classes of two rows for each.
    pub folds: usize,
    /// Measure of a held-out query; by default `map@r` for labelled rows and `mrr` for pairs.
    pub measure: Option<Measure>,
    /// What makes one vector near another.
    pub similarity: Similarity,
    /// At most so many held-out queries are measured, over all folds; a seeded choice.
    pub queries: usize,
    /// At most so many examples are searched in, over all folds; a seeded choice. Fits always use all examples.
    pub rows: usize,
    /// Resamples of the interval of each candidate; that of the verdict has at least 10,000.
    pub resamples: usize,
    /// Seed of folds, choices and resamples.
    pub seed: u64,
}

impl Default for SelectionConfig {
    /// The grid, α = 0.1, 0.2, …, 1, 5 folds, cosine, 1,000 queries in 10,000 rows, 1,000 resamples.
    fn default() -> Self {
        SelectionConfig {
            adapters: Vec::new(),
            alphas: (1..=10).map(|tenth| f64::from(tenth) / 10.0).collect(),
            folds: 5,
            measure: None,
            similarity: Similarity::Cosine,
            queries: 1000,
            rows: 10_000,
            resamples: 1000,
            seed: 0,
        }
    }
}

/// The adapters that are tried where none are named.
pub fn grid(pairs: bool) -> Vec<Adapter> {
    let whitening = |scatter, power, floor| {
        Adapter::Whitening(Whitening { scatter, power, floor, basis: Basis::Zca, ..Default::default() })
    };
    let mut adapters = Vec::new();
    for scatter in [Scatter::Total, Scatter::Within] {
        for (power, floor) in [(0.25, 0.5), (0.5, 0.1), (1.0, 0.1)] {
            adapters.push(whitening(scatter, power, floor));
        }
    }
    let discriminant = |weighting, within_shrinkage, between_shrinkage| {
        Adapter::LinearDiscriminant(LinearDiscriminant {
            within_shrinkage,
            between_shrinkage,
            weighting,
            ..Default::default()
        })
    };
    for within_shrinkage in [0.1, 0.3, 0.7] {
        for between_shrinkage in [0.01, 0.03, 0.1, 0.3] {
            adapters.push(discriminant(Weighting::Ratio, within_shrinkage, between_shrinkage));
        }
        adapters.push(discriminant(Weighting::Unit, within_shrinkage, 0.0));
    }
    for lambda in [0.1, 1.0] {
        adapters.push(Adapter::Ridge(Ridge { lambda, ..Default::default() }));
    }
    if !pairs {
        for lambda in [0.3, 3.0] {
            adapters.push(Adapter::Ridge(Ridge { lambda, targets: Targets::Simplex, ..Default::default() }));
        }
    }
    if pairs {
        adapters.push(Adapter::Procrustes(Procrustes::default()));
        adapters.push(Adapter::Procrustes(Procrustes { centre: false, ..Default::default() }));
    }
    adapters
}

/// One adapter with one α on held-out classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The adapter.
    pub adapter: Adapter,
    /// Its weight against the identity.
    pub alpha: f64,
    /// Mean of the measure over held-out queries.
    pub mean: f64,
    /// Mean over held-out queries of the difference to the identity.
    pub difference: f64,
    /// 95 % interval of the difference: paired bootstrap over queries.
    pub interval: [f64; 2],
}

/// What choosing by cross-validation gains on classes that had no part in the choice.
///
/// The queries of each fold are measured with the candidate that is best on the other folds, which may be the identity,
/// and the difference to the identity is averaged over each class. The interval knows of three things that
/// [`Candidate::interval`] does not:
///
/// - the best of many candidates looks better than it is;
/// - rows of one class succeed and fail together, so classes are resampled (paired bootstrap);
/// - folds take turns at being fitted and being measured, so where two classes agree by chance, each is helped by the
///   map of the other. Without a true gain this doubles the variance of the mean (a degenerate U-statistic), so the
///   resampled interval is stretched about the mean by √2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// Mean over classes of the difference to the identity.
    pub gain: f64,
    /// 95 % interval of the gain, stretched.
    pub interval: [f64; 2],
    /// Mean difference over the queries of each fold.
    pub folds: Vec<f64>,
    /// Classes that were measured.
    pub classes: usize,
    /// Resamples of the interval.
    pub resamples: usize,
}

/// An adapter that could not be fitted without some fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unfitted {
    /// The adapter.
    pub adapter: Adapter,
    /// Why not.
    pub reason: String,
}

/// What came of a selection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// The adapter to use; the identity where none helps.
    pub adapter: Adapter,
    /// `α` of [`Fit::blend`](crate::Fit::blend); 0 where none helps.
    pub alpha: f64,
    /// Mean of the measure over held-out queries, as the vectors are.
    pub identity: f64,
    /// The best of [`Selection::table`], whether or not it is good enough: its place, from 0.
    pub best: Option<usize>,
    /// What choosing by cross-validation gains on classes that had no part in the choice.
    pub choice: Choice,
    /// All candidates, in the order they were tried.
    pub table: Vec<Candidate>,
    /// Adapters that were left out, with the reason.
    pub unfitted: Vec<Unfitted>,
    /// Name of the measure.
    pub measure: String,
    /// How [`Candidate::interval`] was made.
    pub interval_method: String,
    /// Folds.
    pub folds: usize,
    /// Held-out queries that were measured.
    pub queries: usize,
    /// What to do and why, in a sentence with figures.
    pub verdict: String,
}

impl Selection {
    /// Whether an adapter helps.
    pub fn helps(&self) -> bool {
        self.alpha > 0.0
    }

    /// Fits the selected adapter to all examples.
    ///
    /// # Errors
    /// As for [`Adapter::fit`].
    pub fn fit(&self, examples: &Examples) -> Result<Map, Error> {
        if self.helps() {
            self.adapter.fit(examples)?.blend(self.alpha)
        } else {
            examples.check()?;
            Ok(Map::identity(examples.dim()))
        }
    }
}

/// How far a selection has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Fits that have been measured, at every α.
    pub done: usize,
    /// Folds times adapters.
    pub total: usize,
    /// The adapter that comes next; empty at the end.
    pub next: String,
}

/// Measures every adapter of the grid at every α on classes that it was not fitted to, and says which to use.
///
/// Classes are dealt out to folds at random. For each fold the adapters are fitted to the other folds, and the fold's
/// own rows are searched in its own rows: each query's row is left out of its ranking, and pairs search positives
/// by anchors. An adapter is chosen if it has the best mean, and both the interval of its paired difference to the
/// identity over queries and that of [`Selection::choice`] lie above 0. Otherwise the identity is.
///
/// `progress` is called before each fit and at the end. When `cancel` is raised, the next such moment ends the selection.
///
/// # Errors
/// For settings out of range, examples that cannot be read ([`Statistics::of`]), fewer than four classes with two rows
/// ([`Error::FewClasses`]; pairs are classes of two), and [`Error::Cancelled`].
pub fn select(
    config: &SelectionConfig,
    examples: &Examples,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<Selection, Error> {
    let pairs = matches!(examples, Examples::Pairs { .. });
    let adapters = if config.adapters.is_empty() { grid(pairs) } else { config.adapters.clone() };
    check(config, &adapters, examples)?;
    let key = Key::new(config.seed).named("linear selection");
    let classes = examples.classes();
    let mut sizes = vec![0usize; classes.iter().max().map_or(0, |&most| most as usize + 1)];
    classes.iter().for_each(|&class| sizes[class as usize] += if pairs { 2 } else { 1 });
    let (fold_of, folds) = deal(&sizes, config.folds, key)?;
    let caps = Caps { rows: config.rows, queries: config.queries };
    let sets = held_out(examples, &classes, &fold_of, folds, caps, key);
    let default = if pairs { Measure::Mrr(parallax_eval::Cutoff::All) } else { Measure::MapAtR };
    let yardstick = Yardstick { measure: config.measure.unwrap_or(default), similarity: config.similarity };

    let origin = Moments::origin(examples);
    let moments: Vec<Moments> = (0..folds)
        .map(|fold| {
            let members: Vec<u32> = (0..classes.len() as u32)
                .filter(|&i| fold_of[classes[i as usize] as usize] == fold)
                .collect();
            Moments::of(examples, &classes, &members, &origin)
        })
        .collect();
    let alphas: Vec<f64> = config.alphas.iter().copied().filter(|&alpha| alpha > 0.0).collect();

    // scores[adapter][alpha]: the measure of every query, fold after fold.
    let mut scores: Vec<Result<Vec<Vec<f64>>, String>> =
        adapters.iter().map(|_| Ok(vec![Vec::new(); alphas.len()])).collect();
    let mut identity: Vec<f64> = Vec::new();
    let mut spans = Vec::with_capacity(folds);
    let total = folds * adapters.len();
    for (fold, set) in sets.iter().enumerate() {
        let before = identity.len();
        identity.extend(set.measured(yardstick)?);
        spans.push(before..identity.len());
        let statistics = complement(&moments, fold);
        for (place, (adapter, scores)) in adapters.iter().zip(&mut scores).enumerate() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            progress(Progress { done: fold * adapters.len() + place, total, next: adapter.describe() });
            let Ok(columns) = scores else { continue };
            let fit =
                statistics.as_ref().map_err(Clone::clone).and_then(|statistics| adapter.fit_to(statistics));
            let measured = fit.and_then(|fit| {
                let (map, scale) = fit.parts()?;
                let mapped = set.mapped(&map, scale)?;
                alphas
                    .par_iter()
                    .map(|&alpha| mapped.measured(yardstick, alpha))
                    .collect::<Result<Vec<_>, _>>()
            });
            match measured {
                Ok(measured) => columns.iter_mut().zip(measured).for_each(|(all, new)| all.extend(new)),
                Err(error) => *scores = Err(error.to_string()),
            }
        }
    }
    progress(Progress { done: total, total, next: String::new() });

    require(
        !identity.is_empty(),
        "selection",
        "rows",
        config.rows as f64,
        "large enough that some class keeps two rows",
    )?;
    let query_classes: Vec<u32> = sets.iter().flat_map(|set| set.query_classes()).copied().collect();
    let mut unfitted = Vec::new();
    let (mut table, mut columns) = (Vec::new(), Vec::new());
    for (adapter, scores) in adapters.iter().zip(scores) {
        match scores {
            Err(reason) => unfitted.push(Unfitted { adapter: adapter.clone(), reason }),
            Ok(scores) => {
                for (&alpha, column) in alphas.iter().zip(scores) {
                    let difference =
                        paired_bootstrap(&identity, &column, config.resamples, key.named("candidate"))?;
                    table.push(Candidate {
                        adapter: adapter.clone(),
                        alpha,
                        mean: mean(&column),
                        difference: difference.mean_difference,
                        interval: [difference.low, difference.high],
                    });
                    columns.push(column);
                }
            }
        }
    }
    let resamples = config.resamples.max(RESAMPLES);
    let chosen = chosen_elsewhere(&identity, &columns, &spans);
    let (before, after) = class_means(&query_classes, &identity, &chosen);
    let resampled = paired_bootstrap(&before, &after, resamples, key.named("choice"))?;
    let gain = resampled.mean_difference;
    let stretched = |end: f64| gain + std::f64::consts::SQRT_2 * (end - gain);
    let choice = Choice {
        gain,
        interval: [stretched(resampled.low), stretched(resampled.high)],
        folds: spans
            .iter()
            .filter(|span| !span.is_empty())
            .map(|span| mean(&chosen[span.clone()]) - mean(&identity[span.clone()]))
            .collect(),
        classes: before.len(),
        resamples,
    };
    let best = best_of(table.iter().map(|candidate| candidate.mean));
    if let Some(best) = best {
        // The winner's interval decides, so it gets the finer resampling.
        let interval = paired_bootstrap(&identity, &columns[best], resamples, key.named("candidate"))?;
        table[best].interval = [interval.low, interval.high];
    }
    let mut selection = Selection {
        adapter: Adapter::Identity(Identity::default()),
        alpha: 0.0,
        identity: mean(&identity),
        best,
        choice,
        table,
        unfitted,
        measure: yardstick.measure.to_string(),
        interval_method: METHOD.to_string(),
        folds,
        queries: identity.len(),
        verdict: String::new(),
    };
    selection.decide();
    Ok(selection)
}

fn check(config: &SelectionConfig, adapters: &[Adapter], examples: &Examples) -> Result<(), Error> {
    let positive =
        |field, value: usize| require(value > 0, "selection", field, value as f64, "a whole number from 1");
    positive("queries", config.queries)?;
    positive("rows", config.rows)?;
    positive("resamples", config.resamples)?;
    config.alphas.iter().try_for_each(|&alpha| require_alpha(alpha))?;
    require(
        config.alphas.iter().any(|&alpha| alpha > 0.0),
        "selection",
        "alphas",
        config.alphas.first().copied().unwrap_or(f64::NAN),
        "a list with a number above 0",
    )?;
    adapters.iter().try_for_each(|adapter| adapter.check(examples.dim()))?;
    examples.check()
}

/// The statistics of all folds but one.
fn complement(moments: &[Moments], fold: usize) -> Result<Statistics, Error> {
    let mut others =
        moments.iter().enumerate().filter(|(other, _)| *other != fold).map(|(_, moments)| moments);
    let mut sum = others.next().cloned().ok_or(Error::FewRows { rows: 0 })?;
    others.for_each(|moments| sum.merge(moments));
    Statistics::new(&sum)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The place of the largest value; the first of equal ones.
fn best_of(values: impl Iterator<Item = f64>) -> Option<usize> {
    values
        .enumerate()
        .fold(None, |best: Option<(usize, f64)>, (place, value)| match best {
            Some((_, most)) if value <= most => best,
            _ => Some((place, value)),
        })
        .map(|(place, _)| place)
}

/// For each query its measure under what is best on the queries of the other folds: a candidate, or the identity.
fn chosen_elsewhere(identity: &[f64], columns: &[Vec<f64>], spans: &[std::ops::Range<usize>]) -> Vec<f64> {
    let mut chosen = Vec::with_capacity(identity.len());
    for span in spans {
        let elsewhere = |column: &[f64]| -> f64 {
            column[..span.start].iter().sum::<f64>() + column[span.end..].iter().sum::<f64>()
        };
        let all = std::iter::once(identity).chain(columns.iter().map(Vec::as_slice));
        let best = best_of(all.clone().map(elsewhere)).unwrap_or(0);
        chosen.extend_from_slice(&all.clone().nth(best).unwrap_or(identity)[span.clone()]);
    }
    chosen
}

/// Means over the queries of each class, in the order of class numbers.
fn class_means(classes: &[u32], before: &[f64], after: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut sums = std::collections::BTreeMap::<u32, (f64, f64, f64)>::new();
    for ((&class, b), a) in classes.iter().zip(before).zip(after) {
        let sum = sums.entry(class).or_default();
        *sum = (sum.0 + b, sum.1 + a, sum.2 + 1.0);
    }
    sums.values().map(|(b, a, n)| (b / n, a / n)).unzip()
}

impl Selection {
    /// Sets the adapter, α and the verdict from the table.
    fn decide(&mut self) {
        let Some(best) = self.best.map(|best| self.table[best].clone()) else {
            self.verdict = format!(
                "No adapter could be fitted ({}); the vectors are left as they are.",
                self.unfitted.first().map_or("none was given", |unfitted| &unfitted.reason)
            );
            return;
        };
        let (measure, tried) = (&self.measure, self.table.len());
        let name = format!("{} at alpha {}", best.adapter.describe(), best.alpha);
        let figures = format!(
            "{measure} on held-out classes from {:.4} to {:.4}: {:+.4}, 95 % interval {:+.4} to {:+.4} over {} queries",
            self.identity, best.mean, best.difference, best.interval[0], best.interval[1], self.queries
        );
        let choice = format!(
            "{:+.4} ({:+.4} to {:+.4} over {} classes)",
            self.choice.gain, self.choice.interval[0], self.choice.interval[1], self.choice.classes
        );
        self.verdict = if best.interval[0] <= 0.0 {
            format!(
                "No linear map of the {tried} tried helps: the best, {name}, brings {figures}, which includes no gain. \
                 The vectors are left as they are."
            )
        } else if self.choice.interval[0] <= 0.0 {
            format!(
                "No linear map of the {tried} tried is sure to help: the best, {name}, brings {figures}, but maps chosen \
                 without the classes they are measured on gain {choice}, which includes no gain. The vectors are left \
                 as they are."
            )
        } else {
            self.adapter = best.adapter;
            self.alpha = best.alpha;
            format!(
                "Use {name}, the best of {tried}: it brings {figures}. What to expect: maps chosen without the \
                 classes they are measured on gain {choice}."
            )
        };
    }
}
