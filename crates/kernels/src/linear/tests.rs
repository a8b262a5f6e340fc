use super::*;

fn values(len: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

#[test]
fn products_equal_the_triple_loop() {
    for isa in isa::available() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 33, 40)] {
            let (x, w) = (values(m * k, 1), values(n * k, 2));
            for (precision, tolerance) in [
                (Precision::F32, 1e-6),
                (Precision::Split, 2e-5),
                (Precision::Bf16, 8e-3),
                (Precision::Int8, 2e-2),
            ] {
                let packed = Packed::transposed_on(isa, &w, n, k, precision);
                let mut y = vec![f32::NAN; m * n];
                packed.product(&x, m, Epilogue::default(), &mut y);
                for i in 0..m * n {
                    let term = |p: usize| f64::from(x[i / n * k + p]) * f64::from(w[i % n * k + p]);
                    let want: f64 = (0..k).map(term).sum();
                    let size: f64 = (0..k).map(|p| term(p).abs()).sum::<f64>() + 0.1;
                    assert!((f64::from(y[i]) - want).abs() <= tolerance * size, "{isa} {precision:?} {i}");
                }
            }
        }
    }
}
