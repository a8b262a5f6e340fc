//! Class labels: names, and a number for each.

mod column;
mod several;
mod whole;

use std::collections::HashMap;

use crate::error::Result;
use crate::table::Table;
use crate::vectors::NpyIntegers;
pub use column::LabelColumn;
pub use several::MultiLabel;
pub(crate) use several::Separator;
pub(crate) use whole::{WholeNumbers, whole};

/// The class of every row. Class `c` is called `names[c]`, and `ids[i]` is the class of row `i`.
///
/// Classes are numbered in the sorted order of their names: byte by byte for text, as Python sorts ASCII, and by value
/// for the integers of an `.npy` file, as `numpy.unique` does. The numbers thus depend on the set of names alone, never
/// on the order of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The class of each row, below `names.len()`.
    pub ids: Vec<u32>,
    /// The name of each class.
    pub names: Vec<String>,
}

impl Labels {
    /// Numbers the classes of a list of names, one a row.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Labels {
        let mut sorted: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let number: HashMap<&str, u32> = sorted.iter().zip(0..).map(|(&name, id)| (name, id)).collect();
        let ids = names.iter().map(|name| number[name.as_ref()]).collect();
        Labels { ids, names: sorted.into_iter().map(str::to_owned).collect() }
    }

    /// Numbers the classes of a list of integers, in the order of their values.
    pub fn from_integers(values: &[i64]) -> Labels {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let ids = values.iter().map(|value| sorted.partition_point(|v| v < value) as u32).collect();
        Labels { ids, names: sorted.iter().map(i64::to_string).collect() }
    }

    /// Reads the label column of a table, one label a row: [`LabelColumn::read`] without an option.
    ///
    /// # Errors
    /// As [`LabelColumn::read`].
    pub fn from_table(table: &Table, column: usize) -> Result<Labels> {
        Ok(LabelColumn::read(table, column, None)?.labels)
    }

    /// Reads labels from a one-dimensional integer `.npy` file.
    ///
    /// # Errors
    /// As [`NpyIntegers::open`].
    pub fn from_npy(path: impl AsRef<std::path::Path>) -> Result<Labels> {
        Ok(Labels::from_integers(&NpyIntegers::open(path)?.values))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.names.len()
    }

    /// The number of rows of each class.
    pub fn counts(&self) -> Vec<usize> {
        self.counts_among(0..self.ids.len())
    }

    /// The number of rows of each class among some rows.
    ///
    /// # Panics
    /// If a row is not below [`len`](Self::len).
    pub fn counts_among(&self, rows: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        for row in rows {
            counts[self.ids[row] as usize] += 1;
        }
        counts
    }

    /// The classes of some rows, in their order, with the numbers they have here.
    ///
    /// # Panics
    /// If a row is not below [`len`](Self::len).
    pub fn select(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().map(|&row| self.ids[row as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;
    use crate::table::{Table, TableOptions};

    #[test]
    fn classes_are_numbered_in_byte_order() {
        let labels = Labels::from_names(&["b", "a", "B", "é", "b", "10", "9"]);
        assert_eq!(labels.names, ["10", "9", "B", "a", "b", "é"]);
        assert_eq!(labels.ids, [4, 3, 2, 5, 4, 0, 1]);
        assert_eq!(labels.counts(), [1, 1, 1, 1, 2, 1]);
        assert_eq!(labels.counts_among([0, 1]), [0, 0, 0, 1, 1, 0]);
        assert_eq!(labels.select(&[4, 1]), [4, 3]);
    }

    #[test]
    fn integers_are_numbered_by_value() {
        let labels = Labels::from_integers(&[10, 9, -3, 10]);
        assert_eq!(labels.names, ["-3", "9", "10"]);
        assert_eq!(labels.ids, [2, 1, 0, 2]);
    }

    #[test]
    fn an_empty_label_names_its_row() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.csv", "text,label\nx,one\n\"a\nb\",  \n"),
            ("a.jsonl", "{\"text\":\"x\",\"label\":1}\n\n{\"text\":\"y\"}\n"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let table = Table::open(&[&path], &TableOptions::default()).unwrap();
            let error = Labels::from_table(&table, 1).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{name}, row 3, field \"label\": missing")), "{error}");
        }
    }
}
