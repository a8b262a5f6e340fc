//! Loops over whole rows.

use super::Lanes;

/// `to = f(from)`, elementwise.
#[inline(always)]
pub(crate) fn map<L: Lanes>(l: L, from: &[f32], to: &mut [f32], f: impl Fn(L::V) -> L::V) {
    let n = from.len();
    assert_eq!(n, to.len());
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    let whole = n / L::N * L::N;
    // SAFETY: both slices have n values; whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            l.store(to.add(k), f(l.load(from.add(k))));
        }
        if whole < n {
            l.store_part(to.add(whole), n - whole, f(l.load_part(from.add(whole), n - whole)));
        }
    }
}

/// `x = f(x)`, elementwise.
#[inline(always)]
pub(crate) fn update<L: Lanes>(l: L, x: &mut [f32], f: impl Fn(L::V) -> L::V) {
    let n = x.len();
    let x = x.as_mut_ptr();
    let whole = n / L::N * L::N;
    // SAFETY: the slice has n values; whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            l.store(x.add(k), f(l.load(x.add(k))));
        }
        if whole < n {
            l.store_part(x.add(whole), n - whole, f(l.load_part(x.add(whole), n - whole)));
        }
    }
}

/// `x = f(x)`, elementwise; returns the sum.
#[inline(always)]
pub(crate) fn update_total<L: Lanes>(l: L, x: &mut [f32], f: impl Fn(L::V) -> L::V) -> f32 {
    let n = x.len();
    let whole = n / L::N * L::N;
    let x = x.as_mut_ptr();
    let mut sum = l.splat(0.0);
    // SAFETY: the slice has n values; whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            let value = f(l.load(x.add(k)));
            l.store(x.add(k), value);
            sum = l.add(sum, value);
        }
        if whole < n {
            let left = n - whole;
            let value = f(l.load_part(x.add(whole), left));
            l.store_part(x.add(whole), left, value);
            // Lanes beyond the end count as 0, whatever f makes of them.
            sum = l.add(sum, l.keep(left, value, l.splat(0.0)));
        }
    }
    l.sum(sum)
}

/// `to = f(a, to)`, elementwise.
#[inline(always)]
pub(crate) fn update1<L: Lanes>(l: L, a: &[f32], to: &mut [f32], f: impl Fn(L::V, L::V) -> L::V) {
    let n = a.len();
    assert_eq!(n, to.len());
    let (a, to) = (a.as_ptr(), to.as_mut_ptr());
    let whole = n / L::N * L::N;
    // SAFETY: both slices have n values; whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            l.store(to.add(k), f(l.load(a.add(k)), l.load(to.add(k))));
        }
        if whole < n {
            let left = n - whole;
            let value = f(l.load_part(a.add(whole), left), l.load_part(to.add(whole), left));
            l.store_part(to.add(whole), left, value);
        }
    }
}

/// `to = f(a, b, to)`, elementwise.
#[inline(always)]
pub(crate) fn update2<L: Lanes>(
    l: L,
    a: &[f32],
    b: &[f32],
    to: &mut [f32],
    f: impl Fn(L::V, L::V, L::V) -> L::V,
) {
    let n = a.len();
    assert!(n == b.len() && n == to.len());
    let (a, b, to) = (a.as_ptr(), b.as_ptr(), to.as_mut_ptr());
    let whole = n / L::N * L::N;
    // SAFETY: all slices have n values; whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            l.store(to.add(k), f(l.load(a.add(k)), l.load(b.add(k)), l.load(to.add(k))));
        }
        if whole < n {
            let left = n - whole;
            let (a, b) = (l.load_part(a.add(whole), left), l.load_part(b.add(whole), left));
            l.store_part(to.add(whole), left, f(a, b, l.load_part(to.add(whole), left)));
        }
    }
}

/// `to = f(a, b)`, elementwise.
#[inline(always)]
pub(crate) fn map2<L: Lanes>(l: L, a: &[f32], b: &[f32], to: &mut [f32], f: impl Fn(L::V, L::V) -> L::V) {
    let n = a.len();
    assert!(n == b.len() && n == to.len());
    let (a, b, to) = (a.as_ptr(), b.as_ptr(), to.as_mut_ptr());
    let whole = n / L::N * L::N;
    // SAFETY: all slices have n values; whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            l.store(to.add(k), f(l.load(a.add(k)), l.load(b.add(k))));
        }
        if whole < n {
            let left = n - whole;
            let value = f(l.load_part(a.add(whole), left), l.load_part(b.add(whole), left));
            l.store_part(to.add(whole), left, value);
        }
    }
}

/// Σ f(x), where f(0) is 0.
#[inline(always)]
pub(crate) fn total<L: Lanes>(l: L, x: &[f32], f: impl Fn(L::V) -> L::V) -> f32 {
    dot(
        l,
        x,
        x,
        #[inline(always)]
        |x, _| f(x),
    )
}

/// Σ f(a, b), where f(0, 0) is 0: two chains of vectors, added at the end.
#[inline(always)]
pub(crate) fn dot<L: Lanes>(l: L, a: &[f32], b: &[f32], f: impl Fn(L::V, L::V) -> L::V) -> f32 {
    let n = a.len();
    assert_eq!(n, b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [l.splat(0.0); 2];
    let mut k = 0;
    // SAFETY: both slices have n values, and every read ends at or before n.
    unsafe {
        while k + 2 * L::N <= n {
            sums[0] = l.add(sums[0], f(l.load(a.add(k)), l.load(b.add(k))));
            sums[1] = l.add(sums[1], f(l.load(a.add(k + L::N)), l.load(b.add(k + L::N))));
            k += 2 * L::N;
        }
        if k + L::N <= n {
            sums[0] = l.add(sums[0], f(l.load(a.add(k)), l.load(b.add(k))));
            k += L::N;
        }
        if k < n {
            sums[1] = l.add(sums[1], f(l.load_part(a.add(k), n - k), l.load_part(b.add(k), n - k)));
        }
    }
    l.sum(l.add(sums[0], sums[1]))
}

/// The largest value, or −∞; NaN is passed over.
#[inline(always)]
pub(crate) fn largest<L: Lanes>(l: L, x: &[f32]) -> f32 {
    let n = x.len();
    let p = x.as_ptr();
    let whole = n / L::N * L::N;
    let lowest = l.splat(f32::NEG_INFINITY);
    let mut top = lowest;
    // SAFETY: whole vectors end at `whole`, and the rest is shorter than a vector.
    unsafe {
        for k in (0..whole).step_by(L::N) {
            top = l.max(l.load(p.add(k)), top);
        }
        if whole < n {
            let left = n - whole;
            top = l.max(l.keep(left, l.load_part(p.add(whole), left), lowest), top);
        }
    }
    l.top(top)
}
