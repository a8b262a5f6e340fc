//! Every loss against a naive loop over pairs and against central differences, in f64.

use parallax_kernels::Real;
use parallax_metric::loss::{Contrastive, MultiSimilarity, MultipleNegativesRanking, Ntxent, Supcon};
use parallax_metric::{
    Batch, DistanceConfig, Dot, LossConfig, Lp, MinerConfig, Objective, Own, ReducerConfig, Refs, Snr,
    SquaredEuclidean, miner,
};
use parallax_random::Key;

const DIM: usize = 5;

fn random(seed: u64, values: usize) -> Vec<f64> {
    (0..values).map(|i| Key::new(seed).normal(i as u64)).collect()
}

/// Batches: random classes, duplicates of vectors within and across classes, one class, all singletons.
fn batches() -> Vec<(&'static str, Vec<f64>, Vec<u32>)> {
    let b = 9;
    let classes: Vec<u32> = (0..b).map(|i| Key::new(5).below(i, 3) as u32).collect();
    let mut duplicates = random(2, b as usize * DIM);
    duplicates.copy_within(0..2 * DIM, 4 * DIM);
    vec![
        ("random", random(1, b as usize * DIM), classes),
        ("duplicates", duplicates, vec![0, 0, 1, 1, 0, 1, 2, 2, 2]),
        ("one class", random(3, b as usize * DIM), vec![7; b as usize]),
        ("singletons", random(4, b as usize * DIM), (0..b as u32).collect()),
    ]
}

fn losses() -> Vec<LossConfig> {
    vec![
        LossConfig::Contrastive(Contrastive { pos_margin: 0.21, neg_margin: 0.83 }),
        LossConfig::Ntxent(Ntxent { temperature: 0.3 }),
        LossConfig::Supcon(Supcon { temperature: 0.4 }),
        LossConfig::MultiSimilarity(MultiSimilarity { alpha: 2.0, beta: 10.0, base: 0.4 }),
    ]
}

fn distances() -> Vec<DistanceConfig> {
    let lp = |p, power, normalize| DistanceConfig::Lp(Lp { p, power, normalize });
    vec![
        DistanceConfig::cosine(),
        DistanceConfig::Dot(Dot::default()),
        lp(2.0, 1.0, true),
        lp(2.0, 1.5, false),
        lp(1.0, 1.0, true),
        lp(3.0, 2.0, true),
        DistanceConfig::SquaredEuclidean(SquaredEuclidean::default()),
        DistanceConfig::Snr(Snr::default()),
    ]
}

/// The distance by its definition.
fn naive_distance(config: &DistanceConfig, a: &[f64], b: &[f64]) -> f64 {
    let unit = |v: &[f64], p: f64| -> Vec<f64> {
        let norm = v.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p);
        v.iter().map(|v| v / norm).collect()
    };
    let (normalize, p) = match config {
        DistanceConfig::Cosine(_) => (true, 2.0),
        DistanceConfig::Dot(c) => (c.normalize, 2.0),
        DistanceConfig::Lp(c) => (c.normalize, c.p),
        DistanceConfig::SquaredEuclidean(c) => (c.normalize, 2.0),
        DistanceConfig::Snr(c) => (c.normalize, 2.0),
    };
    let (a, b) = if normalize { (unit(a, p), unit(b, p)) } else { (a.to_vec(), b.to_vec()) };
    let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    let variance = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (v.len() - 1) as f64
    };
    match config {
        DistanceConfig::Cosine(_) | DistanceConfig::Dot(_) => a.iter().zip(&b).map(|(a, b)| a * b).sum(),
        DistanceConfig::Lp(c) => {
            difference.iter().map(|d| d.abs().powf(c.p)).sum::<f64>().powf(c.power / c.p)
        }
        DistanceConfig::SquaredEuclidean(_) => difference.iter().map(|d| d * d).sum(),
        DistanceConfig::Snr(_) => variance(&difference) / variance(&a),
    }
}

/// Reduces the elements of a channel.
fn naive_reduce(config: &ReducerConfig, elements: &[f64]) -> f64 {
    let mean = |v: &[f64]| if v.is_empty() { 0.0 } else { v.iter().sum::<f64>() / v.len() as f64 };
    match config {
        ReducerConfig::Mean(_) => mean(elements),
        ReducerConfig::Sum(_) => elements.iter().sum(),
        ReducerConfig::AvgNonZero(_) => {
            mean(&elements.iter().copied().filter(|e| *e > 1e-12).collect::<Vec<_>>())
        }
    }
}

/// The objective by its definition, pair by pair.
fn naive(objective: &Objective, batch: &Batch<'_, f64>) -> f64 {
    let distance = objective.distance();
    let larger = distance.larger_is_nearer();
    let (r, columns, own) = batch
        .refs
        .as_ref()
        .map_or((batch.x, batch.labels, None), |refs| (refs.r, refs.labels, Some(refs.own)));
    let mut rows = Vec::new();
    for (i, a) in batch.x.chunks(batch.dim).enumerate() {
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for (j, b) in r.chunks(batch.dim).enumerate() {
            let same = columns[j] == batch.labels[i];
            let relation = match own {
                None if i == j => None,
                Some(Own::Item(own)) if own[i] == Some(j as u32) => None,
                Some(Own::Positive) if i == j => Some(true),
                Some(Own::Positive) if same => None,
                _ => Some(same),
            };
            // Nearness: larger is nearer whatever the distance.
            let s = naive_distance(&distance, a, b) * if larger { 1.0 } else { -1.0 };
            match relation {
                Some(true) => positives.push(s),
                Some(false) => negatives.push(s),
                None => {}
            }
        }
        if let Some(MinerConfig::MultiSimilarity(m)) = &objective.miner {
            let farthest = positives.iter().copied().fold(f64::INFINITY, f64::min);
            let nearest = negatives.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            positives.retain(|s| *s < nearest + m.epsilon);
            negatives.retain(|s| *s > farthest - m.epsilon);
        }
        rows.push((positives, negatives));
    }
    let turn = |margin: f64| if larger { margin } else { -margin };
    let softmax_loss = |p: f64, negatives: &[f64], t: f64| {
        -((p / t).exp() / ((p / t).exp() + negatives.iter().map(|n| (n / t).exp()).sum::<f64>())).ln()
    };
    let mut channels = [Vec::new(), Vec::new()];
    let any_negative = rows.iter().any(|(_, n)| !n.is_empty());
    for (positives, negatives) in &rows {
        match &objective.loss {
            LossConfig::Contrastive(c) => {
                channels[0].extend(positives.iter().map(|s| (turn(c.pos_margin) - s).max(0.0)));
                channels[1].extend(negatives.iter().map(|s| (s - turn(c.neg_margin)).max(0.0)));
            }
            LossConfig::Ntxent(c) => {
                channels[0].extend(positives.iter().map(|&p| softmax_loss(p, negatives, c.temperature)));
            }
            LossConfig::MultipleNegativesRanking(c) => {
                channels[0].extend(positives.iter().map(|&p| softmax_loss(p, negatives, 1.0 / c.scale)));
            }
            LossConfig::Supcon(c) => {
                let all: f64 = positives.iter().chain(negatives).map(|s| (s / c.temperature).exp()).sum();
                let terms = positives.iter().map(|s| all.ln() - s / c.temperature);
                let mean = terms.sum::<f64>() / (positives.len() as f64).max(1.0);
                channels[0].push(if any_negative { mean } else { 0.0 });
            }
            LossConfig::MultiSimilarity(c) => {
                let base = turn(c.base);
                let p = positives.iter().map(|s| (-c.alpha * (s - base)).exp()).sum::<f64>();
                let n = negatives.iter().map(|s| (c.beta * (s - base)).exp()).sum::<f64>();
                channels[0].push(p.ln_1p() / c.alpha + n.ln_1p() / c.beta);
            }
        }
    }
    channels.iter().map(|channel| naive_reduce(&objective.reducer(), channel)).sum()
}

/// Checks value against the loop, gradients against central differences, and f32 against f64.
fn check(name: &str, objective: &Objective, batch: &Batch<'_, f64>) {
    let found = objective.evaluate(batch, true).expect("a valid batch");
    let value = naive(objective, batch);
    assert!((found.value - value).abs() < 1e-9 * value.abs().max(1.0), "{name}: {} {value}", found.value);

    // A miner selects and a hinge has kinks: a step must not cross either, so it is tiny, and coincident rows, where the
    // Euclidean distance has no derivative, are left alone.
    let step = 1e-6;
    let compare = |what: &str, matrix: &[f64], grad: &[f64], value: &dyn Fn(&[f64]) -> f64| {
        let rows: Vec<&[f64]> = matrix.chunks(batch.dim).collect();
        for (k, &grad) in grad.iter().enumerate() {
            let row = rows[k / batch.dim];
            let twin = rows.iter().filter(|other| **other == row).count() > 1;
            let shared = batch.refs.is_some_and(|refs| {
                let other = if what == "x" { refs.r } else { batch.x };
                other.chunks(batch.dim).any(|other| other == row)
            });
            if twin || shared {
                continue;
            }
            let mut moved = matrix.to_vec();
            moved[k] = matrix[k] + step;
            let up = value(&moved);
            moved[k] = matrix[k] - step;
            let slope = (up - value(&moved)) / (2.0 * step);
            assert!(
                (slope - grad).abs() < 2e-6 * slope.abs().max(1.0),
                "{name}: d/d{what}[{k}] is {grad}, differences say {slope}"
            );
        }
    };
    let run = |batch: &Batch<'_, f64>| objective.evaluate(batch, false).expect("a valid batch").value;
    compare("x", batch.x, &found.grad, &|x| run(&Batch { x, ..*batch }));
    if let (Some(refs), Some(grad)) = (batch.refs, &found.ref_grad) {
        compare("r", refs.r, grad, &|r| run(&Batch { refs: Some(Refs { r, ..refs }), ..*batch }));
    }

    let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
    let (x, r) = (narrow(batch.x), batch.refs.map(|refs| narrow(refs.r)));
    let refs = batch.refs.zip(r.as_ref()).map(|(refs, r)| Refs {
        r: r.as_slice(),
        labels: refs.labels,
        own: refs.own,
    });
    let single = objective
        .evaluate(&Batch { x: &x, dim: batch.dim, labels: batch.labels, refs }, true)
        .expect("a valid batch");
    let near = |a: &[f32], b: &[f64]| {
        let size = b.iter().fold(1.0, |m: f64, b| m.max(b.abs()));
        a.iter().zip(b).all(|(a, b)| (a.f64() - b).abs() < 2e-4 * size)
    };
    assert!((single.value - found.value).abs() < 1e-4 * value.abs().max(1.0), "{name}: f32 {}", single.value);
    assert!(near(&single.grad, &found.grad), "{name}: f32 gradient");
}

fn objectives() -> Vec<(String, Objective)> {
    let mut all = Vec::new();
    for loss in losses() {
        for distance in distances() {
            for miner in [None, Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity::default()))] {
                let name = format!("{loss:?} {distance:?} {miner:?}");
                let objective = Objective { miner, distance: Some(distance.clone()), ..loss.clone().into() };
                all.push((name, objective));
            }
        }
        for reducer in [ReducerConfig::mean(), ReducerConfig::sum(), ReducerConfig::avg_non_zero()] {
            let name = format!("{loss:?} {reducer:?}");
            all.push((name, Objective { reducer: Some(reducer), ..loss.clone().into() }));
        }
    }
    all
}

#[test]
fn a_batch_against_itself() {
    for (name, objective) in objectives() {
        for (kind, x, labels) in batches() {
            check(
                &format!("{kind}, {name}"),
                &objective,
                &Batch { x: &x, dim: DIM, labels: &labels, refs: None },
            );
        }
    }
}

#[test]
fn a_batch_against_references() {
    for (name, objective) in objectives() {
        for (kind, x, labels) in batches() {
            let mut r = random(8, 11 * DIM);
            let ref_labels: Vec<u32> = (0..11).map(|j| (j % 4) as u32).collect();
            // Reference 3 is anchor 1, as in a memory that holds the batch.
            r[3 * DIM..4 * DIM].copy_from_slice(&x[DIM..2 * DIM]);
            let mut own = vec![None; labels.len()];
            own[1] = Some(3);
            for own in [Own::None, Own::Item(&own), Own::Positive] {
                let refs = Some(Refs { r: &r, labels: &ref_labels, own });
                let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
                check(&format!("{kind}, {own:?}, {name}"), &objective, &batch);
            }
        }
    }
}

#[test]
fn multiple_negatives_ranking_is_a_masked_cross_entropy() {
    let (b, hard) = (6, 3);
    let (x, r) = (random(11, b * DIM), random(12, (b + hard) * DIM));
    // Pairs 1 and 4 have the same text on both sides, and hard negative 7 repeats the text of pair 2.
    let labels = [0, 1, 2, 3, 1, 5];
    let ref_labels = [0, 1, 2, 3, 1, 5, 6, 2, 8];
    let logits = |i: usize, j: usize| {
        20.0 * naive_distance(&DistanceConfig::cosine(), &x[i * DIM..][..DIM], &r[j * DIM..][..DIM])
    };
    let forth: f64 = (0..b)
        .map(|i| {
            let seen = (0..b + hard).filter(|&j| j == i || ref_labels[j] != labels[i]);
            seen.map(|j| logits(i, j).exp()).sum::<f64>().ln() - logits(i, i)
        })
        .sum::<f64>()
        / b as f64;
    let back: f64 = (0..b)
        .map(|j| {
            let seen = (0..b).filter(|&i| j == i || ref_labels[j] != labels[i]);
            seen.map(|i| logits(i, j).exp()).sum::<f64>().ln() - logits(j, j)
        })
        .sum::<f64>()
        / b as f64;
    let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Positive });
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
    for (symmetric, want, masked) in [(false, forth, 3), (true, 0.5 * (forth + back), 5)] {
        let objective: Objective = LossConfig::MultipleNegativesRanking(MultipleNegativesRanking {
            symmetric,
            ..Default::default()
        })
        .into();
        let found = objective.evaluate(&batch, true).expect("a valid batch");
        assert!((found.value - want).abs() < 1e-12, "{} {want}", found.value);
        assert_eq!(found.stats.masked_false_negatives, masked);
        if !symmetric {
            check("multiple negatives", &objective, &batch);
        }
        // Hard negatives receive a gradient, and a masked one does not feel its own anchor.
        let grad = found.ref_grad.expect("asked for");
        assert!(grad[6 * DIM..].iter().all(|g| *g != 0.0));
        let step = 1e-6;
        for k in 0..r.len() {
            let at = |offset: f64| {
                let mut moved = r.clone();
                moved[k] += offset;
                let refs = Some(Refs { r: &moved, labels: &ref_labels, own: Own::Positive });
                objective.evaluate(&Batch { refs, ..batch }, false).expect("a valid batch").value
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            assert!((slope - grad[k]).abs() < 1e-6, "{slope} {}", grad[k]);
        }
    }
}
