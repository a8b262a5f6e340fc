//! 32-bit products with AVX2, compared with floors before they leave the registers.
//!
//! Six rows by 16 queries are twelve registers of sums. Rows are read as they are; queries come in panels of 16: of each
//! column the numbers of the 16 queries, one after another. Nearly all sums are refused by a comparison in place, and are
//! never stored.

use std::arch::x86_64::*;

use super::queries::numbers as numbers_mut;
use super::select::Raw;
use super::{BLANK, Line};

/// Queries of a panel, and numbers of a cache line.
pub(super) const PANEL: usize = 16;
/// Rows whose sums are in registers together.
const ROWS: usize = 6;

/// Lays out queries `[n, dim]` in panels; the last is filled up with zeros.
pub(super) fn pack(values: &[f32], dim: usize, panels: &mut Vec<Line>) {
    panels.resize((values.len() / dim).div_ceil(PANEL) * dim, BLANK);
    let panels = numbers_mut(panels);
    for (queries, panel) in values.chunks(PANEL * dim).zip(panels.chunks_exact_mut(PANEL * dim)) {
        if queries.len() < PANEL * dim {
            panel.fill(0.0);
        }
        for (at, query) in queries.chunks_exact(dim).enumerate() {
            for (&value, out) in query.iter().zip(panel.as_chunks_mut::<PANEL>().0) {
                out[at] = value;
            }
        }
    }
}

/// Rows `[n, dim]` against panels of queries, and what a sum is compared with.
pub(super) struct Block<'a> {
    pub(super) dim: usize,
    pub(super) rows: &'a [f32],
    /// The place in the tile of the first of them.
    pub(super) first_row: usize,
    /// What is taken from the sums of each row.
    pub(super) biases: &'a [f32],
    pub(super) panels: &'a [f32],
    pub(super) columns: usize,
    /// The floor of each query, in whole panels.
    pub(super) floors: &'a [f32],
    /// What the cache should hold next.
    pub(super) coming: &'a [f32],
}

/// The same sums for rows that are queries themselves, and queries that are rows.
pub(super) struct Back<'a> {
    /// What is taken from the sums of each query, in whole panels.
    pub(super) biases: &'a [f32],
    /// The floor of each row.
    pub(super) floors: &'a [f32],
    /// The place of the first query among all.
    pub(super) first: usize,
}

impl Block<'_> {
    /// Adds the sums, less the bias of their row, that are not below the floor of their query. Hits of one query come in
    /// the order of their rows.
    ///
    /// # Panics
    /// If a slice is too short.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn select(&self, hits: &mut Vec<Raw>) {
        let back = Back { biases: &[], floors: &[], first: 0 };
        self.compare::<false>(&back, hits, &mut Vec::new());
    }

    /// As [`select`](Self::select), and adds to `back_hits` the sums, less the bias of their query, that are not below the
    /// floor of their row, which is then the column.
    ///
    /// # Panics
    /// If a slice is too short.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn select_both(&self, back: &Back, hits: &mut Vec<Raw>, back_hits: &mut Vec<Raw>) {
        self.compare::<true>(back, hits, back_hits);
    }

    #[target_feature(enable = "avx2,fma")]
    fn compare<const BOTH: bool>(&self, back: &Back, hits: &mut Vec<Raw>, back_hits: &mut Vec<Raw>) {
        let (dim, count) = (self.dim, self.biases.len());
        let width = self.columns.next_multiple_of(PANEL);
        assert!(
            self.rows.len() >= count * dim && self.panels.len() >= width * dim && self.floors.len() >= width
        );
        assert!(!BOTH || (back.biases.len() >= width && back.floors.len() >= count));
        let mut coming = self.coming.chunks(PANEL);
        let share = coming.len().div_ceil((width / PANEL * count.div_ceil(ROWS)).max(1));
        for first in (0..self.columns).step_by(PANEL) {
            let panel = &self.panels[first * dim..(first + PANEL) * dim];
            let floors = pair(&self.floors[first..]);
            let of_queries = if BOTH { pair(&back.biases[first..]) } else { floors };
            for row in (0..count).step_by(ROWS) {
                // Places beyond the end repeat the last row, and are left out below.
                let places: [usize; ROWS] = std::array::from_fn(|r| (row + r).min(count - 1));
                let rows = places.map(|place| self.rows[place * dim..][..dim].as_ptr());
                coming.by_ref().take(share).for_each(fetch);
                // SAFETY: six rows of `dim` numbers, and a panel of as many columns.
                let sums = unsafe { products(rows, panel.as_ptr(), dim) };
                let mut reaching = _mm256_setzero_ps();
                for (sums, place) in sums.iter().zip(places) {
                    let bias = _mm256_set1_ps(self.biases[place]);
                    for (&sum, floor) in sums.iter().zip(floors) {
                        reaching = _mm256_or_ps(reaching, not_below(_mm256_sub_ps(sum, bias), floor));
                    }
                    if BOTH {
                        let floor = _mm256_set1_ps(back.floors[place]);
                        for (&sum, bias) in sums.iter().zip(of_queries) {
                            reaching = _mm256_or_ps(reaching, not_below(_mm256_sub_ps(sum, bias), floor));
                        }
                    }
                }
                if _mm256_movemask_ps(reaching) != 0 {
                    self.take::<BOTH>(&sums, first, row, back, hits, back_hits);
                }
            }
        }
    }

    /// Adds what reaches its floor of six rows by one panel.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    fn take<const BOTH: bool>(
        &self,
        sums: &[[__m256; 2]; ROWS],
        first: usize,
        row: usize,
        back: &Back,
        hits: &mut Vec<Raw>,
        back_hits: &mut Vec<Raw>,
    ) {
        let columns = self.columns - first;
        let valid = if columns >= PANEL { u32::MAX } else { (1 << columns) - 1 };
        let left = (self.biases.len() - row).min(ROWS);
        for (sums, row) in sums[..left].iter().zip(row..) {
            let place = self.first_row + row;
            let bias = [_mm256_set1_ps(self.biases[row]); 2];
            for_each_not_below(*sums, bias, pair(&self.floors[first..]), valid, |column, value| {
                hits.push(Raw { column: (first + column) as u32, row: place as u32, value });
            });
            if BOTH {
                let (bias, floor) = (pair(&back.biases[first..]), [_mm256_set1_ps(back.floors[row]); 2]);
                for_each_not_below(*sums, bias, floor, valid, |column, value| {
                    let query = back.first + first + column;
                    back_hits.push(Raw { column: place as u32, row: query as u32, value });
                });
            }
        }
    }
}

/// Calls `each` with the places, of those in `valid`, where a sum less its bias is not below its floor.
#[inline]
#[target_feature(enable = "avx2")]
fn for_each_not_below(
    sums: [__m256; 2],
    biases: [__m256; 2],
    floors: [__m256; 2],
    valid: u32,
    mut each: impl FnMut(usize, f32),
) {
    let moved = [_mm256_sub_ps(sums[0], biases[0]), _mm256_sub_ps(sums[1], biases[1])];
    let low = _mm256_movemask_ps(not_below(moved[0], floors[0])) as u32;
    let high = _mm256_movemask_ps(not_below(moved[1], floors[1])) as u32;
    let mut left = (low | high << 8) & valid;
    if left == 0 {
        return;
    }
    let values = numbers(moved);
    while left != 0 {
        let column = left.trailing_zeros() as usize;
        left &= left - 1;
        each(column, values[column]);
    }
}

/// Sums of products of six rows with the 16 queries of a panel.
///
/// # Safety
/// Each row has `dim` numbers, and the panel `16·dim`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn products(rows: [*const f32; ROWS], panel: *const f32, dim: usize) -> [[__m256; 2]; ROWS] {
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for k in 0..dim {
        // SAFETY: `k` is below `dim`, and the caller's promise.
        unsafe {
            let (low, high) =
                (_mm256_loadu_ps(panel.add(k * PANEL)), _mm256_loadu_ps(panel.add(k * PANEL + 8)));
            for r in 0..ROWS {
                let value = _mm256_set1_ps(*rows[r].add(k));
                sums[r][0] = _mm256_fmadd_ps(value, low, sums[r][0]);
                sums[r][1] = _mm256_fmadd_ps(value, high, sums[r][1]);
            }
        }
    }
    sums
}

/// Asks for a cache line.
#[inline]
fn fetch(line: &[f32]) {
    // SAFETY: a prefetch has no effect on what a program computes, whatever the address; this one is of a slice.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
}

/// Where a value is not below a floor; NaN is not below anything.
#[inline]
#[target_feature(enable = "avx2")]
fn not_below(value: __m256, floor: __m256) -> __m256 {
    _mm256_cmp_ps::<_CMP_NLT_UQ>(value, floor)
}

/// Sixteen numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn pair(values: &[f32]) -> [__m256; 2] {
    let values: &[f32] = &values[..PANEL];
    // SAFETY: sixteen numbers, and the loads need no alignment.
    unsafe { [_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(8))] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn numbers(pair: [__m256; 2]) -> [f32; PANEL] {
    let mut values = [0.0; PANEL];
    // SAFETY: sixteen numbers, and the stores need no alignment.
    unsafe {
        _mm256_storeu_ps(values.as_mut_ptr(), pair[0]);
        _mm256_storeu_ps(values.as_mut_ptr().add(8), pair[1]);
    }
    values
}
