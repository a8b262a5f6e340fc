use super::{Precision, micro};

/// `dw[n, k] = dY[m, n]ᵀ·X[m, k]`, overwriting what stood there.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn weight_gradient(
    dy: &[f32],
    x: &[f32],
    m: usize,
    n: usize,
    k: usize,
    precision: Precision,
    dw: &mut [f32],
) {
    assert!(
        dy.len() == m * n && x.len() == m * k && dw.len() == n * k,
        "gradient of {n}×{k} over {m} rows with slices of {}, {} and {} elements",
        dy.len(),
        x.len(),
        dw.len()
    );
    if n == 0 || k == 0 {
        return;
    }
    let round = |v: f32| if precision == Precision::Bf16 { micro::widened(micro::bf16(v)) } else { v };
    dw.fill(0.0);
    for r in 0..m {
        for (dw, &dy) in dw.chunks_mut(k).zip(&dy[r * n..(r + 1) * n]) {
            let dy = round(dy);
            dw.iter_mut().zip(&x[r * k..(r + 1) * k]).for_each(|(dw, &x)| *dw += dy * round(x));
        }
    }
}

/// `db[n] = Σ over rows of dY[m, n]`, overwriting what stood there.
///
/// # Panics
/// If a slice does not have the length that its shape says.
pub fn bias_gradient(dy: &[f32], m: usize, n: usize, db: &mut [f32]) {
    assert!(dy.len() == m * n && db.len() == n, "gradient of {n} biases over {m} rows");
    db.fill(0.0);
    for row in dy.chunks(n.max(1)) {
        db.iter_mut().zip(row).for_each(|(db, dy)| *db += dy);
    }
}
