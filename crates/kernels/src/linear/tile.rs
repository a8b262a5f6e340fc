//! Operands of tile products: blocks of 32 rows or columns as tiles of 16 rows of 64 bytes.
//!
//! A tile of a left operand holds 16 rows with 32 bf16 numbers (64 8-bit integers) of the inner dimension. A right
//! operand holds 16 columns in the same way, transposed as a 16×16 matrix of 32-bit words. So both come from one of two
//! readers, with or without a transposition.

use std::arch::x86_64::*;

/// Bytes of a tile.
pub(super) const TILE: usize = 1024;

/// Rows of a block of a left operand, columns of a block of a right one.
pub(super) const BLOCK: usize = 32;

/// A matrix with `count` rows (of a left operand) or columns (of a right one) of `depth` numbers.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    data: &'a [f32],
    count: usize,
    depth: usize,
    /// Distance between neighbours of the dimension that is not contiguous.
    stride: usize,
    /// The inner dimension is the contiguous one.
    deep: bool,
}

/// Which side of a product an operand stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl<'a> Operand<'a> {
    /// Number (i, p) at `i·depth + p`.
    pub(super) fn deep(data: &'a [f32], count: usize, depth: usize) -> Self {
        assert_eq!(data.len(), count * depth);
        Self { data, count, depth, stride: depth, deep: true }
    }

    /// Number (i, p) at `p·count + i`.
    pub(super) fn flat(data: &'a [f32], count: usize, depth: usize) -> Self {
        assert_eq!(data.len(), count * depth);
        Self { data, count, depth, stride: count, deep: false }
    }

    /// Writes block `block` as bf16: for each 32 numbers of the inner dimension two tiles, and with `SPLIT` two more of
    /// what the rounding has left. What lies outside of the matrix is zero.
    ///
    /// # Safety
    /// The machine has AVX-512 F, BW, DQ, VL and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn pack<const SPLIT: bool>(&self, side: Side, block: usize, to: &mut [u8]) {
        let parts = if SPLIT { 2 } else { 1 };
        let transposed = (side == Side::Left) != self.deep;
        for (step, to) in to.chunks_exact_mut(2 * parts * TILE).take(self.depth.div_ceil(32)).enumerate() {
            for half in 0..2 {
                let first = block * BLOCK + half * 16;
                let mut high = [_mm512_setzero_si512(); 16];
                let mut low = [_mm512_setzero_si512(); 16];
                for line in 0..16 {
                    let (a, b) = if self.deep {
                        // 32 numbers of one row.
                        (self.load(first + line, step * 32), self.load(first + line, step * 32 + 16))
                    } else {
                        // 16 rows at two places of the inner dimension.
                        (self.load(step * 32 + 2 * line, first), self.load(step * 32 + 2 * line + 1, first))
                    };
                    let ((a, a_low), (b, b_low)) = (parted::<SPLIT>(a), parted::<SPLIT>(b));
                    let join = |a: __m256i, b: __m256i| {
                        if self.deep {
                            joined(a, b)
                        } else {
                            let b = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(b));
                            _mm512_or_si512(_mm512_cvtepu16_epi32(a), b)
                        }
                    };
                    high[line] = join(a, b);
                    if SPLIT {
                        low[line] = join(a_low, b_low);
                    }
                }
                if transposed {
                    transpose(&mut high);
                    if SPLIT {
                        transpose(&mut low);
                    }
                }
                write(&high, &mut to[half * TILE..][..TILE]);
                if SPLIT {
                    write(&low, &mut to[(2 + half) * TILE..][..TILE]);
                }
            }
        }
    }

    /// [`Self::pack`] of the first block as a left operand, row after row: what a product does with its input.
    ///
    /// # Safety
    /// As [`Self::pack`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn pack_rows<const SPLIT: bool>(&self, to: &mut [u8]) {
        assert!(self.deep && self.count <= BLOCK);
        let size = if SPLIT { 4 * TILE } else { 2 * TILE };
        let steps = self.depth.div_ceil(32);
        assert!(to.len() >= steps * size);
        // Lines at a distance of whole steps share few places of the first-level cache: not too many at a time.
        for first in (0..steps).step_by(16) {
            let group = first..steps.min(first + 16);
            for line in 0..self.count.next_multiple_of(16) {
                let at = line / 16 * TILE + line % 16 * 64;
                for step in group.clone() {
                    let (a, b) = if line < self.count && (step + 1) * 32 <= self.depth {
                        let from = &self.data[line * self.stride + step * 32..][..32];
                        // SAFETY: the slice has 32 numbers.
                        unsafe { (_mm512_loadu_ps(from.as_ptr()), _mm512_loadu_ps(from[16..].as_ptr())) }
                    } else {
                        (self.load(line, step * 32), self.load(line, step * 32 + 16))
                    };
                    // SAFETY: `to` has all steps, and the line lies inside the first two tiles of one (the last two
                    // with `SPLIT`).
                    unsafe {
                        let to = to.as_mut_ptr().add(step * size + at);
                        if SPLIT {
                            let ((a, a_low), (b, b_low)) = (parted::<SPLIT>(a), parted::<SPLIT>(b));
                            _mm512_storeu_si512(to.cast(), joined(a, b));
                            _mm512_storeu_si512(to.add(2 * TILE).cast(), joined(a_low, b_low));
                        } else {
                            let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(b, a));
                            _mm512_storeu_si512(to.cast(), both);
                        }
                    }
                }
            }
        }
    }

    /// 16 numbers of line `line` of the memory from `from` on, and zero outside.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(&self, line: usize, from: usize) -> __m512 {
        let (lines, width) = if self.deep { (self.count, self.depth) } else { (self.depth, self.count) };
        if line >= lines || from >= width {
            return _mm512_setzero_ps();
        }
        let row = &self.data[line * self.stride..][..width];
        let rest = &row[from..];
        let mask = if rest.len() >= 16 { 0xffff } else { (1u16 << rest.len()) - 1 };
        // SAFETY: the mask covers at most the numbers that are there.
        unsafe { _mm512_maskz_loadu_ps(mask, rest.as_ptr()) }
    }
}

/// Numbers rounded to bf16, and with `SPLIT` what that has left, rounded to bf16 again; nothing is left of a number that
/// is not finite or rounds to infinity.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn parted<const SPLIT: bool>(v: __m512) -> (__m256i, __m256i) {
    // SAFETY: both are 256 bits of plain data.
    let high: __m256i = unsafe { std::mem::transmute(_mm512_cvtneps_pbh(v)) };
    if !SPLIT {
        return (high, high);
    }
    let wide = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high)));
    let finite = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(wide), _mm512_set1_ps(f32::INFINITY));
    let left = _mm512_maskz_sub_ps(finite, v, wide);
    // SAFETY: as above.
    (high, unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(left)) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn joined(a: __m256i, b: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn write(tile: &[__m512i; 16], to: &mut [u8]) {
    assert_eq!(to.len(), TILE);
    for (line, v) in tile.iter().enumerate() {
        // SAFETY: 64 bytes from `64·line` on lie within the 1024.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(64 * line).cast(), *v) };
    }
}

/// Transposes block `block` of rows of 8-bit integers, `[count, depth]` with `depth` a multiple of 64, into tiles of a
/// right operand: two for each 64 of the inner dimension.
///
/// # Safety
/// The machine has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pack_bytes(codes: &[i8], count: usize, depth: usize, block: usize, to: &mut [u8]) {
    assert!(codes.len() == count * depth && depth.is_multiple_of(64));
    for (step, to) in to.chunks_exact_mut(2 * TILE).take(depth / 64).enumerate() {
        for half in 0..2 {
            let mut tile = [_mm512_setzero_si512(); 16];
            for (line, v) in tile.iter_mut().enumerate() {
                let row = block * BLOCK + half * 16 + line;
                if row < count {
                    let bytes = &codes[row * depth + step * 64..][..64];
                    // SAFETY: the slice holds 64 bytes.
                    *v = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
                }
            }
            transpose(&mut tile);
            write(&tile, &mut to[half * TILE..][..TILE]);
        }
    }
}

/// Transposes a 16×16 matrix of 32-bit words.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(t: &mut [__m512i; 16]) {
    // Pairs of rows, then fours: within each 128 bits a 4×4 matrix is transposed.
    let mut u = *t;
    for i in (0..16).step_by(2) {
        u[i] = _mm512_unpacklo_epi32(t[i], t[i + 1]);
        u[i + 1] = _mm512_unpackhi_epi32(t[i], t[i + 1]);
    }
    for i in (0..16).step_by(4) {
        t[i] = _mm512_unpacklo_epi64(u[i], u[i + 2]);
        t[i + 1] = _mm512_unpackhi_epi64(u[i], u[i + 2]);
        t[i + 2] = _mm512_unpacklo_epi64(u[i + 1], u[i + 3]);
        t[i + 3] = _mm512_unpackhi_epi64(u[i + 1], u[i + 3]);
    }
    // t[4g + c] holds, in 128-bit lane l, column 4l + c of rows 4g to 4g + 3: now the lanes are transposed.
    for c in 0..4 {
        let (a, b, d, e) = (t[c], t[4 + c], t[8 + c], t[12 + c]);
        let ab_even = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
        let ab_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
        let de_even = _mm512_shuffle_i32x4::<0b10_00_10_00>(d, e);
        let de_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(d, e);
        u[c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_even, de_even);
        u[8 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_even, de_even);
        u[4 + c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_odd, de_odd);
        u[12 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_odd, de_odd);
    }
    *t = u;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{self, Isa};

    #[test]
    fn rows_are_packed_as_blocks_are() {
        if isa::current() < Isa::Amx {
            return;
        }
        for (count, depth) in [(32, 64), (32, 1100), (17, 45), (3, 1)] {
            let data: Vec<f32> = (0..count * depth).map(|i| (i as f32 * 0.37).sin() * 100.0).collect();
            let operand = Operand::deep(&data, count, depth);
            let steps = depth.div_ceil(32);
            let lines = count.div_ceil(16) * TILE;
            let (mut rows, mut block) = (vec![0xffu8; steps * 4 * TILE], vec![0xffu8; steps * 4 * TILE]);
            // SAFETY: tiles imply the AVX-512 sets.
            unsafe {
                operand.pack_rows::<true>(&mut rows);
                operand.pack::<true>(Side::Left, 0, &mut block);
            }
            for half in 0..2 * steps {
                assert_eq!(rows[half * 2 * TILE..][..lines], block[half * 2 * TILE..][..lines]);
            }
            // SAFETY: as above.
            unsafe {
                operand.pack_rows::<false>(&mut rows);
                operand.pack::<false>(Side::Left, 0, &mut block);
            }
            for step in 0..steps {
                assert_eq!(rows[step * 2 * TILE..][..lines], block[step * 2 * TILE..][..lines]);
            }
        }
    }

    fn tile_number(tile: &[u8], line: usize, at: usize) -> f32 {
        let at = 64 * line + 2 * at;
        f32::from_bits(u32::from(u16::from_le_bytes([tile[at], tile[at + 1]])) << 16)
    }

    #[test]
    fn every_number_lands_in_its_place() {
        if isa::current() < Isa::Amx {
            return;
        }
        let (count, depth) = (37, 45);
        // Whole numbers below 256 are bf16 numbers; a fraction of 2⁻⁹ is left to the low part.
        let value = |i: usize, p: usize| ((i * 51 + p * 7) % 199 + 1) as f32;
        let fraction = |i: usize, p: usize| ((i + p) % 3) as f32 / 1024.0;
        let number = |i, p| value(i, p) + fraction(i, p);
        let deep: Vec<f32> = (0..count * depth).map(|at| number(at / depth, at % depth)).collect();
        let flat: Vec<f32> = (0..count * depth).map(|at| number(at % count, at / count)).collect();
        for operand in [Operand::deep(&deep, count, depth), Operand::flat(&flat, count, depth)] {
            for side in [Side::Left, Side::Right] {
                for block in 0..2 {
                    let mut to = vec![0xffu8; 2 * 4 * TILE];
                    // SAFETY: tiles imply the AVX-512 sets.
                    unsafe { operand.pack::<true>(side, block, &mut to) };
                    let mut one = vec![0xffu8; 2 * 2 * TILE];
                    // SAFETY: as above.
                    unsafe { operand.pack::<false>(side, block, &mut one) };
                    for (row, p) in (0..32).flat_map(|row| (0..64).map(move |p| (row, p))) {
                        let at = (p / 32 * 4 + row / 16) * TILE;
                        let plain = (p / 32 * 2 + row / 16) * TILE;
                        let (line, column) = match side {
                            Side::Left => (row % 16, p % 32),
                            Side::Right => (p % 32 / 2, 2 * (row % 16) + p % 2),
                        };
                        let i = block * 32 + row;
                        let inside = i < count && p < depth;
                        let want = if inside { (value(i, p), fraction(i, p)) } else { (0.0, 0.0) };
                        let got = (
                            tile_number(&to[at..], line, column),
                            tile_number(&to[at + 2 * TILE..], line, column),
                        );
                        assert_eq!(got, want, "{i} {p}");
                        assert_eq!(tile_number(&one[plain..], line, column), want.0);
                    }
                }
            }
        }
    }
}
