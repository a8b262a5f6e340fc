use std::path::PathBuf;

use parallax::Model;
use parallax_data::{Table, TableOptions};
use serde::{Deserialize, Serialize};

use super::{bytes, given, made, write_labels, write_vectors};
use crate::{Error, Result};

/// Texts of tables as a model embeds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// The tables, in `PARALLAX_DATA`; their rows one after another.
    pub tables: Vec<String>,
    /// Where they are published.
    pub published: String,
    /// The column of the text.
    pub text: String,
    /// The column of the class; classes are numbered in alphabetical order.
    pub label: String,
    /// The model.
    pub model: String,
    /// Classes that become one class, 1, against all others, 0; every class by itself where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positive: Vec<String>,
}

impl Embedded {
    pub(super) fn open(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let paths: Vec<PathBuf> =
            self.tables.iter().map(|table| given(table, &self.published)).collect::<Result<_>>()?;
        let model = parallax::models::resolve(&self.model, &mut |progress| tell(&progress.to_string()))?;
        let mut of = vec![format!("{} {} {:?}", self.text, self.label, self.positive).into_bytes()];
        for path in paths.iter().chain([&model.join("model.safetensors")]) {
            of.push(bytes(path)?);
        }
        let of: Vec<&[u8]> = of.iter().map(Vec::as_slice).collect();
        made("embedded", &of, |folder| {
            let table = Table::open(&paths, &TableOptions::default())?;
            let texts = table.texts(table.column(&self.text)?)?;
            let names = table.texts(table.column(&self.label)?)?;
            tell(&format!("embedding {} texts with {}", texts.len(), self.model));
            let vectors = Model::load(&model)?.with_precision(parallax::Precision::F32)?.encode(&texts)?;
            let mut known = names.clone();
            known.sort_unstable();
            known.dedup();
            for name in &self.positive {
                if !known.contains(name) {
                    return Err(Error::recipe("sources", format!("no row has the class \"{name}\"")));
                }
            }
            let label = |name: &String| match self.positive.is_empty() {
                true => known.partition_point(|other| other < name) as i64,
                false => i64::from(self.positive.contains(name)),
            };
            let labels: Vec<i64> = names.iter().map(label).collect();
            write_vectors(&folder.join("vectors.npy"), vectors.as_slice(), vectors.dim())?;
            write_labels(&folder.join("labels.npy"), &labels)
        })
    }
}
