//! What an evaluation allocates at its peak, counted, against the stated bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use parallax_eval::{Gallery, Measure, RetrievalConfig, Similarity, Vectors, memory_bytes, retrieval};
use parallax_random::Key;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; only numbers are kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_peak_stays_within_the_stated_bound() {
    let key = Key::new(41);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let measures: Vec<Measure> =
        ["precision@1", "map@r", "map", "mrr", "recall@8"].iter().map(|name| name.parse().unwrap()).collect();
    for (n, dim, classes) in [(8000, 16, 400), (3000, 48, 2), (6000, 8, 3000)] {
        let labels: Vec<u32> = (0..n as u64).map(|i| key.named("label").below(i, classes) as u32).collect();
        let values: Vec<f32> = (0..n * dim).map(|i| key.normal(i as u64) as f32).collect();
        let vectors = Vectors { values: &values, dim, labels: &labels };
        for similarity in [Similarity::Cosine, Similarity::Euclidean] {
            let config = RetrievalConfig { measures: measures.clone(), similarity, ..Default::default() };
            let before = HELD.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let result = pool.install(|| retrieval(&config, vectors, Gallery::LeaveOneOut)).unwrap();
            let peak = PEAK.load(Ordering::Relaxed) - before;
            let bound = memory_bytes(&config, n, 0, dim, result.most_relevant, 1);
            println!("{n} × {dim}, {classes} classes, {similarity:?}: peak {peak}, bound {bound}");
            assert!(peak <= bound, "{n} × {dim}: {peak} bytes, bound {bound}");
            assert!(bound < n * n, "a quarter of a square matrix of scores: {bound}");
            assert!(peak > bound / 4, "the bound says little: {peak} bytes, bound {bound}");
        }
    }
}
