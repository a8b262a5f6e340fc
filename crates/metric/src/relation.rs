//! Which references are positives and negatives of an anchor.

use parallax_kernels::Real;

use crate::row::Pairs;

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
    /// These (anchor, reference) pairs are the positives, sorted, each once: several positives for an anchor, or several
    /// anchors for a reference. Every other reference is a negative, except those with the anchor's label, which are
    /// masked. Anchors without an entry have no positive.
    Pairs(&'a [(u32, u32)]),
}

impl Own<'_> {
    /// Whether positives are named one by one, so that equal labels mean false negatives.
    pub(crate) fn paired(self) -> bool {
        matches!(self, Own::Positive | Own::Pairs(_))
    }
}

/// Which negatives are taken for false ones and masked, beside those with the anchor's label.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Screen {
    /// Negatives with a similarity to the anchor of at least this; for normalised similarities only.
    pub above: Option<f64>,
    /// Negatives that the teacher scores higher than the anchor's best positive plus this.
    pub teacher: Option<f64>,
}

/// The relations of a batch.
pub(crate) struct Relation<'a> {
    pub(crate) labels: &'a [u32],
    columns: &'a [u32],
    /// Distinct labels of the columns, sorted.
    classes: Vec<u32>,
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

    /// Columns, values and slopes.
    pub(crate) fn parts(&mut self) -> (&[u32], &[T], &mut [T]) {
        (&self.column[..self.len], &self.value[..self.len], &mut self.slope[..self.len])
    }

    /// Writes the slopes to their columns, in runs where columns follow one another.
    pub(crate) fn scatter(&self, to: &mut [T]) {
        const RUN: usize = 64;
        let columns = self.column[..self.len].chunks(RUN);
        for (columns, slopes) in columns.zip(self.slope[..self.len].chunks(RUN)) {
            let (first, last) = (columns[0] as usize, columns[columns.len() - 1] as usize);
            if last >= first && last - first == columns.len() - 1 {
                to[first..=last].copy_from_slice(slopes);
            } else {
                columns.iter().zip(slopes).for_each(|(&c, &d)| to[c as usize] = d);
            }
        }
    }

    /// Holds these columns with values by `value`, and nothing else.
    pub(crate) fn fill_with(&mut self, columns: impl Iterator<Item = u32>, value: impl Fn(u32) -> T) {
        self.len = 0;
        for column in columns {
            self.push(column as usize, value(column));
        }
    }

    /// Holds nothing.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
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
        self.retain_entries(|_, _, value| keep(value));
    }

    /// Keeps the entries that pass, given their position, column and value.
    pub(crate) fn retain_entries(&mut self, mut keep: impl FnMut(usize, u32, T) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            let (column, value) = (self.column[i], self.value[i]);
            self.column[kept] = column;
            self.value[kept] = value;
            kept += usize::from(keep(i, column, value));
        }
        self.len = kept;
    }

    /// Keeps one entry, or none.
    pub(crate) fn keep_only(&mut self, entry: Option<usize>) {
        if let Some(entry) = entry {
            self.column[0] = self.column[entry];
            self.value[0] = self.value[entry];
        }
        self.len = usize::from(entry.is_some());
    }
}

impl<'a> Relation<'a> {
    pub(crate) fn new(labels: &'a [u32], columns: &'a [u32], rule: Rule<'a>) -> Self {
        let mut by_label: Vec<u32> = (0..columns.len() as u32).collect();
        by_label.sort_by_key(|&column| columns[column as usize]);
        let mut classes: Vec<u32> = by_label.iter().map(|&column| columns[column as usize]).collect();
        classes.dedup();
        Relation { labels, columns, classes, by_label, rule }
    }

    /// The rank of the class of anchor `i` among those of the columns.
    pub(crate) fn class(&self, i: usize) -> u32 {
        let label = self.labels[i];
        self.classes.partition_point(|&class| class < label) as u32
    }

    /// Whether column `j` is row `j` of the batch.
    pub(crate) fn columns_are_rows(&self) -> bool {
        matches!(self.rule, Rule::Itself)
    }

    /// Positive and negative pairs, where labels alone decide.
    pub(crate) fn pairs(&self) -> Option<Pairs> {
        if let Rule::Own(Own::Positive | Own::Pairs(_)) = self.rule {
            return None;
        }
        let mut pairs = Pairs::default();
        for i in 0..self.labels.len() {
            let same = self.same(i);
            pairs.negative += (self.columns.len() - same.len()) as u64;
            pairs.positive += same.len() as u64;
            if let Some(own) = self.itself(i) {
                if self.columns[own] == self.labels[i] { pairs.positive -= 1 } else { pairs.negative -= 1 }
            }
        }
        Some(pairs)
    }

    /// The column that is anchor `i` itself.
    pub(crate) fn itself(&self, i: usize) -> Option<usize> {
        match self.rule {
            Rule::Itself => Some(i),
            Rule::Own(Own::Item(own)) => own[i].map(|c| c as usize),
            Rule::Own(Own::None | Own::Positive | Own::Pairs(_)) => None,
        }
    }

    /// The columns with the label of anchor `i`, in order.
    pub(crate) fn same(&self, i: usize) -> &[u32] {
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
        let named = match self.rule {
            Rule::Own(Own::Pairs(pairs)) => named(pairs, i),
            _ => &[],
        };
        let paired = matches!(self.rule, Rule::Own(own) if own.paired());
        // Columns that are no negatives whatever their label: the anchor itself, or its named positives.
        let one = match self.rule {
            Rule::Own(Own::Positive) => Some(i),
            _ => self.itself(i),
        };
        let own = one.into_iter().chain(named.iter().map(|&(_, column)| column as usize));
        let mut end = 0;
        let mut skip = |column: usize| {
            negatives.extend(end, &row[end..column]);
            end = column + 1;
        };
        let mut ahead = own.clone().peekable();
        for &column in same {
            let column = column as usize;
            while let Some(own) = ahead.next_if(|&own| own < column) {
                skip(own);
            }
            let itself = ahead.next_if_eq(&column).is_some();
            skip(column);
            if !paired && !itself {
                positives.push(column, row[column]);
            }
        }
        for own in ahead {
            skip(own);
        }
        negatives.extend(end, &row[end..]);
        if !paired {
            return 0;
        }
        for own in own {
            positives.push(own, row[own]);
        }
        (row.len() - positives.len - negatives.len) as u64
    }
}

/// The entries of anchor `i` in a sorted list.
fn named(pairs: &[(u32, u32)], i: usize) -> &[(u32, u32)] {
    let from = pairs.partition_point(|pair| (pair.0 as usize) < i);
    let rest = &pairs[from..];
    &rest[..rest.partition_point(|pair| pair.0 as usize == i)]
}
