//! Ways to choose points.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How points are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Search {
    /// Every point is drawn evenly from the space (Bergstra and Bengio, JMLR 2012).
    Random,
    /// Many points get a little, the best third of them more, and so on (Jamieson and Talwalkar, AISTATS 2016).
    #[serde(alias = "halving")]
    SuccessiveHalving(Halving),
    /// Points are drawn where good ones were denser than bad ones: tree-structured Parzen estimators, key by key (Bergstra et
    /// al., NeurIPS 2011; the crate `tpe`).
    Tpe(Tpe),
}

impl Default for Search {
    fn default() -> Self {
        Search::Tpe(Tpe::default())
    }
}

/// Settings of [`Search::SuccessiveHalving`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Halving {
    /// One in so many points goes on to the next rung, which gives each so many times as much.
    pub eta: usize,
    /// What a rung gives more of.
    pub resource: Resource,
}

impl Default for Halving {
    fn default() -> Self {
        Halving { eta: 3, resource: Resource::Folds }
    }
}

/// What successive halving hands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Folds: the first rung measures on one, and what was measured counts on.
    #[default]
    Folds,
    /// Steps: the first rung trains for a part of the steps, on all folds; each rung starts anew, with the schedule of so many
    /// steps.
    Steps,
}

/// Settings of [`Search::Tpe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tpe {
    /// Points drawn evenly before the densities are looked at.
    pub startup: usize,
    /// The share of points that count as good.
    pub gamma: f64,
    /// Points drawn from the density of the good ones, of which the most promising is tried.
    pub candidates: usize,
}

impl Default for Tpe {
    fn default() -> Self {
        Tpe { startup: 8, gamma: 0.2, candidates: 24 }
    }
}

impl Search {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let must = |field: &str, must: &str| {
            Err(Error::Setting { field: format!("search.{field}"), must: must.to_owned() })
        };
        match self {
            Search::SuccessiveHalving(Halving { eta, .. }) if *eta < 2 => must("eta", "at least 2"),
            Search::Tpe(Tpe { gamma, .. }) if !(*gamma > 0.0 && *gamma < 1.0) => {
                must("gamma", "between 0 and 1")
            }
            Search::Tpe(Tpe { candidates: 0, .. }) => must("candidates", "at least 1"),
            _ => Ok(()),
        }
    }
}

/// A rung: how many points reach it, and what each has had after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rung {
    pub(crate) points: usize,
    pub(crate) folds: usize,
    pub(crate) share: f64,
}

impl Halving {
    /// The rungs of one bracket: as many as the resource allows, the last with all of it and at least one point.
    pub(crate) fn rungs(&self, folds: usize, most: usize) -> Vec<Rung> {
        let mut given = vec![match self.resource {
            Resource::Folds => 1.0 / folds as f64,
            // Less than a ninth of the steps tells little about the end.
            Resource::Steps => (self.eta as f64).powi(-2),
        }];
        while let Some(&last) = given.last()
            && last < 1.0
        {
            given.push((last * self.eta as f64).min(1.0));
        }
        let rungs = given.len();
        let first = self.eta.pow(rungs as u32 - 1).min(most.max(1));
        let mut points = first;
        let mut all = Vec::new();
        for share in given {
            let (folds, share) = match self.resource {
                Resource::Folds => ((share * folds as f64).round().max(1.0) as usize, 1.0),
                Resource::Steps => (folds, share),
            };
            all.push(Rung { points, folds, share });
            points = points.div_ceil(self.eta);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_end_with_all_there_is() {
        let folds = Halving::default().rungs(5, 100);
        let counts: Vec<(usize, usize)> = folds.iter().map(|rung| (rung.points, rung.folds)).collect();
        assert_eq!(counts, [(9, 1), (3, 3), (1, 5)]);
        let steps = Halving { eta: 3, resource: Resource::Steps }.rungs(2, 5);
        let counts: Vec<(usize, usize)> = steps.iter().map(|rung| (rung.points, rung.folds)).collect();
        assert_eq!(counts, [(5, 2), (2, 2), (1, 2)]);
        assert!((steps[0].share - 1.0 / 9.0).abs() < 1e-12 && steps[2].share == 1.0);
        assert_eq!(Halving::default().rungs(1, 10).len(), 1);
    }
}
