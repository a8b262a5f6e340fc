//! Rows that share a text, put into different batches.

use std::collections::{HashMap, HashSet, VecDeque};

/// How many rows that were set aside are looked at for each batch, at least. It bounds the work where one text fills much of
/// the data: without it the rows set aside are gone through again for every batch.
const LOOK_AHEAD: usize = 4096;

/// How many exchanges are considered in an epoch to undo batches that were filled with rows that share a text.
const EXCHANGES: usize = 1 << 20;

/// Reorders rows so that, cut into batches of `batch_size`, rows of a batch have no text in common where possible.
/// `texts[row]` has no text twice.
///
/// Greedy, in the given order: a row that shares a text with the batch is set aside and tried first for the next. When only
/// rows set aside are left and none of them fits, they fill the batch as they stand, and are then exchanged with rows of other
/// batches where that parts them. So every row is used once and the number of batches never changes.
pub(super) fn apart(order: &[u32], batch_size: usize, texts: &[Vec<u64>]) -> Vec<u32> {
    let mut fresh = order.iter().copied();
    let mut aside: VecDeque<u32> = VecDeque::new();
    let mut result = Vec::with_capacity(order.len());
    let mut forced = Vec::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let window = LOOK_AHEAD.max(4 * batch_size);
    while result.len() < order.len() {
        let end = (result.len() + batch_size).min(order.len());
        seen.clear();
        let mut take = |row: u32, result: &mut Vec<u32>| {
            let texts = &texts[row as usize];
            let fits = !texts.iter().any(|text| seen.contains(text));
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
            if let Some(row) = aside.pop_front()
                && !take(row, &mut result)
            {
                aside.push_back(row);
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
                Some(row) => {
                    forced.push(result.len());
                    result.push(row);
                }
                None => break,
            }
        }
    }
    if !forced.is_empty() {
        exchange(&mut result, &forced, batch_size, texts);
    }
    result
}

/// How often each text occurs in a batch.
struct Contents(HashMap<u64, u32>);

impl Contents {
    fn add(&mut self, row: &[u64]) {
        row.iter().for_each(|&text| *self.0.entry(text).or_insert(0) += 1);
    }

    fn remove(&mut self, row: &[u64]) {
        row.iter().for_each(|text| {
            if let Some(count) = self.0.get_mut(text) {
                *count -= 1;
            }
        });
    }

    /// Whether a row would have no text in common with the batch once the row `without` has left it.
    fn fits(&self, row: &[u64], without: &[u64]) -> bool {
        row.iter()
            .all(|text| self.0.get(text).is_none_or(|&count| count <= u32::from(without.contains(text))))
    }
}

/// Exchanges rows at the places `forced` with rows of other batches where both then share no text with their batch.
fn exchange(order: &mut [u32], forced: &[usize], batch_size: usize, texts: &[Vec<u64>]) {
    let of = |row: u32| texts[row as usize].as_slice();
    let mut batches: Vec<Contents> = order
        .chunks(batch_size)
        .map(|batch| {
            let mut contents = Contents(HashMap::new());
            batch.iter().for_each(|&row| contents.add(of(row)));
            contents
        })
        .collect();
    let mut left = EXCHANGES;
    for &place in forced {
        let (row, home) = (order[place], place / batch_size);
        if batches[home].fits(of(row), of(row)) {
            continue;
        }
        let mut others = (0..batches.len()).filter(|&batch| batch != home);
        let found = others.find_map(|batch| {
            left = left.saturating_sub(1);
            if left == 0 || !batches[batch].fits(of(row), &[]) {
                return None;
            }
            let start = batch * batch_size;
            let end = (start + batch_size).min(order.len());
            left = left.saturating_sub(end - start);
            (start..end).find(|&other| batches[home].fits(of(order[other]), of(row)))
        });
        if let Some(other) = found {
            let away = other / batch_size;
            batches[home].remove(of(row));
            batches[home].add(of(order[other]));
            batches[away].remove(of(order[other]));
            batches[away].add(of(row));
            order.swap(place, other);
        }
        if left == 0 {
            return;
        }
    }
}
