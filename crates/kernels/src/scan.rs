//! Every query against every row, in tiles, keeping only what may matter: the ground of exact search and of measures.
//!
//! A tile of products is computed in whatever arithmetic the machine does fastest ([`Form`]), and each of its values
//! comes with a proven bound on how far it can be from the exact score ([`Queries::error`]). Values below a query's floor
//! are refused by one vector comparison as they leave the product; the others reach a [`Sink`], which takes what is
//! decided and scores the rest exactly ([`crate::exact`]). So what comes out depends on the exact scores alone: not on
//! the form, the instruction set, the shape of a tile or the number of threads.
//!
//! # The bound
//!
//! With a centre μ (any vector; the mean of some rows is a good one), x' = x − μ and y' = y − μ,
//!
//! ```text
//! x·y       =  x'·y' + μ·y' + x·μ
//! −‖x − y‖² =  2·(x'·y' − ‖y'‖²/2) − ‖x'‖²
//! ```
//!
//! A tile holds x̂·ŷ of rounded x' and y' and adds one number a row. With the residues ‖x' − x̂‖ and ‖y' − ŷ‖, which are
//! computed when a row is rounded,
//!
//! ```text
//! |x'·y' − x̂·ŷ|  ≤  ‖x' − x̂‖·‖y'‖ + ‖x̂‖·‖y' − ŷ‖
//! ```
//!
//! and the sum itself is within [`crate::exact::product_error`] of x̂·ŷ. For bf16 and unit rows around no common mean that
//! is about 0.003; a common mean, which embeddings of texts often have, is subtracted and costs nothing.

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod binary;
mod candidates;
mod encode;
mod mutual;
mod queries;
mod select;
#[cfg(target_arch = "x86_64")]
mod single;
#[cfg(test)]
mod tests;
mod tile;
mod waiting;

pub use candidates::{Candidates, Found};
pub use mutual::Mutual;
pub use queries::{Hit, Queries, Scratch, Sink};
pub use tile::Tile;
pub use waiting::{Bounded, Waiting};

use crate::isa::Isa;

/// What a score is. Higher is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// x·y; for normalised rows the cosine.
    Dot,
    /// −‖x − y‖².
    Euclidean,
}

/// The arithmetic of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 32-bit products of the rows as they are.
    Single,
    /// bf16 products on tile registers.
    Half,
    /// Each factor as the sum of two bf16 numbers and three products on tile registers: three times the work of
    /// [`Form::Half`], and a bound about a hundred times smaller, like that of [`Form::Single`].
    Split,
    /// Products of 8-bit integers with one scale a row; the sums are exact, and run on every instruction set.
    Int8,
}

impl Form {
    /// The fastest form on an instruction set.
    pub fn fastest(isa: Isa) -> Form {
        if isa == Isa::Amx { Form::Half } else { Form::Single }
    }

    /// Bytes that a number of a rounded row takes; 0 where rows are read as they are.
    pub fn bytes(self) -> usize {
        match self {
            Form::Single => 0,
            Form::Half => 2,
            Form::Split => 6,
            Form::Int8 => 1,
        }
    }

    /// Whether an instruction set can compute it.
    fn runs_on(self, isa: Isa) -> bool {
        matches!(self, Form::Single | Form::Int8) || isa == Isa::Amx
    }
}

/// The mean of up to 1,024 rows of `values`, `[n, dim]`, evenly spread: a centre for [`Tile`] and [`Queries`].
///
/// Zero where the mean is not finite in 32 bits.
///
/// # Panics
/// If `values` is not whole rows.
pub fn centre(values: &[f32], dim: usize) -> Vec<f32> {
    assert!(dim > 0 && values.len().is_multiple_of(dim), "{} values, rows of {dim}", values.len());
    let rows = values.len() / dim;
    let step = rows.div_ceil(1024).max(1);
    let mut sum = vec![0.0f64; dim];
    for row in values.chunks_exact(dim).step_by(step) {
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let count = rows.div_ceil(step).max(1) as f64;
    let mean: Vec<f32> = sum.iter().map(|sum| (sum / count) as f32).collect();
    // A square that overflows makes bounds infinite, and nothing could be refused.
    if mean.iter().map(|m| m * m).sum::<f32>().is_finite() { mean } else { vec![0.0; dim] }
}

/// Runs `$body` compiled for the instruction set: the same operations in the same order, in wider registers.
macro_rules! on {
    ($isa:expr, $body:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")]
            fn on_avx512($($arg: $ty),*) $(-> $out)? { $body($($arg),*) }
            #[target_feature(enable = "avx2,fma")]
            fn on_avx2($($arg: $ty),*) $(-> $out)? { $body($($arg),*) }
            match $isa {
                // SAFETY: an `Isa` above the current one is never asked for, and the current one was found here.
                $crate::isa::Isa::Amx | $crate::isa::Isa::Avx512 => unsafe { on_avx512($($arg),*) },
                // SAFETY: as above.
                $crate::isa::Isa::Avx2 => unsafe { on_avx2($($arg),*) },
                $crate::isa::Isa::Portable => $body($($arg),*),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = $isa;
            $body($($arg),*)
        }
    }};
}
pub(crate) use on;

/// A cache line: what a tile register loads a row of.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

const BLANK: Line = Line([0; 64]);

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: a line is 64 bytes without padding, and any byte is valid.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
}

fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as in `bytes`, under an exclusive borrow.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 64) }
}
