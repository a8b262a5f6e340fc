//! Which references are positives and negatives of an anchor.

use parallax_kernels::Real;

/// How references relate to anchors by their position, beside their labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own<'a> {
    /// No reference is one of the anchors: labels decide every relation (a gallery).
    #[default]
    None,
    /// Reference `own[i]` is the very same item as anchor `i`, and is no pair with it (a memory that already holds the
    /// batch). One entry an anchor.
    Item(&'a [Option<u32>]),
    /// Reference `i` is the one positive of anchor `i`. Every other reference is a negative, except those with the
    /// anchor's label: they are false negatives and are masked. References after the first `B` are hard negatives.
    Positive,
}

/// The relations of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Relation<'a> {
    pub(crate) labels: &'a [u32],
    pub(crate) columns: &'a [u32],
    pub(crate) rule: Rule<'a>,
}

/// [`Own`], and the case of a batch that is its own reference set.
#[derive(Clone, Copy)]
pub(crate) enum Rule<'a> {
    Itself,
    Own(Own<'a>),
}

/// Columns of one relation and what stands in them.
pub(crate) struct Candidates<T> {
    column: Vec<u32>,
    value: Vec<T>,
    slope: Vec<T>,
    len: usize,
}

impl<T: Real> Candidates<T> {
    /// Room for `columns` entries, and one more for the last entry that `offer` does not keep.
    pub(crate) fn new(columns: usize) -> Self {
        let room = columns + 1;
        Candidates { column: vec![0; room], value: vec![T::ZERO; room], slope: vec![T::ZERO; room], len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn columns(&self) -> &[u32] {
        &self.column[..self.len]
    }

    pub(crate) fn values(&self) -> &[T] {
        &self.value[..self.len]
    }

    pub(crate) fn slopes(&self) -> &[T] {
        &self.slope[..self.len]
    }

    /// Columns, values and zeroed slopes.
    pub(crate) fn open(&mut self) -> (&[u32], &[T], &mut [T]) {
        self.slope[..self.len].fill(T::ZERO);
        (&self.column[..self.len], &self.value[..self.len], &mut self.slope[..self.len])
    }

    /// Writes an entry and keeps it if `keep`; the write is unconditional so that the loop has no branch.
    #[inline(always)]
    fn offer(&mut self, column: usize, value: T, keep: bool) {
        self.column[self.len] = column as u32;
        self.value[self.len] = value;
        self.len += usize::from(keep);
    }

    /// Keeps the entries whose value passes.
    pub(crate) fn retain(&mut self, keep: impl Fn(T) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            let value = self.value[i];
            self.column[kept] = self.column[i];
            self.value[kept] = value;
            kept += usize::from(keep(value));
        }
        self.len = kept;
    }
}

impl Relation<'_> {
    /// The column that is anchor `i` itself.
    pub(crate) fn itself(&self, i: usize) -> Option<usize> {
        match self.rule {
            Rule::Itself => Some(i),
            Rule::Own(Own::Item(own)) => own[i].map(|c| c as usize),
            Rule::Own(Own::None | Own::Positive) => None,
        }
    }

    /// Sorts the row of anchor `i` into positives and negatives; returns how many false negatives were masked.
    pub(crate) fn gather<T: Real>(
        &self,
        i: usize,
        row: &[T],
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> u64 {
        let label = self.labels[i];
        (positives.len, negatives.len) = (0, 0);
        if let Rule::Own(Own::Positive) = self.rule {
            positives.offer(i, row[i], true);
            for (j, (&value, &other)) in row.iter().zip(self.columns).enumerate() {
                negatives.offer(j, value, other != label && j != i);
            }
            return (row.len() - 1 - negatives.len) as u64;
        }
        let itself = self.itself(i);
        let end = itself.unwrap_or(row.len());
        let mut sort = |from: usize, to: usize| {
            for (j, (&value, &other)) in row[from..to].iter().zip(&self.columns[from..to]).enumerate() {
                positives.offer(from + j, value, other == label);
                negatives.offer(from + j, value, other != label);
            }
        };
        sort(0, end);
        if itself.is_some() {
            sort(end + 1, row.len());
        }
        0
    }
}
