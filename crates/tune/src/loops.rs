//! The search itself.

use std::time::Instant;

use parallax_random::Key;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tpe::TpeOptimizer;

use crate::importance::{Importance, importance};
use crate::journal::{Journal, Line};
use crate::search::{Halving, Tpe};
use crate::{Error, Point, Search, Space, Tuning};

/// A measurement that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The trial, from 0; 0 is the settings as they stand, with an empty point.
    pub trial: usize,
    /// The settings that differ.
    pub point: &'a Point,
    /// The fold to measure on, from 0.
    pub fold: usize,
    /// The share of the steps to train for.
    pub share: f64,
}

/// What a measurement gives: a score, larger is better, or nothing where the trial diverged.
pub type Score = Result<Option<f64>, Box<dyn std::error::Error + Send + Sync>>;

/// What a search tells on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A measurement is done.
    Measured {
        /// Measurements done.
        done: usize,
        /// How many there will be at most.
        total: usize,
        /// The trial it belongs to.
        trial: usize,
        /// The score.
        score: Option<f64>,
        /// The best mean of a finished trial so far.
        best: Option<f64>,
        /// Seconds left, by what measurements took so far.
        left: f64,
    },
    /// So many measurements were found in the journal.
    Resumed(usize),
}

/// A point and what it scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number, from 0.
    pub number: usize,
    /// The settings that differ; empty for trial 0.
    pub point: Point,
    /// (fold, share of the steps, score), in the order of measuring.
    pub scores: Vec<(usize, f64, Option<f64>)>,
    /// The mean over the folds with the largest share of steps; nothing where one of them diverged.
    pub mean: Option<f64>,
    /// Whether all folds were measured with all steps.
    pub complete: bool,
    /// Seconds it took.
    pub seconds: f64,
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Every trial, in order.
    pub trials: Vec<Trial>,
    /// The number of the best complete trial; the earlier one of equals.
    pub best: usize,
    /// What mattered, the most important key first, over trials with a score on the first fold at the least.
    pub importance: Vec<Importance>,
    /// Seconds of measuring in all, those of earlier parts of a search that was resumed included.
    pub seconds: f64,
}

impl Tuned {
    /// The best trial.
    pub fn best(&self) -> &Trial {
        &self.trials[self.best]
    }
}

/// Searches `space` for the point with the best mean score.
///
/// Trial 0 is always the settings as they stand, on all folds, so that the best is never worse by these scores. `defaults` says
/// where in the space they stand, for searches that learn from it. The points are a function of `seed` and of the scores
/// alone. With a journal, what it holds is not measured again.
///
/// # Errors
/// Settings outside their range, a journal that does not fit, a stop from outside, what `measure` returns, and no score at all.
#[allow(clippy::too_many_arguments)]
pub fn tune(
    tuning: &Tuning,
    space: &Space,
    defaults: &Point,
    seed: u64,
    journal: Option<Journal>,
    stop: &dyn Fn() -> bool,
    measure: &mut dyn FnMut(&Ask<'_>) -> Score,
    tell: &mut dyn FnMut(Event),
) -> Result<Tuned, Error> {
    tuning.check()?;
    space.check()?;
    let resumed = journal.as_ref().map_or(0, Journal::len);
    if resumed > 0 {
        tell(Event::Resumed(resumed));
    }
    let key = Key::new(seed).named("tune");
    let mut course = Course {
        tuning,
        journal,
        stop,
        measure,
        tell,
        trials: Vec::new(),
        seconds: 0.0,
        begun: Instant::now(),
        recorded: 0.0,
        fresh: 0,
        total: 0,
    };
    match &tuning.search {
        Search::Random => course.one_by_one(|k, _| Ok(space.draw(key.at(k as u64))))?,
        Search::Tpe(settings) => course.one_by_one(|k, trials| {
            if k <= settings.startup {
                return Ok(space.draw(key.at(k as u64)));
            }
            promising(settings, space, defaults, trials, key.at(k as u64))
        })?,
        Search::SuccessiveHalving(halving) => course.halve(halving, |k| space.draw(key.at(k as u64)))?,
    }
    let Course { trials, seconds, .. } = course;
    let mut best: Option<&Trial> = None;
    for trial in trials.iter().filter(|trial| trial.complete) {
        if trial.mean.is_some_and(|mean| best.and_then(|best| best.mean).is_none_or(|most| mean > most)) {
            best = Some(trial);
        }
    }
    let Some(best) = best.map(|best| best.number) else {
        return Err(Error::NoScore { trials: trials.len() });
    };
    // Scores on other folds are of another level: those on the first fold are there for every trial.
    let full = |trial: &Trial| trial.scores.iter().map(|score| score.1).fold(0.0, f64::max);
    let filled: Vec<(Point, f64)> = trials
        .iter()
        .filter_map(|trial| {
            let score = if trials.iter().all(|trial| trial.complete) {
                trial.mean?
            } else {
                trial.scores.iter().find(|score| score.0 == 0 && score.1 == full(trial))?.2?
            };
            let mut point = defaults.clone();
            point.extend(trial.point.clone());
            Some((point, score))
        })
        .collect();
    let placed: Vec<(&Point, f64)> = filled.iter().map(|(point, score)| (point, *score)).collect();
    let importance = importance(space, &placed);
    Ok(Tuned { best, importance, seconds, trials })
}

/// A search under way.
struct Course<'a> {
    tuning: &'a Tuning,
    journal: Option<Journal>,
    stop: &'a dyn Fn() -> bool,
    measure: &'a mut dyn FnMut(&Ask<'_>) -> Score,
    tell: &'a mut dyn FnMut(Event),
    trials: Vec<Trial>,
    /// Seconds of measuring, those in the journal included.
    seconds: f64,
    begun: Instant,
    recorded: f64,
    fresh: usize,
    total: usize,
}

impl Course<'_> {
    /// Whether the time is over.
    fn over(&self) -> bool {
        let spent = self.recorded + self.begun.elapsed().as_secs_f64();
        self.tuning.minutes.is_some_and(|minutes| spent >= 60.0 * minutes)
    }

    /// Trial after trial, each on all folds.
    fn one_by_one(
        &mut self,
        mut next: impl FnMut(usize, &[Trial]) -> Result<Point, Error>,
    ) -> Result<(), Error> {
        self.total = self.tuning.trials * self.tuning.folds;
        for k in 0..self.tuning.trials {
            // The settings as they stand are measured whatever the time.
            if k > 0 && self.over() {
                break;
            }
            let point = if k == 0 { Point::new() } else { next(k, &self.trials)? };
            self.begin(point);
            self.folds(k, self.tuning.folds, 1.0)?;
        }
        Ok(())
    }

    /// Bracket after bracket of successive halving.
    fn halve(&mut self, halving: &Halving, draw: impl Fn(usize) -> Point) -> Result<(), Error> {
        let folds = self.tuning.folds;
        let cost = |most: usize| -> usize {
            let rungs = halving.rungs(folds, most);
            let before = |at: usize| match at {
                0 => 0,
                at if rungs[at].share == rungs[at - 1].share => rungs[at - 1].folds,
                _ => 0,
            };
            rungs.iter().enumerate().map(|(at, rung)| rung.points * (rung.folds - before(at))).sum()
        };
        let each = halving.rungs(folds, usize::MAX >> 1)[0].points;
        let (whole, rest) = ((self.tuning.trials - 1) / each, (self.tuning.trials - 1) % each);
        self.total = folds + whole * cost(each) + if rest > 0 { cost(rest) } else { 0 };
        self.begin(Point::new());
        self.folds(0, folds, 1.0)?;
        while self.trials.len() < self.tuning.trials && !self.over() {
            let first = self.trials.len();
            let rungs = halving.rungs(folds, self.tuning.trials - first);
            let mut alive: Vec<usize> = (first..first + rungs[0].points).collect();
            for &k in &alive {
                self.begin(draw(k));
            }
            for rung in rungs {
                alive.truncate(rung.points);
                for &k in &alive {
                    // A bracket that was begun ends: its winners are what the time was for. Only its first rung may be cut.
                    if rung.points == alive.len() && rung.folds < folds && self.over() && k > first {
                        continue;
                    }
                    self.folds(k, rung.folds, rung.share)?;
                }
                let mean = |k: &usize| self.trials[*k].mean.unwrap_or(f64::NEG_INFINITY);
                alive.sort_by(|a, b| mean(b).total_cmp(&mean(a)).then(a.cmp(b)));
            }
        }
        Ok(())
    }

    fn begin(&mut self, point: Point) {
        let number = self.trials.len();
        self.trials.push(Trial {
            number,
            point,
            scores: Vec::new(),
            mean: None,
            complete: false,
            seconds: 0.0,
        });
    }

    /// Measures trial `k` on the first `folds` folds with a share of the steps, where that is not done yet.
    fn folds(&mut self, k: usize, folds: usize, share: f64) -> Result<(), Error> {
        for fold in 0..folds {
            if self.trials[k].scores.iter().any(|score| score.0 == fold && score.1 == share) {
                continue;
            }
            self.one(k, fold, share)?;
        }
        let trial = &mut self.trials[k];
        let own: Vec<Option<f64>> =
            trial.scores.iter().filter(|score| score.1 == share).map(|score| score.2).collect();
        let scores: Option<Vec<f64>> = own.into_iter().collect();
        trial.mean = scores.filter(|s| !s.is_empty()).map(|s| s.iter().sum::<f64>() / s.len() as f64);
        trial.complete = folds == self.tuning.folds && share == 1.0;
        Ok(())
    }

    fn one(&mut self, k: usize, fold: usize, share: f64) -> Result<(), Error> {
        let point = self.trials[k].point.clone();
        let known = match &self.journal {
            Some(journal) => journal.find(k, &point, fold, share)?.cloned(),
            None => None,
        };
        let (score, seconds) = match known {
            Some(line) => {
                self.recorded += line.seconds;
                (line.score, line.seconds)
            }
            None => {
                if (self.stop)() {
                    return Err(Error::Stopped);
                }
                let begun = Instant::now();
                let ask = Ask { trial: k, point: &point, fold, share };
                let found = (self.measure)(&ask);
                // A trial that was stopped half-way has no score.
                if (self.stop)() {
                    return Err(Error::Stopped);
                }
                let score = found.map_err(Error::Trial)?.filter(|score| score.is_finite());
                let seconds = begun.elapsed().as_secs_f64();
                self.fresh += 1;
                if let Some(journal) = &mut self.journal {
                    journal.add(Line { trial: k, point, fold, share, score, seconds })?;
                }
                (score, seconds)
            }
        };
        self.seconds += seconds;
        let trial = &mut self.trials[k];
        trial.scores.push((fold, share, score));
        trial.seconds += seconds;
        let done: usize = self.trials.iter().map(|trial| trial.scores.len()).sum();
        let mut total = self.total.max(done);
        let each = self.seconds / done as f64;
        if let Some(minutes) = self.tuning.minutes {
            // As many as the time will do for.
            let spent = self.recorded + self.begun.elapsed().as_secs_f64();
            let more = ((60.0 * minutes - spent).max(0.0) / each.max(1e-9)).ceil() as usize;
            total = total.min(done.saturating_add(more));
        }
        let left = each * (total - done) as f64;
        let means = self.trials.iter().filter(|trial| trial.complete).filter_map(|trial| trial.mean);
        let best = means.reduce(f64::max);
        (self.tell)(Event::Measured { done, total, trial: k, score, best, left });
        Ok(())
    }
}

/// The point that the Parzen estimators of each key by itself find most promising.
fn promising(
    settings: &Tpe,
    space: &Space,
    defaults: &Point,
    trials: &[Trial],
    key: Key,
) -> Result<Point, Error> {
    let refuse = |e: &dyn std::fmt::Display| Error::Trial(e.to_string().into());
    let mut rng = StdRng::seed_from_u64(key.bits(0));
    let mut point = Point::new();
    for (name, dimension) in &space.0 {
        let range = tpe::range(0.0, 1.0).map_err(|e| refuse(&e))?;
        let (range, estimator) = match dimension.choices() {
            None => (range, tpe::parzen_estimator()),
            Some(n) => (tpe::categorical_range(n).map_err(|e| refuse(&e))?, tpe::histogram_estimator()),
        };
        let scale = dimension.choices().map_or(1.0, |n| n as f64);
        let mut optimizer: TpeOptimizer = tpe::TpeOptimizerBuilder::new()
            .gamma(settings.gamma)
            .candidates(settings.candidates)
            .build(estimator, range)
            .map_err(|e| refuse(&e))?;
        for trial in trials {
            let value = trial.point.get(name).or_else(|| defaults.get(name));
            // A value outside the space, such as a default, says nothing about places in it.
            let place =
                value.and_then(|value| dimension.unit(value)).map_or(f64::NAN, |unit| {
                    match dimension.choices() {
                        Some(_) => (unit * scale).floor(),
                        None => unit,
                    }
                });
            let loss = trial.mean.map_or(f64::INFINITY, |mean| -mean);
            optimizer.tell(place, loss).map_err(|e| refuse(&e))?;
        }
        let place = optimizer.ask(&mut rng).map_err(|e| refuse(&e))?;
        let unit = if dimension.choices().is_some() { (place.floor() + 0.5) / scale } else { place };
        point.insert(name.clone(), dimension.at(unit.clamp(0.0, 1.0)));
    }
    Ok(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        serde_json::from_str(
            r#"{ "x": { "low": -2.0, "high": 2.0 }, "y": { "low": 1e-4, "high": 1.0, "log": true }, "z": ["a", "b", "c"] }"#,
        )
        .unwrap()
    }

    /// Best at x = 0.7, y = 0.01, z = "b"; folds differ in level.
    fn score(point: &Point, fold: usize) -> f64 {
        let number = |name: &str, default: f64| point.get(name).and_then(|v| v.as_f64()).unwrap_or(default);
        let x = number("x", 0.0) - 0.7;
        let y = number("y", 1.0).log10() + 2.0;
        let z = if point.get("z").is_some_and(|z| z == "b") { 0.0 } else { 1.0 };
        -(x * x) - 0.25 * y * y - z + fold as f64 * 10.0
    }

    fn defaults() -> Point {
        [("x".to_owned(), 0.0.into()), ("y".to_owned(), 1.0.into()), ("z".to_owned(), "a".into())].into()
    }

    fn run(tuning: &Tuning, journal: Option<Journal>, stop_after: usize) -> (Result<Tuned, Error>, usize) {
        let calls = std::cell::Cell::new(0);
        let result = tune(
            tuning,
            &space(),
            &defaults(),
            11,
            journal,
            &|| calls.get() > stop_after,
            &mut |ask| {
                calls.set(calls.get() + 1);
                Ok(Some(score(ask.point, ask.fold)))
            },
            &mut |_| (),
        );
        (result, calls.get())
    }

    fn without_times(mut tuned: Tuned) -> Tuned {
        tuned.seconds = 0.0;
        tuned.trials.iter_mut().for_each(|trial| trial.seconds = 0.0);
        tuned
    }

    fn searches() -> [Search; 4] {
        let steps = Halving { resource: crate::Resource::Steps, ..Halving::default() };
        [
            Search::Random,
            Search::Tpe(Tpe::default()),
            Search::SuccessiveHalving(Halving::default()),
            Search::SuccessiveHalving(steps),
        ]
    }

    #[test]
    fn every_search_beats_the_settings_as_they_stand_and_is_repeatable() {
        for search in searches() {
            let tuning = Tuning { search, trials: 40, folds: 3, ..Tuning::default() };
            let tuned = run(&tuning, None, usize::MAX - 1).0.unwrap();
            assert_eq!(tuned.trials.len(), 40);
            assert!(tuned.trials[0].point.is_empty() && tuned.trials[0].complete);
            assert!(tuned.best().mean > tuned.trials[0].mean, "{tuning:?}");
            assert!(tuned.best().complete);
            let again = run(&tuning, None, usize::MAX - 1).0.unwrap();
            assert_eq!(without_times(tuned), without_times(again));
        }
    }

    #[test]
    fn densities_find_more_than_chance() {
        let mean = |search: Search| -> f64 {
            let best = |seed: u64| {
                let tuning = Tuning { search: search.clone(), trials: 60, folds: 1, ..Tuning::default() };
                let mut measure = |ask: &Ask<'_>| Ok(Some(score(ask.point, 0)));
                let found =
                    tune(&tuning, &space(), &defaults(), seed, None, &|| false, &mut measure, &mut |_| ());
                found.unwrap().best().mean.unwrap()
            };
            (0..20).map(best).sum::<f64>() / 20.0
        };
        let (tpe, random) = (mean(Search::Tpe(Tpe::default())), mean(Search::Random));
        assert!(tpe > random, "{tpe} against {random}");
    }

    #[test]
    fn halving_spends_less_than_all_folds() {
        let tuning = Tuning {
            search: Search::SuccessiveHalving(Halving::default()),
            trials: 19,
            folds: 5,
            ..Tuning::default()
        };
        let (tuned, calls) = run(&tuning, None, usize::MAX - 1);
        // The settings as they stand on 5 folds, then two brackets of 9 on 1, 3 on 2 more, 1 on 2 more.
        assert_eq!(calls, 5 + 2 * (9 + 6 + 2));
        assert_eq!(tuned.unwrap().trials.iter().filter(|trial| trial.complete).count(), 3);
    }

    #[test]
    fn a_stopped_search_goes_on_to_the_same_end() {
        let folder = tempfile::tempdir().unwrap();
        for (at, search) in searches().into_iter().enumerate() {
            let tuning = Tuning { search, trials: 25, folds: 3, ..Tuning::default() };
            let path = folder.path().join(format!("{at}.jsonl"));
            let open = || Some(Journal::open(&path, "same").unwrap());
            let whole = run(&tuning, None, usize::MAX - 1).0.unwrap();
            let (stopped, _) = run(&tuning, open(), 20);
            assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
            // Half a line, as a kill leaves it.
            let mut text = std::fs::read_to_string(&path).unwrap();
            text.push_str("{\"trial\": 7, \"poi");
            std::fs::write(&path, text).unwrap();
            let (end, calls) = run(&tuning, open(), usize::MAX - 1);
            assert_eq!(without_times(end.unwrap()), without_times(whole));
            let (_, none) = run(&tuning, open(), usize::MAX - 1);
            assert!(calls > 0 && none == 0);
        }
    }

    #[test]
    fn a_journal_of_another_search_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trials.jsonl");
        drop(Journal::open(&path, "one").unwrap());
        assert!(matches!(Journal::open(&path, "two"), Err(Error::OtherSearch { .. })));
        std::fs::write(&path, "{\"fingerprint\":\"one\"}\nnonsense\n").unwrap();
        let error = Journal::open(&path, "one").unwrap_err();
        assert!(error.to_string().contains("line 2") && error.hint().is_some(), "{error}");
    }

    #[test]
    fn trials_that_diverge_are_the_worst_and_nothing_but_them_is_an_error() {
        let tuning = Tuning { search: Search::Random, trials: 12, folds: 2, ..Tuning::default() };
        let diverge = |all: bool| {
            tune(
                &tuning,
                &space(),
                &defaults(),
                5,
                None,
                &|| false,
                &mut |ask| Ok((!all && ask.trial % 2 == 0).then(|| score(ask.point, ask.fold))),
                &mut |_| (),
            )
        };
        let tuned = diverge(false).unwrap();
        assert!(tuned.best % 2 == 0 && tuned.trials[1].mean.is_none());
        assert!(matches!(diverge(true), Err(Error::NoScore { trials: 12 })));
    }

    #[test]
    fn time_ends_a_search_after_the_settings_as_they_stand() {
        for search in searches() {
            let tuning = Tuning { search, trials: 1000, folds: 2, minutes: Some(1e-9), ..Tuning::default() };
            let (tuned, calls) = run(&tuning, None, usize::MAX - 1);
            assert_eq!((tuned.unwrap().best, calls), (0, 2));
        }
    }
}
