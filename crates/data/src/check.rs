//! What is wrong with a table before anything is learned from it: duplicates, labels that contradict each other, classes of
//! one row, texts that are empty or too long, rows that stand in two parts of a split.
//!
//! [`Report::of`] reads every row once, in blocks, on the current rayon pool, and keeps 48 bytes of hashes a row; texts are
//! read again only for the few examples shown. The report depends on the data and the options alone.

mod balance;
mod classes;
mod columns;
mod finding;
mod leaks;
mod report;
mod scan;
mod texts;

pub use balance::{Balance, Bin};
pub use finding::{Example, Finding, Kind, Severity};
pub use report::Report;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::roles::Roles;
use crate::split::Parts;
use crate::table::Table;
use crate::text::Tokenizer;
use scan::Scan;

/// Limits of the check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckOptions {
    /// The longest text, in tokens, where a tokenizer is given; its own limit where this is not set.
    pub max_tokens: Option<usize>,
    /// The longest text, in characters, where no tokenizer is given (default 2000, about 512 tokens of English).
    pub max_characters: usize,
    /// Whether no class may be in two parts of the split (true), each class of the test must be in training (false), or
    /// neither is asked (default).
    pub disjoint_classes: Option<bool>,
    /// The share of rows with the same value from which a column is called near constant (default 0.99).
    pub constant: f64,
    /// How many examples a finding shows (default 5).
    pub examples: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions {
            max_tokens: None,
            max_characters: 2000,
            disjoint_classes: None,
            constant: 0.99,
            examples: 5,
        }
    }
}

/// What a check may use beside the table and its roles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// The classes, where they are read otherwise than from the cells of the label column (several labels in a cell).
    pub labels: Option<&'a Labels>,
    /// The parts of the split, to look for rows that stand in two.
    pub parts: Option<&'a Parts>,
    /// The tokenizer of the model, to count tokens; characters are counted without one.
    pub tokenizer: Option<&'a Tokenizer>,
}

impl Report {
    /// Checks a table.
    ///
    /// # Errors
    /// If a row cannot be read or tokenised, `labels` has another number of rows than the table, or a part names a row
    /// that is not there. What is wrong with the data is in the report.
    pub fn of(table: &Table, roles: &Roles, beside: Beside<'_>, options: &CheckOptions) -> Result<Report> {
        if let Some(labels) = beside.labels
            && labels.len() != table.len()
        {
            return Err(Error::LengthsDiffer {
                first: "the table".to_owned(),
                first_rows: table.len(),
                second: "the list of labels".to_owned(),
                second_rows: labels.len(),
            });
        }
        let scan = Scan::of(table, roles, beside, options)?;
        let mut findings = Vec::new();
        texts::check(&scan, options, &mut findings)?;
        classes::check(&scan, options, &mut findings)?;
        if let Some(parts) = beside.parts {
            leaks::check(&scan, parts, options, &mut findings)?;
        }
        columns::check(&scan, options, &mut findings);
        findings.sort_by_key(|finding| finding.severity);
        Ok(Report {
            files: table.files().map(|file| file.display().to_string()).collect(),
            rows: table.len(),
            shape: roles.shape.name().to_owned(),
            columns: table.columns().to_vec(),
            balance: Balance::of(&scan.class_counts()),
            findings,
        })
    }
}

#[cfg(test)]
mod tests;
