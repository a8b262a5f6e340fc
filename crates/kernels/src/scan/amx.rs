//! Blocks of products on tile registers: 32 gallery rows by 32 queries, which four accumulators hold.
//!
//! Rows come in groups of 16, one cache line of each row to a register. Queries come in panels of 16: of each run of
//! 64 bytes of the 16 queries, 16 lines with four bytes of every query. Both are read from one end to the other. Each line that is loaded serves two products, so a
//! step of four loads feeds four products of 16 cycles.

use std::arch::asm;

/// Marks a block in which the calling thread's tile registers are laid out for [`product`].
pub(super) struct Registers(());

#[repr(C, align(64))]
struct Layout {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    columns: [u16; 16],
    rows: [u8; 16],
}

impl Registers {
    /// # Safety
    /// The process must have permission to use tile registers: the instruction set is [`crate::isa::Isa::Amx`].
    pub(super) unsafe fn lay_out() -> Self {
        let mut layout = Layout { palette: 1, start: 0, reserved: [0; 14], columns: [0; 16], rows: [0; 16] };
        layout.columns[..8].fill(64);
        layout.rows[..8].fill(16);
        // SAFETY: the caller's contract; the layout is valid for palette 1 and 64 bytes long.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &layout, options(nostack, readonly, preserves_flags));
        }
        Registers(())
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: a `Registers` exists only where tiles may be used. Without this, every change of thread would save them.
        unsafe {
            asm!("tilerelease", options(nostack, nomem, preserves_flags));
        }
    }
}

/// The kind of product: 32-bit sums of bf16 pairs, or of four 8-bit integers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Bf16,
    Int8,
}

macro_rules! block {
    ($instruction:literal, $rows:expr, $panels:expr, $panel:expr, $steps:expr, $out:expr) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm6, [{b} + {line}]",
            concat!($instruction, " tmm0, tmm4, tmm6"),
            "tileloadd tmm7, [{b2} + {line}]",
            concat!($instruction, " tmm1, tmm4, tmm7"),
            "tileloadd tmm5, [{a2} + {line}]",
            concat!($instruction, " tmm2, tmm5, tmm6"),
            concat!($instruction, " tmm3, tmm5, tmm7"),
            "add {a}, 1024",
            "add {a2}, 1024",
            "add {b}, 1024",
            "add {b2}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{c} + {wide}], tmm0",
            "tilestored [{c} + {wide} + 64], tmm1",
            "tilestored [{c2} + {wide}], tmm2",
            "tilestored [{c2} + {wide} + 64], tmm3",
            a = inout(reg) $rows => _,
            a2 = inout(reg) $rows.add($panel) => _,
            b = inout(reg) $panels => _,
            b2 = inout(reg) $panels.add($panel) => _,
            steps = inout(reg) $steps => _,
            line = in(reg) 64usize,
            wide = in(reg) 128usize,
            c = in(reg) $out,
            c2 = in(reg) $out.add(16 * 128),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// `out[32 rows, 32 queries] =` the products of two groups of 16 rows of `stride` bytes with two panels of queries.
///
/// # Panics
/// If a slice is shorter than that.
pub(super) fn product(
    _registers: &Registers,
    product: Product,
    rows: &[u8],
    stride: usize,
    panels: &[u8],
    out: &mut [f32],
) {
    let (steps, panel) = (stride / 64, stride * 16);
    assert!(
        steps > 0
            && stride.is_multiple_of(64)
            && rows.len() >= 32 * stride
            && panels.len() >= 2 * panel
            && out.len() >= 32 * 32
    );
    let (rows, panels, out) = (rows.as_ptr(), panels.as_ptr(), out.as_mut_ptr().cast::<u8>());
    // SAFETY: `Registers` says that tiles are laid out as 16 rows of 64 bytes. The assertion bounds what is read (32 rows
    // of `stride` bytes, 2·16 lines for each of `steps` steps) and written (32 rows of 128 bytes).
    unsafe {
        match product {
            Product::Bf16 => block!("tdpbf16ps", rows, panels, panel, steps, out),
            Product::Int8 => block!("tdpbssd", rows, panels, panel, steps, out),
        }
    }
}
