//! Cells that hold several labels: `a|b`, `a; b`, `a, b`, `["a", "b"]`.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a cell with several labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MultiLabel {
    /// The first label of the cell is the class.
    First,
    /// Each distinct set of labels is a class, whatever the order in the cell.
    Set,
    /// The cell as it stands is the name of one class.
    Whole,
}

/// How labels of one cell are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Separator {
    /// A character between them.
    Between(char),
    /// A list in brackets, as JSON or Python write it.
    Brackets,
}

const MARKS: [char; 3] = ['|', ';', ','];

impl Separator {
    /// How the labels of these cells are kept apart, if cells hold several. `cells` are the distinct cells with the number
    /// of rows of each.
    ///
    /// A mark separates labels if what stands between marks is found again in other cells: `sports|news` beside
    /// `news|economy`. A comma needs that of half the parts at least, as commas stand in names too (`Food, fresh`).
    pub(crate) fn of(cells: &[(&str, usize)]) -> Option<Separator> {
        let rows: usize = cells.iter().map(|(_, rows)| rows).sum();
        let bracketed: usize = cells.iter().filter(|(cell, _)| in_brackets(cell)).map(|(_, rows)| rows).sum();
        if rows > 0 && bracketed * 20 >= rows * 19 {
            return Some(Separator::Brackets);
        }
        MARKS.into_iter().find(|&mark| separates(cells, mark)).map(Separator::Between)
    }

    /// As [`of`](Self::of) where the user says that cells hold several labels: the mark in most rows.
    pub(crate) fn asked_for(cells: &[(&str, usize)]) -> Option<Separator> {
        Separator::of(cells).or_else(|| {
            let rows = |mark: char| -> usize {
                cells.iter().filter(|(cell, _)| parts(cell, mark).len() > 1).map(|(_, rows)| rows).sum()
            };
            // The last of equals is taken, so the marks are tried from the least likely.
            let best = MARKS.into_iter().rev().max_by_key(|&mark| rows(mark))?;
            (rows(best) > 0).then_some(Separator::Between(best))
        })
    }

    /// The labels of a cell, without spaces around them; empty ones are left out.
    pub(crate) fn split(self, cell: &str) -> Vec<String> {
        match self {
            Separator::Between(mark) => parts(cell, mark).into_iter().map(str::to_owned).collect(),
            Separator::Brackets if in_brackets(cell) => bracket_items(cell.trim()),
            Separator::Brackets => vec![cell.trim().to_owned()],
        }
    }

    /// The name of a set of labels.
    pub(crate) fn join(self, labels: &[String]) -> String {
        match (self, labels) {
            (_, [label]) => label.clone(),
            (Separator::Between('|'), _) => labels.join("|"),
            (Separator::Between(mark), _) => labels.join(&format!("{mark} ")),
            (Separator::Brackets, _) => list_name(labels),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Separator::Between('|') => "pipes",
            Separator::Between(';') => "semicolons",
            Separator::Between(_) => "commas",
            Separator::Brackets => "lists",
        }
    }
}

/// `["a","b"]`: no two lists have the same.
pub(super) fn list_name(labels: &[String]) -> String {
    serde_json::to_string(labels).unwrap_or_else(|_| labels.join(", "))
}

fn parts(cell: &str, mark: char) -> Vec<&str> {
    cell.split(mark).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn separates(cells: &[(&str, usize)], mark: char) -> bool {
    // For each part, the number of distinct cells it stands in.
    let mut found: HashMap<&str, usize> = HashMap::new();
    let mut joined: HashSet<&str> = HashSet::new();
    let mut digits = true;
    for (cell, _) in cells {
        let parts = parts(cell, mark);
        let distinct: HashSet<&str> = parts.iter().copied().collect();
        if parts.len() > 1 {
            joined.extend(&distinct);
            digits &= parts.len() == 2 && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
        }
        for part in distinct {
            *found.entry(part).or_default() += 1;
        }
    }
    // `3,5` and `4,25` are numbers with a decimal comma where every cell is so written.
    if joined.is_empty() || mark == ',' && digits && cells.iter().all(|(cell, _)| cell.contains(',')) {
        return false;
    }
    let again = joined.iter().filter(|part| found[**part] > 1).count();
    if mark == ',' {
        again >= 2 && 2 * again >= joined.len()
    } else {
        again >= 1 && 4 * again >= joined.len()
    }
}

fn in_brackets(cell: &str) -> bool {
    let cell = cell.trim();
    cell.len() >= 2 && cell.starts_with('[') && cell.ends_with(']')
}

/// The items of a list as JSON writes it, else as Python does.
fn bracket_items(cell: &str) -> Vec<String> {
    if let Ok(items) = serde_json::from_str::<Vec<String>>(cell) {
        return items.into_iter().filter(|item| !item.trim().is_empty()).collect();
    }
    let inside = cell.get(1..cell.len() - 1).unwrap_or("");
    let (mut items, mut item, mut quote, mut escaped) = (Vec::new(), String::new(), None, false);
    for c in inside.chars() {
        match (c, quote) {
            (c, Some(_)) if escaped => {
                item.push(c);
                escaped = false;
            }
            ('\\', Some(_)) => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            (c @ ('\'' | '"'), None) if item.trim().is_empty() => quote = Some(c),
            (',', None) => items.push(std::mem::take(&mut item)),
            (c, _) => item.push(c),
        }
    }
    items.push(item);
    items.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Separator, bracket_items};

    fn of(cells: &[&str]) -> Option<Separator> {
        Separator::of(&cells.iter().map(|&cell| (cell, 1)).collect::<Vec<_>>())
    }

    #[test]
    fn parts_that_come_again_are_labels() {
        assert_eq!(of(&["a|b", "b|c", "c"]), Some(Separator::Between('|')));
        assert_eq!(of(&["sports; news", "news", "news; arts"]), Some(Separator::Between(';')));
        assert_eq!(of(&["a,b", "a", "b", "b,c", "c,a"]), Some(Separator::Between(',')));
        assert_eq!(of(&["['a', 'b']", "['c']"]), Some(Separator::Brackets));
        // Names with commas in them, decimal commas, and nothing at all.
        assert_eq!(of(&["Food, fresh", "Food, frozen", "Books", "Games, board"]), None);
        assert_eq!(of(&["3,5", "4,5", "3,0"]), None);
        assert_eq!(of(&["a", "b"]), None);
        assert_eq!(of(&["Yes, surely", "No, never"]), None);
        assert_eq!(of(&["a|b"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn lists_as_python_writes_them() {
        assert_eq!(bracket_items("['a, b', \"it's\", 3]"), ["a, b", "it's", "3"]);
        assert_eq!(bracket_items("['it\\'s']"), ["it's"]);
        assert_eq!(bracket_items("[\"a\", \"b\"]"), ["a", "b"]);
        assert_eq!(bracket_items("[]"), [""; 0]);
        assert_eq!(Separator::Between(',').split(" b,, a "), ["b", "a"]);
    }

    proptest! {
        #[test]
        fn any_cells_are_split(cells in proptest::collection::vec("[ab,;|'\"\\[\\]\\\\ é]{0,12}", 0..8)) {
            let cells: Vec<(&str, usize)> = cells.iter().map(|cell| (cell.as_str(), 1)).collect();
            for separator in [Separator::of(&cells), Separator::asked_for(&cells), Some(Separator::Brackets)] {
                for (cell, _) in &cells {
                    if let Some(separator) = separator {
                        for label in separator.split(cell) {
                            prop_assert!(matches!(separator, Separator::Brackets) || !label.is_empty());
                        }
                    }
                }
            }
        }
    }
}
