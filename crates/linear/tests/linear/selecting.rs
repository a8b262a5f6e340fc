use std::sync::atomic::{AtomicBool, Ordering};

use parallax_eval::{Gallery, Measure, RetrievalConfig, Vectors, retrieval};
use parallax_linear::{
    Adapter, Error, Examples, Identity, LinearDiscriminant, Map, Procrustes, Selection, SelectionConfig,
    Sides, Whitening, select,
};

use crate::world::{World, gaussian, rotation, turned};

fn chosen(config: &SelectionConfig, examples: &Examples) -> Result<Selection, Error> {
    select(config, examples, &mut |_| {}, &AtomicBool::new(false))
}

fn labelled(world: &World) -> Examples<'_> {
    Examples::Labelled { vectors: &world.vectors, labels: &world.labels, dim: world.dim }
}

/// Classes differ in the first `dim/2` dimensions; the others are nuisance with far more variance.
fn planted(seed: u64) -> World {
    let signal: Vec<f64> = (0..16).map(|j| if j < 8 { 1.0 } else { 0.0 }).collect();
    let noise: Vec<f64> = (0..16).map(|j| if j < 8 { 0.5 } else { 4.0 }).collect();
    gaussian(seed, 40, 15, &signal, &noise)
}

#[test]
fn nothing_is_gained_on_noise() {
    // The best of 250 candidates looks better than nothing in many of these worlds, by its own interval over queries.
    // The verdict may be wrong once in forty.
    let (mut apparent, mut wrong) = (0, 0);
    for seed in 0..12 {
        let world = gaussian(seed, 30, 12, &[0.0; 12], &[1.0; 12]);
        let selection = chosen(&SelectionConfig { seed, ..Default::default() }, &labelled(&world)).unwrap();
        apparent += usize::from(selection.table[selection.best.unwrap()].interval[0] > 0.0);
        if selection.helps() {
            wrong += 1;
            continue;
        }
        assert_eq!(selection.adapter, Adapter::Identity(Identity::default()));
        assert_eq!(selection.alpha, 0.0);
        assert!(selection.verdict.starts_with("No linear map"), "{}", selection.verdict);
        assert_eq!(selection.fit(&labelled(&world)).unwrap(), Map::identity(12));
    }
    assert!(wrong <= 1 && apparent >= 3, "{wrong} wrong, {apparent} apparent gains");
}

#[test]
fn nothing_is_gained_where_the_metric_is_right_already() {
    // Classes differ, and alike in all directions.
    for seed in 10..13 {
        let world = gaussian(seed, 30, 12, &[0.6; 12], &[1.0; 12]);
        let selection = chosen(&SelectionConfig { seed, ..Default::default() }, &labelled(&world)).unwrap();
        assert!(!selection.helps(), "{}", selection.verdict);
    }
}

#[test]
fn a_planted_nuisance_is_removed() {
    for seed in 0..2 {
        let world = planted(seed);
        let selection = chosen(&SelectionConfig::default(), &labelled(&world)).unwrap();
        assert!(selection.helps(), "{}", selection.verdict);
        assert!(selection.choice.interval[0] > 0.1, "{}", selection.verdict);
        let best = &selection.table[selection.best.unwrap()];
        assert_eq!((&best.adapter, best.alpha), (&selection.adapter, selection.alpha));
        assert!(selection.table.iter().all(|candidate| candidate.mean <= best.mean));
        assert!(selection.verdict.contains(&format!("{:.4}", best.mean)));

        // And it holds on classes of the same world that nobody has seen.
        let fresh = planted(seed + 100);
        let map = selection.fit(&labelled(&world)).unwrap();
        let mapped = map.apply(&fresh.vectors, fresh.labels.len()).unwrap();
        let config = RetrievalConfig { resamples: 0, ..Default::default() };
        let value = |values: &[f32], dim| {
            let set = Vectors { values, dim, labels: &fresh.labels };
            retrieval(&config, set, Gallery::LeaveOneOut).unwrap().value(Measure::MapAtR).unwrap()
        };
        let (before, after) = (value(&fresh.vectors, 16), value(&mapped, map.outputs));
        assert!(after > before + 0.1, "{before} to {after}");
    }
}

#[test]
fn pairs_that_are_turned_are_turned_back() {
    let (n, dim) = (120, 10);
    let world = gaussian(20, n, 1, &[1.0; 10], &[0.0; 10]);
    let noise = gaussian(21, n, 1, &[0.0; 10], &[0.3; 10]);
    let positives: Vec<f32> = turned(&world.vectors, &rotation(22, dim), dim)
        .iter()
        .zip(&noise.vectors)
        .map(|(x, e)| x + e)
        .collect();
    let pairs = Examples::Pairs { anchors: &world.vectors, positives: &positives, dim };
    let selection = chosen(&SelectionConfig::default(), &pairs).unwrap();
    assert!(matches!(selection.adapter, Adapter::Procrustes(_) | Adapter::Ridge(_)), "{}", selection.verdict);
    assert_eq!(selection.measure, "mrr");
    assert!(selection.choice.interval[0] > 0.3, "{}", selection.verdict);
    assert_eq!(selection.fit(&pairs).unwrap().sides, Sides::Queries);
}

#[test]
fn the_table_is_what_a_fit_by_hand_gives() {
    // One adapter, two folds: fit to one half of the classes, measure the other.
    let world = planted(30);
    let adapter = Adapter::Whitening(Whitening::default());
    let config = SelectionConfig {
        adapters: vec![adapter.clone()],
        alphas: vec![0.0, 0.5, 1.0],
        folds: 2,
        measure: Some(Measure::Precision(1)),
        ..Default::default()
    };
    let mut steps = Vec::new();
    let selection = select(
        &config,
        &labelled(&world),
        &mut |step| steps.push((step.done, step.total)),
        &AtomicBool::new(false),
    )
    .unwrap();
    assert_eq!(steps, [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(selection.table.len(), 2);
    assert_eq!((selection.queries, selection.choice.classes, selection.folds), (600, 40, 2));

    // The folds are dealt out as the seed says.
    let mut order: Vec<usize> = (0..40).collect();
    parallax_random::Key::new(0).named("linear selection").named("folds").shuffle(&mut order);
    let mut fold_of = [0; 40];
    order.iter().enumerate().for_each(|(place, &class)| fold_of[class] = place % 2);
    let half = |fold: usize| -> (Vec<f32>, Vec<u32>) {
        let rows = (0..600).filter(|&i| fold_of[world.labels[i] as usize] == fold);
        rows.map(|i| (world.vectors[i * 16..][..16].to_vec(), world.labels[i])).fold(
            (Vec::new(), Vec::new()),
            |(mut v, mut l), (row, label)| {
                v.extend(row);
                l.push(label);
                (v, l)
            },
        )
    };
    let config =
        RetrievalConfig { measures: vec![Measure::Precision(1)], resamples: 0, ..Default::default() };
    for (place, alpha) in [(0, 0.5), (1, 1.0)] {
        let (mut after, mut before) = (0.0, 0.0);
        for fold in 0..2 {
            let ((fitted, labels), (held, held_labels)) = (half(1 - fold), half(fold));
            let examples = Examples::Labelled { vectors: &fitted, labels: &labels, dim: 16 };
            let map = adapter.fit(&examples).unwrap().blend(alpha).unwrap();
            let mapped = map.apply(&held, held_labels.len()).unwrap();
            let value = |values: &[f32]| {
                let set = Vectors { values, dim: 16, labels: &held_labels };
                retrieval(&config, set, Gallery::LeaveOneOut).unwrap().value(Measure::Precision(1)).unwrap()
            };
            after += value(&mapped) / 2.0;
            before += value(&held) / 2.0;
        }
        let candidate = &selection.table[place];
        // Roundings of 32 bits may swap a neighbour or two of 600.
        assert!((candidate.mean - after).abs() < 0.005, "{} and {after}", candidate.mean);
        assert!((selection.identity - before).abs() < 1e-9);
        assert!((candidate.difference - (candidate.mean - selection.identity)).abs() < 1e-9);
    }
}

#[test]
fn threads_change_nothing_and_seeds_do() {
    let world = planted(40);
    let config = |seed| SelectionConfig {
        adapters: vec![Adapter::default(), Adapter::Whitening(Whitening::default())],
        queries: 200,
        rows: 450,
        seed,
        ..Default::default()
    };
    let run = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| chosen(&config(seed), &labelled(&world)).unwrap())
    };
    let one = run(1, 5);
    assert_eq!(one.queries, 200);
    assert_eq!(one, run(2, 5));
    assert_ne!(one.identity, run(2, 6).identity);
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Selection>(&text).unwrap(), one);
}

#[test]
fn adapters_that_cannot_be_fitted_are_listed() {
    let world = planted(50);
    let config = SelectionConfig {
        adapters: vec![
            Adapter::Procrustes(Procrustes::default()),
            Adapter::LinearDiscriminant(LinearDiscriminant::default()),
        ],
        ..Default::default()
    };
    let selection = chosen(&config, &labelled(&world)).unwrap();
    assert_eq!(selection.unfitted.len(), 1);
    assert!(selection.unfitted[0].reason.contains("procrustes"));
    assert!(selection.helps());
    let config = SelectionConfig { adapters: vec![Adapter::Procrustes(Procrustes::default())], ..config };
    let selection = chosen(&config, &labelled(&world)).unwrap();
    assert!(selection.best.is_none() && !selection.helps() && selection.verdict.contains("procrustes"));
}

#[test]
fn a_raised_flag_stops_it() {
    let world = planted(60);
    let cancel = AtomicBool::new(false);
    let mut seen = 0;
    let result = select(
        &SelectionConfig::default(),
        &labelled(&world),
        &mut |_| {
            seen += 1;
            cancel.store(seen == 3, Ordering::Relaxed);
        },
        &cancel,
    );
    assert_eq!((result, seen), (Err(Error::Cancelled), 3));
}

#[test]
fn too_few_classes_and_bad_settings() {
    let world = gaussian(70, 3, 5, &[1.0; 4], &[1.0; 4]);
    let error = chosen(&SelectionConfig::default(), &labelled(&world)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "3 classes have two rows or more: choosing by cross-validation needs at least 4"
    );
    let world = planted(71);
    for config in [
        SelectionConfig { folds: 1, ..Default::default() },
        SelectionConfig { queries: 0, ..Default::default() },
        SelectionConfig { rows: 1, ..Default::default() },
        SelectionConfig { resamples: 0, ..Default::default() },
        SelectionConfig { alphas: vec![0.5, 1.5], ..Default::default() },
        SelectionConfig { alphas: vec![0.0], ..Default::default() },
    ] {
        let result = chosen(&config, &labelled(&world));
        assert!(matches!(result, Err(Error::Parameter { component: "selection", .. })), "{result:?}");
    }
}
