//! Dense matrix products on the calling thread; the caller owns the parallel split.
//!
//! All matrices are row-major and contiguous. The products go through the `gemm` crate (AVX2 or AVX-512, chosen at
//! run time), which sums each output over `k` in a fixed order.

use crate::Real;

/// `c[m, n] = a[m, k] · b[n, k]ᵀ + beta · c`: every row of `a` against every row of `b`.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn nt<T: Real>(m: usize, n: usize, k: usize, a: &[T], b: &[T], beta: T, c: &mut [T]) {
    check(m, n, k, a.len(), b.len(), c.len());
    run(m, n, k, a, (1, k), b, (k, 1), beta, c);
}

/// `c[m, n] = a[m, k] · b[k, n] + beta · c`.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn nn<T: Real>(m: usize, n: usize, k: usize, a: &[T], b: &[T], beta: T, c: &mut [T]) {
    check(m, n, k, a.len(), b.len(), c.len());
    run(m, n, k, a, (1, k), b, (1, n), beta, c);
}

/// `c[m, n] = a[k, m]ᵀ · b[k, n] + beta · c`.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn tn<T: Real>(m: usize, n: usize, k: usize, a: &[T], b: &[T], beta: T, c: &mut [T]) {
    check(m, n, k, a.len(), b.len(), c.len());
    run(m, n, k, a, (m, 1), b, (1, n), beta, c);
}

fn check(m: usize, n: usize, k: usize, a: usize, b: usize, c: usize) {
    assert!(
        a == m * k && b == k * n && c == m * n,
        "gemm: {m}×{n}×{k} with slices of {a}, {b} and {c} elements"
    );
}

/// Strides are (column, row).
fn run<T: Real>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    (a_cs, a_rs): (usize, usize),
    b: &[T],
    (b_cs, b_rs): (usize, usize),
    beta: T,
    c: &mut [T],
) {
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: `check` has established that every index m·n, m·k, k·n with these strides lies inside its slice, and the
    // exclusive borrow of `c` rules out aliasing. `gemm` computes `dst = alpha·dst + beta·lhs·rhs`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            beta != T::ZERO,
            a.as_ptr(),
            a_cs as isize,
            a_rs as isize,
            b.as_ptr(),
            b_cs as isize,
            b_rs as isize,
            beta,
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

    fn matrix(rows: usize, cols: usize, salt: usize) -> Vec<f64> {
        (0..rows * cols).map(|i| ((i * 37 + salt * 11) % 23) as f64 - 11.0).collect()
    }

    #[test]
    fn products_equal_the_triple_loop() {
        for (m, n, k) in [(1, 1, 1), (5, 7, 3), (33, 17, 40), (4, 9, 0)] {
            let (a, b) = (matrix(m, k, 1), matrix(n, k, 2));
            let start = matrix(m, n, 3);
            let want: Vec<f64> = (0..m * n)
                .map(|i| 2.0 * start[i] + (0..k).map(|p| a[i / n * k + p] * b[i % n * k + p]).sum::<f64>())
                .collect();
            let transpose = |x: &[f64], r: usize, c: usize| -> Vec<f64> {
                (0..r * c).map(|i| x[i % r * c + i / r]).collect()
            };
            let (at, bt) = (transpose(&a, m, k), transpose(&b, n, k));
            let mut c = start.clone();
            nt(m, n, k, &a, &b, 2.0, &mut c);
            assert_eq!(c, want);
            let mut c = start.clone();
            nn(m, n, k, &a, &bt, 2.0, &mut c);
            assert_eq!(c, want);
            let mut c = start.clone();
            tn(m, n, k, &at, &bt, 2.0, &mut c);
            assert_eq!(c, want);
        }
    }

    #[test]
    fn beta_zero_ignores_what_stood_there() {
        let mut c = vec![f32::NAN; 4];
        nt(2, 2, 1, &[1.0, 2.0], &[3.0, 4.0], 0.0, &mut c);
        assert_eq!(c, [3.0, 4.0, 6.0, 8.0]);
    }
}
