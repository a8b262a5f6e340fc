//! The label column of a table: cells become names of classes.

use std::collections::HashMap;

use super::several::list_name;
use super::whole::whole;
use super::{Labels, MultiLabel, Separator, WholeNumbers};
use crate::error::{Error, Result};
use crate::table::{Cell, Table};

/// The labels of a table, and how they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelColumn {
    /// The class of each row.
    pub labels: Labels,
    /// Rows whose cell holds several labels.
    pub several: usize,
    /// What should be shown: how many rows hold several labels and what became of them, numbers read as whole.
    pub notes: Vec<String>,
}

/// A distinct cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(String),
    List(Vec<String>),
}

impl LabelColumn {
    /// Reads the label column of a table.
    ///
    /// Where all cells are whole numbers and some are written with a decimal point (`1.0`), the point goes: 1.0 and 1 are
    /// one class. Cells that hold several labels (lists, or `a|b`, `a; b`, `a, b` where the parts come again in other
    /// cells) are read as `multi_label` says; without it they are an error that asks. A list of one label is that label.
    /// [`MultiLabel::First`] and [`MultiLabel::Set`] cut at the mark that stands in most rows even where the parts do not
    /// come again.
    ///
    /// Several rows for one text, one a label, are not made: such rows would fall into different parts of a split.
    ///
    /// # Errors
    /// [`Error::MissingCell`] for a label that is absent, empty or blank; [`Error::CellType`] for an object;
    /// [`Error::SeveralLabels`]; and as [`Table::row`].
    pub fn read(table: &Table, column: usize, multi_label: Option<MultiLabel>) -> Result<LabelColumn> {
        let mut cells = Cells::read(table, column)?;
        let separator = cells.separator(multi_label);
        let mut names = Vec::with_capacity(cells.values.len());
        let (mut several, mut first_several) = (0, None);
        for (value, (&first, &rows)) in cells.values.iter().zip(cells.firsts.iter().zip(&cells.rows)) {
            let labels = match (value, separator) {
                (Value::List(labels), _) => labels.clone(),
                (Value::Text(text), Some(separator)) => separator.split(text),
                (Value::Text(text), None) => vec![text.clone()],
            };
            if labels.is_empty() {
                let field = table.columns()[column].clone();
                return Err(Error::MissingCell { place: table.place(first as usize), field });
            }
            if labels.len() > 1 {
                several += rows;
                let earlier = first_several.is_none_or(|(other, _)| first < other);
                if earlier {
                    first_several = Some((first, value));
                }
            }
            names.push(name(value, labels, separator, multi_label));
        }
        if let (Some((row, value)), None) = (first_several, multi_label) {
            let shown = match value {
                Value::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
                Value::List(labels) => list_name(labels).chars().take(60).collect(),
            };
            return Err(Error::SeveralLabels {
                place: table.place(row as usize),
                field: table.columns()[column].clone(),
                example: shown,
                rows: several,
                of: table.len(),
            });
        }
        let mut notes = Vec::new();
        if several > 0 {
            let classes = names.iter().collect::<std::collections::HashSet<_>>().len();
            let kept_apart = separator.map_or("lists", Separator::name);
            let what = match multi_label {
                Some(MultiLabel::First) => "the first of a row is its class".to_owned(),
                Some(MultiLabel::Set) => format!("each distinct set is a class, {classes} in all"),
                _ => "each cell is taken whole".to_owned(),
            };
            notes.push(format!(
                "{several} of {} rows hold several labels ({kept_apart}): {what}",
                table.len()
            ));
        }
        let mut numbers = WholeNumbers::default();
        names.iter().for_each(|name| numbers.see(name));
        if numbers.with_point() {
            for name in &mut names {
                if let Some(digits) = whole(name) {
                    *name = digits.to_owned();
                }
            }
            notes.push(
                "labels are whole numbers written with a point: 1.0 and 1 are the same class, 1".to_owned(),
            );
        }
        // Classes of the distinct cells, then of the rows.
        let classes = Labels::from_names(&names);
        cells.ids.iter_mut().for_each(|id| *id = classes.ids[*id as usize]);
        Ok(LabelColumn { labels: Labels { ids: cells.ids, names: classes.names }, several, notes })
    }
}

fn name(
    value: &Value,
    mut labels: Vec<String>,
    separator: Option<Separator>,
    multi_label: Option<MultiLabel>,
) -> String {
    match (multi_label, value) {
        _ if labels.len() == 1 => labels.swap_remove(0),
        (Some(MultiLabel::First), _) => labels.swap_remove(0),
        (Some(MultiLabel::Set), value) => {
            labels.sort_unstable();
            labels.dedup();
            match (value, separator) {
                (Value::Text(_), Some(separator)) => separator.join(&labels),
                _ if labels.len() == 1 => labels.swap_remove(0),
                _ => list_name(&labels),
            }
        }
        (_, Value::Text(text)) => text.clone(),
        (_, Value::List(labels)) => list_name(labels),
    }
}

/// The distinct cells of a column.
struct Cells {
    /// For each row, its cell.
    ids: Vec<u32>,
    values: Vec<Value>,
    /// For each cell, its first row and the number of its rows.
    firsts: Vec<u32>,
    rows: Vec<usize>,
}

impl Cells {
    fn read(table: &Table, column: usize) -> Result<Cells> {
        let mut numbers: HashMap<Value, u32> = HashMap::new();
        let mut cells = Cells {
            ids: Vec::with_capacity(table.len()),
            values: Vec::new(),
            firsts: Vec::new(),
            rows: Vec::new(),
        };
        for row in 0..table.len() {
            let cells_of_row = table.row(row)?;
            let value = match &cells_of_row.cells()[column] {
                Cell::List(labels) => {
                    Value::List(labels.iter().filter(|label| !label.trim().is_empty()).cloned().collect())
                }
                _ => Value::Text(cells_of_row.text(column)?.to_owned()),
            };
            let blank = match &value {
                Value::Text(text) => text.trim().is_empty(),
                Value::List(labels) => labels.is_empty(),
            };
            if blank {
                let field = table.columns()[column].clone();
                return Err(Error::MissingCell { place: table.place(row), field });
            }
            let id = match numbers.get(&value) {
                Some(&id) => id,
                None => {
                    let id = cells.values.len() as u32;
                    cells.values.push(value.clone());
                    cells.firsts.push(row as u32);
                    cells.rows.push(0);
                    numbers.insert(value, id);
                    id
                }
            };
            cells.rows[id as usize] += 1;
            cells.ids.push(id);
        }
        Ok(cells)
    }

    fn separator(&self, multi_label: Option<MultiLabel>) -> Option<Separator> {
        let texts: Vec<(&str, usize)> = self
            .values
            .iter()
            .zip(&self.rows)
            .filter_map(|(value, &rows)| match value {
                Value::Text(text) => Some((text.as_str(), rows)),
                Value::List(_) => None,
            })
            .collect();
        match multi_label {
            None => Separator::of(&texts),
            Some(MultiLabel::First | MultiLabel::Set) => Separator::asked_for(&texts),
            Some(MultiLabel::Whole) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LabelColumn, MultiLabel};
    use crate::error::Result;
    use crate::table::{Table, TableOptions};

    fn read(name: &str, text: &str, multi_label: Option<MultiLabel>) -> Result<LabelColumn> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let table = Table::open(&[&path], &TableOptions::default()).unwrap();
        LabelColumn::read(&table, table.column("label").unwrap(), multi_label)
    }

    fn names(found: &LabelColumn) -> Vec<&str> {
        found.labels.ids.iter().map(|&id| found.labels.names[id as usize].as_str()).collect()
    }

    #[test]
    fn several_labels_are_asked_about_and_then_read_as_told() {
        let text = "text,label\nw,news\nx,sports|news\ny,news |sports\nz,sports\n";
        let error = read("x.csv", text, None).unwrap_err();
        assert!(
            error.to_string().ends_with(
                "x.csv, row 3, field \"label\": \"sports|news\" looks like several labels, as do 2 of 4 rows"
            ),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("--set data.multi_label=first"));
        let first = read("x.csv", text, Some(MultiLabel::First)).unwrap();
        assert_eq!(names(&first), ["news", "sports", "news", "sports"]);
        assert_eq!((first.several, first.notes.len()), (2, 1));
        assert!(first.notes[0].contains("2 of 4 rows hold several labels (pipes)"), "{:?}", first.notes);
        let set = read("x.csv", text, Some(MultiLabel::Set)).unwrap();
        assert_eq!(names(&set), ["news", "news|sports", "news|sports", "sports"]);
        let whole = read("x.csv", text, Some(MultiLabel::Whole)).unwrap();
        assert_eq!(names(&whole), ["news", "sports|news", "news |sports", "sports"]);
        assert_eq!(whole.several, 0);
    }

    #[test]
    fn lists_are_several_labels_where_one_has_two() {
        let one = "{\"text\":\"a\",\"label\":[\"x\"]}\n{\"text\":\"b\",\"label\":\"y\"}\n";
        assert_eq!(names(&read("x.jsonl", one, None).unwrap()), ["x", "y"]);
        let two = "{\"text\":\"a\",\"label\":[\"x\"]}\n{\"text\":\"b\",\"label\":[\"y\",\"x\"]}\n";
        assert!(
            read("x.jsonl", two, None).unwrap_err().to_string().contains("[\"y\",\"x\"] looks like several")
        );
        assert_eq!(names(&read("x.jsonl", two, Some(MultiLabel::Set)).unwrap()), ["x", "[\"x\",\"y\"]"]);
        assert_eq!(names(&read("x.jsonl", two, Some(MultiLabel::First)).unwrap()), ["x", "y"]);
        let none = "{\"text\":\"a\",\"label\":[]}\n";
        assert!(
            read("x.jsonl", none, None).unwrap_err().to_string().contains("row 1, field \"label\": missing")
        );
        let python = "text,label\na,['x']\nb,\"['x', 'y']\"\n";
        assert_eq!(names(&read("x.csv", python, Some(MultiLabel::First)).unwrap()), ["x", "x"]);
    }

    #[test]
    fn numbers_with_a_point_are_the_whole_numbers() {
        let found = read("x.csv", "text,label\na,1.0\nb,2.0\nc,1\nd,-0.0\n", None).unwrap();
        assert_eq!(names(&found), ["1", "2", "1", "0"]);
        assert_eq!(found.notes.len(), 1);
        let found = read("x.csv", "text,label\na,1.0\nb,2.5\n", None).unwrap();
        assert_eq!((names(&found), found.notes.len()), (vec!["1.0", "2.5"], 0));
    }
}
