//! Products of tiles. The compiler has no stable intrinsics for them, so every instruction is a block of assembly.
//!
//! 32×32 sums stay in tiles 0 to 3 over a run of the inner dimension; a step reads two tiles of each operand and makes four
//! products of them. The rows' operand of a run stays in the first-level cache, the weights stream past it from the
//! second, loaded with the hint that they are not to displace it. Between the steps, while the products are under way,
//! the vector units finish the sums before: bias, activation and stores cost little beside the products
//! (`super::sweep`).
//!
//! Tiles carry their values from one block of assembly to the next. The compiler touches tile registers only in functions
//! that are compiled for AMX, and no function is.

use super::tile::TILE;
use std::arch::asm;

/// The configured tile registers of this thread; released when dropped, so that a thread does not carry 8 KiB of state
/// through every switch.
pub(super) struct Tiles(());

/// What `ldtilecfg` reads: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

static CONFIGURATION: Configuration = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Configuration(bytes)
};

impl Tiles {
    /// # Safety
    /// The machine has AMX with bf16 and int8, and the process has been allowed to use it.
    pub(super) unsafe fn configure() -> Self {
        // SAFETY: the configuration is valid; the instructions exist (the caller).
        unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: a value of this type exists only where the instruction does.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// bf16, 32 of the inner dimension a step.
    Half,
    /// Two bf16 numbers for each factor, 32 of the inner dimension a step.
    Split,
    /// 8-bit integers, 64 of the inner dimension a step.
    Whole,
}

impl Kind {
    /// Numbers of the inner dimension in a step.
    pub(super) fn depth(self) -> usize {
        if self == Self::Whole { 64 } else { 32 }
    }

    /// Bytes of a block of 32 rows or columns in a step.
    pub(super) fn step(self) -> usize {
        if self == Self::Split { 4 * TILE } else { 2 * TILE }
    }

    /// Bytes of a block over an inner dimension of `k`.
    pub(super) fn block(self, k: usize) -> usize {
        k.div_ceil(self.depth()) * self.step()
    }
}

/// Two rows of tiles, or one where a block has no more than 16 rows.
macro_rules! step {
    ($product:literal, $two:expr, $a:expr, $b:expr, [$($load_a0:literal $load_a1:literal $load_b0:literal $load_b1:literal),*]) => {
        if $two {
            asm!(
                $(
                    $load_a0, $load_b0, $load_a1, $load_b1,
                    concat!($product, " tmm0, tmm4, tmm6"),
                    concat!($product, " tmm2, tmm5, tmm6"),
                    concat!($product, " tmm1, tmm4, tmm7"),
                    concat!($product, " tmm3, tmm5, tmm7"),
                )*
                a = in(reg) $a, b = in(reg) $b, s = in(reg) 64usize,
                options(nostack, readonly),
            )
        } else {
            asm!(
                $(
                    $load_a0, $load_b0, $load_b1,
                    concat!($product, " tmm0, tmm4, tmm6"),
                    concat!($product, " tmm1, tmm4, tmm7"),
                )*
                a = in(reg) $a, b = in(reg) $b, s = in(reg) 64usize,
                options(nostack, readonly),
            )
        }
    };
}

impl Tiles {
    /// Sums of 0; `two` rows of tiles or one.
    #[inline(always)]
    pub(super) fn zero(&self, two: bool) {
        // SAFETY: the tiles are configured.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
            if two {
                asm!("tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            }
        }
    }

    /// Sums from memory, whose rows of 128 bytes are `stride` bytes apart.
    ///
    /// # Safety
    /// 32 (16) rows are readable.
    #[inline(always)]
    pub(super) unsafe fn load(&self, two: bool, from: *const u8, stride: usize) {
        // SAFETY: the tiles are configured, the memory is the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{c} + {t}]",
                "tileloadd tmm1, [{c} + {t} + 64]",
                c = in(reg) from, t = in(reg) stride,
                options(nostack, readonly),
            );
            if two {
                asm!(
                    "tileloadd tmm2, [{c} + {t}]",
                    "tileloadd tmm3, [{c} + {t} + 64]",
                    c = in(reg) from.add(16 * stride), t = in(reg) stride,
                    options(nostack, readonly),
                );
            }
        }
    }

    /// Sums to memory.
    ///
    /// # Safety
    /// 32 (16) rows are writable.
    #[inline(always)]
    pub(super) unsafe fn store(&self, two: bool, to: *mut u8, stride: usize) {
        // SAFETY: the tiles are configured, the memory is the caller's.
        unsafe {
            asm!(
                "tilestored [{c} + {t}], tmm0",
                "tilestored [{c} + {t} + 64], tmm1",
                c = in(reg) to, t = in(reg) stride,
                options(nostack),
            );
            if two {
                asm!(
                    "tilestored [{c} + {t}], tmm2",
                    "tilestored [{c} + {t} + 64], tmm3",
                    c = in(reg) to.add(16 * stride), t = in(reg) stride,
                    options(nostack),
                );
            }
        }
    }

    /// Adds the products of one step of two blocks to the sums.
    ///
    /// # Safety
    /// `a` and `b` are readable over a step of this kind.
    #[inline(always)]
    pub(super) unsafe fn step(&self, kind: Kind, two: bool, a: *const u8, b: *const u8) {
        // SAFETY: the tiles are configured, the memory is the caller's.
        unsafe {
            match kind {
                Kind::Half => step!("tdpbf16ps", two, a, b, [
                    "tileloadd tmm4, [{a} + {s}]" "tileloadd tmm5, [{a} + {s} + 1024]"
                    "tileloaddt1 tmm6, [{b} + {s}]" "tileloaddt1 tmm7, [{b} + {s} + 1024]"
                ]),
                Kind::Whole => step!("tdpbssd", two, a, b, [
                    "tileloadd tmm4, [{a} + {s}]" "tileloadd tmm5, [{a} + {s} + 1024]"
                    "tileloaddt1 tmm6, [{b} + {s}]" "tileloaddt1 tmm7, [{b} + {s} + 1024]"
                ]),
                // high·low, high·high, low·high: what is loaded twice comes from the first-level cache.
                Kind::Split => step!("tdpbf16ps", two, a, b, [
                    "tileloadd tmm4, [{a} + {s}]" "tileloadd tmm5, [{a} + {s} + 1024]"
                    "tileloaddt1 tmm6, [{b} + {s} + 2048]" "tileloaddt1 tmm7, [{b} + {s} + 3072]",
                    "" ""
                    "tileloaddt1 tmm6, [{b} + {s}]" "tileloaddt1 tmm7, [{b} + {s} + 1024]",
                    "tileloadd tmm4, [{a} + {s} + 2048]" "tileloadd tmm5, [{a} + {s} + 3072]"
                    "" ""
                ]),
            }
        }
    }
}
