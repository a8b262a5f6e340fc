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
/// Texts are sorted by length and cut into groups such that padding adds at most a fifth (or the group is small).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    groups: Vec<Group>,
    texts: usize,
}

/// Below this many tokens a group is not worth its own attention call.
const SMALL: usize = 256;

impl Layout {
    /// Lays out texts of the given lengths (each at least 1).
    pub fn new(lengths: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
        let mut groups: Vec<Group> = Vec::new();
        let mut real = 0;
        for row in order {
            let length = lengths[row];
            if let Some(group) = groups.last_mut() {
                let padded = group.tokens() + group.length;
                if padded <= SMALL || padded * 5 <= (real + length) * 6 {
                    group.rows.push(row);
                    group.lengths.push(length);
                    real += length;
                    continue;
                }
            }
            let start = groups.last().map_or(0, |g| g.start + g.tokens());
            groups.push(Group { start, length, rows: vec![row], lengths: vec![length] });
            real = length;
        }
        Layout { groups, texts: lengths.len() }
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

    /// For every text, its place in the order of the groups: the permutation that undoes the sorting.
    pub fn restore(&self) -> Vec<usize> {
        let mut place = vec![0; self.texts];
        for (at, row) in self.groups.iter().flat_map(|g| &g.rows).enumerate() {
            place[*row] = at;
        }
        place
    }

    /// (row, position) of every token of the flat sequence, padding included.
    pub fn places(&self) -> Vec<(usize, usize)> {
        let mut places = Vec::with_capacity(self.tokens());
        for group in &self.groups {
            for &row in &group.rows {
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
    fn an_empty_batch_has_no_tokens() {
        assert_eq!(Layout::new(&[]).tokens(), 0);
    }
}
