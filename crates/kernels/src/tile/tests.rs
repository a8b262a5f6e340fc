use super::*;
use crate::panel;

fn matrix(rows: usize, columns: usize, salt: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| ((i * 37 + salt * 11) % 23) as f32 - 11.0).collect()
}

/// Small whole numbers, so that every order of summation gives the same.
#[test]
fn products_equal_the_triple_loop() {
    for (m, n, k) in [(1, 1, 1), (8, 32, 4), (13, 70, 5), (21, 33, 300), (64, 128, 257), (5, 16, 0)] {
        let (a, b) = (matrix(m, k, 1), matrix(n, k, 2));
        let want: Vec<f32> =
            (0..m * n).map(|i| (0..k).map(|p| a[i / n * k + p] * b[i % n * k + p]).sum::<f32>()).collect();
        let mut c = vec![f32::NAN; m * n];
        References::new(&b, n, k).against(m, &a, &mut c);
        assert_eq!(c, want, "{m} {n} {k}");
        let turned: Vec<f32> = (0..k * n).map(|i| b[i % n * k + i / n]).collect();
        let mut c = vec![f32::NAN; m * n];
        combine(m, n, k, &a, &turned, &mut c);
        assert_eq!(c, want, "{m} {n} {k}");
        let wide: Vec<f64> = a.iter().map(|&v| v.into()).collect();
        let b: Vec<f64> = b.iter().map(|&v| v.into()).collect();
        let mut c = vec![f64::NAN; m * n];
        References::new(&b, n, k).against(m, &wide, &mut c);
        assert!(c.iter().zip(&want).all(|(c, want)| *c == f64::from(*want)));
    }
}

/// A row's sums do not depend on the rows beside it.
#[test]
fn rows_do_not_know_of_one_another() {
    for (m, n, k) in [(19, 40, 600), (40, 7, 300), (300, 1, 90), (9, 300, 33)] {
        let value = |i: usize| ((i * 7919) % 1009) as f32 / 1009.0 - 0.4;
        let a: Vec<f32> = (0..m * k).map(value).collect();
        let b: Vec<f32> = (0..n * k).map(|i| value(i + 5)).collect();
        let references = References::new(&b, n, k);
        let (mut combined, mut against) = (vec![0.0; m * n], vec![0.0; m * n]);
        combine(m, n, k, &a, &b, &mut combined);
        references.against(m, &a, &mut against);
        for rows in [1, 2, 3, 8] {
            for row in (0..m + 1 - rows).step_by(5) {
                let some = &a[row * k..][..rows * k];
                let mut found = vec![0.0; rows * n];
                combine(rows, n, k, some, &b, &mut found);
                assert_eq!(found, combined[row * n..][..rows * n], "{rows} of {m} rows, {n} {k}");
                references.against(rows, some, &mut found);
                assert_eq!(found, against[row * n..][..rows * n], "{rows} of {m} rows, {n} {k}");
            }
        }
    }
}

#[test]
fn a_panel_of_columns_is_added() {
    for (first, m, n, k, stride) in [(0, 3, 2, 4, 3), (2, 9, 37, 65, 40), (7, 256, 128, 64, 300)] {
        let (a, b, start) = (matrix(k, stride, 1), matrix(k, n, 2), matrix(m, n, 3));
        let product =
            |i: usize| (0..k).map(|p| a[p * stride + first + i / n] * b[p * n + i % n]).sum::<f32>();
        let want: Vec<f32> = (0..m * n).map(|i| start[i] + product(i)).collect();
        let mut c = start;
        panel::add_tn(first, m, n, k, stride, &a, &b, &mut c);
        assert_eq!(c, want);
    }
}

#[test]
fn a_matrix_and_its_transpose() {
    for (n, first, m) in [(1, 0, 1), (16, 0, 16), (70, 3, 40), (64, 16, 48), (33, 32, 1)] {
        let q = matrix(n, n, 4);
        let want: Vec<f32> =
            (0..m * n).map(|i| q[(first + i / n) * n + i % n] + q[i % n * n + first + i / n]).collect();
        let mut out = vec![f32::NAN; m * n];
        add_transposed(first, m, n, &q, &mut out);
        assert_eq!(out, want, "{n} {first} {m}");
        let wide: Vec<f64> = q.iter().map(|&v| v.into()).collect();
        let mut out = vec![f64::NAN; m * n];
        add_transposed(first, m, n, &wide, &mut out);
        assert!(out.iter().zip(&want).all(|(out, want)| *out == f64::from(*want)));
    }
}
