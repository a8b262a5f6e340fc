//! The report of a check, for machines by serde and for people by `Display`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Balance, Finding, Severity};

/// The widest bar of the histogram, in characters.
const BAR: usize = 40;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The files.
    pub files: Vec<String>,
    /// The number of rows.
    pub rows: usize,
    /// What the rows are: "labelled rows", "pairs", ...
    pub shape: String,
    /// The columns.
    pub columns: Vec<String>,
    /// Sizes of classes, where rows have classes.
    pub balance: Option<Balance>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The severity of the worst finding; `None` if there is none.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).min()
    }

    /// How many findings are so severe.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.rows == 1 { "row" } else { "rows" };
        writeln!(f, "{}: {} {rows} ({})", self.files.join(", "), self.rows, self.shape)?;
        if let Some(balance) = &self.balance {
            writeln!(
                f,
                "{} classes; rows of a class: smallest {}, median {}, largest {}",
                balance.classes, balance.smallest, balance.median, balance.largest
            )?;
            let most = balance.histogram.iter().map(|bin| bin.classes).max().unwrap_or(1).max(1);
            let range =
                |from: usize, to: usize| if from == to { from.to_string() } else { format!("{from}-{to}") };
            let width = balance.histogram.iter().map(|bin| range(bin.from, bin.to).len()).max().unwrap_or(0);
            for bin in &balance.histogram {
                let bar = "#".repeat((bin.classes * BAR).div_ceil(most));
                let line =
                    format!("  {:>width$} rows  {:>5} classes  {bar}", range(bin.from, bin.to), bin.classes);
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        for finding in &self.findings {
            writeln!(f, "\n{}: {}", finding.severity.name(), finding.message)?;
            for example in &finding.examples {
                writeln!(f, "  {}  {}", example.rows.join(" and "), example.shown)?;
            }
            writeln!(f, "  hint: {}", finding.hint)?;
        }
        let count = |severity: Severity| match self.count(severity) {
            1 => format!("1 {}", severity.name()),
            n => format!("{n} {}s", severity.name()),
        };
        if self.findings.is_empty() {
            write!(f, "\nnothing found")
        } else {
            let counts = [Severity::Error, Severity::Warning, Severity::Note].map(count);
            write!(f, "\n{}", counts.join(", "))
        }
    }
}
