//! The training part, as the trainer sees it.

use std::collections::HashMap;

use parallax_data::sampler::text_hash;
use parallax_metric::Wants;
use parallax_metric::scored::Targets;
use parallax_train::{Example, Examples, RowScores, Taught};

use super::ground::into_training;
use super::teacher::Teacher;
use crate::dataset::{Dataset, Reader, groups};
use crate::error::Result;

/// The training part, as the trainer sees it.
pub(super) struct TrainRows<'a> {
    data: &'a Dataset,
    reader: &'a Reader,
    rows: &'a [u32],
    labels: Vec<u32>,
    /// The scores of every row, where it has some that are used, and how many a row has.
    scores: Option<(Vec<f64>, usize)>,
    /// Negatives of every row, where it counts that all have as many.
    negatives: Option<usize>,
    teacher: Option<&'a Teacher<'a>>,
    /// For pairs: hashes of both sides of every row.
    hashes: Vec<Vec<u64>>,
    /// For pairs: the group of every positive text.
    known: HashMap<u64, u32>,
}

impl<'a> TrainRows<'a> {
    pub(super) fn new(
        data: &'a Dataset,
        reader: &'a Reader,
        rows: &'a [u32],
        wants: &Wants,
        teacher: Option<&'a Teacher<'a>>,
    ) -> Result<Self> {
        let mut scores = data.scores(rows)?.map(|scores| (scores, 1));
        let mut negatives = None;
        let lists = wants.targets == Some(Targets::Lists);
        // Scores that the loss does not look at may be whatever they are.
        let scored = data.has_candidate_scores() && (lists || wants.teacher.is_some() && teacher.is_none());
        if lists || scored {
            let each = data.negatives_each(rows)?;
            negatives = Some(each);
            if scored {
                scores = data.candidate_scores(rows, each)?.map(|scores| (scores, 1 + each));
            }
        }
        let mut train = TrainRows {
            data,
            reader,
            rows,
            labels: Vec::new(),
            scores,
            negatives,
            teacher,
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

    fn scores(&self) -> Option<RowScores<'_>> {
        self.scores.as_ref().map(|(values, each)| RowScores { values, each: *each })
    }

    fn negatives(&self) -> Option<usize> {
        self.negatives
    }

    fn has_teacher(&self) -> bool {
        self.teacher.is_some()
    }

    fn taught(&self, rows: &[u32]) -> Result<Option<Taught>, parallax_train::Error> {
        let Some(teacher) = self.teacher else { return Ok(None) };
        let rows: Vec<u32> = rows.iter().map(|&row| self.rows[row as usize]).collect();
        teacher.taught(&rows).map(Some).map_err(into_training)
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
