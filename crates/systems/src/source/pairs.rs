use std::collections::HashSet;
use std::path::PathBuf;

use parallax::Model;
use parallax_data::{Table, TableOptions};
use serde::{Deserialize, Serialize};

use super::{bytes, given, made, write_vectors};
use crate::{Error, Result};

/// The same texts in two tables, row by row: sentences and their translations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// Tables without a header, in `PARALLAX_DATA`, whose columns hold the anchors.
    pub anchors: Vec<String>,
    /// Tables of the same rows, whose columns hold the texts that belong to them.
    pub positives: Vec<String>,
    /// Where they are published.
    pub published: String,
    /// How many columns, from the first, hold texts.
    pub columns: usize,
    /// The model.
    pub model: String,
}

impl Pairs {
    pub(super) fn open(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let find = |tables: &[String]| -> Result<Vec<PathBuf>> {
            tables.iter().map(|table| given(table, &self.published)).collect()
        };
        let (anchors, positives) = (find(&self.anchors)?, find(&self.positives)?);
        let model = parallax::models::resolve(&self.model, &mut |progress| tell(&progress.to_string()))?;
        let mut of = vec![self.columns.to_string().into_bytes()];
        for path in anchors.iter().chain(&positives).chain([&model.join("model.safetensors")]) {
            of.push(bytes(path)?);
        }
        let of: Vec<&[u8]> = of.iter().map(Vec::as_slice).collect();
        made("pairs", &of, |folder| {
            let options = TableOptions { header: Some(Vec::new()), ..TableOptions::default() };
            let texts = |paths: &[PathBuf]| -> Result<Vec<String>> {
                let table = Table::open(paths, &options)?;
                let columns: Vec<Vec<String>> =
                    (0..self.columns).map(|at| table.texts(at)).collect::<Result<_, _>>()?;
                Ok(columns.concat())
            };
            let (anchors, positives) = (texts(&anchors)?, texts(&positives)?);
            if anchors.len() != positives.len() {
                let what = format!("{} anchors stand beside {} positives", anchors.len(), positives.len());
                return Err(Error::recipe("sources", what));
            }
            // A text that comes again would be its own wrong answer.
            let (mut seen, mut other) = (HashSet::new(), HashSet::new());
            let kept: Vec<(&String, &String)> = anchors
                .iter()
                .zip(&positives)
                .filter(|(a, p)| {
                    !seen.contains(a) && !other.contains(p) && seen.insert(*a) && other.insert(*p)
                })
                .collect();
            tell(&format!("embedding {} pairs of texts with {}", kept.len(), self.model));
            let model = Model::load(&model)?.with_precision(parallax::Precision::F32)?;
            for (name, texts) in [
                ("anchors.npy", kept.iter().map(|pair| pair.0).collect::<Vec<_>>()),
                ("positives.npy", kept.iter().map(|pair| pair.1).collect()),
            ] {
                let vectors = model.encode(texts)?;
                write_vectors(&folder.join(name), vectors.as_slice(), vectors.dim())?;
            }
            Ok(())
        })
    }
}
