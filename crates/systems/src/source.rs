//! Where the data of recipes come from.
//!
//! A source is a folder of files that a run reads. Those that are made (vectors of texts, pixels of images) are made once, in the cache,
//! under a name that holds the digest of what they are made of.

mod embedded;
mod fashion_mnist;
mod omniglot;
mod pairs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parallax::models::Locations;
use parallax_data::vectors::NpyWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use embedded::Embedded;
pub use fashion_mnist::FashionMnist;
pub use omniglot::Omniglot;
pub use pairs::Pairs;

use crate::{Error, Result};

/// Data of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A folder of `PARALLAX_DATA`, as it is.
    Folder {
        /// Its name.
        path: String,
        /// Where the data are published.
        published: String,
    },
    /// Vectors of the texts of tables: `vectors.npy` and `labels.npy`.
    Embedded(Embedded),
    /// Vectors of pairs of texts that stand in two tables, row by row: `anchors.npy`, `positives.npy`.
    Pairs(Pairs),
    /// Handwritten characters as pixels: `vectors.npy` and `labels.npy`.
    Omniglot(Omniglot),
    /// Pictures of clothes as pixels: `vectors.npy` and `labels.npy`.
    FashionMnist(FashionMnist),
}

/// The folders of the sources of a recipe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    folders: BTreeMap<String, PathBuf>,
}

impl Sources {
    /// Finds or makes every source; `tell` is told what is made.
    ///
    /// # Errors
    /// Data that are not there, with where they are published; files that are not what they should be.
    pub fn open(sources: &BTreeMap<String, Source>, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        let mut folders = BTreeMap::new();
        for (name, source) in sources {
            folders.insert(name.clone(), source.open(tell)?);
        }
        Ok(Sources { folders })
    }

    /// Puts the folders in place of `{name}` in every text of a table.
    ///
    /// # Errors
    /// A name that no source has.
    pub(crate) fn fill(&self, table: &mut toml::Table) -> Result<()> {
        table.iter_mut().try_for_each(|(_, value)| self.fill_value(value))
    }

    fn fill_value(&self, value: &mut toml::Value) -> Result<()> {
        match value {
            toml::Value::String(text) => {
                if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
                    let Some(folder) = self.folders.get(name) else {
                        return Err(Error::recipe(
                            "sources",
                            format!("there is no source \"{name}\" for {text}"),
                        ));
                    };
                    *text = format!("{}{rest}", folder.display());
                }
                Ok(())
            }
            toml::Value::Array(values) => values.iter_mut().try_for_each(|value| self.fill_value(value)),
            toml::Value::Table(table) => self.fill(table),
            _ => Ok(()),
        }
    }
}

impl Source {
    fn open(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        match self {
            Source::Folder { path, published } => given(path, published),
            Source::Embedded(source) => source.open(tell),
            Source::Pairs(source) => source.open(tell),
            Source::Omniglot(source) => source.open(tell),
            Source::FashionMnist(source) => source.open(tell),
        }
    }
}

/// A file or folder of `PARALLAX_DATA`.
fn given(path: &str, published: &str) -> Result<PathBuf> {
    let root = std::env::var_os("PARALLAX_DATA").filter(|value| !value.is_empty());
    let root = root.map_or_else(|| PathBuf::from("data"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Ok(found);
    }
    Err(Error::Source {
        path: found,
        what: "it is not there".into(),
        hint: format!("fetch it from {published} and set PARALLAX_DATA to the folder that holds it"),
    })
}

/// The folder of a source that is made: `make` fills it where it is not there yet. `of` is what it is made of.
fn made(kind: &str, of: &[&[u8]], make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for part in of {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = Locations::from_env().cache;
    let root = cache.parent().unwrap_or(&cache).join("sources");
    let folder = root.join(format!("{kind}-{digest}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&root).map_err(Error::io(&root, "create"))?;
    let aside = tempfile::tempdir_in(&root).map_err(Error::io(&root, "write to"))?;
    make(aside.path())?;
    let kept = aside.keep();
    match fs::rename(&kept, &folder) {
        Ok(()) => Ok(folder),
        // Another process was faster.
        Err(_) if folder.is_dir() => {
            let _ = fs::remove_dir_all(&kept);
            Ok(folder)
        }
        Err(source) => Err(Error::Io { path: folder, action: "create", source }),
    }
}

/// Reads a file.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io(path, "read"))
}

/// Writes `vectors.npy`-like files.
fn write_vectors(path: &Path, values: &[f32], dim: usize) -> Result<()> {
    let mut file = NpyWriter::create(path, dim)?;
    file.push_rows(values)?;
    Ok(file.finish()?)
}

/// Writes a list of classes as an .npy of 64-bit integers.
fn write_labels(path: &Path, labels: &[i64]) -> Result<()> {
    let dict = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", labels.len());
    // The header ends on a multiple of 64 bytes, with a line break.
    let pad = (64 - (10 + dict.len() + 1) % 64) % 64;
    let header = format!("{dict}{}\n", " ".repeat(pad));
    let mut all = b"\x93NUMPY\x01\x00".to_vec();
    all.extend((header.len() as u16).to_le_bytes());
    all.extend(header.into_bytes());
    labels.iter().for_each(|label| all.extend(label.to_le_bytes()));
    fs::write(path, all).map_err(Error::io(path, "write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        for n in [0, 1, 7, 60] {
            let path = folder.path().join("y.npy");
            let labels: Vec<i64> = (0..n).map(|i| 3 * i).collect();
            write_labels(&path, &labels).unwrap();
            if n > 0 {
                let read = parallax_data::Labels::from_npy(&path).unwrap();
                assert_eq!(read.len(), n as usize);
            }
        }
    }

    #[test]
    fn names_become_folders_and_unknown_names_are_refused() {
        let sources = Sources { folders: [("a".to_owned(), PathBuf::from("/x/y"))].into() };
        let mut table: toml::Table =
            toml::from_str("[data]\nvectors = '{a}/v.npy'\npath = ['{a}/1', 'plain {a}']").unwrap();
        sources.fill(&mut table).unwrap();
        assert_eq!(table["data"]["vectors"].as_str(), Some("/x/y/v.npy"));
        assert_eq!(table["data"]["path"][1].as_str(), Some("plain {a}"));
        let mut table: toml::Table = toml::from_str("x = '{b}/v.npy'").unwrap();
        assert!(sources.fill(&mut table).unwrap_err().to_string().contains("\"b\""));
    }
}
