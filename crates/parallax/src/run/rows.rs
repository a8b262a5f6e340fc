//! The training part, as the trainer sees it.

use std::collections::HashMap;

use parallax_data::sampler::text_hash;
use parallax_train::{Example, Examples};

use crate::dataset::{Dataset, Reader, groups};
use crate::error::Result;

/// The training part, as the trainer sees it.
pub(super) struct TrainRows<'a> {
    data: &'a Dataset,
    reader: &'a Reader,
    rows: &'a [u32],
    labels: Vec<u32>,
    /// For scored pairs: the score of every row.
    scores: Option<Vec<f64>>,
    /// For pairs: hashes of both sides of every row.
    hashes: Vec<Vec<u64>>,
    /// For pairs: the group of every positive text.
    known: HashMap<u64, u32>,
}

impl<'a> TrainRows<'a> {
    pub(super) fn new(data: &'a Dataset, reader: &'a Reader, rows: &'a [u32]) -> Result<Self> {
        let mut train = TrainRows {
            data,
            reader,
            rows,
            labels: Vec::new(),
            scores: data.scores(rows)?,
            hashes: Vec::new(),
            known: HashMap::new(),
        };
        match data.classes() {
            Some(labels) => train.labels = numbered(&labels.select(rows)),
            None => {
                let (anchors, positives) = data.pair_hashes(rows)?;
                train.labels = groups(&anchors, &positives);
                train.known = positives.iter().copied().zip(train.labels.iter().copied()).collect();
                train.hashes = vec![anchors, positives];
            }
        }
        Ok(train)
    }

    pub(super) fn hashes(&self) -> &[Vec<u64>] {
        &self.hashes
    }
}

/// Classes by their rank among those that occur, so that the numbers have no gap.
fn numbered(labels: &[u32]) -> Vec<u32> {
    let mut known = labels.to_vec();
    known.sort_unstable();
    known.dedup();
    labels.iter().map(|label| known.partition_point(|other| other < label) as u32).collect()
}

impl Examples for TrainRows<'_> {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn paired(&self) -> bool {
        self.data.classes().is_none()
    }

    fn scores(&self) -> Option<&[f64]> {
        self.scores.as_deref()
    }

    fn fetch(&self, rows: &[u32]) -> Result<Vec<Example>, parallax_train::Error> {
        let rows: Vec<u32> = rows.iter().map(|&row| self.rows[row as usize]).collect();
        let (own, other) = self.data.columns();
        let anchors = self.data.inputs(self.reader, own, &rows)?;
        let mut positives = match other {
            Some(column) => self.data.inputs(self.reader, column, &rows)?.into_iter().map(Some).collect(),
            None => vec![None; rows.len()],
        };
        let mut negatives = vec![Vec::new(); rows.len()];
        for (found, &row) in negatives.iter_mut().zip(&rows) {
            let texts = self.data.negatives(row)?;
            if texts.is_empty() {
                continue;
            }
            let inputs = self.reader.tokenize(&texts)?;
            let labels = texts.iter().map(|text| {
                // A negative that is some row's positive must not count against that row's group. Any other text gets a
                // number that no group has.
                let hash = text_hash(text);
                self.known.get(&hash).copied().unwrap_or(u32::MAX - (hash as u32 >> 2))
            });
            *found = inputs.into_iter().zip(labels).collect();
        }
        Ok(anchors
            .into_iter()
            .zip(positives.drain(..))
            .zip(negatives)
            .map(|((anchor, positive), negatives)| Example { anchor, positive, negatives })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn classes_are_numbered_without_a_gap() {
        assert_eq!(super::numbered(&[7, 3, 7, 9, 0]), [2, 1, 2, 3, 0]);
        assert_eq!(super::numbered(&[]), [0u32; 0]);
    }
}
