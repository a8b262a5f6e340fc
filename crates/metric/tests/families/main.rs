//! Losses with proxies, dense losses and losses on scored pairs: against their formulas, central differences, one another,
//! threads, memory and hostile input.

mod formulas;
mod given;

use given::{DIM, Given, batches, large, losses, objectives, pool, random, takes_a_reducer};
use parallax_metric::dense::{Histogram, Vicreg};
use parallax_metric::proxy::{self, *};
use parallax_metric::regularizer::{LpNorm, RegularFace, RegularizerConfig, SparseCenters};
use parallax_metric::scored::ListwiseKl;
use parallax_metric::{
    ClassWeighted, DistanceConfig, Dot, Evaluated, LossConfig, Matryoshka, MinerConfig, Objective, PerAnchor,
    ReducerConfig, Shape, TILE_BYTES, Threshold, miner,
};
use parallax_random::Key;
use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes in use and their peak, for the whole process.
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

#[test]
fn values_are_those_of_the_formulas() {
    let _shared = ALONE.read();
    for objective in objectives() {
        for given in batches(&objective) {
            let (found, want) = (given.evaluate(&objective).value, formulas::value(&objective, &given));
            let error = (found - want).abs() / want.abs().max(1.0);
            assert!(error < 1e-11, "{}: {found}, not {want}: {objective:?}", given.name);
        }
    }
}

/// Central differences of the value by every input that has a gradient.
fn check_differences(objective: &Objective, given: &Given<f64>) {
    let found = given.evaluate(objective);
    type Side = (&'static str, fn(&mut Given<f64>) -> &mut Vec<f64>, Vec<f64>);
    let mut sides: Vec<Side> = vec![("embedding", |given| &mut given.x, found.grad)];
    if let Some(grad) = found.ref_grad {
        sides.push(("reference", |given| &mut given.r.as_mut().unwrap().0, grad));
    }
    if given.proxies.is_some() {
        sides.push(("proxy", |given| given.proxies.as_mut().unwrap(), found.proxy_grad));
    }
    for (name, side, grad) in sides {
        let mut moved = given.clone();
        assert_eq!(side(&mut moved).len(), grad.len());
        for k in 0..grad.len() {
            let h = 1e-6;
            let mut value = |step: f64| {
                side(&mut moved)[k] += step;
                let value = moved.evaluate(objective).value;
                side(&mut moved)[k] -= step;
                value
            };
            let numeric = (value(h) - value(-h)) / (2.0 * h);
            let error = (grad[k] - numeric).abs() / numeric.abs().max(1.0);
            let place = format!("{name} {k} of {}", given.name);
            assert!(error < 2e-7, "{place}: {} and {numeric}: {objective:?}", grad[k]);
        }
    }
}

#[test]
fn gradients_are_the_central_differences() {
    let _shared = ALONE.read();
    let mined = |loss: LossConfig| Objective {
        miner: Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity { epsilon: 0.4 })),
        ..loss.into()
    };
    let miners = [
        mined(LossConfig::SoftTriple(SoftTriple { centers_per_class: 2, ..SoftTriple::default() })),
        mined(LossConfig::NormalizedSoftmax(NormalizedSoftmax::default())),
        mined(LossConfig::ProxyAnchor(ProxyAnchor { margin: 0.1, alpha: 4.0 })),
        mined(LossConfig::Histogram(Histogram { n_bins: 9 })),
    ];
    let weights = vec![1.0, 0.5, 2.0, 0.25, 1.5, 1.0, 0.7, 3.0];
    let reducers = [
        ReducerConfig::ClassWeighted(ClassWeighted { weights }),
        ReducerConfig::PerAnchor(PerAnchor {}),
        ReducerConfig::Threshold(Threshold { low: Some(0.4), high: None }),
    ];
    let reduced: Vec<Objective> = reducers
        .iter()
        .flat_map(|reducer| {
            let reducible = losses().into_iter().filter(takes_a_reducer);
            reducible.map(|loss| Objective { reducer: Some(reducer.clone()), ..loss.into() })
        })
        .collect();
    for objective in objectives().into_iter().chain(miners).chain(reduced) {
        for given in batches(&objective) {
            // A histogram has its kinks at the nodes, and a cosine of 1 is one.
            if matches!(objective.loss, LossConfig::Histogram(_)) && given.name == "duplicates" {
                continue;
            }
            check_differences(&objective, &given);
        }
    }
}

#[test]
fn a_histogram_against_references() {
    let _shared = ALONE.read();
    let objective = Objective::from(LossConfig::Histogram(Histogram { n_bins: 6 }));
    for given in batches(&objective) {
        let r = (random(8, 7 * DIM), vec![0, 0, 1, 2, 9, 1, 0]);
        check_differences(&objective, &Given { r: Some(r), ..given });
    }
}

#[test]
fn prefixes_and_penalties() {
    let _shared = ALONE.read();
    let cut = |values: &[f64], dim: usize| -> Vec<f64> {
        values.chunks(DIM).flat_map(|row| &row[..dim]).copied().collect()
    };
    for loss in losses() {
        let plain = Objective::from(loss);
        let wants = plain.wants();
        let prefixes = [(DIM, 1.0), (3, 0.5), (2, 2.0)];
        let matryoshka = Matryoshka { dims: vec![DIM, 3, 2], weights: vec![1.0, 0.5, 2.0] };
        let regularizer = Some(RegularizerConfig::LpNorm(LpNorm { weight: 0.3, ..LpNorm::default() }));
        let per_class = wants.proxies.unwrap_or(1);
        let proxy_regularizer = wants.proxies.map(|_| match per_class {
            1 => RegularizerConfig::LpNorm(LpNorm { power: 2.0, weight: 0.2, ..LpNorm::default() }),
            _ => {
                RegularizerConfig::SparseCenters(SparseCenters { centers_per_class: per_class, weight: 0.2 })
            }
        });
        let whole = Objective {
            matryoshka: Some(matryoshka),
            regularizer: regularizer.clone(),
            proxy_regularizer: proxy_regularizer.clone(),
            ..plain.clone()
        };
        let given = &batches(&plain)[0];
        let mut want = 0.0;
        for (dim, weight) in prefixes {
            let short = Given {
                dim,
                x: cut(&given.x, dim),
                r: given.r.as_ref().map(|(r, labels)| (cut(r, dim), labels.clone())),
                proxies: given.proxies.as_ref().map(|proxies| cut(proxies, dim)),
                ..given.clone()
            };
            want += weight * short.evaluate(&plain).value;
        }
        let penalty = |config: &Option<RegularizerConfig>, values: &[f64]| {
            let mut ignored = vec![0.0; values.len()];
            config.as_ref().map_or(0.0, |config| config.add(values, DIM, &mut ignored).unwrap())
        };
        want += penalty(&regularizer, &given.x);
        want += given.r.as_ref().map_or(0.0, |(r, _)| penalty(&regularizer, r));
        want += given.proxies.as_ref().map_or(0.0, |proxies| penalty(&proxy_regularizer, proxies));
        let found = given.evaluate(&whole).value;
        assert!((found - want).abs() < 1e-12 * want.abs().max(1.0), "{found}, not {want}: {whole:?}");
        check_differences(&whole, given);
    }
}

#[test]
fn limit_cases_are_one_another() {
    let _shared = ALONE.read();
    let softmax = |temperature: f64| LossConfig::NormalizedSoftmax(NormalizedSoftmax { temperature });
    let same = [
        (LossConfig::Arcface(Arcface { margin: 0.0, scale: 4.0 }), softmax(0.25)),
        (LossConfig::Cosface(Cosface { margin: 0.0, scale: 4.0 }), softmax(0.25)),
        (
            LossConfig::SubCenterArcface(SubCenterArcface { margin: 30.0, scale: 4.0, sub_centers: 1 }),
            LossConfig::Arcface(Arcface { margin: 30.0, scale: 4.0 }),
        ),
        (
            LossConfig::SoftTriple(SoftTriple { centers_per_class: 1, la: 4.0, gamma: 0.2, margin: 0.1 }),
            LossConfig::Cosface(Cosface { margin: 0.1, scale: 4.0 }),
        ),
        (
            LossConfig::ProxyNcaPlusPlus(ProxyNcaPlusPlus::default()),
            LossConfig::ProxyNca(ProxyNca { softmax_scale: 9.0, positive_in_denominator: true }),
        ),
        // −d² = 2cos − 2 of normalised vectors.
        (LossConfig::ProxyNca(ProxyNca { softmax_scale: 2.0, positive_in_denominator: true }), softmax(0.25)),
    ];
    for (a, b) in same {
        let (a, b) = (Objective::from(a), Objective::from(b));
        let given = &batches(&a)[0];
        let (a, b) = (given.evaluate(&a), given.evaluate(&b));
        assert!((a.value - b.value).abs() < 1e-13);
        let pairs = a.grad.iter().chain(&a.proxy_grad).zip(b.grad.iter().chain(&b.proxy_grad));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-13));
    }
    // With margin 1 the large-margin softmax is the plain softmax of inner products.
    let plain = Objective { distance: Some(DistanceConfig::Dot(Dot::default())), ..softmax(1.0).into() };
    let margin =
        Objective::from(LossConfig::LargeMarginSoftmax(LargeMarginSoftmax { margin: 1, scale: 1.0 }));
    let given = &batches(&plain)[0];
    assert!((given.evaluate(&plain).value - given.evaluate(&margin).value).abs() < 1e-13);
}

#[test]
fn threads_and_tiles_leave_no_trace() {
    let _shared = ALONE.read();
    for objective in objectives() {
        let given = large(&objective, 150, 23, 12);
        let bits = |e: &Evaluated<f32>| -> (u64, Vec<u32>) {
            let values = e.grad.iter().chain(e.ref_grad.iter().flatten()).chain(&e.proxy_grad);
            (e.value.to_bits(), values.map(|v| v.to_bits()).collect())
        };
        let one = bits(&pool(1).install(|| given.evaluate(&objective)));
        let two = bits(&pool(2).install(|| given.evaluate(&objective)));
        assert!(one == two, "threads: {objective:?}");
        let tile = 64 * 150 * 4;
        let small = pool(2).install(|| given.evaluate_in(&objective, tile)).unwrap();
        assert!(one == bits(&small), "tiles: {objective:?}");
    }
}

#[test]
fn memory_stays_below_its_formula() {
    let _alone = ALONE.write();
    let (b, classes, dim, threads, tile_bytes) = (600, 100, 24, 2, 1 << 18);
    let pool = pool(threads);
    let plain = losses().into_iter().map(Objective::from);
    let with_parts =
        losses().into_iter().filter(|loss| loss.wants().proxies.is_some()).map(|loss| Objective {
            matryoshka: Some(Matryoshka { dims: vec![dim, 10], weights: vec![] }),
            regularizer: Some(RegularizerConfig::RegularFace(RegularFace::default())),
            proxy_regularizer: Some(RegularizerConfig::RegularFace(RegularFace::default())),
            ..loss.into()
        });
    for objective in plain.chain(with_parts) {
        let given = large(&objective, b, classes, dim);
        let run = || pool.install(|| given.evaluate_in(&objective, tile_bytes)).unwrap();
        // A thread that has not multiplied matrices yet allocates buffers of its own, which it keeps: the least of some runs
        // is without them.
        let peak = (0..5).map(|_| {
            let before = IN_USE.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            drop(run());
            PEAK.load(Ordering::Relaxed) - before
        });
        let peak = peak.min().unwrap();
        let rows = |values: &Vec<f32>| values.len() / dim;
        let bound = objective.memory_bytes(&Shape {
            anchors: b,
            references: given.r.as_ref().map_or(b, |(r, _)| rows(r)),
            proxies: given.proxies.as_ref().map_or(0, rows),
            largest_class: b / classes,
            dim,
            value_bytes: 4,
            tile_bytes,
            threads,
        });
        assert!(peak <= bound, "{peak} of {bound}: {objective:?}");
        assert!(bound <= 16 * peak, "loose: {peak} of {bound}: {objective:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let _shared = ALONE.read();
    let refusal = |objective: &Objective, given: &Given<f64>| {
        given.evaluate_in(objective, TILE_BYTES).expect_err("a refusal").to_string()
    };
    let softmax = Objective::from(LossConfig::NormalizedSoftmax(NormalizedSoftmax::default()));
    let given = batches(&softmax).remove(0);
    let change = |change: &dyn Fn(&mut Given<f64>)| {
        let mut given = given.clone();
        change(&mut given);
        given
    };
    assert_eq!(
        refusal(&softmax, &change(&|g| g.proxies = None)),
        "normalized_softmax needs proxies of the classes"
    );
    let wrong = refusal(&softmax, &change(&|g| g.labels[2] = 4));
    assert_eq!(wrong, "row 2 (counted from 0) has label 4, but normalized_softmax knows only 4 classes");
    let wrong = refusal(&softmax, &change(&|g| g.proxies.as_mut().unwrap()[6] = f64::NAN));
    assert_eq!(wrong, "proxies row 1 (counted from 0) holds NaN in dimension 1");
    assert!(refusal(&softmax, &change(&|g| g.proxies.as_mut().unwrap().truncate(6))).contains("proxies"));
    let refs = change(&|g| g.r = Some((g.x.clone(), g.labels.clone())));
    assert!(refusal(&softmax, &refs).contains("reference set"));
    assert!(refusal(&softmax, &change(&|g| g.x.clear())).contains("embeddings"));

    let arcface = Objective {
        distance: Some(DistanceConfig::euclidean()),
        ..LossConfig::Arcface(Arcface::default()).into()
    };
    assert!(arcface.check().unwrap_err().to_string().contains("the cosine"));
    let vicreg = Objective {
        miner: Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity::default())),
        ..LossConfig::Vicreg(Vicreg::default()).into()
    };
    assert_eq!(vicreg.check().unwrap_err().to_string(), "vicreg takes no miner");
    let histogram = Objective {
        reducer: Some(ReducerConfig::sum()),
        ..LossConfig::Histogram(Histogram::default()).into()
    };
    assert_eq!(histogram.check().unwrap_err().to_string(), "histogram takes no reducer");

    let kl = Objective::from(LossConfig::ListwiseKl(ListwiseKl::default()));
    let given = batches(&kl).remove(0);
    let change = |change: &dyn Fn(&mut Given<f64>)| {
        let mut given = given.clone();
        change(&mut given);
        given
    };
    assert_eq!(refusal(&kl, &change(&|g| g.targets = None)), "listwise_kl needs target scores");
    assert!(refusal(&kl, &change(&|g| g.r = None)).contains("paired"));
    let uneven = change(&|g| {
        let (r, labels) = g.r.as_mut().unwrap();
        r.truncate(r.len() - DIM);
        labels.pop();
    });
    assert_eq!(refusal(&kl, &uneven), "listwise_kl: 15 negatives cannot be shared out equally among 8 pairs");
    let wrong = refusal(&kl, &change(&|g| g.targets.as_mut().unwrap()[4] = f64::INFINITY));
    assert_eq!(wrong, "target row 1 (counted from 0) holds inf in column 1");
    assert!(refusal(&kl, &change(&|g| g.targets.as_mut().unwrap().truncate(6))).contains("targets"));
    let long = Objective { matryoshka: Some(Matryoshka { dims: vec![9], weights: vec![] }), ..kl.clone() };
    assert!(refusal(&long, &given).contains("prefix of 9"));
    let penalised = Objective { proxy_regularizer: Some(RegularizerConfig::LpNorm(LpNorm::default())), ..kl };
    assert!(penalised.check().is_err());
}

#[test]
fn a_run_file_names_every_part() {
    let text = r#"
        [loss]
        name = "soft_triple"
        centers_per_class = 5
        [proxy_regularizer]
        name = "sparse_centers"
        centers_per_class = 5
        weight = 0.2
        [regularizer]
        name = "lp"
        [matryoshka]
        dims = [64, 16]
    "#;
    let objective: Objective = toml::from_str(text).unwrap();
    objective.check().unwrap();
    assert_eq!(objective.wants().proxies, Some(5));
    assert_eq!(toml::from_str::<Objective>(&toml::to_string(&objective).unwrap()).unwrap(), objective);
    for loss in losses() {
        let text = toml::to_string(&Objective::from(loss.clone())).unwrap();
        assert_eq!(toml::from_str::<Objective>(&text).unwrap().loss, loss);
    }
}

#[test]
fn proxies_start_at_length_one() {
    let soft_triple = SoftTriple { centers_per_class: 3, ..SoftTriple::default() };
    let objective = Objective::from(LossConfig::SoftTriple(soft_triple));
    let ours = objective.initial_proxies::<f64>(4, 7, Key::new(2));
    assert_eq!(ours, Some(proxy::initial(4, 3, 7, Key::new(2))));
    assert_eq!(Objective::default().initial_proxies::<f64>(4, 7, Key::new(2)), None);
    let proxies: Vec<f64> = proxy::initial(40, 2, 300, Key::new(5));
    assert_eq!(proxies.len(), 40 * 2 * 300);
    let lengths = proxies.chunks(300).map(|row| row.iter().map(|v| v * v).sum::<f64>());
    lengths.for_each(|square| assert!((square - 1.0).abs() < 0.5, "{square}"));
    assert_eq!(proxies[..600], proxy::initial::<f64>(1, 2, 300, Key::new(5)));
}
