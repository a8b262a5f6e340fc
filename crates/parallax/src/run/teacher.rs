//! A teacher: a model that embeds the training texts once and says how near they are to one another.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parallax_data::sampler::text_hash;
use parallax_data::{NpyWriter, Vectors};
use parallax_eval::Similarity;
use parallax_nn::{LoadOptions, Role, SentenceEncoder, cpu};
use parallax_train::Taught;
use sha2::{Digest, Sha256};

use super::Event;
use super::adapt::normalize;
use super::start::{add_weights, hex};
use crate::config::RunConfig;
use crate::dataset::{Dataset, Reader};
use crate::error::{Error, Result};
use crate::evaluate::own_similarity;

/// Rows embedded between two looks at whether to stop; bounds the texts that are held at once.
const CHUNK: usize = 4096;

/// What the files of its embeddings are called in a run's folder.
const FILE: (&str, &str) = ("teacher-", ".npy");

/// A teacher of the rows of a run.
pub(super) struct Teacher<'a> {
    data: &'a Dataset,
    encoder: SentenceEncoder,
    reader: Reader,
    batch_tokens: usize,
    /// Whether its embeddings are normalised: it compares by cosine.
    unit: bool,
    /// SHA-256 of all that its embeddings depend on but the texts.
    digest: String,
    stored: OnceLock<Stored>,
}

/// The embeddings of all training texts.
struct Stored {
    vectors: Vectors,
    /// The row of each text, by its side and its hash.
    rows: HashMap<(Role, u64), u32>,
}

impl<'a> Teacher<'a> {
    /// The teacher that a run asks for.
    ///
    /// # Errors
    /// A model that cannot be had or that does not read texts, and rows without texts.
    pub(super) fn load(
        config: &RunConfig,
        data: &'a Dataset,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Option<Self>> {
        let Some(start) = &config.teacher else { return Ok(None) };
        if data.vector_dim().is_some() {
            let what = "[teacher] reads texts, and the rows are stored vectors";
            return Err(Error::setting_with(what, "take out [teacher]"));
        }
        let path = crate::models::resolve(&start.path, &mut |message| {
            on_event(&Event::Message(message.to_string()));
        })?;
        let load =
            LoadOptions { pooling: start.pooling, max_tokens: start.max_tokens, precision: start.precision };
        let encoder = SentenceEncoder::load(&path, &load, &cpu())?;
        let reader = data.reader(&encoder, start.prompt.as_deref())?;
        if encoder.text().is_none() {
            let what = format!("the teacher {} reads stored vectors, not texts", start.path);
            return Err(Error::setting_with(what, "set teacher.path to a model of texts"));
        }
        let mut hash = Sha256::new();
        hash.update(format!("{start:?}"));
        add_weights(&mut hash, &encoder);
        Ok(Some(Teacher {
            data,
            unit: own_similarity(&encoder)? != Similarity::Dot,
            encoder,
            reader,
            batch_tokens: config.evaluate.batch_tokens,
            digest: hex(hash),
            stored: OnceLock::new(),
        }))
    }

    /// What tells it from other teachers.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Embeds every text of these rows once, into a file of the run's folder, or finds the file of an earlier part of the run.
    ///
    /// # Errors
    /// A text that cannot be read or embedded, a folder that cannot be written to, a stop from outside.
    pub(super) fn prepare(
        &self,
        rows: &[u32],
        folder: &Path,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<()> {
        let mut hash = Sha256::new();
        hash.update(&self.digest);
        hash.update(self.data.sha256()?);
        rows.iter().for_each(|row| hash.update(row.to_le_bytes()));
        let path = folder.join(format!("{}{}{}", FILE.0, &hex(hash)[..16], FILE.1));
        let mut file = match path.exists() {
            true => None,
            false => Some(NpyWriter::create(&path, self.encoder.dim())?),
        };
        let begun = Instant::now();
        let (mut places, mut done) = (HashMap::new(), 0);
        for chunk in rows.chunks(CHUNK) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            for (side, texts) in self.texts(chunk)? {
                let mut new = Vec::new();
                for text in texts {
                    let next = places.len() as u32;
                    places.entry((side, text_hash(&text))).or_insert_with(|| {
                        new.push(text);
                        next
                    });
                }
                if let Some(file) = &mut file {
                    file.push_rows(&self.embed(side, &new)?)?;
                }
            }
            done += chunk.len();
            if file.is_some() {
                let left = begun.elapsed().as_secs_f64() / done as f64 * (rows.len() - done) as f64;
                let what = "rows embedded by the teacher".to_owned();
                on_event(&Event::Progress { what, done: done as u64, total: rows.len() as u64, left });
            }
        }
        if let Some(file) = file {
            file.finish()?;
        }
        let vectors = Vectors::open(&path)?;
        on_event(&Event::Message(format!(
            "teacher: {} texts of {} dimensions",
            vectors.rows(),
            vectors.dim()
        )));
        if vectors.rows() != places.len() || vectors.dim() != self.encoder.dim() {
            let what = format!("{} does not hold the embeddings of the training texts", path.display());
            return Err(Error::setting_with(what, "remove it, and it is made again"));
        }
        let _ = self.stored.set(Stored { vectors, rows: places });
        Ok(())
    }

    /// A batch as the teacher embeds it.
    pub(super) fn taught(&self, rows: &[u32]) -> Result<Taught> {
        let [anchors, others] = self.texts(rows)?;
        Ok(Taught { x: self.vectors(&anchors)?, r: self.vectors(&others)?, dim: self.encoder.dim() })
    }

    /// Anchors as queries; positives, and then negatives row by row, as documents. A model with one side embeds all alike.
    fn texts(&self, rows: &[u32]) -> Result<[(Role, Vec<String>); 2]> {
        let (own, other) = self.data.columns();
        let anchors = self.data.texts(own, rows)?;
        let mut others = other.map_or_else(|| Ok(Vec::new()), |column| self.data.texts(column, rows))?;
        for &row in rows {
            others.extend(self.data.negatives(row)?);
        }
        let side = if self.encoder.two_sided() { Role::Document } else { Role::Query };
        Ok([(Role::Query, anchors), (side, others)])
    }

    /// Embeddings of texts: those that are stored, or else computed.
    fn vectors(&self, (side, texts): &(Role, Vec<String>)) -> Result<Vec<f32>> {
        let Some(Stored { vectors, rows }) = self.stored.get() else { return self.embed(*side, texts) };
        let found = texts.iter().map(|text| rows.get(&(*side, text_hash(text))).copied());
        let Some(found) = found.collect::<Option<Vec<u32>>>() else { return self.embed(*side, texts) };
        let mut values = vec![0.0; found.len() * vectors.dim()];
        vectors.read_rows(&found, &mut values);
        Ok(values)
    }

    fn embed(&self, side: Role, texts: &[String]) -> Result<Vec<f32>> {
        let inputs = self.reader.tokenize(texts)?;
        let mut values = self.encoder.embed_as(side, &inputs, self.batch_tokens, |_| ())?;
        if self.unit {
            values.chunks_exact_mut(self.encoder.dim()).for_each(normalize);
        }
        Ok(values)
    }
}

/// Removes what a teacher left in a run's folder.
pub(super) fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(FILE.0) && name.ends_with(FILE.1)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
