//! How work is shared between the threads of the current rayon pool.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Below this many values an elementwise pass is done before another thread has woken.
const TINY: usize = 1 << 14;

/// Calls `job(i)` for every `i < n`, in order of `i` on each thread, the next free thread taking the next `i`.
///
/// `cost` is the whole work in elementary steps; what is tiny stays on the calling thread.
pub(crate) fn jobs(n: usize, cost: usize, job: impl Fn(usize) + Sync) {
    let threads = rayon::current_num_threads().min(n);
    if threads <= 1 || cost < TINY {
        (0..n).for_each(job);
        return;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                break;
            }
            job(i);
        }
    };
    rayon::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
    });
}

/// What `job(i)` returns for every `i < n`; see [`jobs`].
pub(crate) fn collect(n: usize, cost: usize, job: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    let results: Vec<AtomicU64> = (0..n).map(|_| AtomicU64::new(0)).collect();
    jobs(n, cost, |i| results[i].store(job(i).to_bits(), Ordering::Relaxed));
    results.into_iter().map(|bits| f64::from_bits(bits.into_inner())).collect()
}

/// Calls `job` for consecutive ranges of `n` rows of `width` values.
pub(crate) fn rows(n: usize, width: usize, job: impl Fn(Range<usize>) + Sync) {
    // About 128 KiB of one operand: far above what taking a range costs, and small enough for the second-level cache.
    let block = (1 << 15).max(width).div_euclid(width.max(1));
    let block = block.min(n.div_ceil(2 * rayon::current_num_threads())).max(1);
    jobs(n.div_ceil(block), n * width, |i| job(i * block..n.min((i + 1) * block)));
}

/// A mutable slice of which threads write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    start: *mut f32,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the slice is borrowed exclusively for 'a, and `part` puts the promise of disjoint parts on its caller.
unsafe impl Send for Parts<'_> {}
// SAFETY: as above.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// # Safety
    /// No two parts that are alive at one time overlap.
    ///
    /// # Panics
    /// If the range ends beyond the slice.
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice; disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The rows of a range of rows of `width` values.
    ///
    /// # Safety
    /// As for [`Self::part`].
    pub(crate) unsafe fn rows(&self, rows: &Range<usize>, width: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.part(rows.start * width..rows.end * width) }
    }
}
