//! Which values of a block reach their query's floor.

use super::on;
use crate::isa::Isa;

/// A value that is not below its query's floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Raw {
    /// The column of the block.
    pub(super) column: u32,
    /// The row of the tile.
    pub(super) row: u32,
    pub(super) value: f32,
}

/// Adds the values of `block`, `[rows, wide]`, less the bias of their row, that are not below the floor of their column.
/// Columns from `columns` on are padding. NaN is not below anything.
///
/// Hits come by rows, and by columns within a row, on every instruction set.
pub(super) fn select(
    isa: Isa,
    block: &[f32],
    wide: usize,
    columns: usize,
    biases: &[f32],
    floors: &[f32],
    first_row: usize,
    hits: &mut Vec<Raw>,
) {
    assert!(columns <= wide && floors.len() >= wide && block.len() >= biases.len() * wide);
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 && wide == 32 {
        // SAFETY: the instruction set is at most the current one, which has AVX-512.
        unsafe { masks(block, columns, biases, floors, first_row, hits) };
        return;
    }
    on!(isa, plain(
        block: &[f32], wide: usize, columns: usize, biases: &[f32], floors: &[f32], first_row: usize,
        hits: &mut Vec<Raw>,
    ));
}

#[inline(always)]
fn plain(
    block: &[f32],
    wide: usize,
    columns: usize,
    biases: &[f32],
    floors: &[f32],
    first_row: usize,
    hits: &mut Vec<Raw>,
) {
    for (row, (values, &bias)) in block.chunks_exact(wide).zip(biases).enumerate() {
        for (chunk, (values, floors)) in values[..columns].chunks(32).zip(floors.chunks(32)).enumerate() {
            // `!(v < floor)` and not `v >= floor`: what overflowed to NaN must be looked at.
            #[expect(clippy::neg_cmp_op_on_partial_ord)]
            let reaches = |value: f32, floor: f32| !(value - bias < floor);
            if !values.iter().zip(floors).fold(false, |any, (&v, &f)| any | reaches(v, f)) {
                continue;
            }
            for (at, (&value, &floor)) in values.iter().zip(floors).enumerate() {
                if reaches(value, floor) {
                    let column = (chunk * 32 + at) as u32;
                    hits.push(Raw { column, row: (first_row + row) as u32, value: value - bias });
                }
            }
        }
    }
}

/// As [`select`] for rows that are queries and columns that are rows: values less the bias of their column, against the
/// floor of their row. `first_column` is the place of the first column among all.
pub(super) fn select_back(
    isa: Isa,
    block: &[f32],
    biases: &[f32],
    floors: &[f32],
    first_row: usize,
    first_column: usize,
    hits: &mut Vec<Raw>,
) {
    assert!(block.len() >= biases.len() * floors.len());
    on!(isa, plain_back(
        block: &[f32], biases: &[f32], floors: &[f32], first_row: usize, first_column: usize,
        hits: &mut Vec<Raw>,
    ));
}

#[inline(always)]
fn plain_back(
    block: &[f32],
    biases: &[f32],
    floors: &[f32],
    first_row: usize,
    first_column: usize,
    hits: &mut Vec<Raw>,
) {
    for (row, (values, &floor)) in block.chunks_exact(biases.len().max(1)).zip(floors).enumerate() {
        for (chunk, (values, biases)) in values.chunks(32).zip(biases.chunks(32)).enumerate() {
            #[expect(clippy::neg_cmp_op_on_partial_ord)]
            let reaches = |value: f32, bias: f32| !(value - bias < floor);
            if !values.iter().zip(biases).fold(false, |any, (&v, &b)| any | reaches(v, b)) {
                continue;
            }
            for (at, (&value, &bias)) in values.iter().zip(biases).enumerate() {
                if reaches(value, bias) {
                    let place = (first_column + chunk * 32 + at) as u32;
                    hits.push(Raw { column: (first_row + row) as u32, row: place, value: value - bias });
                }
            }
        }
    }
}

/// Blocks of 32 columns: the comparisons of 32 rows first, then the few rows with bits that are set.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn masks(
    block: &[f32],
    columns: usize,
    biases: &[f32],
    floors: &[f32],
    first_row: usize,
    hits: &mut Vec<Raw>,
) {
    use std::arch::x86_64::*;
    let valid = if columns >= 32 { u32::MAX } else { (1 << columns) - 1 };
    let load = |at: &[f32; 16]| {
        // SAFETY: sixteen numbers are 64 bytes, and the load needs no alignment.
        unsafe { _mm512_loadu_ps(at.as_ptr()) }
    };
    let (Some(low), Some(high)) = (floors.first_chunk::<16>(), floors[16..].first_chunk::<16>()) else {
        return;
    };
    let (low, high) = (load(low), load(high));
    for (part, biases) in biases.chunks(32).enumerate() {
        let block = &block[part * 32 * 32..][..biases.len() * 32];
        let mut set = [[0u16; 2]; 32];
        for ((values, &bias), set) in block.as_chunks::<32>().0.iter().zip(biases).zip(&mut set) {
            let (halves, _) = values.as_chunks::<16>();
            let bias = _mm512_set1_ps(bias);
            *set = [
                _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_sub_ps(load(&halves[0]), bias), low),
                _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_sub_ps(load(&halves[1]), bias), high),
            ];
        }
        // One bit for each row that has any.
        let words = |at: usize| {
            // SAFETY: sixteen of the 32 pairs of masks are 64 bytes, and the load needs no alignment.
            unsafe { _mm512_loadu_si512(set[16 * at..16 * at + 16].as_ptr().cast()) }
        };
        let valid_words = _mm512_set1_epi32(valid as i32);
        let mut rows = u32::from(_mm512_test_epi32_mask(words(0), valid_words))
            | u32::from(_mm512_test_epi32_mask(words(1), valid_words)) << 16;
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            rows &= rows - 1;
            let (values, bias) = (&block[row * 32..row * 32 + 32], biases[row]);
            let mut left = (u32::from(set[row][0]) | u32::from(set[row][1]) << 16) & valid;
            while left != 0 {
                let column = left.trailing_zeros();
                left &= left - 1;
                let value = values[column as usize] - bias;
                hits.push(Raw { column, row: (first_row + part * 32 + row) as u32, value });
            }
        }
    }
}
