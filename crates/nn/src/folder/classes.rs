//! The classes that a classifier tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::json::{read_json, write_json};
use crate::{Error, Result};

/// The file with the classes, beside `modules.json`. Readers that do not know it take the logits for an embedding.
pub const CLASSES: &str = "parallax_classes.json";

/// What the outputs of a classifier, its logits, stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Classes {
    /// One output: a row is positive where it is at least 0.
    Binary {
        /// Classes of the data that are positive.
        positive: Vec<String>,
        /// Classes of the data that are negative; where there are none, every other class is.
        negative: Vec<String>,
    },
    /// One output for each class, in this order: a row is of the class with the largest.
    Several {
        /// The classes.
        names: Vec<String>,
    },
}

impl Classes {
    /// How many outputs a classifier of these classes has.
    pub fn outputs(&self) -> usize {
        match self {
            Classes::Binary { .. } => 1,
            Classes::Several { names } => names.len(),
        }
    }

    /// The number of the class that is called `name` in the data: 0 for negative and 1 for positive, or its output. `None` for
    /// one that is not known.
    pub fn number(&self, name: &str) -> Option<u32> {
        let is = |names: &[String]| names.iter().any(|known| known == name);
        match self {
            Classes::Binary { positive, .. } if is(positive) => Some(1),
            Classes::Binary { negative, .. } => (negative.is_empty() || is(negative)).then_some(0),
            Classes::Several { names } => names.iter().position(|known| known == name).map(|at| at as u32),
        }
    }

    /// A name for each number of a class.
    pub fn names(&self) -> Vec<String> {
        match self {
            Classes::Binary { positive, negative } => {
                let yes = positive.join(" or ");
                let no = if negative.is_empty() { format!("not {yes}") } else { negative.join(" or ") };
                vec![no, yes]
            }
            Classes::Several { names } => names.clone(),
        }
    }

    fn check(&self, path: &Path, dim: usize) -> Result<()> {
        let all: Vec<&String> = match self {
            Classes::Binary { positive, negative } => positive.iter().chain(negative).collect(),
            Classes::Several { names } => names.iter().collect(),
        };
        if all.iter().collect::<BTreeSet<_>>().len() < all.len() {
            return Err(Error::format(path, "a class is named twice"));
        }
        let fits = match self {
            Classes::Binary { positive, .. } => !positive.is_empty(),
            Classes::Several { names } => names.len() >= 2,
        };
        if !fits || self.outputs() != dim {
            return Err(Error::format(
                path,
                format!("its classes do not fit the {dim} outputs of the model"),
            ));
        }
        Ok(())
    }

    /// Writes [`CLASSES`] into a folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(CLASSES);
        let value = serde_json::to_value(self).map_err(|e| Error::format(&path, e.to_string()))?;
        write_json(&path, &value)
    }

    /// Reads [`CLASSES`] of a folder whose model has `dim` outputs; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or does not fit.
    pub fn read(folder: &Path, dim: usize) -> Result<Option<Self>> {
        let path = folder.join(CLASSES);
        if !fs::exists(&path).map_err(Error::io(&path))? {
            return Ok(None);
        }
        let classes: Classes =
            serde_json::from_value(read_json(&path)?).map_err(|e| Error::format(&path, e.to_string()))?;
        classes.check(&path, dim)?;
        Ok(Some(classes))
    }
}

#[cfg(test)]
mod tests {
    use super::Classes;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn numbers_and_names() {
        let two = Classes::Binary { positive: names(&["b"]), negative: names(&["a"]) };
        assert_eq!(["a", "b", "c"].map(|name| two.number(name)), [Some(0), Some(1), None]);
        assert_eq!((two.outputs(), two.names()), (1, names(&["a", "b"])));
        let rest = Classes::Binary { positive: names(&["b", "d"]), negative: Vec::new() };
        assert_eq!(["d", "c"].map(|name| rest.number(name)), [Some(1), Some(0)]);
        assert_eq!(rest.names(), names(&["not b or d", "b or d"]));
        let several = Classes::Several { names: names(&["x", "y", "z"]) };
        assert_eq!((several.number("z"), several.number("w"), several.outputs()), (Some(2), None, 3));
    }

    #[test]
    fn files_are_read_back_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Classes::read(folder.path(), 3).unwrap(), None);
        let several = Classes::Several { names: names(&["x", "y", "z"]) };
        several.write(folder.path()).unwrap();
        assert_eq!(Classes::read(folder.path(), 3).unwrap(), Some(several));
        assert!(
            Classes::read(folder.path(), 1).unwrap_err().to_string().contains("do not fit the 1 outputs")
        );
        let twice = Classes::Binary { positive: names(&["x"]), negative: names(&["x"]) };
        twice.write(folder.path()).unwrap();
        assert!(Classes::read(folder.path(), 1).unwrap_err().to_string().contains("twice"));
        std::fs::write(folder.path().join(super::CLASSES), "{\"kind\": \"no\"}").unwrap();
        assert!(Classes::read(folder.path(), 1).is_err());
    }
}
