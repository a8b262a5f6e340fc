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

/// Blocks of 32 columns: the comparisons of 32 rows first, then the few bits that are set.
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
        let mut set = [0u32; 32];
        let mut any = 0;
        for ((values, &bias), set) in block.as_chunks::<32>().0.iter().zip(biases).zip(&mut set) {
            let (halves, _) = values.as_chunks::<16>();
            let bias = _mm512_set1_ps(bias);
            let a = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_sub_ps(load(&halves[0]), bias), low);
            let b = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_sub_ps(load(&halves[1]), bias), high);
            *set = u32::from(a) | u32::from(b) << 16;
            any |= *set;
        }
        if any & valid == 0 {
            continue;
        }
        for (row, (&set, &bias)) in set.iter().zip(biases).enumerate() {
            let mut left = set & valid;
            while left != 0 {
                let column = left.trailing_zeros();
                left &= left - 1;
                let value = block[row * 32 + column as usize] - bias;
                hits.push(Raw { column, row: (first_row + part * 32 + row) as u32, value });
            }
        }
    }
}
