//! Classes: missing, single, uneven, spelled in two ways.

use std::collections::BTreeMap;

use super::scan::{NONE, Scan, normalised, short};
use super::texts::counted;
use super::{Balance, CheckOptions, Example, Finding, Kind, Severity};
use crate::error::Result;

/// How many times the median class the largest may be.
const UNEVEN: usize = 20;

pub(super) fn check(scan: &Scan<'_>, options: &CheckOptions, findings: &mut Vec<Finding>) -> Result<()> {
    if scan.value.is_none() && !scan.classes {
        return Ok(());
    }
    let missing: Vec<u32> =
        (0..).zip(&scan.values).filter(|(_, value)| **value == NONE).map(|(row, _)| row).collect();
    if !missing.is_empty() {
        let what = if scan.classes { "label" } else { "score" };
        findings.push(Finding {
            kind: Kind::MissingLabels,
            severity: Severity::Error,
            count: missing.len(),
            message: format!("{} without a {what}", counted(missing.len(), "row")),
            examples: scan.examples(&missing, options)?,
            hint: format!("fill the {what}, or remove the rows"),
        });
    }
    if !scan.classes {
        return Ok(());
    }
    let counts = scan.class_counts();
    let Some(balance) = Balance::of(&counts) else { return Ok(()) };
    // The first row of each class.
    let mut firsts = vec![NONE; counts.len()];
    for (row, &class) in (0..).zip(&scan.values) {
        if class != NONE && firsts[class as usize] == NONE {
            firsts[class as usize] = row;
        }
    }
    let class = |class: usize, more: &str| Example {
        rows: vec![scan.place(firsts[class])],
        shown: format!("\"{}\"{more}", short(&scan.names[class])),
    };
    let in_order = |mut classes: Vec<usize>| {
        classes.sort_unstable_by_key(|&class| firsts[class]);
        classes
    };
    if balance.classes == 1 && scan.table.len() > 1 {
        let only = (0..counts.len()).find(|&class| counts[class] > 0).unwrap_or(0);
        findings.push(Finding {
            kind: Kind::OneClass,
            severity: Severity::Error,
            count: 1,
            message: "all rows have the same label".to_owned(),
            examples: vec![class(only, "")],
            hint: "learning to tell classes apart needs at least two: is this the right column? (--label COLUMN, or \
                   data.label in a run file)"
                .to_owned(),
        });
    }
    let single = in_order((0..counts.len()).filter(|&class| counts[class] == 1).collect());
    if !single.is_empty() {
        let all = single.len() == balance.classes && balance.classes > 1;
        findings.push(Finding {
            kind: Kind::SingletonClasses,
            severity: if all { Severity::Error } else { Severity::Warning },
            count: single.len(),
            message: format!("{} of {} with a single row", single.len(), counted(balance.classes, "class")),
            examples: single.iter().take(options.examples).map(|&single| class(single, "")).collect(),
            hint: if all {
                "is the label an id? Classes need at least two rows (--label COLUMN, or data.label in a run file)"
            } else {
                "a single row has no positive pair and cannot be in training and test: add rows, or merge the classes"
            }
            .to_owned(),
        });
    }
    if balance.largest >= UNEVEN * balance.median && balance.classes > 1 {
        let large =
            in_order((0..counts.len()).filter(|&class| counts[class] >= UNEVEN * balance.median).collect());
        findings.push(Finding {
            kind: Kind::UnevenClasses,
            severity: Severity::Note,
            count: large.len(),
            message: format!(
                "{} with at least {UNEVEN} times the rows of the median class ({})",
                counted(large.len(), "class"),
                balance.median
            ),
            examples: large
                .iter()
                .take(options.examples)
                .map(|&large| class(large, &format!(" ({})", counted(counts[large], "row"))))
                .collect(),
            hint: "sample by class in training (train.sampler = per_class), and look at measures by class"
                .to_owned(),
        });
    }
    spelling(scan, &counts, &firsts, options, findings);
    Ok(())
}

/// Names that differ by case and spaces only.
fn spelling(
    scan: &Scan<'_>,
    counts: &[usize],
    firsts: &[u32],
    options: &CheckOptions,
    findings: &mut Vec<Finding>,
) {
    let mut spellings: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (class, name) in scan.names.iter().enumerate().filter(|(class, _)| counts[*class] > 0) {
        spellings.entry(normalised(name)).or_default().push(class);
    }
    let mut several: Vec<Vec<usize>> = spellings.into_values().filter(|classes| classes.len() > 1).collect();
    if several.is_empty() {
        return;
    }
    for classes in &mut several {
        classes.sort_unstable_by_key(|&class| firsts[class]);
    }
    several.sort_unstable_by_key(|classes| firsts[classes[0]]);
    let count = several.iter().map(Vec::len).sum();
    let examples = several.iter().take(options.examples).map(|classes| Example {
        rows: classes.iter().map(|&class| scan.place(firsts[class])).collect(),
        shown: classes
            .iter()
            .map(|&class| format!("{:?} ({})", short(&scan.names[class]), counted(counts[class], "row")))
            .collect::<Vec<_>>()
            .join(" and "),
    });
    findings.push(Finding {
        kind: Kind::LabelSpelling,
        severity: Severity::Error,
        count,
        message: format!("{} whose names differ by case and spaces only", counted(count, "class")),
        examples: examples.collect(),
        hint: "they are read as different classes: write each name in one way".to_owned(),
    });
}
