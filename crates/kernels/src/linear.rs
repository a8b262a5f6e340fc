//! Matrix products of linear layers: packed weights, four precisions, bias, activation and residual in one pass.
//!
//! Weights are packed once into the layout that the instruction set reads ([`Packed`]) and then multiplied with any
//! number of rows. A row's result depends on that row and the weights alone: not on how many rows there are, where it
//! stands, or the number of threads. Work runs on the current rayon pool, split over outputs.

#[cfg(target_arch = "x86_64")]
mod amx;
mod buffer;
mod epilogue;
mod gradient;
mod micro;
mod panels;
mod quantise;
mod rectangles;
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(target_arch = "x86_64")]
mod tile;

pub use epilogue::Epilogue;
use epilogue::Finish;
pub use gradient::{bias_gradient, weight_gradient, weight_gradient_on};

pub use crate::activation::Activation;

use crate::isa::{self, Isa};
use panels::{Given, Panels};

/// How the numbers of a product are rounded; sums are always kept in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit factors and fused multiply-adds.
    F32,
    /// Each factor as the sum of two bf16 numbers `hi + lo`, and three products: `hi·hi + hi·lo + lo·hi`. What is left
    /// out is at most 2⁻¹⁵ of each |x·w|, and 2⁻¹⁸ of it for most. [`Precision::F32`] where there are no tiles.
    Split,
    /// Both factors rounded to bf16 (nearest, ties to even): each product is within 2⁻⁷ of x·w.
    Bf16,
    /// Rows of x and of W as 8-bit integers with one scale each; sums of products are exact, so that every instruction
    /// set gives the same values. See [`Packed::int8`].
    Int8,
}

/// Weights in the layout that one instruction set reads for one precision.
#[derive(Clone, Debug)]
pub struct Packed {
    n: usize,
    k: usize,
    precision: Precision,
    isa: Isa,
    panels: Panels,
}

impl Packed {
    /// Packs `w[n, k]` for `y = x·Wᵀ`.
    ///
    /// # Panics
    /// If `w` does not have `n·k` elements.
    pub fn transposed(w: &[f32], n: usize, k: usize, precision: Precision) -> Self {
        Self::transposed_on(isa::current(), w, n, k, precision)
    }

    /// Packs `w[k, n]` for `y = x·W`; with the weight `W[out, in]` of a layer this gives `dX = dY·W` (`k = out`,
    /// `n = in`).
    ///
    /// # Panics
    /// If `w` does not have `k·n` elements.
    pub fn plain(w: &[f32], k: usize, n: usize, precision: Precision) -> Self {
        Self::plain_on(isa::current(), w, k, n, precision)
    }

    /// Packs `w[n, k]` in 8-bit integers for `y = x·Wᵀ`.
    ///
    /// Output channel j has the scale `max |w[j, ..]| / 127`. A row of x is quantised when it is multiplied, by its own
    /// largest magnitude; a row that holds NaN or an infinity gives NaN throughout. With `smooth`, one positive number
    /// per input channel, x is divided by it and w multiplied: the product is the same, but a channel with outliers takes
    /// less of the range of x (Xiao et al., *SmoothQuant*, 2023, eq. 3).
    ///
    /// # Panics
    /// If `w` does not have `n·k` elements, `smooth` not `k`, or `k` is above 131,072, where 32-bit sums could overflow.
    pub fn int8(w: &[f32], n: usize, k: usize, smooth: Option<&[f32]>) -> Self {
        Self::int8_on(isa::current(), w, n, k, smooth)
    }

    /// [`Packed::transposed`] for an instruction set other than the current one.
    ///
    /// # Panics
    /// As [`Packed::transposed`], and if `isa` is above [`isa::current`].
    pub fn transposed_on(isa: Isa, w: &[f32], n: usize, k: usize, precision: Precision) -> Self {
        if precision == Precision::Int8 {
            return Self::int8_on(isa, w, n, k, None);
        }
        check_isa(isa);
        assert_eq!(w.len(), n * k, "weights of {n}×{k}");
        let panels = Panels::float(isa, Given::ByOutput(w), n, k, precision);
        Self { n, k, precision, isa, panels }
    }

    /// [`Packed::plain`] for an instruction set other than the current one.
    ///
    /// # Panics
    /// As [`Packed::plain`], and if `isa` is above [`isa::current`].
    pub fn plain_on(isa: Isa, w: &[f32], k: usize, n: usize, precision: Precision) -> Self {
        check_isa(isa);
        assert_eq!(w.len(), n * k, "weights of {k}×{n}");
        if precision == Precision::Int8 {
            let transposed: Vec<f32> = (0..n * k).map(|i| w[i % k * n + i / k]).collect();
            return Self::int8_on(isa, &transposed, n, k, None);
        }
        let panels = Panels::float(isa, Given::ByInput(w), n, k, precision);
        Self { n, k, precision, isa, panels }
    }

    /// [`Packed::int8`] for an instruction set other than the current one.
    ///
    /// # Panics
    /// As [`Packed::int8`], and if `isa` is above [`isa::current`].
    pub fn int8_on(isa: Isa, w: &[f32], n: usize, k: usize, smooth: Option<&[f32]>) -> Self {
        check_isa(isa);
        assert_eq!(w.len(), n * k, "weights of {n}×{k}");
        assert!(k <= 1 << 17, "8-bit sums over {k} products could overflow");
        if let Some(smooth) = smooth {
            assert_eq!(smooth.len(), k, "one smoothing factor per input channel");
        }
        let panels = Panels::int8(isa, w, n, k, smooth);
        Self { n, k, precision: Precision::Int8, isa, panels }
    }

    /// Output channels.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input channels.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The precision that was asked for.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The instruction set that this is packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }

    /// `y[m, n] = x[m, k]·Wᵀ`, finished by the epilogue.
    ///
    /// # Panics
    /// If a slice does not have the length that its shape says.
    pub fn product(&self, x: &[f32], m: usize, epilogue: Epilogue<'_>, y: &mut [f32]) {
        let (n, k) = (self.n, self.k);
        assert!(
            x.len() == m * k && y.len() == m * n,
            "product of {m}×{k} by {k}×{n} with slices of {} and {} elements",
            x.len(),
            y.len()
        );
        let finish = Finish::new(epilogue, m, n, y);
        if m > 0 && n > 0 {
            self.panels.product(x, m, n, k, &finish);
        }
    }
}

fn check_isa(isa: Isa) {
    assert!(isa <= isa::current(), "{isa} was not found or is not allowed here");
}

#[cfg(test)]
mod tests;
