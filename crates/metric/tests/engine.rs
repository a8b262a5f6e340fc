//! Threads, tiles, memory, hostile input and configs.

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use parallax_metric::loss::{Contrastive, Margin, MultipleNegativesRanking, TripletMargin};
use parallax_metric::{
    Batch, DistanceConfig, Error, Evaluated, Layout, LossConfig, Lp, MinerConfig, Objective, Own,
    ReducerConfig, Refs, Row, RowLoss, Shape, Slopes, Snr, SquaredEuclidean, TILE_BYTES, evaluate_loss,
    miner,
};
use parallax_random::Key;

/// Counts the bytes in use and their peak, for the whole process: the tests run one after another under nextest, and
/// the memory test takes the lock that the others share under `cargo test`.
struct Counting;
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALONE: std::sync::RwLock<()> = std::sync::RwLock::new(());

// SAFETY: every call is passed on to the system allocator unchanged; only counters are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        let now = IN_USE.fetch_add(block.size(), Ordering::Relaxed) + block.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(block) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, block: Block) {
        IN_USE.fetch_sub(block.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn random(seed: u64, values: usize) -> Vec<f32> {
    (0..values).map(|i| Key::new(seed).normal(i as u64) as f32).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Every loss by its name, with its own distance and with miners.
fn objectives() -> Vec<Objective> {
    let named = |kind: &str, name: &str| -> String { format!("{kind} = {{ name = '{name}' }}\n") };
    let read = |text: String| toml::from_str::<Objective>(&text).unwrap();
    let mut all = Vec::new();
    for loss in LOSSES {
        let plain = read(named("loss", loss));
        all.push(Objective {
            miner: Some(MinerConfig::MultiSimilarity(Default::default())),
            ..plain.clone()
        });
        all.push(Objective { miner: Some(MinerConfig::TripletMargin(Default::default())), ..plain.clone() });
        all.push(plain);
    }
    for miner in MINERS {
        for loss in ["contrastive", "triplet_margin", "multi_similarity"] {
            all.push(read(named("loss", loss) + &named("miner", miner)));
        }
    }
    let distances = [
        DistanceConfig::cosine(),
        DistanceConfig::euclidean(),
        DistanceConfig::Lp(Lp { p: 1.0, ..Lp::default() }),
        DistanceConfig::Snr(Snr::default()),
    ];
    for loss in ["contrastive", "lifted_structure", "multi_similarity"] {
        for distance in &distances {
            all.push(Objective { distance: Some(distance.clone()), ..read(named("loss", loss)) });
        }
    }
    let swap = TripletMargin { swap: true, ..TripletMargin::default() };
    all.push(LossConfig::TripletMargin(swap).into());
    let beta = Margin { learn_beta: true, num_classes: Some(41), ..Margin::default() };
    all.push(LossConfig::Margin(beta).into());
    all
}

const LOSSES: [&str; 21] = [
    "contrastive",
    "triplet_margin",
    "ntxent",
    "supcon",
    "multi_similarity",
    "circle",
    "lifted_structure",
    "generalized_lifted_structure",
    "nca",
    "margin",
    "fast_ap",
    "smooth_ap",
    "intra_pair_variance",
    "tuplet_margin",
    "snr_contrastive",
    "ranked_list",
    "instance",
    "threshold_consistent_margin",
    "binomial_deviance",
    "pnp",
    "dynamic_soft_margin",
];

const MINERS: [&str; 8] = [
    "batch_hard",
    "batch_easy_hard",
    "triplet_margin",
    "pair_margin",
    "hdc",
    "angular",
    "uniform_histogram",
    "distance_weighted",
];

fn bytes(e: &Evaluated<f32>) -> (u64, Vec<u32>, Option<Vec<u32>>, Vec<u64>) {
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let scalars = e.scalar_grad.iter().map(|v| v.to_bits()).collect();
    (e.value.to_bits(), bits(&e.grad), e.ref_grad.as_deref().map(bits), scalars)
}

#[test]
fn threads_and_tiles_leave_no_trace() {
    let _shared = ALONE.read();
    let (b, r, dim) = (150, 300, 12);
    let (mut x, mut refs) = (random(1, b * dim), random(2, r * dim));
    // Some coincident and some nearly coincident rows.
    refs.copy_within(0..4 * dim, 9 * dim);
    x[..4 * dim].copy_from_slice(&refs[..4 * dim]);
    x[5 * dim] += 1e-3;
    let copy: Vec<f32> = x[6 * dim..7 * dim].iter().map(|v| v * 1.0001 + 1e-4).collect();
    x[7 * dim..8 * dim].copy_from_slice(&copy);
    let labels: Vec<u32> = (0..b as u32).map(|i| i % 41).collect();
    let ref_labels: Vec<u32> = (0..r as u32).map(|i| i % 37).collect();
    for objective in objectives() {
        for refs in [None, Some(Refs { r: &refs, labels: &ref_labels, own: Own::None })] {
            let batch = Batch { x: &x, dim, labels: &labels, refs };
            if let Err(Error::NeedsItself { .. }) = objective.evaluate(&batch, true) {
                continue;
            }
            let one = bytes(&pool(1).install(|| objective.evaluate(&batch, true)).unwrap());
            let two = bytes(&pool(2).install(|| objective.evaluate(&batch, true)).unwrap());
            let three = bytes(&pool(3).install(|| objective.evaluate(&batch, true)).unwrap());
            assert!(one == two && one == three, "threads: {objective:?}");
            // Tiles of one block of 64 rows, and of two.
            let columns = refs.map_or(b, |_| r);
            for blocks in [1, 2] {
                let tile = blocks * 64 * columns * 4;
                let small = pool(2).install(|| objective.evaluate_in(&batch, true, tile)).unwrap();
                assert!(one == bytes(&small), "tiles: {objective:?}");
            }
            // Less than a block: to rounding, by which a miner may choose otherwise.
            if objective.miner.is_some() {
                continue;
            }
            let tiny = pool(2).install(|| objective.evaluate_in(&batch, true, 1)).unwrap();
            let full = objective.evaluate(&batch, true).unwrap();
            assert!((tiny.value - full.value).abs() <= 1e-5 * full.value.abs().max(1.0), "{objective:?}");
            let size = full.grad.iter().map(|d| d.abs()).fold(1.0, f32::max);
            let worst = tiny.grad.iter().zip(&full.grad).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 3e-5 * size, "{worst}: {objective:?}");
        }
    }
}

/// A batch of more rows than are one tile whatever the budget.
#[test]
fn larger_batches_leave_no_trace_of_tiles() {
    let _shared = ALONE.read();
    let (b, dim) = (1100, 12);
    let x = random(5, b * dim);
    let labels: Vec<u32> = (0..b as u32).map(|i| i % 275).collect();
    let batch = Batch { x: &x, dim, labels: &labels, refs: None };
    for loss in LOSSES {
        let objective: Objective = toml::from_str(&format!("loss = {{ name = '{loss}' }}")).unwrap();
        let whole = bytes(&pool(2).install(|| objective.evaluate(&batch, true)).unwrap());
        for (threads, blocks) in [(1, 18), (2, 1), (2, 3)] {
            let tile = blocks * 64 * b * 4;
            let tiled = pool(threads).install(|| objective.evaluate_in(&batch, true, tile)).unwrap();
            assert!(whole == bytes(&tiled), "{loss}: {blocks} blocks on {threads} threads");
        }
        // The first 1,024 rows alone are one tile: as one of rows against themselves as references, to rounding.
        let own: Vec<Option<u32>> = (0..1024).map(Some).collect();
        let alone = Batch { x: &x[..1024 * dim], dim, labels: &labels[..1024], refs: None };
        let refs = Some(Refs { r: alone.x, labels: alone.labels, own: Own::Item(&own) });
        let (one, two) = match objective.evaluate(&Batch { refs, ..alone }, true) {
            Ok(two) => (objective.evaluate(&alone, true).unwrap(), two),
            Err(_) => continue,
        };
        // To these a batch against itself is another thing than references that hold it.
        if ["lifted_structure", "dynamic_soft_margin", "intra_pair_variance", "instance"].contains(&loss) {
            continue;
        }
        assert!((one.value - two.value).abs() < 1e-5 * one.value.abs().max(1.0), "{loss}");
        let sum = two.grad.iter().zip(two.ref_grad.as_ref().unwrap()).map(|(a, b)| a + b);
        let size = one.grad.iter().map(|d| d.abs()).fold(1e-3, f32::max);
        let worst = one.grad.iter().zip(sum).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4 * size, "{loss}: {worst} of {size}");
    }
}

#[test]
fn memory_stays_below_its_formula() {
    let _alone = ALONE.write();
    let (dim, threads, tile) = (16, 2, 1 << 20);
    let pool = pool(threads);
    let sizes = [512usize, 1024, 2048, 4096];
    let shape = |b: usize| Shape { tile_bytes: tile, threads, largest_class: 4, ..Shape::batch(b, dim) };
    for (at, objective) in objectives().into_iter().enumerate() {
        let contrastive = objective == LossConfig::Contrastive(Contrastive::default()).into();
        // The least and the greatest of the sizes for most, all of them for one.
        let sizes = if contrastive { &sizes[..] } else { &sizes[at % 2..=at % 2] };
        // What is not linear in these costs too much time for a test.
        if matches!(objective.distance(), DistanceConfig::Lp(Lp { p: 1.0, .. })) {
            continue;
        }
        let mut peaks = Vec::new();
        for &b in sizes {
            let x = random(3, b * dim);
            let labels: Vec<u32> = (0..b as u32).map(|i| i / 4).collect();
            if objective.scalars().len() > 1 {
                continue;
            }
            let batch = Batch { x: &x, dim, labels: &labels, refs: None };
            let run = || pool.install(|| objective.evaluate_in(&batch, false, tile)).unwrap();
            // The first run warms the threads' own buffers; a thread that comes late does so in a later one.
            drop(run());
            let measured = || {
                let before = IN_USE.load(Ordering::Relaxed);
                PEAK.store(before, Ordering::Relaxed);
                let value = run().value;
                (PEAK.load(Ordering::Relaxed) - before, value)
            };
            let mut found = measured();
            for _ in 0..4 {
                if found.0 <= objective.memory_bytes(&shape(b)) {
                    break;
                }
                found = measured();
            }
            let (peak, value) = found;
            let bound = objective.memory_bytes(&shape(b));
            assert!(peak <= bound, "B = {b}: {peak} bytes, the formula says {bound}: {objective:?}");
            assert!(bound < 12 * peak, "B = {b}: the formula, {bound}, is far above {peak}: {objective:?}");
            assert!(!contrastive || value > 0.0);
            peaks.push(peak);
        }
        // Eight times the batch: sixty-four times the pairs, and less than eight times the memory.
        assert!(!contrastive || peaks[3] < 8 * peaks[0], "{peaks:?}");
    }
}

#[test]
fn hostile_batches_are_refused() {
    let _shared = ALONE.read();
    let objective = Objective::default();
    let run =
        |x: &[f32], dim, labels: &[u32], refs| objective.evaluate(&Batch { x, dim, labels, refs }, true);
    let bad = [0.0, 1.0, 2.0, f32::NAN];
    let error = run(&bad, 2, &[0, 1], None).unwrap_err();
    assert!(matches!(error, Error::NotFinite { what: "embeddings", row: 1, dim: 1, .. }), "{error}");
    assert!(error.to_string().contains("row 1"), "{error}");
    let refs = Refs { r: &[0.0, f32::INFINITY], labels: &[0], own: Own::None };
    let error = run(&[1.0; 4], 2, &[0, 1], Some(refs)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { what: "references", row: 0, dim: 1, .. }), "{error}");
    assert!(matches!(run(&[1.0; 3], 2, &[0, 1], None), Err(Error::Shape { what: "embeddings", .. })));
    assert!(matches!(run(&[], 2, &[], None), Err(Error::EmptyBatch { .. })));
    assert!(matches!(run(&[], 0, &[0], None), Err(Error::EmptyBatch { .. })));
    let refs = |own| Some(Refs { r: &[1.0f32, 0.0], labels: &[0], own });
    assert!(matches!(run(&[1.0; 4], 2, &[0, 1], refs(Own::Positive)), Err(Error::TooFewReferences { .. })));
    let own = [None, Some(1)];
    assert!(matches!(
        run(&[1.0; 4], 2, &[0, 1], refs(Own::Item(&own))),
        Err(Error::OwnColumn { row: 1, column: 1, references: 1 })
    ));
    assert!(matches!(run(&[1.0; 4], 2, &[0, 1], refs(Own::Item(&own[..1]))), Err(Error::Shape { .. })));

    let ranking: Objective = LossConfig::MultipleNegativesRanking(MultipleNegativesRanking::default()).into();
    let batch = Batch { x: &[1.0f32; 4], dim: 2, labels: &[0, 1], refs: None };
    assert!(matches!(ranking.evaluate(&batch, false), Err(Error::NeedsPairs { .. })));
    let snr = Objective { distance: Some(DistanceConfig::Snr(Snr::default())), ..Objective::default() };
    assert_eq!(snr.evaluate(&batch, false), Err(Error::ConstantRow { row: 0 }));
    let dot = Objective { distance: Some(DistanceConfig::Dot(Default::default())), ..Objective::default() };
    let huge = Batch { x: &[1e30f32, 2e30, -1e30, 3e30], dim: 2, labels: &[0, 0], refs: None };
    assert_eq!(dot.evaluate(&huge, false), Err(Error::Overflow { what: "loss" }));

    // No references at all: nothing to compare with.
    let none = Some(Refs { r: &[], labels: &[], own: Own::None });
    let found = run(&[1.0; 4], 2, &[0, 1], none).unwrap();
    assert_eq!((found.value, found.grad, found.ref_grad), (0.0, vec![0.0; 4], Some(vec![])));
}

#[test]
fn zero_and_coincident_rows_give_numbers() {
    let _shared = ALONE.read();
    let dim = 4;
    let mut x = random(4, 6 * dim);
    x[..dim].fill(0.0);
    x.copy_within(dim..2 * dim, 2 * dim);
    let labels = [0, 0, 0, 1, 1, 1];
    for mut objective in objectives() {
        if objective.distance == Some(DistanceConfig::Snr(Snr::default())) {
            objective.distance = Some(DistanceConfig::SquaredEuclidean(SquaredEuclidean::default()));
        }
        if objective.distance() == DistanceConfig::Snr(Snr::default()) {
            continue;
        }
        let found = objective.evaluate(&Batch { x: &x, dim, labels: &labels, refs: None }, false).unwrap();
        assert!(found.value.is_finite() && found.grad.iter().all(|g| g.is_finite()), "{objective:?}");
    }
    // Coincident positives cost nothing and are not pushed anywhere, in f32 too.
    let objective = Objective::from(LossConfig::Contrastive(Contrastive::default()));
    let twins: Vec<f32> = [x[dim..2 * dim].to_vec(), x[dim..2 * dim].to_vec()].concat();
    let found = objective.evaluate(&Batch { x: &twins, dim, labels: &[0, 0], refs: None }, false).unwrap();
    assert_eq!((found.value, found.grad), (0.0, vec![0.0; 2 * dim]));
    assert_eq!((found.stats.positive_pairs, found.stats.active), (2, 0));
}

/// A loss of one's own needs a row and nothing else.
#[test]
fn a_loss_from_outside() {
    let _shared = ALONE.read();
    struct Pull;
    impl RowLoss for Pull {
        const NAME: &'static str = "pull";
        fn check(&self) -> Result<(), Error> {
            Ok(())
        }
        fn row<T: parallax_kernels::Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
            for (k, &s) in row.positives.iter().enumerate() {
                slopes.positives[k] = slopes.element(0, s);
            }
        }
    }
    let x = [0.0, 0.0, 3.0, 4.0, 6.0, 8.0];
    let batch = Batch { x: &x, dim: 2, labels: &[0, 0, 1], refs: None };
    let distance = DistanceConfig::SquaredEuclidean(SquaredEuclidean { normalize: false });
    let found =
        evaluate_loss(&Pull, None, &distance, &ReducerConfig::sum(), &batch, false, TILE_BYTES).unwrap();
    assert_eq!(found.value, 50.0);
    assert_eq!(found.grad, [-12.0, -16.0, 12.0, 16.0, 0.0, 0.0]);
}

#[test]
fn configs_are_names_and_numbers() {
    let _shared = ALONE.read();
    let objective: Objective = toml::from_str(
        "loss = { name = 'contrastive', neg_margin = 0.5 }\n\
         miner = { name = 'multi_similarity', epsilon = 0.2 }\n\
         distance = { name = 'lp', p = 2.0, power = 2.0 }\n\
         reducer = { name = 'avg_non_zero' }",
    )
    .unwrap();
    let want = Objective {
        loss: LossConfig::Contrastive(Contrastive { pos_margin: 0.0, neg_margin: 0.5 }),
        miner: Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity { epsilon: 0.2 })),
        distance: Some(DistanceConfig::Lp(Lp { power: 2.0, ..Lp::default() })),
        reducer: Some(ReducerConfig::avg_non_zero()),
        regularizer: None,
        proxy_regularizer: None,
        mixup: None,
        matryoshka: None,
        memory: None,
    };
    assert_eq!(objective, want);
    assert_eq!(toml::from_str::<Objective>(&toml::to_string(&want).unwrap()).unwrap(), want);
    assert_eq!(toml::from_str::<Objective>("").unwrap(), Objective::default());
    let ranking: Objective = toml::from_str("loss = { name = 'mnrl' }").unwrap();
    assert!(matches!(ranking.loss, LossConfig::MultipleNegativesRanking(_)));
    for wrong in [
        "loss = { name = 'contrastive', margin = 0.5 }",
        "loss = { name = 'contrastif' }",
        "loss = { name = 'ntxent' }\ntemperature = 0.1",
        "distance = { name = 'cosine', p = 1.0 }",
    ] {
        assert!(toml::from_str::<Objective>(wrong).is_err(), "{wrong}");
    }
    for (wrong, field) in [
        ("loss = { name = 'multi_similarity', alpha = 0.0 }", "alpha"),
        ("loss = { name = 'multi_similarity', beta = -1.0 }", "beta"),
        ("loss = { name = 'ntxent', temperature = 0.0 }", "temperature"),
        ("loss = { name = 'supcon', temperature = nan }", "temperature"),
        ("loss = { name = 'mnrl', scale = inf }", "scale"),
        ("distance = { name = 'lp', p = 0.5 }", "p"),
        ("miner = { name = 'multi_similarity', epsilon = nan }", "epsilon"),
    ] {
        let error = toml::from_str::<Objective>(wrong).unwrap().check().unwrap_err();
        assert!(matches!(error, Error::Parameter { field: f, .. } if f == field), "{wrong}: {error}");
    }
    assert_eq!(Layout::Classes { batch: 64, per_class: 4 }.negatives_per_anchor(), 60);
    assert_eq!(Layout::Pairs { batch: 64, hard_negatives: 10 }.negatives_per_anchor(), 73);
}
