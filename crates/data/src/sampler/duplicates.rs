//! Rows that share a text, put into different batches.

use std::collections::{HashSet, VecDeque};

/// How many rows that were set aside are looked at for each batch, at least. It bounds the work where one text fills much of
/// the data: without it the rows set aside are gone through again for every batch.
const LOOK_AHEAD: usize = 4096;

/// Reorders rows so that, cut into batches of `batch_size`, rows of a batch have no text in common where possible.
///
/// Greedy, in the given order: a row that shares a text with the batch is set aside and tried first for the next. When only
/// rows set aside are left and none of them fits, they fill the batch as they stand, so every row is used once and the number
/// of batches never changes.
pub(super) fn apart(order: &[u32], batch_size: usize, texts: &[Vec<u64>]) -> Vec<u32> {
    let mut fresh = order.iter().copied();
    let mut aside: VecDeque<u32> = VecDeque::new();
    let mut result = Vec::with_capacity(order.len());
    let mut seen: HashSet<u64> = HashSet::new();
    let window = LOOK_AHEAD.max(4 * batch_size);
    while result.len() < order.len() {
        let end = (result.len() + batch_size).min(order.len());
        seen.clear();
        let mut take = |row: u32, result: &mut Vec<u32>| {
            let texts = &texts[row as usize];
            let fits = !texts.iter().any(|hash| seen.contains(hash));
            if fits {
                seen.extend(texts.iter().copied());
                result.push(row);
            }
            fits
        };
        for _ in 0..aside.len().min(window) {
            if result.len() == end {
                break;
            }
            if let Some(row) = aside.pop_front() {
                if !take(row, &mut result) {
                    aside.push_back(row);
                }
            }
        }
        while result.len() < end {
            match fresh.next() {
                Some(row) if take(row, &mut result) => {}
                Some(row) => aside.push_back(row),
                None => break,
            }
        }
        while result.len() < end {
            match aside.pop_front() {
                Some(row) => result.push(row),
                None => break,
            }
        }
    }
    result
}
