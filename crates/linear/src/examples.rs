//! What a map is fitted to: rows with labels, or pairs.

use rayon::prelude::*;

use crate::Error;

/// Vectors with what is known about them. All are row-major and share one row length.
///
/// Fits take the rows as they are. Where the map serves a search by cosine, give rows of length 1, as the search
/// sees them; otherwise long rows count more than short ones.
#[derive(Clone, Copy, Debug)]
pub enum Examples<'a> {
    /// Rows and their classes.
    Labelled {
        /// `[n, dim]`.
        vectors: &'a [f32],
        /// `[n]`; rows with the same label should be near each other.
        labels: &'a [u32],
        /// Numbers a row.
        dim: usize,
    },
    /// Row `i` of one set belongs to row `i` of the other, as a question to its answer.
    ///
    /// A pair is a class of two. Pairs that share an anchor or a positive, byte for byte, are one class.
    Pairs {
        /// The queries, `[n, dim]`.
        anchors: &'a [f32],
        /// What they should find, `[n, dim]`.
        positives: &'a [f32],
        /// Numbers a row.
        dim: usize,
    },
}

impl<'a> Examples<'a> {
    /// Numbers a row.
    pub fn dim(&self) -> usize {
        match *self {
            Examples::Labelled { dim, .. } | Examples::Pairs { dim, .. } => dim,
        }
    }

    /// Labelled rows, or pairs.
    pub fn len(&self) -> usize {
        match *self {
            Examples::Labelled { labels, .. } => labels.len(),
            Examples::Pairs { anchors, dim, .. } => anchors.len() / dim.max(1),
        }
    }

    /// Whether there is nothing to learn from.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks shapes and values.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let rows = self.len();
        match *self {
            Examples::Labelled { vectors, dim, .. } => {
                check_rows("vectors", vectors, rows, dim)?;
                check_finite("vectors", vectors, dim)?;
            }
            Examples::Pairs { anchors, positives, dim } => {
                check_rows("anchors", anchors, rows, dim)?;
                check_rows("positives", positives, rows, dim)?;
                check_finite("anchors", anchors, dim)?;
                check_finite("positives", positives, dim)?;
            }
        }
        if rows < 2 { Err(Error::FewRows { rows }) } else { Ok(()) }
    }

    /// The class of each labelled row, or of each pair: classes are numbered from 0 in the order of their first row.
    pub(crate) fn classes(&self) -> Vec<u32> {
        match *self {
            Examples::Labelled { labels, .. } => numbered(labels),
            Examples::Pairs { anchors, positives, dim } => {
                let mut root: Vec<u32> = (0..self.len() as u32).collect();
                join_equal(anchors, dim, &mut root);
                join_equal(positives, dim, &mut root);
                let roots: Vec<u32> = (0..root.len()).map(|i| find(&root, i as u32)).collect();
                numbered(&roots)
            }
        }
    }

    /// The vectors of example `i`: one of a labelled row, two of a pair.
    pub(crate) fn vectors_of(&self, i: usize) -> impl Iterator<Item = &'a [f32]> {
        let row = |values: &'a [f32], dim: usize| &values[i * dim..(i + 1) * dim];
        let (first, second) = match *self {
            Examples::Labelled { vectors, dim, .. } => (row(vectors, dim), None),
            Examples::Pairs { anchors, positives, dim } => (row(anchors, dim), Some(row(positives, dim))),
        };
        std::iter::once(first).chain(second)
    }
}

/// Passes if `values` holds `rows` rows of `dim`.
pub(crate) fn check_rows(set: &'static str, values: &[f32], rows: usize, dim: usize) -> Result<(), Error> {
    if dim > 0 && rows.checked_mul(dim) == Some(values.len()) {
        return Ok(());
    }
    Err(Error::Shape { set, found: values.len(), rows, dim })
}

/// Passes if no value is NaN or infinite.
pub(crate) fn check_finite(set: &'static str, values: &[f32], dim: usize) -> Result<(), Error> {
    match values.par_iter().position_first(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::NotFinite { set, row: at / dim + 1, column: at % dim + 1, value: values[at] }),
    }
}

/// Labels renumbered from 0 in the order in which they first appear.
fn numbered(labels: &[u32]) -> Vec<u32> {
    let mut numbers = std::collections::HashMap::new();
    labels
        .iter()
        .map(|label| {
            let next = numbers.len() as u32;
            *numbers.entry(*label).or_insert(next)
        })
        .collect()
}

/// The smallest member of the set of `i`. Roots only ever point to smaller numbers.
fn find(root: &[u32], mut i: u32) -> u32 {
    while root[i as usize] != i {
        i = root[i as usize];
    }
    i
}

/// Joins the sets of rows that are equal byte for byte.
fn join_equal(values: &[f32], dim: usize, root: &mut [u32]) {
    let row = |i: u32| values[i as usize * dim..][..dim].iter().map(|x| x.to_bits());
    let mut order: Vec<u32> = (0..root.len() as u32).collect();
    order.sort_by(|&i, &j| row(i).cmp(row(j)).then(i.cmp(&j)));
    for two in order.windows(2) {
        if row(two[0]).eq(row(two[1])) {
            let (a, b) = (find(root, two[0]), find(root, two[1]));
            let low = a.min(b);
            // Both ends are shortened, so that long chains of equal rows stay shallow.
            for i in [a, b, two[0], two[1]] {
                root[i as usize] = low;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_share_a_side_are_one_class() {
        let anchors = [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 1.0, 0.0, 4.0, 0.0];
        let positives = [9.0, 9.0, 8.0, 8.0, 8.0, 8.0, 7.0, 7.0, 6.0, 6.0];
        let pairs = Examples::Pairs { anchors: &anchors, positives: &positives, dim: 2 };
        assert_eq!(pairs.classes(), [0, 1, 1, 0, 2]);
        let labels = [7, 3, 7, 9];
        let rows = Examples::Labelled { vectors: &[0.0; 4], labels: &labels, dim: 1 };
        assert_eq!(rows.classes(), [0, 1, 0, 2]);
    }
}
