use std::sync::Arc;

/// Texts of similar length that are padded to one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where the group's first token stands in the flat sequence.
    pub start: usize,
    /// Padded length `L` of every text of the group.
    pub length: usize,
    /// The texts, by their place in the batch.
    pub rows: Vec<usize>,
    /// Their true lengths, in the order of `rows`.
    pub lengths: Vec<usize>,
}

impl Group {
    /// Tokens of the group in the flat sequence, padding included.
    pub fn tokens(&self) -> usize {
        self.rows.len() * self.length
    }

    /// Whether any text is shorter than the group.
    pub fn padded(&self) -> bool {
        self.lengths.iter().any(|&l| l < self.length)
    }
}

/// How the texts of a batch lie in one flat sequence of tokens `[N, D]`.
///
/// Texts are sorted by length and cut into groups, in one of two ways: such that padding adds at most a fifth (or the group
/// is small), or without any padding, for operations that read where each text begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    groups: Vec<Group>,
    texts: usize,
    first_row: usize,
}

/// Below this many tokens a group is not worth its own attention call.
const SMALL: usize = 256;

impl Layout {
    /// Lays out texts of the given lengths (each at least 1).
    pub fn new(lengths: &[usize]) -> Self {
        Layout::grouped(lengths, |tokens, real| tokens <= SMALL || tokens * 5 <= real * 6)
    }

    /// The same without padding: the texts of a group have one length.
    pub fn packed(lengths: &[usize]) -> Self {
        Layout::grouped(lengths, |tokens, real| tokens == real)
    }

    /// `fits` is asked whether a group may grow to so many tokens, padding included, and so many without.
    fn grouped(lengths: &[usize], fits: impl Fn(usize, usize) -> bool) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
        let mut groups: Vec<Group> = Vec::new();
        let mut real = 0;
        for row in order {
            let length = lengths[row];
            if let Some(group) = groups.last_mut()
                && fits(group.tokens() + group.length, real + length)
            {
                group.rows.push(row);
                group.lengths.push(length);
                real += length;
                continue;
            }
            let start = groups.last().map_or(0, |g| g.start + g.tokens());
            groups.push(Group { start, length, rows: vec![row], lengths: vec![length] });
            real = length;
        }
        Layout { groups, texts: lengths.len(), first_row: 0 }
    }

    /// The same layout of a part of a batch, whose first text is row `first` of the whole.
    pub fn from_row(self, first: usize) -> Self {
        Layout { first_row: first, ..self }
    }

    /// The row of the first text in the whole batch; 0 unless this is a part of one.
    pub fn first_row(&self) -> usize {
        self.first_row
    }

    /// The groups, longest first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Texts in the batch.
    pub fn texts(&self) -> usize {
        self.texts
    }

    /// Tokens in the flat sequence, padding included: `N`.
    pub fn tokens(&self) -> usize {
        self.groups.last().map_or(0, |g| g.start + g.tokens())
    }

    /// The texts in the order of the groups, by their place in the batch.
    pub fn rows(&self) -> Arc<[usize]> {
        self.groups.iter().flat_map(|group| &group.rows).copied().collect()
    }

    /// Where each text begins in the flat sequence, in the order of the groups, and where the last ends; `None` if there is
    /// padding.
    pub fn offsets(&self) -> Option<Arc<[usize]>> {
        if self.groups.iter().any(Group::padded) {
            return None;
        }
        let mut offsets = vec![0];
        for group in &self.groups {
            offsets.extend((1..=group.rows.len()).map(|text| group.start + text * group.length));
        }
        Some(offsets.into())
    }

    /// For every text, its place in the order of the groups: the permutation that undoes the sorting.
    pub fn restore(&self) -> Vec<usize> {
        let mut place = vec![0; self.texts];
        for (at, row) in self.groups.iter().flat_map(|g| &g.rows).enumerate() {
            place[*row] = at;
        }
        place
    }

    /// (row of the whole batch, position) of every token of the flat sequence, padding included.
    pub fn places(&self) -> Vec<(usize, usize)> {
        let mut places = Vec::with_capacity(self.tokens());
        for group in &self.groups {
            for row in group.rows.iter().map(|row| self.first_row + row) {
                places.extend((0..group.length).map(|position| (row, position)));
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn every_text_has_its_tokens_once() {
        let lengths: Vec<usize> = (0..200).map(|i| 1 + (i * i * 7) % 97).collect();
        let layout = Layout::new(&lengths);
        let mut seen = vec![0; lengths.len()];
        for group in layout.groups() {
            for (row, length) in group.rows.iter().zip(&group.lengths) {
                assert_eq!(lengths[*row], *length);
                assert!(*length <= group.length);
                seen[*row] += 1;
            }
        }
        assert!(seen.iter().all(|&n| n == 1));
        let real: usize = lengths.iter().sum();
        assert!(layout.tokens() * 4 < real * 5, "{} tokens for {real}", layout.tokens());
        let order: Vec<usize> = layout.groups().iter().flat_map(|g| g.rows.clone()).collect();
        let restore = layout.restore();
        assert!((0..lengths.len()).all(|row| order[restore[row]] == row));
        assert_eq!(layout.places().len(), layout.tokens());
    }

    #[test]
    fn a_packed_batch_has_no_padding() {
        let layout = Layout::packed(&[3, 5, 3, 1]);
        assert_eq!(layout.tokens(), 12);
        assert_eq!(layout.rows().as_ref(), [1, 0, 2, 3]);
        assert_eq!(layout.offsets().unwrap().as_ref(), [0, 5, 8, 11, 12]);
        assert_eq!(layout.places()[8..], [(2, 0), (2, 1), (2, 2), (3, 0)]);
        assert_eq!(Layout::new(&[3, 5]).offsets(), None);
        assert_eq!(Layout::packed(&[]).offsets().unwrap().as_ref(), [0]);
    }

    #[test]
    fn an_empty_batch_has_no_tokens() {
        assert_eq!(Layout::new(&[]).tokens(), 0);
    }
}
