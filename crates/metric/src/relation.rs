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
pub(crate) struct Relation<'a> {
    labels: &'a [u32],
    columns: &'a [u32],
    /// Columns by label, and in order within a label.
    by_label: Vec<u32>,
    rule: Rule<'a>,
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
    /// Room for `columns` entries.
    pub(crate) fn new(columns: usize) -> Self {
        Candidates {
            column: vec![0; columns],
            value: vec![T::ZERO; columns],
            slope: vec![T::ZERO; columns],
            len: 0,
        }
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

    #[inline]
    fn push(&mut self, column: usize, value: T) {
        self.column[self.len] = column as u32;
        self.value[self.len] = value;
        self.len += 1;
    }

    /// Appends the columns from `first` with their values.
    #[inline]
    fn extend(&mut self, first: usize, values: &[T]) {
        let to = self.len..self.len + values.len();
        self.value[to.clone()].copy_from_slice(values);
        self.column[to.clone()].iter_mut().zip(first as u32..).for_each(|(to, column)| *to = column);
        self.len = to.end;
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

impl<'a> Relation<'a> {
    pub(crate) fn new(labels: &'a [u32], columns: &'a [u32], rule: Rule<'a>) -> Self {
        let mut by_label: Vec<u32> = (0..columns.len() as u32).collect();
        by_label.sort_by_key(|&column| columns[column as usize]);
        Relation { labels, columns, by_label, rule }
    }

    /// The column that is anchor `i` itself.
    pub(crate) fn itself(&self, i: usize) -> Option<usize> {
        match self.rule {
            Rule::Itself => Some(i),
            Rule::Own(Own::Item(own)) => own[i].map(|c| c as usize),
            Rule::Own(Own::None | Own::Positive) => None,
        }
    }

    /// The columns with the label of anchor `i`, in order.
    fn same(&self, i: usize) -> &[u32] {
        let label = self.labels[i];
        let of = |column: &u32| self.columns[*column as usize];
        let from = self.by_label.partition_point(|column| of(column) < label);
        let rest = &self.by_label[from..];
        &rest[..rest.partition_point(|column| of(column) == label)]
    }

    /// Sorts the row of anchor `i` into positives and negatives; returns how many false negatives were masked.
    ///
    /// Negatives are what lies between the columns of the anchor's label, copied in runs.
    pub(crate) fn gather<T: Real>(
        &self,
        i: usize,
        row: &[T],
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> u64 {
        (positives.len, negatives.len) = (0, 0);
        let same = self.same(i);
        let paired = matches!(self.rule, Rule::Own(Own::Positive));
        // No negative, whatever its label.
        let own = if paired { Some(i) } else { self.itself(i) };
        let mut end = 0;
        let mut skip = |column: usize| {
            negatives.extend(end, &row[end..column]);
            end = column + 1;
        };
        let mut own_ahead = own;
        for &column in same {
            let column = column as usize;
            if let Some(own) = own_ahead.filter(|&own| own <= column) {
                own_ahead = None;
                if own < column {
                    skip(own);
                }
            }
            skip(column);
            if !paired && own != Some(column) {
                positives.push(column, row[column]);
            }
        }
        if let Some(own) = own_ahead {
            skip(own);
        }
        negatives.extend(end, &row[end..]);
        if !paired {
            return 0;
        }
        positives.push(i, row[i]);
        (row.len() - 1 - negatives.len) as u64
    }
}
