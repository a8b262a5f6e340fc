//! Searching for settings. What a setting means and how a trial is scored is the caller's; this crate draws points of a
//! [`Space`], decides which of them are worth another fold, keeps a journal, and says what mattered.
//!
//! ```
//! use parallax_tune::{Search, Space, Tuning, tune};
//! let tuning = Tuning { search: Search::Random, trials: 60, folds: 1, ..Tuning::default() };
//! let space: Space = serde_json::from_str(r#"{ "lr": { "low": 0.001, "high": 1.0, "log": true } }"#)?;
//! // A score that is best at 0.1.
//! let mut score = |ask: &parallax_tune::Ask<'_>| {
//!     // Trial 0 is the settings as they stand: an empty point.
//!     let lr = ask.point.get("lr").and_then(|lr| lr.as_f64()).unwrap_or(1.0);
//!     Ok(Some(-(lr.log10() + 1.0).powi(2)))
//! };
//! let tuned = tune(&tuning, &space, &Default::default(), 7, None, &|| false, &mut score, &mut |_| ())?;
//! let best = tuned.best().point["lr"].as_f64().unwrap();
//! assert!((0.05..0.2).contains(&best), "{best}");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

mod error;
mod importance;
mod journal;
mod loops;
mod search;
mod space;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::Error;
pub use importance::{Importance, importance};
pub use journal::Journal;
pub use loops::{Ask, Event, Score, Trial, Tuned, tune};
pub use search::{Halving, Resource, Search, Tpe};
pub use space::{Dimension, Point, Range, Space};

/// How settings are searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// How points are chosen.
    pub search: Search,
    /// Points tried, the settings as they stand included.
    pub trials: usize,
    /// Ends the search after so many minutes, whatever `trials` says. How far it comes then depends on the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Folds of the training rows: each trial is trained on the other folds and measured on one, in turn.
    pub folds: usize,
    /// The measure that decides; `train.validate_with` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    /// What is searched: keys of the run, each with a range or a list. Where it is empty: the learning rate within a factor of
    /// ten of what it is, and the epochs from 1 to twice as many.
    pub space: Space,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            search: Search::default(),
            trials: 24,
            minutes: None,
            folds: 5,
            measure: None,
            space: Space::default(),
        }
    }
}

impl Tuning {
    /// Refuses settings outside their range.
    ///
    /// # Errors
    /// [`Error::Setting`] with the field.
    pub fn check(&self) -> Result<(), Error> {
        let must = |holds: bool, field: &str, must: &str| match holds {
            true => Ok(()),
            false => Err(Error::Setting { field: field.to_owned(), must: must.to_owned() }),
        };
        must(self.trials >= 1, "trials", "at least 1")?;
        must(self.folds >= 1, "folds", "at least 1")?;
        must(self.minutes.is_none_or(|m| m > 0.0 && m.is_finite()), "minutes", "a number above 0")?;
        self.search.check()?;
        self.space.check()
    }
}
