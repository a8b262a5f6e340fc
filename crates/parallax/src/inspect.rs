//! A look at data before anything is trained on them, and at what a loss does with pairs.

mod weights;

use parallax_data::check::{Beside, CheckOptions, Report};
use parallax_data::split::Split;
use parallax_random::Key;

use crate::config::Data;
use crate::dataset::Dataset;
use crate::{Error, Model, Result};
pub use weights::{WeightSettings, Weights, weights, write_picture};

/// How data are checked.
#[derive(Clone, Copy, Default)]
pub struct CheckSettings<'a> {
    /// The model whose tokenizer counts the tokens of texts; characters are counted where it is not given.
    pub model: Option<&'a Model>,
    /// The longest text in tokens; the model's own limit where it is not given.
    pub max_tokens: Option<usize>,
    /// The seed of the split.
    pub seed: u64,
}

/// Reports what is odd about a table: duplicates, conflicting labels, lonely classes, empty and long texts, class balance,
/// and leaks between the parts of its split, where it has one or one is asked for.
///
/// # Errors
/// Files that cannot be read, and columns whose roles are not clear.
pub fn check(data: &Data, settings: &CheckSettings<'_>) -> Result<Report> {
    let rows = Dataset::open(data)?;
    let (Some(table), Some(roles)) = (rows.table(), rows.table_roles()) else {
        return Err(Error::setting_with("there is no table to check", "give a table or a folder of texts"));
    };
    let divided = data.split.is_some() || rows.split_column().is_some();
    let split = divided.then(|| rows.split(data.split.as_ref()));
    let parts = match &split {
        Some(split) => {
            Some(split.assign(rows.len(), rows.classes(), rows.table(), Key::new(settings.seed))?)
        }
        None => None,
    };
    let tower = settings.model.and_then(|model| model.encoder().text());
    let options = CheckOptions {
        max_tokens: settings.max_tokens.or(tower.map(|tower| tower.max_tokens)),
        disjoint_classes: split.as_ref().map(|split| matches!(split, Split::ClassDisjoint(_))),
        ..CheckOptions::default()
    };
    let beside = Beside {
        labels: rows.classes(),
        parts: parts.as_ref(),
        tokenizer: tower.map(|tower| &tower.tokenizer),
    };
    Ok(Report::of(table, roles, beside, &options)?)
}
