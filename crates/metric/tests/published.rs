//! Numbers of papers and of other programs' tests, limits, and invariances.

use parallax_metric::loss::{Contrastive, MultiSimilarity, Ntxent, Supcon};
use parallax_metric::{
    Batch, DistanceConfig, LossConfig, MinerConfig, Objective, ReducerConfig, SquaredEuclidean, miner,
};
use parallax_random::Key;

fn batch<'a>(x: &'a [f64], dim: usize, labels: &'a [u32]) -> Batch<'a, f64> {
    Batch { x, dim, labels, refs: None }
}

fn value(objective: &Objective, x: &[f64], dim: usize, labels: &[u32]) -> f64 {
    objective.evaluate(&batch(x, dim, labels), false).expect("a valid batch").value
}

fn close(found: f64, want: f64, tolerance: f64) {
    assert!((found - want).abs() <= tolerance, "{found} is not {want}");
}

fn circle(degrees: &[f64]) -> Vec<f64> {
    degrees.iter().flat_map(|d| [d.to_radians().cos(), d.to_radians().sin()]).collect()
}

/// The ellipse that pytorch-metric-learning's tests place their points on.
fn ellipse(degrees: &[f64]) -> Vec<f64> {
    degrees.iter().flat_map(|d| [2.0 * d.to_radians().cos(), 0.5 * d.to_radians().sin()]).collect()
}

fn multi_similarity(alpha: f64, beta: f64, base: f64) -> Objective {
    LossConfig::MultiSimilarity(MultiSimilarity { alpha, beta, base }).into()
}

fn mined(objective: &Objective, epsilon: f64) -> Objective {
    let miner = Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity { epsilon }));
    Objective { miner, ..objective.clone() }
}

fn squared(loss: LossConfig) -> Objective {
    let distance = Some(DistanceConfig::SquaredEuclidean(SquaredEuclidean::default()));
    Objective { distance, ..loss.into() }
}

#[test]
fn multi_similarity_on_four_angles() {
    let (x, labels) = (circle(&[0.0, 30.0, 50.0, 90.0]), [0, 0, 1, 1]);
    let loss = multi_similarity(2.0, 40.0, 0.5);
    close(value(&mined(&loss, 0.1), &x, 2, &labels), 0.326690, 1e-6);
    close(value(&loss, &x, 2, &labels), 0.473583, 1e-6);
    let pairs = mined(&loss, 0.1).mine(&batch(&x, 2, &labels)).unwrap();
    assert_eq!(pairs.positives, [(1, 0), (2, 3)]);
    assert_eq!(pairs.negatives, [(1, 2), (2, 1)]);
    let loss = multi_similarity(2.0, 50.0, 1.0);
    close(value(&mined(&loss, 0.1), &x, 2, &labels), 0.224265, 1e-6);
    close(value(&loss, &x, 2, &labels), 0.448052, 1e-6);

    let apart = circle(&[0.0, 10.0, 80.0, 100.0]);
    let found = mined(&loss, 0.1).evaluate(&batch(&apart, 2, &labels), false).unwrap();
    assert_eq!((found.value, found.grad), (0.0, vec![0.0; 8]));
    assert_eq!((found.stats.positive_pairs, found.stats.mined_positive), (4, 0));
}

#[test]
fn multi_similarity_on_five_angles() {
    let (x, labels) = (ellipse(&[0.0, 20.0, 40.0, 60.0, 80.0]), [0, 0, 1, 1, 2]);
    close(value(&multi_similarity(0.1, 40.0, 0.5), &x, 2, &labels), 5.810_982_11, 1e-8);
    close(value(&multi_similarity(2.0, 50.0, 0.5), &x, 2, &labels), 0.584_677_14, 1e-8);
    close(value(&multi_similarity(2.0, 50.0, 1.0), &x, 2, &labels), 0.289029, 1e-6);
}

/// The weights on pairs are read from the gradient of references that stand on the axes of a frame.
#[test]
fn multi_similarity_weights() {
    let similarities = [0.9f64, 0.7, 0.4];
    let refs: Vec<f64> = similarities.iter().flat_map(|s| [*s, (1.0 - s * s).sqrt()]).collect();
    let objective = Objective {
        distance: Some(DistanceConfig::Dot(Default::default())),
        ..multi_similarity(2.0, 50.0, 0.5)
    };
    let own = parallax_metric::Own::None;
    let refs = Some(parallax_metric::Refs { r: &refs, labels: &[0, 0, 0], own });
    let found = objective.evaluate(&Batch { x: &[1.0, 0.0], dim: 2, labels: &[0], refs }, true).unwrap();
    for (grad, want) in found.ref_grad.unwrap().chunks(2).zip([0.134487, 0.200631, 0.365574]) {
        close(grad[0], -want, 1e-6);
    }
}

#[test]
fn multi_similarity_limits() {
    let x: Vec<f64> = (0..120).map(|i| Key::new(1).normal(i)).collect();
    let labels: Vec<u32> = (0..20).map(|i| i / 4).collect();
    let loss = multi_similarity(2.0, 50.0, 0.5);
    // A huge epsilon mines nothing away.
    let all = mined(&loss, 1e6).evaluate(&batch(&x, 6, &labels), false).unwrap();
    let unmined = loss.evaluate(&batch(&x, 6, &labels), false).unwrap();
    assert_eq!((all.value, all.grad), (unmined.value, unmined.grad));
    // One positive, no negatives: softplus.
    let two = circle(&[0.0, 40.0]);
    let s = 40f64.to_radians().cos();
    close(value(&loss, &two, 2, &[3, 3]), (-2.0 * (s - 0.5)).exp().ln_1p() / 2.0, 1e-12);
    // Large sharpness: hinges on the farthest positive and the nearest negative, within log(1 + m) / sharpness.
    let (sharp, m) = (1e5, 19f64);
    let cosine = |i: usize, j: usize| {
        let (a, b) = (&x[i * 6..][..6], &x[j * 6..][..6]);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let hinge: f64 = (0..20)
        .map(|i| {
            let labels = &labels;
            let others = |same| (0..20).filter(move |&j| j != i && (labels[i] == labels[j]) == same);
            let farthest = others(true).map(|j| cosine(i, j)).fold(f64::INFINITY, f64::min);
            let nearest = others(false).map(|j| cosine(i, j)).fold(f64::NEG_INFINITY, f64::max);
            (0.5 - farthest).max(0.0) + (nearest - 0.5).max(0.0)
        })
        .sum::<f64>()
        / 20.0;
    let found = value(&multi_similarity(sharp, sharp, 0.5), &x, 6, &labels);
    close(found, hinge, 2.0 * (1.0 + m).ln() / sharp);
    assert!(hinge > 0.1, "the limit is not trivial: {hinge}");
}

#[test]
fn mined_sets_are_empty_together() {
    let objective = mined(&Objective::default(), 0.1);
    let (mut empty, mut full) = (0, 0);
    for seed in 0..1000 {
        let key = Key::new(seed);
        let dim = 2 + key.named("dim").below(0, 5);
        // A drift by class makes some anchors easy.
        let labels: Vec<u32> = (0..12).map(|i| key.named("label").below(i, 4) as u32).collect();
        let drift = 3.0 * key.named("drift").uniform(0);
        let x: Vec<f64> = (0..12 * dim)
            .map(|i| {
                let centre = Key::new(labels[i / dim].into()).named("centre").normal((i % dim) as u64);
                key.named("x").normal(i as u64) + drift * centre
            })
            .collect();
        let pairs = objective.mine(&batch(&x, dim, &labels)).unwrap();
        for anchor in 0..12 {
            let positives = pairs.positives.iter().filter(|p| p.0 == anchor).count();
            let negatives = pairs.negatives.iter().filter(|p| p.0 == anchor).count();
            assert_eq!(positives == 0, negatives == 0, "seed {seed}, anchor {anchor}");
            if positives == 0 { empty += 1 } else { full += 1 }
        }
    }
    assert!(empty > 500 && full > 500, "both kinds occur: {empty} empty, {full} full");
}

#[test]
fn contrastive_values() {
    let (x, labels) = (ellipse(&[0.0, 20.0, 40.0, 60.0, 80.0]), [0, 0, 1, 1, 2]);
    let loss = |pos_margin, neg_margin| LossConfig::Contrastive(Contrastive { pos_margin, neg_margin });
    let mean =
        |objective: &Objective| Objective { reducer: Some(ReducerConfig::mean()), ..objective.clone() };
    let objective = squared(loss(0.25, 1.5));
    close(value(&objective, &x, 2, &labels), 1.162_362_34, 1e-8);
    close(value(&mean(&objective), &x, 2, &labels), 1.162_362_34, 1e-8);
    let objective = Objective { distance: Some(DistanceConfig::cosine()), ..loss(1.5, 0.6).into() };
    close(value(&objective, &x, 2, &labels), 0.779_792_38, 1e-8);
    close(value(&mean(&objective), &x, 2, &labels), 0.746_344_53, 1e-8);
    close(value(&Objective::from(loss(0.0, 1.0)), &x, 2, &labels), 0.636_421_88, 1e-8);
    assert_eq!(value(&Objective::from(loss(0.0, 1.0)), &x[..2], 2, &labels[..1]), 0.0);
}

#[test]
fn ntxent_and_supcon_values() {
    let (x, labels) = (circle(&[0.0, 10.0, 20.0, 50.0, 60.0, 80.0]), [0, 0, 0, 1, 1, 2]);
    let ntxent = LossConfig::Ntxent(Ntxent { temperature: 0.1 });
    let supcon = LossConfig::Supcon(Supcon { temperature: 0.1 });
    let euclidean =
        |loss: &LossConfig| Objective { distance: Some(DistanceConfig::euclidean()), ..loss.clone().into() };
    close(value(&ntxent.clone().into(), &x, 2, &labels), 0.298_143_10, 1e-8);
    close(value(&euclidean(&ntxent), &x, 2, &labels), 0.062_355_11, 1e-8);
    close(value(&supcon.clone().into(), &x, 2, &labels), 0.720_060_45, 1e-8);
    close(value(&euclidean(&supcon), &x, 2, &labels), 0.605_163_00, 1e-8);
    for loss in [ntxent, supcon] {
        let objective = Objective::from(loss);
        for labels in [[0, 1, 2, 3, 4, 5], [9; 6]] {
            let found = objective.evaluate(&batch(&x, 2, &labels), false).unwrap();
            assert_eq!((found.value, found.grad), (0.0, vec![0.0; 12]));
        }
    }
}

fn all() -> Vec<Objective> {
    let losses = [
        LossConfig::Contrastive(Contrastive::default()),
        LossConfig::Ntxent(Ntxent::default()),
        LossConfig::Supcon(Supcon::default()),
        LossConfig::MultiSimilarity(MultiSimilarity::default()),
    ];
    let plain = losses.map(Objective::from);
    plain.iter().cloned().chain(plain.iter().map(|o| mined(o, 0.1))).collect()
}

#[test]
fn order_and_rotation_leave_the_loss_alone() {
    let (b, dim) = (24, 6);
    let x: Vec<f64> = (0..b * dim).map(|i| Key::new(2).normal(i as u64)).collect();
    let labels: Vec<u32> = (0..b as u32).map(|i| i / 3).collect();
    let mut order: Vec<usize> = (0..b).collect();
    Key::new(3).shuffle(&mut order);
    let moved: Vec<f64> = order.iter().flat_map(|&i| x[i * dim..][..dim].to_vec()).collect();
    let moved_labels: Vec<u32> = order.iter().map(|&i| labels[i]).collect();
    // A product of plane rotations.
    let mut turned = x.clone();
    for (k, (a, b)) in [(0, 1), (2, 5), (1, 3), (4, 0), (5, 1)].into_iter().enumerate() {
        let (sin, cos) = (k as f64 + 0.7).sin_cos();
        for row in turned.chunks_mut(dim) {
            (row[a], row[b]) = (cos * row[a] - sin * row[b], sin * row[a] + cos * row[b]);
        }
    }
    for objective in all() {
        let plain = value(&objective, &x, dim, &labels);
        assert!(plain > 0.0);
        close(value(&objective, &moved, dim, &moved_labels), plain, 1e-10 * plain);
        close(value(&objective, &turned, dim, &labels), plain, 1e-10 * plain);
    }
}
