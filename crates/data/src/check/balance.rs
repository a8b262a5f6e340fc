//! How evenly rows are spread over classes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Classes with a number of rows in a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bin {
    /// Fewest rows.
    pub from: usize,
    /// Most rows.
    pub to: usize,
    /// Classes with so many.
    pub classes: usize,
}

/// Sizes of classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Balance {
    /// Classes that have rows.
    pub classes: usize,
    /// Rows of the smallest class.
    pub smallest: usize,
    /// Rows of the class in the middle (of an even number the smaller one).
    pub median: usize,
    /// Rows of the largest class.
    pub largest: usize,
    /// Classes by size: 1, 2 to 3, 4 to 7, and so on, from the first range with a class to the last.
    pub histogram: Vec<Bin>,
}

impl Balance {
    /// Of the rows of each class; `None` where there are none.
    pub(super) fn of(counts: &[usize]) -> Option<Balance> {
        let mut counts: Vec<usize> = counts.iter().copied().filter(|&count| count > 0).collect();
        counts.sort_unstable();
        let (&smallest, &largest) = (counts.first()?, counts.last()?);
        let histogram = (smallest.ilog2()..=largest.ilog2())
            .map(|power| {
                let (from, to) = (1usize << power, (2usize << power).wrapping_sub(1));
                let below = |limit: usize| counts.partition_point(|&count| count <= limit);
                Bin { from, to, classes: below(to) - below(from - 1) }
            })
            .collect();
        let median = counts[(counts.len() - 1) / 2];
        Some(Balance { classes: counts.len(), smallest, median, largest, histogram })
    }
}

#[cfg(test)]
mod tests {
    use super::Balance;

    #[test]
    fn sizes_fall_into_bins() {
        let balance = Balance::of(&[1, 0, 9, 2, 3, 3]).unwrap();
        assert_eq!((balance.classes, balance.smallest, balance.median, balance.largest), (5, 1, 3, 9));
        let bins: Vec<_> = balance.histogram.iter().map(|bin| (bin.from, bin.to, bin.classes)).collect();
        assert_eq!(bins, [(1, 1, 1), (2, 3, 3), (4, 7, 0), (8, 15, 1)]);
        assert_eq!(Balance::of(&[0]), None);
    }
}
