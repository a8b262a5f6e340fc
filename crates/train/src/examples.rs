//! What a step is made of.

use parallax_nn::Input;

use crate::Result;

/// One training row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text or vector itself; of a pair, its first side.
    pub anchor: Input,
    /// Of a pair, the side that belongs to the anchor.
    pub positive: Option<Input>,
    /// Of a pair, texts that do not belong to the anchor, with a label each (see [`Examples::labels`]).
    pub negatives: Vec<(Input, u32)>,
}

/// Scores of rows: one for each pair, or one for each candidate of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowScores<'a> {
    /// `[rows, each]`; of a list the score of the positive first, then those of the negatives in their order.
    pub values: &'a [f64],
    /// Scores of a row.
    pub each: usize,
}

impl RowScores<'_> {
    /// The scores of these rows, in this order.
    pub(crate) fn select(&self, rows: &[u32]) -> Vec<f64> {
        rows.iter().flat_map(|&row| &self.values[row as usize * self.each..][..self.each]).copied().collect()
    }
}

/// A batch as a teacher embeds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taught {
    /// The anchors, `[B, dim]`.
    pub x: Vec<f32>,
    /// Their positives and then all negatives, row by row, `[R, dim]`.
    pub r: Vec<f32>,
    /// Dimension of the teacher.
    pub dim: usize,
}

impl Taught {
    /// The inner product of every anchor with its positive and with its `negatives` negatives, `[rows, 1 + negatives]`.
    pub(crate) fn scores(&self, rows: usize, negatives: usize) -> Vec<f64> {
        let dot = |i: usize, j: usize| -> f64 {
            let (x, r) = (&self.x[i * self.dim..][..self.dim], &self.r[j * self.dim..][..self.dim]);
            x.iter().zip(r).map(|(x, r)| f64::from(*x) * f64::from(*r)).sum()
        };
        let candidate = |i: usize, k: usize| if k == 0 { i } else { rows + i * negatives + k - 1 };
        (0..rows)
            .flat_map(|i| (0..=negatives).map(move |k| (i, k)))
            .map(|(i, k)| dot(i, candidate(i, k)))
            .collect()
    }
}

/// The training rows, fetched by number when a batch needs them, so that texts can stay on disk.
pub trait Examples: Sync {
    /// The class of every row, from 0 to the number of classes without a gap, so that proxies can stand for them. For pairs:
    /// rows that share a text have the same number, so that they are not taken for each other's negatives.
    fn labels(&self) -> &[u32];

    /// Whether rows are pairs.
    fn paired(&self) -> bool;

    /// The scores of every row, for pairs that have some.
    fn scores(&self) -> Option<RowScores<'_>> {
        None
    }

    /// How many negatives every row has, for pairs that all have as many.
    fn negatives(&self) -> Option<usize> {
        None
    }

    /// Whether a teacher embeds the rows.
    fn has_teacher(&self) -> bool {
        false
    }

    /// The rows with these numbers, in this order.
    ///
    /// # Errors
    /// A row that cannot be read.
    fn fetch(&self, rows: &[u32]) -> Result<Vec<Example>>;

    /// The same rows as a teacher embeds them, normalised if it compares by cosine; asked for where there is one.
    ///
    /// # Errors
    /// A row that cannot be read or embedded.
    fn taught(&self, rows: &[u32]) -> Result<Option<Taught>> {
        let _ = rows;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_teacher_are_inner_products() {
        let taught = Taught { x: vec![1.0, 0.0, 0.0, 2.0], r: (0..12).map(|i| i as f32).collect(), dim: 2 };
        // Positives (0, 1) and (2, 3); negatives (4, 5), (6, 7) of the first and (8, 9), (10, 11) of the second.
        assert_eq!(taught.scores(2, 2), [0.0, 4.0, 6.0, 6.0, 18.0, 22.0]);
        assert_eq!(taught.scores(2, 0), [0.0, 6.0]);
    }

    #[test]
    fn scores_go_with_their_rows() {
        let scores = RowScores { values: &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], each: 2 };
        assert_eq!(scores.select(&[2, 0]), [4.0, 5.0, 0.0, 1.0]);
    }
}
