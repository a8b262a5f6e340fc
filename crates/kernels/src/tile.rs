//! Products of a tile of pairs: anchors against references, coefficients times references, coefficients times anchors.
//!
//! A library product packs its right side for every call, which costs as much as a third of a product over 128
//! dimensions. Here the references are laid out once for all tiles ([`References`]), and the other two products read their
//! sides as they lie. Where there are no AVX-512 instructions, and for `f64`, the products are those of
//! [`gemm`] and [`panel`](crate::panel). Each output is summed over the inner dimension in a fixed order, so
//! that neither the number of rows nor their place changes it.

mod product;
mod transposed;

pub(crate) use product::Product;
use product::Products;
use transposed::Turned;

use rayon::prelude::*;

use crate::{Real, gemm};

pub use transposed::add_transposed;

/// What a number type must have for the products of this module.
pub trait Numbers: Products + Turned {}
impl<T: Products + Turned> Numbers for T {}

/// Columns of a panel of [`References`].
const WIDTH: usize = 64;

/// Rows `b[n, k]` laid out for products `a · bᵀ` with any number of tiles.
#[derive(Debug)]
pub struct References<'a, T> {
    b: &'a [T],
    n: usize,
    k: usize,
    /// Panels of [`WIDTH`] rows of `b`, each `[k, WIDTH]`, from `start`; empty where a library multiplies.
    panels: Vec<T>,
    start: usize,
}

impl<'a, T: Real> References<'a, T> {
    /// Lays out `b[n, k]`.
    ///
    /// # Panics
    /// If `b` does not have `n · k` elements.
    pub fn new(b: &'a [T], n: usize, k: usize) -> Self {
        assert_eq!(b.len(), n * k, "references of {n}×{k}");
        if !T::fast() || k == 0 {
            return References { b, n, k, panels: Vec::new(), start: 0 };
        }
        let mut panels = vec![T::ZERO; n.next_multiple_of(WIDTH) * k + LINE];
        let start = panels.as_ptr().align_offset(LINE * size_of::<T>()).min(LINE);
        let each = WIDTH * k;
        let panels_of = panels[start..].par_chunks_mut(each).zip(b.par_chunks(each)).with_min_len(4);
        panels_of.for_each(|(panel, rows)| T::turn(rows.len() / k, k, rows, WIDTH, panel));
        References { b, n, k, panels, start }
    }

    /// Bytes that the layout of `n` rows of `k` values of `value_bytes` takes at most.
    pub fn bytes(n: usize, k: usize, value_bytes: usize) -> usize {
        (n.next_multiple_of(WIDTH) * k + LINE) * value_bytes
    }

    /// `c[m, n] = a[m, k] · bᵀ`.
    ///
    /// # Panics
    /// If a slice does not have the length that its shape says.
    pub fn against(&self, m: usize, a: &[T], c: &mut [T]) {
        let (n, k) = (self.n, self.k);
        assert!(a.len() == m * k && c.len() == m * n, "{m}×{n}×{k} with {} and {}", a.len(), c.len());
        if self.panels.is_empty() {
            let least = (LIBRARY_SMALL / n.max(1) + 1).max(2);
            return with_rows(least, m, n, k, a, c, |m, a, c| gemm::nt(m, n, k, a, self.b, T::ZERO, c));
        }
        for (j, panel) in self.panels[self.start..].chunks_exact(WIDTH * k).enumerate() {
            let first = j * WIDTH;
            if first >= n {
                break;
            }
            // SAFETY: rows of `a` and `c` have k and n values, of which the panel's columns are `first..first + width`; a
            // panel has k rows of WIDTH values. `c` is borrowed exclusively.
            unsafe {
                T::multiply(Product {
                    m,
                    n: WIDTH.min(n - first),
                    k,
                    a: a.as_ptr(),
                    a_row: k,
                    a_column: 1,
                    b: panel.as_ptr(),
                    b_row: WIDTH,
                    c: c.as_mut_ptr().add(first),
                    c_row: n,
                    add: false,
                });
            }
        }
    }
}

/// Values of a product `a · bᵀ` up to which the library adds in another order.
const LIBRARY_SMALL: usize = 256;

/// A product of `m` rows of `a`, computed with at least `least` rows where there are any: the library adds the sums of few rows
/// in another order than those of many.
fn with_rows<T: Real>(
    least: usize,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    c: &mut [T],
    product: impl FnOnce(usize, &[T], &mut [T]),
) {
    if m == 0 || m >= least {
        return product(m, a, c);
    }
    let mut more = vec![T::ZERO; least * k];
    more[..m * k].copy_from_slice(a);
    let mut sums = vec![T::ZERO; least * n];
    product(least, &more, &mut sums);
    c.copy_from_slice(&sums[..m * n]);
}

/// Values in a cache line of `f32`.
const LINE: usize = 16;

/// `c[m, n] = a[m, k] · b[k, n]`.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn combine<T: Real>(m: usize, n: usize, k: usize, a: &[T], b: &[T], c: &mut [T]) {
    if !T::fast() {
        // A single column is a row of `bᵀ` too.
        let least = if n == 1 { LIBRARY_SMALL + 1 } else { 2 };
        return with_rows(least, m, n, k, a, c, |m, a, c| gemm::nn(m, n, k, a, b, T::ZERO, c));
    }
    let fits = a.len() == m * k && b.len() == k * n && c.len() == m * n;
    assert!(fits, "{m}×{n}×{k} with {}, {} and {} elements", a.len(), b.len(), c.len());
    // SAFETY: the assertion says that the slices have these shapes; `c` is borrowed exclusively.
    unsafe {
        T::multiply(Product {
            m,
            n,
            k,
            a: a.as_ptr(),
            a_row: k,
            a_column: 1,
            b: b.as_ptr(),
            b_row: n,
            c: c.as_mut_ptr(),
            c_row: n,
            add: false,
        });
    }
}

#[cfg(test)]
mod tests;
