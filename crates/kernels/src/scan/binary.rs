//! Hamming distances of binary vectors, and the nearest rows by them.
//!
//! A vector is a row of 64-bit words. Distances are whole numbers, so every instruction set gives the same; with
//! AVX-512 VPOPCNTDQ eight words are counted by one instruction.

use crate::isa::{self, Isa};

/// A row and its distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Near {
    /// Bits that differ.
    pub distance: u32,
    /// The number of the row.
    pub row: u32,
}

/// Σ popcount(xᵢ ⊕ yᵢ): the bits in which two rows differ.
///
/// # Panics
/// If the rows differ in length.
pub fn hamming(x: &[u64], y: &[u64]) -> u32 {
    assert_eq!(x.len(), y.len());
    let mut out = [0];
    distances(isa::current(), x, y, y.len().max(1), &mut out);
    out[0]
}

/// The `k` nearest rows of `rows`, `[n, words]`, for each query of `queries`, `[q, words]`: nearest first, equal distances
/// in the order of their rows. Runs on the calling thread.
///
/// Rows go by in runs that stay in the cache for all queries. A query's list holds up to twice `k`; only rows nearer than
/// the farthest that is still wanted enter it.
///
/// # Panics
/// If a slice is not whole rows, or there are 2³² rows or more.
pub fn nearest(queries: &[u64], rows: &[u64], words: usize, k: usize) -> Vec<Vec<Near>> {
    nearest_on(isa::current(), queries, rows, words, k)
}

/// Words of a run of rows.
const RUN: usize = 4096;

fn nearest_on(isa: Isa, queries: &[u64], rows: &[u64], words: usize, k: usize) -> Vec<Vec<Near>> {
    assert!(words > 0 && queries.len().is_multiple_of(words) && rows.len().is_multiple_of(words));
    assert!(u32::try_from(rows.len() / words).is_ok(), "{} rows", rows.len() / words);
    let mut lists: Vec<Vec<Near>> = vec![Vec::new(); queries.len() / words];
    if k == 0 {
        return lists;
    }
    let mut floors = vec![u32::MAX; lists.len()];
    let run = (RUN / words).max(1);
    let mut found = vec![0u32; run];
    for (part, rows) in rows.chunks(run * words).enumerate() {
        let found = &mut found[..rows.len() / words];
        for ((query, list), farthest) in queries.chunks_exact(words).zip(&mut lists).zip(&mut floors) {
            distances(isa, query, rows, words, found);
            for (chunk, distances) in found.chunks(16).enumerate() {
                if !distances.iter().fold(false, |any, d| any | (d < farthest)) {
                    continue;
                }
                for (at, &distance) in distances.iter().enumerate().filter(|(_, d)| **d < *farthest) {
                    list.push(Near { distance, row: (part * run + chunk * 16 + at) as u32 });
                }
                if list.len() >= 2 * k.max(16) {
                    keep(list, k);
                    // Later rows of the same distance come after those that are there.
                    *farthest = list[k - 1].distance;
                }
            }
        }
    }
    lists.iter_mut().for_each(|list| keep(list, k));
    lists
}

fn keep(list: &mut Vec<Near>, k: usize) {
    list.sort_unstable();
    list.truncate(k);
}

/// The distances of one query to many rows.
fn distances(isa: Isa, query: &[u64], rows: &[u64], words: usize, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
        fn counted(query: &[u64], rows: &[u64], words: usize, out: &mut [u32]) {
            each(query, rows, words, out);
        }
        #[target_feature(enable = "avx2,popcnt")]
        fn single(query: &[u64], rows: &[u64], words: usize, out: &mut [u32]) {
            each(query, rows, words, out);
        }
        if isa >= Isa::Avx512 && std::arch::is_x86_feature_detected!("avx512vpopcntdq") {
            // SAFETY: the instruction set is at most the current one, and the counting instructions were just found.
            return unsafe { counted(query, rows, words, out) };
        }
        if isa >= Isa::Avx2 && std::arch::is_x86_feature_detected!("popcnt") {
            // SAFETY: as above.
            return unsafe { single(query, rows, words, out) };
        }
    }
    let _ = isa;
    each(query, rows, words, out);
}

#[inline(always)]
fn each(query: &[u64], rows: &[u64], words: usize, out: &mut [u32]) {
    for (row, out) in rows.chunks_exact(words).zip(out) {
        let mut lanes = [0u64; 8];
        let ((x8, x_rest), (y8, y_rest)) = (query.as_chunks::<8>(), row.as_chunks::<8>());
        for (x, y) in x8.iter().zip(y8) {
            for lane in 0..8 {
                lanes[lane] += u64::from((x[lane] ^ y[lane]).count_ones());
            }
        }
        let rest: u32 = x_rest.iter().zip(y_rest).map(|(x, y)| (x ^ y).count_ones()).sum();
        *out = lanes.iter().sum::<u64>() as u32 + rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(count: usize, salt: u64) -> Vec<u64> {
        let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            })
            .collect()
    }

    #[test]
    fn distances_by_hand() {
        assert_eq!(hamming(&[0b1011, 0], &[0b0010, u64::MAX]), 2 + 64);
        assert_eq!(hamming(&[], &[]), 0);
    }

    #[test]
    fn every_instruction_set_finds_what_sorting_everything_finds() {
        for (words, count, few) in [(1, 3000, 6), (6, 1000, 3), (8, 257, 64), (19, 400, 64), (5000, 3, 64)] {
            let mask = if few == 64 { u64::MAX } else { (1 << few) - 1 };
            // With few bits nearly all distances are ties.
            let of =
                |n: usize, salt| draw(n * words, salt).into_iter().map(|w| w & mask).collect::<Vec<u64>>();
            let (queries, rows) = (of(5, 1), of(count, 2));
            for k in [0, 1, 10, 70, 5000] {
                let want: Vec<Vec<Near>> = queries
                    .chunks(words)
                    .map(|x| {
                        let of = |y: &[u64]| x.iter().zip(y).map(|(a, b)| (a ^ b).count_ones()).sum();
                        let mut all: Vec<Near> = rows
                            .chunks(words)
                            .enumerate()
                            .map(|(row, y)| Near { distance: of(y), row: row as u32 })
                            .collect();
                        all.sort();
                        all.truncate(k);
                        all
                    })
                    .collect();
                for isa in isa::available() {
                    assert_eq!(
                        nearest_on(isa, &queries, &rows, words, k),
                        want,
                        "{isa}, {words} words, k {k}"
                    );
                }
            }
        }
    }
}
