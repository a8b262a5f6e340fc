//! Columns that hardly vary.

use super::scan::Scan;
use super::{CheckOptions, Finding, Kind, Severity};

/// Fewer rows say nothing about a column.
const FEWEST: usize = 20;

pub(super) fn check(scan: &Scan<'_>, options: &CheckOptions, findings: &mut Vec<Finding>) {
    let rows = scan.table.len();
    if rows < FEWEST {
        return;
    }
    let names: Vec<String> = scan
        .frequent
        .iter()
        .zip(scan.table.columns())
        .enumerate()
        // A class that all rows share is a finding of its own.
        .filter(|(column, ((_, count), _))| {
            *count as f64 >= options.constant * rows as f64 && !(scan.classes && scan.value == Some(*column))
        })
        .map(|(_, ((_, count), name))| format!("\"{name}\" ({:.1} %)", 100.0 * *count as f64 / rows as f64))
        .collect();
    if names.is_empty() {
        return;
    }
    findings.push(Finding {
        kind: Kind::ConstantColumn,
        severity: Severity::Note,
        count: names.len(),
        message: format!("the same value in nearly every row of {}", names.join(", ")),
        examples: Vec::new(),
        hint: "such a column tells nothing about a row; was it filled as it should be?".to_owned(),
    });
}
