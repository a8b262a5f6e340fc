//! What a column holds, judged by a sample of its rows.

use std::collections::HashMap;
use std::fmt;

use crate::error::Result;
use crate::labels::{Separator, WholeNumbers, whole};
use crate::sampler::text_hash;
use crate::table::{Cell, Table};

/// Rows looked at, evenly spread over the table.
const ROWS: usize = 20_000;

/// Cells looked at: fewer rows of a wide table.
const CELLS: usize = 1_000_000;

/// Characters above which texts that recur are texts all the same, and not names of classes.
const LONG: f64 = 40.0;

/// The kind of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Nature {
    /// No value in any row.
    Empty,
    /// One value in every row.
    Constant(String),
    /// Sentences and longer: many, mostly different.
    Text,
    /// Words and short phrases, mostly different.
    Short,
    /// Few values that recur: `text` where they are not numbers.
    Class { text: bool },
    /// Several labels in a cell.
    Labels,
    /// Whole numbers that hardly recur.
    Whole { least: f64, most: f64 },
    /// Numbers of which some are not whole.
    Real { least: f64, most: f64 },
    /// Dates or times.
    Date,
    /// Addresses and paths.
    Link,
    /// Codes that name the row.
    Code,
    /// Lists of texts.
    Lists,
    /// Objects, nested lists.
    Other,
}

/// One column.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) nature: Nature,
    /// Rows looked at, and those of them with a value.
    rows: usize,
    filled: usize,
    distinct: usize,
    words: f64,
    least_most: Option<(f64, f64)>,
    /// All numbers are whole and at least one is spelled with a decimal point.
    pub(super) whole_floats: bool,
    /// Hashes of the values looked at, 0 for none.
    hashes: Vec<u64>,
}

impl Profile {
    /// Looks at every column of a table.
    pub(super) fn of(table: &Table) -> Result<Vec<Profile>> {
        let (len, width) = (table.len(), table.columns().len());
        let looked = len.min(ROWS).min((CELLS / width.max(1)).max(200));
        let mut columns: Vec<Column> = vec![Column::default(); width];
        for i in 0..looked {
            let row = table.row((i as u128 * len as u128 / looked as u128) as usize)?;
            for (column, cell) in columns.iter_mut().zip(row.cells()) {
                column.see(cell);
            }
        }
        Ok(columns.into_iter().map(|column| column.profile(looked)).collect())
    }

    /// Whether this can be the class of rows: it recurs and is no measure.
    pub(super) fn is_class(&self) -> bool {
        matches!(self.nature, Nature::Class { .. } | Nature::Labels)
    }

    /// Whether the values look like a similarity: numbers, some not whole, in a usual range.
    pub(super) fn is_score(&self) -> bool {
        const RANGES: [(f64, f64); 5] = [(0.0, 1.0), (-1.0, 1.0), (0.0, 5.0), (0.0, 10.0), (0.0, 100.0)];
        matches!(self.nature, Nature::Real { least, most }
            if RANGES.iter().any(|&(from, to)| from <= least && most <= to))
    }

    /// Whether two columns divide the rows in the same way, as a class's number and its name do.
    pub(super) fn same_classes(&self, other: &Profile) -> bool {
        let one_to_one = |a: &[u64], b: &[u64]| {
            let mut partner = HashMap::new();
            a.iter().zip(b).all(|(a, b)| *partner.entry(*a).or_insert(*b) == *b)
        };
        self.distinct > 1
            && one_to_one(&self.hashes, &other.hashes)
            && one_to_one(&other.hashes, &self.hashes)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let different = || {
            let share = 100.0 * self.distinct as f64 / self.filled.max(1) as f64;
            if self.distinct == self.filled {
                "all different".to_owned()
            } else {
                format!("{share:.0} % different")
            }
        };
        let number = |value: f64| {
            // Enough digits to tell, no more.
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match &self.nature {
            Nature::Empty => write!(f, "empty"),
            Nature::Constant(value) => write!(f, "the same value in every row: {value:?}"),
            Nature::Text => write!(f, "texts of {:.0} words on average, {}", self.words, different()),
            Nature::Short => write!(f, "short values, {}", different()),
            Nature::Class { text } => {
                let kind = match (text, self.least_most) {
                    (false, Some((least, most))) => {
                        format!("whole numbers from {} to {}", number(least), number(most))
                    }
                    _ => "values".to_owned(),
                };
                write!(f, "{} {kind} in {} rows", self.distinct, self.filled)
            }
            Nature::Labels => write!(f, "labels, several in a cell"),
            Nature::Whole { least, most } => {
                write!(f, "whole numbers from {} to {}, {}", number(*least), number(*most), different())
            }
            Nature::Real { least, most } => {
                write!(f, "numbers from {} to {}, not all whole", number(*least), number(*most))
            }
            Nature::Date => write!(f, "dates or times"),
            Nature::Link => write!(f, "addresses or paths"),
            Nature::Code => write!(f, "codes, {}", different()),
            Nature::Lists => write!(f, "lists of texts"),
            Nature::Other => write!(f, "objects or nested lists"),
        }?;
        match self.rows - self.filled {
            0 => Ok(()),
            _ if self.filled == 0 => Ok(()),
            missing => write!(f, ", {missing} of {} empty", self.rows),
        }
    }
}

/// A column while it is being looked at.
#[derive(Clone, Debug, Default)]
struct Column {
    counts: HashMap<String, usize>,
    hashes: Vec<u64>,
    filled: usize,
    lists: usize,
    others: usize,
    items: usize,
    characters: usize,
    words: usize,
    numbers: usize,
    fractions: usize,
    whole: WholeNumbers,
    least_most: Option<(f64, f64)>,
    truths: usize,
    dates: usize,
    links: usize,
    codes: usize,
}

impl Column {
    fn see(&mut self, cell: &Cell) {
        let text = match cell {
            Cell::Missing => "",
            Cell::Text(text) => text.trim(),
            Cell::List(items) => {
                self.lists += 1;
                self.items += items.len();
                for item in items {
                    self.measure(item);
                }
                self.value(items.join("\u{1f}"));
                return;
            }
            Cell::Other(_) => {
                self.others += 1;
                self.filled += 1;
                self.hashes.push(0);
                return;
            }
        };
        if text.is_empty() {
            self.hashes.push(0);
            return;
        }
        self.measure(text);
        // 1.0 and 1 are one class.
        self.value(whole(text).unwrap_or(text).to_owned());
    }

    fn value(&mut self, text: String) {
        self.filled += 1;
        self.hashes.push(text_hash(&text).max(1));
        *self.counts.entry(text).or_default() += 1;
    }

    fn measure(&mut self, text: &str) {
        self.characters += text.chars().count();
        self.words += text.split_whitespace().count();
        self.whole.see(text);
        if let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            self.numbers += 1;
            self.fractions += usize::from(number.fract() != 0.0);
            let (least, most) = self.least_most.unwrap_or((number, number));
            self.least_most = Some((least.min(number), most.max(number)));
        } else if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
            self.truths += 1;
        } else if is_date(text) {
            self.dates += 1;
        } else if is_link(text) {
            self.links += 1;
        } else if is_code(text) {
            self.codes += 1;
        }
    }

    fn profile(self, rows: usize) -> Profile {
        let distinct = self.counts.len();
        let items = if self.lists > 0 { self.items } else { self.filled };
        let words = self.words as f64 / items.max(1) as f64;
        Profile {
            nature: self.nature(),
            rows,
            filled: self.filled,
            distinct,
            words,
            least_most: self.least_most,
            whole_floats: self.filled > 0 && self.numbers == self.filled && self.whole.with_point(),
            hashes: self.hashes,
        }
    }

    fn nature(&self) -> Nature {
        let (n, distinct) = (self.filled, self.counts.len());
        // Nearly all: a stray value does not change what a column is.
        let most = |count: usize| count * 20 >= n * 19;
        if n == 0 {
            return Nature::Empty;
        }
        if 2 * self.others >= n {
            return Nature::Other;
        }
        if 2 * self.lists >= n {
            let short = (self.characters as f64) < LONG * self.items as f64;
            return if short && self.recurs_by_item() { Nature::Labels } else { Nature::Lists };
        }
        if distinct == 1
            && n > 1
            && let Some(value) = self.counts.keys().next()
        {
            return Nature::Constant(value.chars().take(40).collect());
        }
        let recurs = distinct * 2 <= n;
        if self.numbers == n {
            let (least, most) = self.least_most.unwrap_or((0.0, 0.0));
            return match (self.fractions > 0, recurs) {
                (true, _) => Nature::Real { least, most },
                (false, true) => Nature::Class { text: false },
                (false, false) => Nature::Whole { least, most },
            };
        }
        if most(self.truths) {
            return Nature::Class { text: true };
        }
        if most(self.dates) {
            return Nature::Date;
        }
        if most(self.links) {
            return Nature::Link;
        }
        let (words, characters) = (self.words as f64 / n as f64, self.characters as f64 / n as f64);
        let counts: Vec<(&str, usize)> =
            self.counts.iter().map(|(text, &count)| (text.as_str(), count)).collect();
        if characters < 2.0 * LONG && Separator::of(&counts).is_some() {
            return Nature::Labels;
        }
        if recurs && !(characters > LONG && distinct > 50) {
            return Nature::Class { text: true };
        }
        if most(self.codes) && words < 1.5 {
            return Nature::Code;
        }
        // Scripts that put no space between words: by characters.
        let wide = self.counts.keys().take(200).filter(|text| text.chars().any(|c| c >= '\u{2e80}')).count();
        let dense = 2 * wide >= distinct.min(200);
        if words >= 3.0 || characters >= 25.0 || dense && characters >= 6.0 {
            Nature::Text
        } else {
            Nature::Short
        }
    }

    fn recurs_by_item(&self) -> bool {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (list, count) in &self.counts {
            list.split('\u{1f}').for_each(|item| *counts.entry(item).or_default() += count);
        }
        counts.len() * 2 <= self.items.max(1)
    }
}

fn is_date(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let marks = text.bytes().filter(|b| matches!(b, b'-' | b'/' | b':' | b'.')).count();
    let others = text.bytes().filter(|b| b.is_ascii_alphabetic()).count();
    digits >= 4 && marks >= 2 && others <= 3 && text.len() <= 40 && text.is_ascii()
}

fn is_link(text: &str) -> bool {
    let spaceless = !text.contains(char::is_whitespace);
    spaceless && (text.contains("://") || text.starts_with("www.") || text.matches('/').count() >= 2)
}

/// One word with a digit in it, or with the look of a hash.
fn is_code(text: &str) -> bool {
    !text.contains(char::is_whitespace) && text.is_ascii() && text.bytes().any(|b| b.is_ascii_digit())
}
