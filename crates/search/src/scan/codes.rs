//! Exact search among binary codes by Hamming distance ([`parallax_kernels::scan::binary`]).

use std::ops::Range;

use parallax_kernels::scan::binary;
use rayon::prelude::*;

use crate::bitmap::Bitmap;
use crate::segment::Segment;

/// Rows that a task looks at; a multiple of 64.
const ROWS: usize = 1 << 15;
/// Queries that a task looks for.
const QUERIES: usize = 64;

/// Words of 64 bits that hold a code of `dim` bits.
pub(crate) fn words(dim: usize) -> usize {
    dim.div_ceil(64)
}

/// Adds the code of a row: bit `i mod 64` of word `i / 64` is set where number `i` is at least 0; the rest of the last word is 0.
pub(crate) fn pack(row: &[f32], out: &mut Vec<u64>) {
    out.extend(row.chunks(64).map(|part| {
        part.iter().enumerate().fold(0, |word, (bit, value)| word | u64::from(*value >= 0.0) << bit)
    }));
}

/// The nearest `k` wanted rows of each query, (distance, row), nearest first and of equal distances the lower row first.
///
/// What a task finds is ordered by (distance, row) and merged by it, so the result does not depend on how the work is divided.
pub(crate) fn nearest(
    segments: &[Segment],
    masks: &[Option<Bitmap>],
    queries: &[f32],
    dim: usize,
    k: usize,
) -> Vec<Vec<(u32, usize)>> {
    let words = words(dim);
    let k = k.min(segments.iter().map(|segment| segment.rows).sum());
    let mut codes = Vec::with_capacity(queries.len() / dim * words);
    queries.chunks_exact(dim).for_each(|query| pack(query, &mut codes));
    let pieces: Vec<(usize, Range<usize>)> = segments
        .iter()
        .enumerate()
        .flat_map(|(at, segment)| {
            let starts = (0..segment.rows).step_by(ROWS);
            starts.map(move |start| (at, start..(start + ROWS).min(segment.rows)))
        })
        .collect();
    codes
        .par_chunks(QUERIES * words)
        .flat_map(|block| {
            let found: Vec<Vec<Vec<(u32, usize)>>> = pieces
                .par_iter()
                .map(|(at, rows)| within(&segments[*at], masks[*at].as_ref(), rows.clone(), block, words, k))
                .collect();
            let mut lists: Vec<Vec<(u32, usize)>> = vec![Vec::new(); block.len() / words];
            for part in found {
                lists.iter_mut().zip(part).for_each(|(list, part)| list.extend(part));
            }
            for list in &mut lists {
                list.sort_unstable();
                list.truncate(k);
            }
            lists
        })
        .collect()
}

/// The nearest rows of a run of a segment, with their numbers in the index.
fn within(
    segment: &Segment,
    mask: Option<&Bitmap>,
    rows: Range<usize>,
    queries: &[u64],
    words: usize,
    k: usize,
) -> Vec<Vec<(u32, usize)>> {
    let Some(mask) = mask else {
        let found = binary::nearest(queries, segment.codes(rows.start, rows.len()), words, k);
        let number = |near: &binary::Near| (near.distance, segment.base + rows.start + near.row as usize);
        return found.iter().map(|list| list.iter().map(number).collect()).collect();
    };
    let wanted: Vec<usize> = mask.ones(rows.start, rows.end).collect();
    let gathered: Vec<u64> = wanted.iter().flat_map(|&row| segment.codes(row, 1)).copied().collect();
    let found = binary::nearest(queries, &gathered, words, k);
    let number = |near: &binary::Near| (near.distance, segment.base + wanted[near.row as usize]);
    found.iter().map(|list| list.iter().map(number).collect()).collect()
}
