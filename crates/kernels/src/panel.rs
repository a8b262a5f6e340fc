//! Products with a panel of columns of a wider matrix, so that the columns can be split over threads.

use crate::Real;
use crate::tile::Product;

/// `c[m, n] += a[.., first..first + m]ᵀ · b[k, n]`, where `a` is `[k, stride]`: a panel of `m` columns of `a`.
///
/// All matrices are row-major. The sum over `k` runs in a fixed order on the calling thread.
///
/// # Panics
/// If a slice does not have the length that its shape says, or the panel ends beyond the stride.
pub fn add_tn<T: Real>(
    first: usize,
    m: usize,
    n: usize,
    k: usize,
    stride: usize,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    assert!(
        first + m <= stride && a.len() == k * stride && b.len() == k * n && c.len() == m * n,
        "panel {first}+{m} of {stride} columns, {m}×{n}×{k}, with slices of {}, {} and {} elements",
        a.len(),
        b.len(),
        c.len()
    );
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    if T::fast() {
        // SAFETY: the assertion bounds every element that these strides reach (row p of `a` from column `first` to
        // `first + m` lies inside `k · stride`), and the exclusive borrow of `c` rules out aliasing.
        unsafe {
            T::multiply(Product {
                m,
                n,
                k,
                a: a.as_ptr().add(first),
                a_row: 1,
                a_column: stride,
                b: b.as_ptr(),
                b_row: n,
                c: c.as_mut_ptr(),
                c_row: n,
                add: true,
            });
        }
        return;
    }
    // SAFETY: the assertion bounds every element that these strides reach (row p of `a` from column `first` to
    // `first + m` lies inside `k · stride`), and the exclusive borrow of `c` rules out aliasing.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.as_ptr().add(first),
            stride as isize,
            1,
            b.as_ptr(),
            1,
            n as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_equals_the_triple_loop() {
        let value = |i: usize, salt: usize| ((i * 31 + salt * 7) % 19) as f64 - 9.0;
        for (first, m, n, k, stride) in
            [(0, 3, 2, 4, 3), (2, 5, 17, 9, 11), (6, 1, 8, 33, 7), (1, 4, 3, 0, 5)]
        {
            let a: Vec<f64> = (0..k * stride).map(|i| value(i, 1)).collect();
            let b: Vec<f64> = (0..k * n).map(|i| value(i, 2)).collect();
            let start: Vec<f64> = (0..m * n).map(|i| value(i, 3)).collect();
            let want: Vec<f64> = (0..m * n)
                .map(|i| {
                    start[i] + (0..k).map(|p| a[p * stride + first + i / n] * b[p * n + i % n]).sum::<f64>()
                })
                .collect();
            let mut c = start;
            add_tn(first, m, n, k, stride, &a, &b, &mut c);
            assert_eq!(c, want);
        }
    }
}
