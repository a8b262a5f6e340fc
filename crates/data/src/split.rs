//! Dividing rows into a training, a validation and a test part.

use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, quoted};
use crate::labels::Labels;
use crate::table::Table;

/// How rows are divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Split {
    /// By the value of a column.
    Column(ColumnSplit),
    /// At random, whatever the class.
    Random(RandomSplit),
    /// At random within each class, so that every part has the same mix of classes.
    Stratified(StratifiedSplit),
    /// By class: some classes are trained on and the others only tested on, as metric learning is measured.
    ClassDisjoint(ClassDisjointSplit),
}

impl Default for Split {
    fn default() -> Self {
        Split::Random(RandomSplit::default())
    }
}

/// One name or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One name.
    One(String),
    /// Any of several names.
    Many(Vec<String>),
}

impl Names {
    fn any(names: &[&str]) -> Names {
        Names::Many(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn as_slice(&self) -> &[String] {
        match self {
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        }
    }
}

/// By the value of a column: each value must be one of those listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnSplit {
    /// The column (default "split").
    pub column: String,
    /// Values that mean training (default "train" or "training").
    pub train: Names,
    /// Values that mean validation (default "validation", "valid", "val" or "dev").
    pub validation: Names,
    /// Values that mean test (default "test").
    pub test: Names,
}

impl Default for ColumnSplit {
    fn default() -> Self {
        ColumnSplit {
            column: "split".to_owned(),
            train: Names::any(&["train", "training"]),
            validation: Names::any(&["validation", "valid", "val", "dev"]),
            test: Names::any(&["test"]),
        }
    }
}

/// At random, whatever the class. A part with a fraction above 0 gets at least one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomSplit {
    /// Fraction of the rows for validation (default 0).
    pub validation: f64,
    /// Fraction of the rows for the test (default 0.2).
    pub test: f64,
    /// A seed of the split alone, so that the test rows are the same whatever the run's seed; that of the run where it is not
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for RandomSplit {
    fn default() -> Self {
        RandomSplit { validation: 0.0, test: 0.2, seed: None }
    }
}

/// At random within each class. Each class keeps at least one training row.
///
/// The fractions hold over the classes taken together: what rounding takes from one class is made up in the next, so small
/// classes do not all round the same way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StratifiedSplit {
    /// Fraction of each class for validation (default 0).
    pub validation: f64,
    /// Fraction of each class for the test (default 0.2).
    pub test: f64,
    /// A seed of the split alone, so that the test rows are the same whatever the run's seed; that of the run where it is not
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for StratifiedSplit {
    fn default() -> Self {
        StratifiedSplit { validation: 0.0, test: 0.2, seed: None }
    }
}

/// A number of things (an integer) or a fraction of them (with a decimal point).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Share {
    /// So many.
    Count(usize),
    /// This fraction, from 0 to 1, rounded to the nearest whole number.
    Fraction(f64),
}

impl Share {
    fn of(self, total: usize, option: &str) -> Result<usize> {
        match self {
            Share::Count(count) if count <= total => Ok(count),
            Share::Count(count) => {
                Err(Error::option(option, format!("is {count}, and there are only {total} classes")))
            }
            Share::Fraction(fraction) if (0.0..=1.0).contains(&fraction) => {
                Ok((fraction * total as f64).round() as usize)
            }
            Share::Fraction(fraction) => {
                Err(Error::option(option, format!("is {fraction}; a fraction must be from 0 to 1")))
            }
        }
    }
}

/// The order in which classes are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassOrder {
    /// In the sorted order of their names.
    #[default]
    Alphabetical,
    /// In a random order, by the seed.
    Random,
}

/// By class: the first classes are seen in training, the rest only in the test; no class is in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassDisjointSplit {
    /// Classes not in the test part: a count, or a fraction with a decimal point (default 0.5).
    pub seen: Share,
    /// How many of the seen classes, the last of them, are for validation: a count or a fraction (default 0).
    pub validation: Share,
    /// The order of the classes: alphabetical or random (default alphabetical).
    pub order: ClassOrder,
}

impl Default for ClassDisjointSplit {
    fn default() -> Self {
        ClassDisjointSplit {
            seen: Share::Fraction(0.5),
            validation: Share::Count(0),
            order: ClassOrder::Alphabetical,
        }
    }
}

/// The rows of each part, each in ascending order; no row is in two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Rows to train on.
    pub train: Vec<u32>,
    /// Rows to choose a checkpoint or a setting with.
    pub validation: Vec<u32>,
    /// Rows to report on.
    pub test: Vec<u32>,
}

#[derive(Clone, Copy)]
enum Part {
    Train,
    Validation,
    Test,
}

impl Parts {
    fn from_rows(rows: impl Iterator<Item = Part>) -> Parts {
        let mut parts = Parts::default();
        for (row, part) in (0..).zip(rows) {
            match part {
                Part::Train => parts.train.push(row),
                Part::Validation => parts.validation.push(row),
                Part::Test => parts.test.push(row),
            }
        }
        parts
    }
}

impl Split {
    /// Divides `n` rows. `labels` are needed for the splits by class, `table` for the split by column; both have `n` rows.
    ///
    /// # Errors
    /// If something needed is absent or has another number of rows, a value of the column is not one of those listed, a
    /// fraction is not from 0 to 1, or no row is left to train on.
    pub fn assign(
        &self,
        n: usize,
        labels: Option<&Labels>,
        table: Option<&Table>,
        key: Key,
    ) -> Result<Parts> {
        let labels = |split: &str| {
            let labels = labels.ok_or_else(|| {
                let problem = format!("the {split} split divides by class, and the rows have no labels");
                Error::unusable(problem, "set data.label, or use the random split")
            })?;
            same_length(n, labels.len(), "the label column").map(|()| labels)
        };
        if n > u32::MAX as usize {
            return Err(Error::unusable(format!("{n} rows"), format!("at most {} can be divided", u32::MAX)));
        }
        let own = match self {
            Split::Random(RandomSplit { seed, .. }) | Split::Stratified(StratifiedSplit { seed, .. }) => {
                *seed
            }
            Split::Column(_) | Split::ClassDisjoint(_) => None,
        };
        let key = own.map_or(key, Key::new).named("split");
        let parts = match self {
            Split::Column(split) => split.assign(n, table)?,
            Split::Random(split) => split.assign(n, key)?,
            Split::Stratified(split) => split.assign(labels("stratified")?, key)?,
            Split::ClassDisjoint(split) => split.assign(labels("class_disjoint")?, key)?,
        };
        if parts.train.is_empty() {
            return Err(Error::unusable(
                format!("the split leaves none of {n} rows for training"),
                "check the fractions, or the values of the split column",
            ));
        }
        Ok(parts)
    }
}

fn same_length(n: usize, found: usize, second: &str) -> Result<()> {
    if n == found {
        return Ok(());
    }
    let (first, second) = ("the data".to_owned(), second.to_owned());
    Err(Error::LengthsDiffer { first, first_rows: n, second, second_rows: found })
}

fn check_fractions(split: &str, validation: f64, test: f64) -> Result<()> {
    for (name, value) in [("validation", validation), ("test", test)] {
        if !(0.0..1.0).contains(&value) {
            let problem = format!("is {value}; a fraction must be at least 0 and below 1");
            return Err(Error::option(format!("split.{name}"), problem));
        }
    }
    if validation + test >= 1.0 {
        let problem = format!("takes {} of the rows and leaves none to train on", validation + test);
        return Err(Error::option(format!("the {split} split"), problem));
    }
    Ok(())
}

impl ColumnSplit {
    fn assign(&self, n: usize, table: Option<&Table>) -> Result<Parts> {
        let table = table.ok_or_else(|| {
            Error::unusable("the column split needs a table with that column", "use another split")
        })?;
        same_length(n, table.len(), "the table with the split column")?;
        let column = table.column(&self.column)?;
        let parts = [
            (Part::Train, self.train.as_slice()),
            (Part::Validation, self.validation.as_slice()),
            (Part::Test, self.test.as_slice()),
        ];
        let mut rows = Vec::with_capacity(n);
        for row in 0..n {
            let value = table.cell(row, column)?;
            let part = parts.iter().find(|(_, names)| names.iter().any(|name| name == value.trim()));
            let Some(&(part, _)) = part else {
                let known: Vec<String> = parts.iter().flat_map(|(_, names)| names.iter().cloned()).collect();
                return Err(Error::CellType {
                    place: table.place(row),
                    field: self.column.clone(),
                    expected: "the name of a part",
                    found: format!("{value:?}; known are {}", quoted(&known)),
                });
            };
            rows.push(part);
        }
        Ok(Parts::from_rows(rows.into_iter()))
    }
}

impl RandomSplit {
    fn assign(&self, n: usize, key: Key) -> Result<Parts> {
        check_fractions("random", self.validation, self.test)?;
        let count = |fraction: f64| match fraction {
            0.0 => 0,
            fraction => ((fraction * n as f64).round() as usize).max(1),
        };
        let (test, validation) = (count(self.test), count(self.validation));
        let mut order: Vec<u32> = (0..n as u32).collect();
        key.shuffle(&mut order);
        let mut rows = vec![Part::Train; n];
        for (place, &row) in order.iter().enumerate().take(test + validation) {
            rows[row as usize] = if place < test { Part::Test } else { Part::Validation };
        }
        Ok(Parts::from_rows(rows.into_iter()))
    }
}

impl StratifiedSplit {
    fn assign(&self, labels: &Labels, key: Key) -> Result<Parts> {
        check_fractions("stratified", self.validation, self.test)?;
        let mut rows = vec![Part::Train; labels.len()];
        let (mut so_far, mut tested, mut validated) = (0, 0, 0);
        for (class, mut members) in rows_by_class(labels).into_iter().enumerate() {
            key.at(class as u64).shuffle(&mut members);
            so_far += members.len();
            // Cumulative rounding: the total is right, and each class is within one row of its share.
            let due = |fraction: f64, given: usize| {
                ((fraction * so_far as f64).round() as usize).saturating_sub(given)
            };
            let spare = members.len().saturating_sub(1);
            let test = due(self.test, tested).min(spare);
            let validation = due(self.validation, validated).min(spare - test);
            tested += test;
            validated += validation;
            for (place, &row) in members.iter().enumerate().take(test + validation) {
                rows[row as usize] = if place < test { Part::Test } else { Part::Validation };
            }
        }
        Ok(Parts::from_rows(rows.into_iter()))
    }
}

impl ClassDisjointSplit {
    fn assign(&self, labels: &Labels, key: Key) -> Result<Parts> {
        let classes = labels.classes();
        let seen = self.seen.of(classes, "split.seen")?;
        let validation = self.validation.of(seen, "split.validation")?;
        if seen == 0 || seen == classes {
            let problem =
                format!("makes {seen} of {classes} classes seen; both sides need at least one class");
            return Err(Error::option("split.seen", problem));
        }
        let mut order: Vec<usize> = (0..classes).collect();
        if self.order == ClassOrder::Random {
            key.shuffle(&mut order);
        }
        let mut part_of = vec![Part::Test; classes];
        for (place, &class) in order.iter().enumerate().take(seen) {
            part_of[class] = if place < seen - validation { Part::Train } else { Part::Validation };
        }
        Ok(Parts::from_rows(labels.ids.iter().map(|&class| part_of[class as usize])))
    }
}

/// The rows of each class, ascending.
pub(crate) fn rows_by_class(labels: &Labels) -> Vec<Vec<u32>> {
    let mut classes = vec![Vec::new(); labels.classes()];
    for (row, &class) in (0..).zip(&labels.ids) {
        classes[class as usize].push(row);
    }
    classes
}

/// Classes with a single training row: they have no positive pair and teach only what to stay away from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Singletons {
    /// The classes.
    pub classes: Vec<String>,
    /// All classes of the training part.
    pub of: usize,
}

impl std::fmt::Display for Singletons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, of) = (self.classes.len(), self.of);
        write!(
            f,
            "{count} of {of} training classes have one row and so no positive pair: {}",
            quoted(&self.classes)
        )
    }
}

/// Checks that the rows `train` have pairs to learn from: at least two classes, and one with two rows.
///
/// Returns the classes with a single row, if any, as a warning to show.
///
/// # Errors
/// [`Error::Unusable`] when there is only one class or every class has one row.
///
/// # Panics
/// If a row of `train` is not a row of `labels`.
pub fn check_trainable(labels: &Labels, train: &[u32]) -> Result<Option<Singletons>> {
    let counts = labels.counts_among(train.iter().map(|&row| row as usize));
    let present: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    match present[..] {
        [] => {
            return Err(Error::unusable("there is no row to train on", "check the split"));
        }
        [class] => {
            return Err(Error::unusable(
                format!("all {} training rows have the label \"{}\"", train.len(), labels.names[class]),
                "learning to tell classes apart needs at least two; check data.label and the split",
            ));
        }
        _ => {}
    }
    let singles: Vec<String> = present
        .iter()
        .filter(|&&class| counts[class] == 1)
        .map(|&class| labels.names[class].clone())
        .collect();
    if singles.len() == present.len() {
        return Err(Error::unusable(
            format!(
                "each of the {} training classes has one row, so there is no positive pair",
                present.len()
            ),
            "is data.label an id? Classes need at least two rows",
        ));
    }
    Ok((!singles.is_empty()).then_some(Singletons { classes: singles, of: present.len() }))
}

#[cfg(test)]
mod tests;
