//! Texts that are empty, too long, repeated or contradicted.

use super::scan::{Key, NONE, Scan};
use super::{CheckOptions, Finding, Kind, Severity};
use crate::error::Result;

pub(super) fn check(scan: &Scan<'_>, options: &CheckOptions, findings: &mut Vec<Finding>) -> Result<()> {
    let rows = |rows: &[u32],
                kind,
                severity,
                message: &str,
                hint: &str,
                findings: &mut Vec<Finding>|
     -> Result<()> {
        if !rows.is_empty() {
            findings.push(Finding {
                kind,
                severity,
                count: rows.len(),
                message: format!("{} {message}", counted(rows.len(), "row")),
                examples: scan.examples(rows, options)?,
                hint: hint.to_owned(),
            });
        }
        Ok(())
    };
    rows(
        &scan.empty,
        Kind::EmptyTexts,
        Severity::Error,
        "with an empty text",
        "remove the rows, or fill the text",
        findings,
    )?;
    rows(
        &scan.not_text,
        Kind::NotText,
        Severity::Error,
        "with a list or an object where a text is needed",
        "write one text a cell, or name another column",
        findings,
    )?;
    conflicts(scan, options, findings)?;
    duplicates(scan, options, findings)?;
    rows(
        &scan.same_sides,
        Kind::SameSides,
        Severity::Warning,
        "with the same text on both sides of the pair",
        "remove the rows: they teach nothing, and make a measure look better than it is",
        findings,
    )?;
    long(scan, options, findings)
}

/// Same texts, different values.
fn conflicts(scan: &Scan<'_>, options: &CheckOptions, findings: &mut Vec<Finding>) -> Result<()> {
    if scan.value.is_none() && !scan.classes {
        return Ok(());
    }
    let value = |key: &Key| scan.values.get(key.row as usize).copied().unwrap_or(NONE);
    let (mut texts, mut count, mut examples) = (0, 0, Vec::new());
    for group in Scan::groups(&scan.keys) {
        let mut rows: Vec<u32> = group.iter().filter(|key| value(key) != NONE).map(|key| key.row).collect();
        rows.sort_unstable();
        let Some(&first) = rows.first() else { continue };
        let differs = |&&row: &&u32| scan.values[row as usize] != scan.values[first as usize];
        let Some(&other) = rows.iter().find(differs) else { continue };
        texts += 1;
        count += rows.len();
        if examples.len() < options.examples {
            let values = format!("({} and {})", scan.value_name(first), scan.value_name(other));
            examples.push(scan.example(&[first, other], &values)?);
        }
    }
    if texts > 0 {
        let (what, of) = if scan.classes { ("labels", "text") } else { ("scores", "pair") };
        findings.push(Finding {
            kind: Kind::ConflictingLabels,
            severity: Severity::Error,
            count,
            message: format!(
                "{} of {} with different {what} (the same but for case and spaces)",
                counted(count, "row"),
                counted(texts, of)
            ),
            examples,
            hint: format!("decide which of the {what} is right and keep one row of each {of}"),
        });
    }
    Ok(())
}

/// Same texts, same values: rows beyond the first.
fn duplicates(scan: &Scan<'_>, options: &CheckOptions, findings: &mut Vec<Finding>) -> Result<()> {
    let value = |key: &Key| scan.values.get(key.row as usize).copied().unwrap_or(NONE);
    // (row, the first row it repeats), of each kind.
    let (mut exact, mut normalised): (Vec<[u32; 2]>, Vec<[u32; 2]>) = (Vec::new(), Vec::new());
    for group in Scan::groups(&scan.keys) {
        let mut keys = group.to_vec();
        keys.sort_unstable_by_key(|key| (value(key), key.row));
        for same in keys.chunk_by(|a, b| value(a) == value(b)) {
            let mut firsts: std::collections::HashMap<u64, u32> = std::collections::HashMap::new();
            for key in same {
                match firsts.get(&key.exact) {
                    Some(&first) => exact.push([first, key.row]),
                    None => {
                        if !firsts.is_empty() {
                            normalised.push([same[0].row, key.row]);
                        }
                        firsts.insert(key.exact, key.row);
                    }
                }
            }
        }
    }
    for (kind, mut pairs, how) in [
        (Kind::ExactDuplicates, exact, "repeat an earlier row"),
        (Kind::NormalisedDuplicates, normalised, "repeat an earlier row but for case and spaces"),
    ] {
        if pairs.is_empty() {
            continue;
        }
        pairs.sort_unstable_by_key(|&[_, row]| row);
        let count = pairs.len();
        let examples = pairs.iter().take(options.examples);
        findings.push(Finding {
            kind,
            severity: Severity::Warning,
            count,
            message: if count == 1 {
                format!("1 row {}", how.replacen("repeat", "repeats", 1))
            } else {
                format!("{count} rows {how}")
            },
            examples: examples.map(|pair| scan.example(pair, "")).collect::<Result<_>>()?,
            hint: "remove the later rows: a random split puts repeated rows on both sides".to_owned(),
        });
    }
    Ok(())
}

fn long(scan: &Scan<'_>, options: &CheckOptions, findings: &mut Vec<Finding>) -> Result<()> {
    let Some(longest) = scan.long.iter().map(|&(_, length)| length).max() else { return Ok(()) };
    let (limit, unit) = scan.limit;
    let count = scan.long.len();
    let share = 100.0 * count as f64 / scan.table.len().max(1) as f64;
    let examples = scan.long.iter().take(options.examples);
    findings.push(Finding {
        kind: Kind::LongTexts,
        severity: if share >= 5.0 && unit == "tokens" { Severity::Warning } else { Severity::Note },
        count,
        message: format!(
            "{} ({share:.1} %) with a text of more than {limit} {unit}; the longest has {longest}",
            counted(count, "row")
        ),
        examples: examples
            .map(|&(row, length)| scan.example(&[row], &format!("({length} {unit})")))
            .collect::<Result<_>>()?,
        hint: "what stands beyond the model's limit is not read: cut the texts into passages, or use a model with a \
               longer limit"
            .to_owned(),
    });
    Ok(())
}

/// `1 row`, `2 rows`; `1 class`, `2 classes`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('s') => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}
