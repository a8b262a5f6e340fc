use super::Factors;
use crate::linear::amx::{Kind, Tiles};
use crate::linear::buffer::Scratch;
use crate::linear::rectangles;
use crate::linear::tile::{BLOCK, Operand, Side};
use crate::share::{self, Parts};

/// Rows that are summed before the sums go to memory: their operands stay in the first-level cache.
fn round(kind: Kind) -> usize {
    if kind == Kind::Split { 256 } else { 512 }
}

/// # Safety
/// The machine has AMX, and the process may use it.
pub(super) unsafe fn sum(kind: Kind, factors: Factors<'_>, dw: &mut [f32]) {
    let Factors { m, n, k, .. } = factors;
    let small = m.saturating_mul(n * k) < 1 << 19;
    let panels = k.div_ceil(BLOCK);
    let mut kept = Scratch::take();
    let dw = Parts::new(dw);
    for first in (0..m).step_by(round(kind)) {
        let Factors { dy, x, m: rows, .. } = factors.rows(first..m.min(first + round(kind)));
        let size = kind.block(rows);
        let right = kept.at_least::<u8>(panels * size);
        let operand = Operand::flat(x, k, rows);
        let out = Bytes(right.as_mut_ptr());
        share::jobs(panels, if small { 0 } else { panels * size }, |panel| {
            // SAFETY: the buffer has `size` bytes for each panel, and each job has its own.
            let to = unsafe { out.part(panel * size, size) };
            // SAFETY: tiles imply the AVX-512 sets.
            unsafe { pack(kind, operand, Side::Right, panel, to) };
        });
        let right = &right[..panels * size];
        let operand = Operand::flat(dy, n, rows);
        rectangles::for_each(n, panels, BLOCK, BLOCK, small, |heights, columns| {
            let mut scratch = Scratch::take();
            let left = &mut scratch.at_least::<u8>(size)[..size];
            let rows = heights.len();
            // SAFETY: the caller has the instruction set, which contains AVX-512.
            let tiles = unsafe {
                pack(kind, operand, Side::Left, heights.start / BLOCK, left);
                Tiles::configure()
            };
            for panel in columns {
                let width = BLOCK.min(k - panel * BLOCK);
                let block = Block { at: heights.start * k + panel * BLOCK, rows, width, stride: k };
                // SAFETY: rectangles do not overlap.
                unsafe { add(&tiles, kind, left, &right[panel * size..][..size], first > 0, block, &dw) };
            }
        });
    }
}

/// A block of the output.
struct Block {
    at: usize,
    rows: usize,
    width: usize,
    stride: usize,
}

/// Writes, or with `more` adds, the product of two blocks to a block of the output.
///
/// # Safety
/// No other thread writes to the block.
unsafe fn add(
    tiles: &Tiles,
    kind: Kind,
    left: &[u8],
    right: &[u8],
    more: bool,
    block: Block,
    dw: &Parts<'_>,
) {
    let Block { at, rows, width, stride } = block;
    let two = rows > 16;
    let whole = width == BLOCK && rows % 16 == 0;
    let mut edge = [0.0f32; BLOCK * BLOCK];
    let row = |r: usize| {
        // SAFETY: the row is this task's.
        unsafe { dw.part(at + r * stride..at + r * stride + width) }
    };
    let (to, apart) = if whole {
        // The slices show that all rows lie in the output.
        row(rows - 1);
        (row(0).as_mut_ptr().cast::<u8>(), 4 * stride)
    } else {
        (edge.as_mut_ptr().cast::<u8>(), 4 * BLOCK)
    };
    if more && !whole {
        for r in 0..rows {
            edge[r * BLOCK..][..width].copy_from_slice(row(r));
        }
    }
    assert_eq!(left.len(), right.len());
    // SAFETY: `to` has 16 or 32 rows of 128 bytes, which are whole where they are in the output; the operands have
    // whole steps.
    unsafe {
        let to = if whole { to } else { edge.as_mut_ptr().cast() };
        if more {
            tiles.load(two, to, apart);
        } else {
            tiles.zero(two);
        }
        for step in (0..left.len()).step_by(kind.step()) {
            tiles.step(kind, two, left.as_ptr().add(step), right.as_ptr().add(step));
        }
        tiles.store(two, to, apart);
    }
    if !whole {
        for r in 0..rows {
            row(r).copy_from_slice(&edge[r * BLOCK..][..width]);
        }
    }
}

/// # Safety
/// The machine has AVX-512 F, BW, DQ, VL and BF16.
unsafe fn pack(kind: Kind, operand: Operand<'_>, side: Side, block: usize, to: &mut [u8]) {
    // SAFETY: passed on to the caller.
    unsafe {
        if kind == Kind::Split {
            operand.pack::<true>(side, block, to);
        } else {
            operand.pack::<false>(side, block, to);
        }
    }
}

/// A buffer of which jobs write parts of their own.
struct Bytes(*mut u8);

// SAFETY: `part` asks its callers for parts that do not overlap.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// # Safety
    /// The part lies in the buffer, and no two that are alive at one time overlap.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    unsafe fn part(&self, at: usize, len: usize) -> &mut [u8] {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), len) }
    }
}
