//! What stands in two parts of a split and should not.

use super::scan::{Key, NONE, Scan, short};
use super::texts::counted;
use super::{CheckOptions, Example, Finding, Kind, Severity};
use crate::error::Result;
use crate::split::Parts;

const NAMES: [&str; 3] = ["training", "validation", "test"];

pub(super) fn check(
    scan: &Scan<'_>,
    parts: &Parts,
    options: &CheckOptions,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let part_of = scan.parts(parts)?;
    let (exact, normalised) = leaked(&scan.keys, &part_of);
    let what = if scan.texts.len() > 1 { "pair" } else { "text" };
    let mut add = |kind, severity, leaks: &[[u32; 2]], how: &str, hint: &str| -> Result<()> {
        if leaks.is_empty() {
            return Ok(());
        }
        let examples = leaks.iter().take(options.examples).map(|pair| {
            let [first, row] = pair.map(|row| NAMES[part_of[row as usize] as usize]);
            scan.example(pair, &format!("({first} and {row})"))
        });
        findings.push(Finding {
            kind,
            severity,
            count: leaks.len(),
            message: format!("{} of the validation and test parts {how}", counted(leaks.len(), "row")),
            examples: examples.collect::<Result<_>>()?,
            hint: hint.to_owned(),
        });
        Ok(())
    };
    let hint = "remove repeated rows before the split: what was trained on is no test";
    add(
        Kind::LeakedTexts,
        Severity::Error,
        &exact,
        &format!("with a {what} that stands in an earlier part too"),
        hint,
    )?;
    add(
        Kind::LeakedNormalisedTexts,
        Severity::Error,
        &normalised,
        &format!("with a {what} that stands in an earlier part too, but for case and spaces"),
        hint,
    )?;
    if !scan.anchors.is_empty() {
        let (mut anchors, normalised) = leaked(&scan.anchors, &part_of);
        anchors.extend(normalised);
        // Those of whole pairs are said above.
        let mut pairs: Vec<u32> = exact.iter().map(|&[_, row]| row).collect();
        pairs.extend(leaked(&scan.keys, &part_of).1.iter().map(|&[_, row]| row));
        pairs.sort_unstable();
        anchors.retain(|[_, row]| pairs.binary_search(row).is_err());
        anchors.sort_unstable_by_key(|&[_, row]| row);
        add(
            Kind::LeakedAnchors,
            Severity::Warning,
            &anchors,
            "with an anchor that stands in an earlier part too, in another pair",
            "put all pairs of an anchor into one part: name the parts in a split column",
        )?;
    }
    classes(scan, &part_of, options, findings);
    Ok(())
}

/// Rows of validation and test whose texts stand in an earlier part, each with the first such row: exactly, or but for case
/// and spaces. The parts come in the order training, validation, test.
fn leaked(keys: &[Key], part_of: &[u8]) -> (Vec<[u32; 2]>, Vec<[u32; 2]>) {
    let (mut exact, mut normalised) = (Vec::new(), Vec::new());
    for group in Scan::groups(keys) {
        let part = |key: &Key| part_of[key.row as usize];
        let mut keys: Vec<&Key> = group.iter().filter(|key| usize::from(part(key)) < NAMES.len()).collect();
        keys.sort_unstable_by_key(|key| (part(key), key.row));
        let Some(first) = keys.first() else { continue };
        // For each exact text the first row, which is in its earliest part.
        let mut firsts: std::collections::HashMap<u64, &Key> = std::collections::HashMap::new();
        for key in &keys {
            let same = *firsts.entry(key.exact).or_insert(key);
            if part(same) < part(key) {
                exact.push([same.row, key.row]);
            } else if part(first) < part(key) {
                normalised.push([first.row, key.row]);
            }
        }
    }
    exact.sort_unstable_by_key(|&[_, row]| row);
    normalised.sort_unstable_by_key(|&[_, row]| row);
    (exact, normalised)
}

fn classes(scan: &Scan<'_>, part_of: &[u8], options: &CheckOptions, findings: &mut Vec<Finding>) {
    let (Some(disjoint), true) = (options.disjoint_classes, scan.classes) else { return };
    // The first row of each class in each part.
    let mut firsts = vec![[NONE; 3]; scan.names.len()];
    for (row, (&class, &part)) in (0..).zip(scan.values.iter().zip(part_of)) {
        if class != NONE
            && let Some(first) = firsts[class as usize].get_mut(usize::from(part))
            && *first == NONE
        {
            *first = row;
        }
    }
    let parts_of = |class: &usize| (0..3).filter(|&part| firsts[*class][part] != NONE).count();
    let found: Vec<usize> = if disjoint {
        (0..firsts.len()).filter(|class| parts_of(class) > 1).collect()
    } else {
        let unseen = |class: &usize| firsts[*class][0] == NONE && parts_of(class) > 0;
        (0..firsts.len()).filter(unseen).collect()
    };
    if found.is_empty() {
        return;
    }
    let mut ordered = found;
    ordered.sort_unstable_by_key(|&class| firsts[class].iter().copied().min());
    let examples = ordered.iter().take(options.examples).map(|&class| {
        let present: Vec<usize> = (0..3).filter(|&part| firsts[class][part] != NONE).collect();
        let parts: Vec<&str> = present.iter().map(|&part| NAMES[part]).collect();
        Example {
            rows: present.iter().map(|&part| scan.place(firsts[class][part])).collect(),
            shown: format!("\"{}\" ({})", short(&scan.names[class]), parts.join(" and ")),
        }
    });
    let count = ordered.len();
    let (kind, severity, message, hint) = if disjoint {
        (
            Kind::SharedClasses,
            Severity::Error,
            format!("{} in more than one part of a split by class", counted(count, "class")),
            "put each class into one part (split.name = class_disjoint)",
        )
    } else {
        (
            Kind::UnseenClasses,
            Severity::Warning,
            format!("{} of the validation and test parts without a training row", counted(count, "class")),
            "use the stratified split, or say that classes are to be disjoint (split.name = class_disjoint)",
        )
    };
    findings.push(Finding {
        kind,
        severity,
        count,
        message,
        examples: examples.collect(),
        hint: hint.to_owned(),
    });
}
