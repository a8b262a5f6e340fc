//! The one pass over the rows: hashes of texts, classes, lengths, values of columns.

use std::collections::HashMap;

use rayon::prelude::*;

use super::{Beside, CheckOptions, Example};
use crate::error::{Error, Result};
use crate::labels::{WholeNumbers, whole};
use crate::roles::{Roles, Shape};
use crate::sampler::text_hash;
use crate::table::{Cell, Row, Table};
use crate::text::Tokenizer;

/// Rows read at once.
const BLOCK: usize = 4096;

/// Distinct values of a column that are counted.
const COUNTED: usize = 64;

/// Characters of a text that an example shows.
const SHOWN: usize = 60;

/// No class.
pub(super) const NONE: u32 = u32::MAX;

/// Hashes of the texts of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Of the texts without case and spaces.
    pub(super) normalised: u64,
    /// Of the texts as they stand.
    pub(super) exact: u64,
    pub(super) row: u32,
}

/// What the pass found.
pub(super) struct Scan<'a> {
    pub(super) table: &'a Table,
    /// The columns of texts, the first of them first.
    pub(super) texts: Vec<usize>,
    /// The column of the class or the score.
    pub(super) value: Option<usize>,
    /// Whether the value is a class, and not a score.
    pub(super) classes: bool,
    /// Rows with texts, sorted: same texts stand together, in the order of the rows.
    pub(super) keys: Vec<Key>,
    /// The same of the first text alone, where there are several.
    pub(super) anchors: Vec<Key>,
    /// The number of the class or the score of each row; [`NONE`] where it is missing.
    pub(super) values: Vec<u32>,
    /// Their names.
    pub(super) names: Vec<String>,
    /// Rows with an empty text, with something else than a text, with the same text twice.
    pub(super) empty: Vec<u32>,
    pub(super) not_text: Vec<u32>,
    pub(super) same_sides: Vec<u32>,
    /// Rows with a text above the limit, with the length.
    pub(super) long: Vec<(u32, usize)>,
    /// The limit and what it counts.
    pub(super) limit: (usize, &'static str),
    /// For each column the hash and the count of its most frequent value, as far as it was counted.
    pub(super) frequent: Vec<(u64, usize)>,
}

/// One row.
#[derive(Default)]
struct Seen {
    exact: u64,
    normalised: u64,
    anchor: (u64, u64),
    empty: bool,
    not_text: bool,
    same_sides: bool,
    long: Option<usize>,
    value: Option<String>,
    cells: Vec<u64>,
}

impl<'a> Scan<'a> {
    pub(super) fn of(
        table: &'a Table,
        roles: &Roles,
        beside: Beside<'_>,
        options: &CheckOptions,
    ) -> Result<Scan<'a>> {
        let (texts, value, classes) = match &roles.shape {
            Shape::Labelled { text, label } => (vec![*text], Some(*label), true),
            Shape::Pairs { anchor, positive } | Shape::Triplets { anchor, positive, .. } => {
                (vec![*anchor, *positive], None, false)
            }
            Shape::ScoredPairs { anchor, positive, score } => (vec![*anchor, *positive], Some(*score), false),
            Shape::Vectors { label } => (Vec::new(), *label, true),
        };
        // A tokenizer that cuts nothing off, to see how long texts are.
        let whole = match beside.tokenizer {
            Some(tokenizer) => Some(tokenizer.clone().with_max_tokens(usize::MAX)?),
            None => None,
        };
        let limit = match beside.tokenizer {
            Some(tokenizer) => (options.max_tokens.unwrap_or(tokenizer.max_tokens()), "tokens"),
            None => (options.max_characters, "characters"),
        };
        let mut scan = Scan {
            table,
            texts,
            value,
            classes,
            keys: Vec::new(),
            anchors: Vec::new(),
            values: Vec::with_capacity(table.len()),
            names: Vec::new(),
            empty: Vec::new(),
            not_text: Vec::new(),
            same_sides: Vec::new(),
            long: Vec::new(),
            limit,
            frequent: Vec::new(),
        };
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut counts: Vec<HashMap<u64, usize>> = vec![HashMap::new(); table.columns().len()];
        for start in (0..table.len()).step_by(BLOCK) {
            let end = (start + BLOCK).min(table.len());
            let seen: Vec<Result<Seen>> =
                (start..end).into_par_iter().map(|row| scan.see(&table.row(row)?, whole.as_ref())).collect();
            for (row, seen) in (start as u32..).zip(seen) {
                scan.add(row, seen?, &mut numbers, &mut counts);
            }
        }
        scan.keys.sort_unstable();
        scan.anchors.sort_unstable();
        let most = |counts: &HashMap<u64, usize>| {
            counts
                .iter()
                .map(|(&hash, &count)| (count, hash))
                .max()
                .map_or((0, 0), |(count, hash)| (hash, count))
        };
        scan.frequent = counts.iter().map(most).collect();
        match beside.labels {
            Some(labels) => {
                (scan.values, scan.names, scan.classes) = (labels.ids.clone(), labels.names.clone(), true)
            }
            None => scan.merge_whole_numbers(),
        }
        Ok(scan)
    }

    fn see(&self, row: &Row<'_>, whole: Option<&Tokenizer>) -> Result<Seen> {
        let mut seen = Seen::default();
        for (place, &column) in self.texts.iter().enumerate() {
            let text = match &row.cells()[column] {
                Cell::Text(text) => text.as_str(),
                Cell::Missing => "",
                Cell::List(_) | Cell::Other(_) => {
                    seen.not_text = true;
                    ""
                }
            };
            seen.empty |= text.trim().is_empty();
            let (exact, normalised) = (text_hash(text), normalised_hash(text));
            if place == 0 {
                seen.anchor = (exact, normalised);
            } else {
                seen.same_sides |= normalised == seen.anchor.1;
            }
            // The order of the texts counts: a question is not its answer.
            seen.exact = seen.exact.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ exact;
            seen.normalised =
                seen.normalised.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ normalised;
            let length = self.length(text, whole)?;
            if length > self.limit.0 {
                seen.long = Some(length.max(seen.long.unwrap_or(0)));
            }
        }
        if let Some(column) = self.value {
            seen.value = Some(spelled(&row.cells()[column])).filter(|value| !value.trim().is_empty());
        }
        seen.cells = row.cells().iter().map(|cell| text_hash(&spelled(cell))).collect();
        Ok(seen)
    }

    /// The length of a text in the units of the limit; of a text that is surely short 0.
    fn length(&self, text: &str, whole: Option<&Tokenizer>) -> Result<usize> {
        match whole {
            None if text.len() <= self.limit.0 => Ok(0),
            None => Ok(text.chars().count()),
            // A token is at least a byte; a normaliser may make several characters of one.
            Some(whole) if 4 * text.len() + whole.added_tokens() <= self.limit.0 => Ok(0),
            Some(whole) => Ok(whole.encode(text)?.ids.len()),
        }
    }

    fn add(
        &mut self,
        row: u32,
        seen: Seen,
        numbers: &mut HashMap<String, u32>,
        counts: &mut [HashMap<u64, usize>],
    ) {
        if seen.not_text {
            self.not_text.push(row);
        } else if seen.empty {
            self.empty.push(row);
        } else if !self.texts.is_empty() {
            self.keys.push(Key { normalised: seen.normalised, exact: seen.exact, row });
            if self.texts.len() > 1 {
                self.anchors.push(Key { normalised: seen.anchor.1, exact: seen.anchor.0, row });
                if seen.same_sides {
                    self.same_sides.push(row);
                }
            }
        }
        if let Some(length) = seen.long {
            self.long.push((row, length));
        }
        let value = match seen.value {
            None => NONE,
            Some(value) => match numbers.get(&value) {
                Some(&number) => number,
                None => {
                    let number = self.names.len() as u32;
                    self.names.push(value.clone());
                    numbers.insert(value, number);
                    number
                }
            },
        };
        self.values.push(value);
        for (counts, hash) in counts.iter_mut().zip(seen.cells) {
            if counts.len() < COUNTED || counts.contains_key(&hash) {
                *counts.entry(hash).or_default() += 1;
            }
        }
    }

    /// 1.0 and 1 are one class, as [`LabelColumn`](crate::LabelColumn) reads them.
    fn merge_whole_numbers(&mut self) {
        let mut all = WholeNumbers::default();
        self.names.iter().for_each(|name| all.see(name));
        if !all.with_point() {
            return;
        }
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut merged: Vec<String> = Vec::new();
        let new: Vec<u32> = self
            .names
            .iter()
            .map(|name| {
                let name = whole(name).unwrap_or(name);
                *numbers.entry(name.to_owned()).or_insert_with(|| {
                    merged.push(name.to_owned());
                    merged.len() as u32 - 1
                })
            })
            .collect();
        self.names = merged;
        for value in self.values.iter_mut().filter(|value| **value != NONE) {
            *value = new[*value as usize];
        }
    }

    /// The rows of each class; nothing for rows without classes.
    pub(super) fn class_counts(&self) -> Vec<usize> {
        if !self.classes {
            return Vec::new();
        }
        let mut counts = vec![0; self.names.len()];
        self.values.iter().filter(|&&value| value != NONE).for_each(|&value| counts[value as usize] += 1);
        counts
    }

    /// Rows with the same texts, at least two each: `(rows of the same normalised texts)`, in the order of their first row.
    pub(super) fn groups(keys: &[Key]) -> Vec<&[Key]> {
        let mut groups: Vec<&[Key]> =
            keys.chunk_by(|a, b| a.normalised == b.normalised).filter(|group| group.len() > 1).collect();
        groups.sort_by_key(|group| group.iter().map(|key| key.row).min());
        groups
    }

    /// The name of the value of a row, quoted.
    pub(super) fn value_name(&self, row: u32) -> String {
        match self.values.get(row as usize) {
            Some(&value) if value != NONE => format!("\"{}\"", short(&self.names[value as usize])),
            _ => "nothing".to_owned(),
        }
    }

    /// `file:row`.
    pub(super) fn place(&self, row: u32) -> String {
        let place = self.table.place(row as usize);
        format!("{}:{}", place.file.display(), place.row)
    }

    /// The first text of a row, shortened and quoted.
    pub(super) fn text(&self, row: u32) -> Result<String> {
        let Some(&column) = self.texts.first() else { return Ok(String::new()) };
        let row = self.table.row(row as usize)?;
        Ok(format!("{:?}", short(&spelled(&row.cells()[column]))))
    }

    /// An example of rows with their first text and more.
    pub(super) fn example(&self, rows: &[u32], more: &str) -> Result<Example> {
        let text = rows.first().map_or(Ok(String::new()), |&row| self.text(row))?;
        let shown = format!("{text} {more}").trim().to_owned();
        Ok(Example { rows: rows.iter().map(|&row| self.place(row)).collect(), shown })
    }

    /// One example for each of the first rows.
    pub(super) fn examples(&self, rows: &[u32], options: &CheckOptions) -> Result<Vec<Example>> {
        rows.iter().take(options.examples).map(|&row| self.example(&[row], "")).collect()
    }

    /// Which part each row is in.
    pub(super) fn parts(&self, parts: &crate::split::Parts) -> Result<Vec<u8>> {
        let mut part_of = vec![u8::MAX; self.table.len()];
        for (part, rows) in [&parts.train, &parts.validation, &parts.test].into_iter().enumerate() {
            for &row in rows {
                let rows = part_of.len();
                *part_of.get_mut(row as usize).ok_or_else(|| {
                    let problem =
                        format!("the split names row {row} (counted from 0) of a table of {rows} rows");
                    Error::unusable(problem, "split the same table that is checked")
                })? = part as u8;
            }
        }
        Ok(part_of)
    }
}

/// The hash of a text without case, with one space for any space within it and none around it.
fn normalised_hash(text: &str) -> u64 {
    text_hash(&normalised(text))
}

pub(super) fn normalised(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !found.is_empty() {
            found.push(' ');
        }
        if word.is_ascii() {
            found.push_str(word);
            let start = found.len() - word.len();
            found[start..].make_ascii_lowercase();
        } else {
            found.extend(word.chars().flat_map(char::to_lowercase));
        }
    }
    found
}

/// A cell as one text.
fn spelled(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Missing => String::new(),
        Cell::List(items) => serde_json::to_string(items).unwrap_or_default(),
        Cell::Other(what) => (*what).to_owned(),
    }
}

/// The beginning of a text.
pub(super) fn short(text: &str) -> String {
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() { format!("{beginning}...") } else { beginning }
}
