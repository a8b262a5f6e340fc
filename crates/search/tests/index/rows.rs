//! Made-up rows, and searching them the slow way.

use std::path::Path;

use parallax_random::Key;
use parallax_search::{Attributes, Batch, IndexConfig, IndexWriter, Similarity};
use serde_json::{Value, json};

pub(crate) struct Rows {
    pub(crate) dim: usize,
    pub(crate) vectors: Vec<f32>,
    pub(crate) ids: Vec<String>,
    pub(crate) texts: Vec<String>,
    pub(crate) attributes: Vec<Attributes>,
}

/// What the values of a vector are drawn from.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    Normal,
    /// Whole numbers from −2 to 2, whose sums are exact and often tie.
    Whole,
}

pub(crate) fn vectors(key: Key, count: usize, dim: usize, draw: Draw) -> Vec<f32> {
    (0..(count * dim) as u64)
        .map(|i| match draw {
            Draw::Normal => key.normal(i) as f32,
            Draw::Whole => key.below(i, 5) as f32 - 2.0,
        })
        .collect()
}

impl Rows {
    /// Row `i` has a topic, a price or none, a weight, a flag or none, and every seventh has a zero vector.
    pub(crate) fn new(key: Key, count: usize, dim: usize, draw: Draw) -> Rows {
        let mut vectors = vectors(key.named("vectors"), count, dim, draw);
        (0..count).step_by(7).for_each(|row| vectors[row * dim..(row + 1) * dim].fill(0.0));
        let attributes = (0..count as u64)
            .map(|i| {
                let mut object = Attributes::new();
                let key = key.named("attributes").at(i);
                object.insert(
                    "topic".into(),
                    ["billing", "access", "delivery", "größe"][key.below(0, 4)].into(),
                );
                if key.uniform(1) < 0.8 {
                    object.insert("price".into(), (key.below(2, 20) as i64 - 5).into());
                }
                object.insert("weight".into(), json!((key.uniform(3) * 64.0).round() / 8.0));
                if key.uniform(4) < 0.9 {
                    object.insert("archived".into(), (key.uniform(5) < 0.3).into());
                } else {
                    object.insert("archived".into(), Value::Null);
                }
                object
            })
            .collect();
        Rows {
            dim,
            vectors,
            ids: (0..count).map(|i| format!("doc-{i}")).collect(),
            texts: (0..count)
                .map(|i| if i % 5 == 0 { String::new() } else { format!("text № {i}") })
                .collect(),
            attributes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn vector(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.dim..(row + 1) * self.dim]
    }

    pub(crate) fn batch(&self, from: usize, to: usize) -> Batch<'_> {
        Batch {
            vectors: &self.vectors[from * self.dim..to * self.dim],
            ids: &self.ids[from..to],
            texts: &self.texts[from..to],
            attributes: &self.attributes[from..to],
        }
    }

    /// Writes all rows in batches, in segments of `segment_rows`.
    pub(crate) fn write(&self, path: &Path, similarity: Similarity, segment_rows: usize, batch: usize) {
        let config = IndexConfig { similarity, segment_rows, ..Default::default() };
        let mut writer = IndexWriter::create(path, config).unwrap();
        for from in (0..self.len()).step_by(batch) {
            writer.add(self.batch(from, (from + batch).min(self.len()))).unwrap();
        }
        writer.finish().unwrap();
    }
}

/// The score by its definition, in 64 bits.
pub(crate) fn score(similarity: Similarity, x: &[f32], y: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    match similarity {
        Similarity::Dot => dot(x, y),
        Similarity::Euclidean => {
            -x.iter().zip(y).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        }
        Similarity::Cosine => {
            let norms = (dot(x, x) * dot(y, y)).sqrt();
            if norms == 0.0 { 0.0 } else { dot(x, y) / norms }
        }
        Similarity::Hamming => {
            -(x.iter().zip(y).filter(|(a, b)| (**a >= 0.0) != (**b >= 0.0)).count() as f64)
        }
    }
}

/// The best `k` of the rows for which `keep` holds, ties in the order of rows.
pub(crate) fn best(
    rows: &Rows,
    similarity: Similarity,
    query: &[f32],
    k: usize,
    keep: impl Fn(usize) -> bool,
) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = (0..rows.len())
        .filter(|row| keep(*row))
        .map(|row| (row, score(similarity, query, rows.vector(row)) + 0.0)) // + 0.0 makes −0 into 0.
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}
