//! Rows whose scores are known within bounds, in one list for each of many queries.

use std::cmp::Ordering;

use super::on;
use crate::isa::{self, Isa};

/// Lists of rows that wait to be decided: by a floor that rises above them, or by their exact scores.
///
/// A row stands with a lower and an upper bound of its score, in 32 bits, rounded outwards. Lists have a fixed room and
/// lie one after another, so that a list is looked through in vectors.
#[derive(Debug)]
pub struct Waiting {
    isa: Isa,
    /// Where each list begins, and the end.
    starts: Vec<usize>,
    lengths: Vec<u32>,
    lower: Vec<f32>,
    upper: Vec<f32>,
    rows: Vec<u32>,
}

/// A row and the bounds of its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// The score is at least this.
    pub lower: f64,
    /// The score is at most this.
    pub upper: f64,
    /// The number of the row.
    pub row: usize,
}

impl Waiting {
    /// Empty lists with so many places each.
    pub fn new(rooms: impl IntoIterator<Item = usize>) -> Self {
        Waiting::on(isa::current(), rooms)
    }

    fn on(isa: Isa, rooms: impl IntoIterator<Item = usize>) -> Self {
        let mut places = 0;
        let mut starts = vec![0];
        starts.extend(rooms.into_iter().map(|room| {
            places += room;
            places
        }));
        Waiting {
            isa,
            lengths: vec![0; starts.len() - 1],
            starts,
            lower: vec![0.0; places],
            upper: vec![0.0; places],
            rows: vec![0; places],
        }
    }

    /// Bytes that so many lists with `room` places each hold.
    pub fn memory_bytes(lists: usize, room: usize) -> usize {
        lists * (12 * room + 4 + 16) + 8
    }

    /// Places of a list.
    #[inline]
    pub fn room(&self, list: usize) -> usize {
        self.starts[list + 1] - self.starts[list]
    }

    /// The rows of a list.
    #[inline]
    pub fn len(&self, list: usize) -> usize {
        self.lengths[list] as usize
    }

    /// Whether a list is empty.
    pub fn is_empty(&self, list: usize) -> bool {
        self.lengths[list] == 0
    }

    /// Whether a list has no place left.
    #[inline]
    pub fn is_full(&self, list: usize) -> bool {
        self.len(list) == self.room(list)
    }

    /// Adds a row whose score is within `doubt` of `score`; nothing is known of it where `doubt` is infinite.
    ///
    /// # Panics
    /// If the list is full.
    #[inline]
    pub fn push(&mut self, list: usize, row: usize, score: f64, doubt: f64) {
        let len = self.len(list);
        assert!(len < self.room(list), "a full list");
        let at = self.starts[list] + len;
        // The next number covers the rounding to 32 bits.
        self.lower[at] = ((score - doubt) as f32).next_down();
        self.upper[at] = ((score + doubt) as f32).next_up();
        self.rows[at] = row as u32;
        self.lengths[list] = len as u32 + 1;
    }

    fn span(&self, list: usize) -> std::ops::Range<usize> {
        let start = self.starts[list];
        start..start + self.len(list)
    }

    /// How many rows of a list are certain to lie above `bar`.
    pub fn above(&self, list: usize, bar: f64) -> usize {
        let bar = (bar as f32).next_up();
        let lower = &self.lower[self.span(list)];
        on!(self.isa, count(lower: &[f32], bar: f32) -> usize)
    }

    /// Lets go of the rows of a list that are certain to lie below `bar`; the others keep their order.
    pub fn keep(&mut self, list: usize, bar: f64) {
        let bar = (bar as f32).next_down();
        let span = self.span(list);
        let (lower, upper, rows) =
            (&mut self.lower[span.clone()], &mut self.upper[span.clone()], &mut self.rows[span]);
        let kept =
            on!(self.isa, compact(lower: &mut [f32], upper: &mut [f32], rows: &mut [u32], bar: f32) -> usize);
        self.lengths[list] = kept as u32;
    }

    /// The rows of a list, in the order in which they came.
    pub fn items(&self, list: usize) -> impl Iterator<Item = Bounded> {
        self.span(list).map(|at| Bounded {
            lower: f64::from(self.lower[at]),
            upper: f64::from(self.upper[at]),
            row: self.rows[at] as usize,
        })
    }

    /// Empties a list.
    pub fn clear(&mut self, list: usize) {
        self.lengths[list] = 0;
    }
}

#[inline(always)]
fn count(lower: &[f32], bar: f32) -> usize {
    lower.iter().map(|&lower| u32::from(lower > bar)).sum::<u32>() as usize
}

#[inline(always)]
fn compact(lower: &mut [f32], upper: &mut [f32], rows: &mut [u32], bar: f32) -> usize {
    let len = rows.len().min(lower.len()).min(upper.len());
    let mut kept = 0;
    for at in 0..len {
        let reach = upper[at];
        (lower[kept], upper[kept], rows[kept]) = (lower[at], reach, rows[at]);
        // A bound that is no number says nothing.
        kept += usize::from(reach.partial_cmp(&bar) != Some(Ordering::Less));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_lists_stay_apart_on_every_instruction_set() {
        for isa in isa::available() {
            let mut lists = Waiting::on(isa, [0, 40, 3]);
            // Numbers that 32 bits cannot hold, and numbers out of their range.
            let scores: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 40) / 3.0 - 5.0).collect();
            for (row, &score) in scores.iter().enumerate() {
                lists.push(1, row, score, 0.25);
            }
            lists.push(2, 9, 1e300, 0.0);
            lists.push(2, 8, -1e300, 0.0);
            lists.push(2, 7, 0.0, f64::INFINITY);
            assert!(
                lists.is_empty(0) && [0, 1, 2].iter().all(|&list| lists.is_full(list)) && lists.len(2) == 3,
                "{isa}"
            );
            for (item, &score) in lists.items(1).zip(&scores) {
                assert!(item.lower < score - 0.2499 && item.lower > score - 0.2501, "{item:?} {score}");
                assert!(item.upper > score + 0.2499 && item.upper < score + 0.2501, "{item:?} {score}");
            }
            for bar in [-9.0, 0.1, 3.3, 8.0] {
                let want = scores.iter().filter(|&&score| score - 0.25 > bar).count();
                assert_eq!(lists.above(1, bar), want, "{isa}, {bar}");
            }
            assert_eq!((lists.above(2, 1e9), lists.above(2, -1e9), lists.above(0, 0.0)), (1, 1, 0));
            lists.keep(1, 2.0);
            let want: Vec<usize> = (0..40).filter(|&row| scores[row] + 0.25 >= 2.0).collect();
            assert_eq!(lists.items(1).map(|item| item.row).collect::<Vec<_>>(), want, "{isa}");
            lists.keep(2, 1e9);
            assert_eq!(lists.items(2).map(|item| item.row).collect::<Vec<_>>(), [9, 7], "{isa}");
            lists.clear(1);
            assert!(lists.is_empty(1) && lists.len(2) == 2);
        }
    }
}
