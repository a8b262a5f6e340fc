//! What came out, as it is kept.

use std::fmt;

use parallax_eval::SeedInterval;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The results of a recipe: a file `recipes/results/<slug>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// The system.
    pub slug: String,
    /// SHA-256 of the recipe that was run; see [`Recipe::sha256`](crate::Recipe::sha256).
    pub recipe_sha256: String,
    /// What was typed.
    pub command: String,
    /// The version of the program.
    pub version: String,
    /// The machine: processor, threads, kernels.
    pub machine: String,
    /// Minutes it took.
    pub minutes: f64,
    /// The claims.
    pub claims: Vec<ClaimResult>,
}

/// What came out for one claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimResult {
    /// Its name.
    pub name: String,
    /// What is claimed.
    pub says: String,
    /// The measure.
    pub measure: String,
    /// SHA-256 over the bytes of the data.
    pub data_sha256: String,
    /// What the baseline is called.
    pub baseline_label: String,
    /// What the system is called.
    pub system_label: String,
    /// The baseline's value for each seed.
    pub baseline: Vec<f64>,
    /// The system's value for each seed.
    pub system: Vec<f64>,
    /// The difference, positive where the system is better.
    pub difference: SeedInterval,
    /// What it must lie above.
    pub margin: f64,
    /// What follows; nothing from a quick run.
    pub verdict: Option<Verdict>,
    /// The settings that tuning chose, for the baseline and for the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<[Tuned; 2]>,
    /// Figures beside the result: measures on the training rows, the gap to them, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<(String, f64, f64)>,
    /// Minutes it took.
    pub minutes: f64,
}

/// What tuning found for one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Trials made.
    pub trials: usize,
    /// The settings chosen; those of the recipe where it is empty.
    pub chosen: serde_json::Map<String, Json>,
    /// The mean over the folds with the settings of the recipe, and with those chosen.
    pub scores: [Option<f64>; 2],
}

/// What follows from an interval and a margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The lower bound lies above the margin.
    Holds,
    /// The upper bound lies below the margin.
    DoesNotHold,
    /// The interval holds the margin.
    Undecided,
}

impl Verdict {
    /// The rule.
    pub fn of(difference: &SeedInterval, margin: f64) -> Verdict {
        if difference.low > margin {
            Verdict::Holds
        } else if difference.high < margin {
            Verdict::DoesNotHold
        } else {
            Verdict::Undecided
        }
    }

    /// The verdict on several claims: all must hold, and one that does not is enough.
    pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        verdicts.into_iter().fold(Verdict::Holds, |all, one| match (all, one) {
            (Verdict::DoesNotHold, _) | (_, Verdict::DoesNotHold) => Verdict::DoesNotHold,
            (Verdict::Undecided, _) | (_, Verdict::Undecided) => Verdict::Undecided,
            _ => Verdict::Holds,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Holds => "holds",
            Verdict::DoesNotHold => "does not hold",
            Verdict::Undecided => "undecided",
        })
    }
}

impl Reproduction {
    /// For a terminal.
    pub fn table(&self) -> String {
        let mut lines = Vec::new();
        for claim in &self.claims {
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
            let SeedInterval { mean: change, low, high, seeds, queries, .. } = claim.difference;
            lines.push(format!("{}: {}", claim.name, claim.says));
            lines.push(format!("  {:<36} {:.4}", claim.baseline_label, mean(&claim.baseline)));
            lines.push(format!(
                "  {:<36} {:.4}   {}",
                claim.system_label,
                mean(&claim.system),
                claim.measure
            ));
            lines.push(format!(
                "  difference {change:+.4} ({low:+.4} to {high:+.4}), margin {:+.4}, {seeds} seeds, {queries} queries{}",
                claim.margin,
                claim.verdict.map_or_else(String::new, |verdict| format!(": {verdict}"))
            ));
            for (name, baseline, system) in &claim.beside {
                lines.push(format!("  {name}: {baseline:.4}, {system:.4}"));
            }
        }
        lines.join("\n")
    }

    /// The verdict on all claims; a claim without one is undecided.
    pub fn verdict(&self) -> Verdict {
        Verdict::all(self.claims.iter().map(|claim| claim.verdict.unwrap_or(Verdict::Undecided)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> SeedInterval {
        SeedInterval { mean: 0.0, low, high, seeds: 5, queries: 9, resamples: 10, method: String::new() }
    }

    #[test]
    fn the_rule() {
        assert_eq!(Verdict::of(&interval(0.011, 0.02), 0.01), Verdict::Holds);
        assert_eq!(Verdict::of(&interval(0.01, 0.02), 0.01), Verdict::Undecided);
        assert_eq!(Verdict::of(&interval(-0.02, 0.009), 0.01), Verdict::DoesNotHold);
        assert_eq!(Verdict::all([Verdict::Holds, Verdict::Undecided]), Verdict::Undecided);
        assert_eq!(
            Verdict::all([Verdict::Undecided, Verdict::DoesNotHold, Verdict::Holds]),
            Verdict::DoesNotHold
        );
    }
}
