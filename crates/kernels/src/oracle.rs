//! What the tests of the fused kernels share: numbers to work on, comparisons, finite differences.

use crate::isa::{self, Isa};

/// Numbers in about [−1, 1] that look random and depend on `salt`.
pub(crate) fn numbers(n: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0) as f32
        })
        .collect()
}

/// In 64 bits.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Every value within `tolerance · max(1, |want|)`.
#[track_caller]
pub(crate) fn close(what: &str, found: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (at, (&found, &want)) in found.iter().zip(want).enumerate() {
        let error = (f64::from(found) - want).abs();
        assert!(error <= tolerance * want.abs().max(1.0), "{what} [{at}]: {found} for {want}, {error:e} off");
    }
}

/// The gradient of `f` at x by central differences.
pub(crate) fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let kept = x[i];
            x[i] = kept + STEP;
            let above = f(&x);
            x[i] = kept - STEP;
            let below = f(&x);
            x[i] = kept;
            (above - below) / (2.0 * STEP)
        })
        .collect()
}

/// Σ a · b.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Runs `work` for every instruction set of this machine on pools of one and two threads; the two must give the same bits.
#[track_caller]
pub(crate) fn everywhere(work: impl Fn(Isa) -> Vec<Vec<f32>> + Sync, check: impl Fn(Isa, &[Vec<f32>])) {
    for isa in isa::available() {
        let [one, two] = [1, 2].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| work(isa))
        });
        for (at, (one, two)) in one.iter().zip(&two).enumerate() {
            let same = one.iter().zip(two).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same && one.len() == two.len(), "result {at} depends on threads with {isa}");
        }
        check(isa, &one);
    }
}
