//! The signal-to-noise distance: worked examples, identities, and the losses that take it.

use parallax_metric::dense::NPairs;
use parallax_metric::loss::{Contrastive, LiftedStructure, SnrContrastive, TripletMargin};
use parallax_metric::regularizer::{RegularizerConfig, ZeroMean};
use parallax_metric::{
    Batch, DistanceConfig, Error, Evaluated, LossConfig, Objective, Own, ReducerConfig, Refs, Snr,
    SquaredEuclidean,
};
use parallax_random::Key;

const A: [f64; 4] = [1.0, 2.0, 0.0, -1.0];
const B: [f64; 4] = [0.5, 2.5, -1.0, 0.0];

fn snr(normalize: bool, eps: f64) -> Option<DistanceConfig> {
    Some(DistanceConfig::Snr(Snr { normalize, eps }))
}

/// The distance of an anchor to a reference, with its gradients: the contrastive loss of one positive pair.
fn pair(distance: Option<DistanceConfig>, a: &[f64], b: &[f64]) -> Result<Evaluated<f64>, Error> {
    let loss = LossConfig::Contrastive(Contrastive { pos_margin: 0.0, ..Contrastive::default() });
    let objective = Objective { distance, reducer: Some(ReducerConfig::mean()), ..loss.into() };
    let refs = Some(Refs { r: b, labels: &[0], own: Own::None });
    objective.evaluate(&Batch { x: a, dim: a.len(), labels: &[0], refs }, true)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    pair(snr(false, 0.0), a, b).unwrap().value
}

fn close(found: f64, want: f64, tolerance: f64) {
    assert!((found - want).abs() <= tolerance, "{found} is not {want}");
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

fn variance(v: &[f64]) -> f64 {
    v.iter().map(|x| (x - mean(v)).powi(2)).sum::<f64>() / v.len() as f64
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let cross = a.iter().zip(b).map(|(x, y)| (x - mean(a)) * (y - mean(b))).sum::<f64>() / a.len() as f64;
    cross / (variance(a) * variance(b)).sqrt()
}

/// Centred, and of length 1.
fn unit(v: &[f64]) -> Vec<f64> {
    let centred: Vec<f64> = v.iter().map(|x| x - mean(v)).collect();
    let length = centred.iter().map(|x| x * x).sum::<f64>().sqrt();
    centred.iter().map(|x| x / length).collect()
}

fn drawn(key: Key, dim: usize) -> Vec<f64> {
    (0..dim as u64).map(|i| 2.0 * key.normal(i) + 0.7).collect()
}

#[test]
fn the_first_example() {
    close(distance(&A, &B), 0.5, 1e-12);
    close(distance(&B, &A), 0.384615, 1e-6);
    let rho = correlation(&A, &B);
    close(rho, 0.789352, 1e-6);
    close(distance(&unit(&A), &unit(&B)), 0.421296, 1e-6);
    close(distance(&unit(&A), &unit(&B)), 2.0 - 2.0 * rho, 1e-12);
    close(pair(snr(true, 0.0), &A, &B).unwrap().value, 0.430031, 1e-6);
    let euclidean = Some(DistanceConfig::SquaredEuclidean(SquaredEuclidean::default()));
    close(pair(euclidean, &A, &B).unwrap().value, 0.360217, 1e-6);
    let found = pair(snr(false, 0.0), &A, &B).unwrap();
    let by_b = [-0.2, 0.2, -0.4, 0.4];
    let by_a = [0.1, -0.5, 0.5, -0.1];
    found.ref_grad.unwrap().iter().zip(by_b).for_each(|(found, want)| close(*found, want, 1e-12));
    found.grad.iter().zip(by_a).for_each(|(found, want)| close(*found, want, 1e-12));
}

#[test]
fn the_second_example() {
    let x: [[f64; 4]; 4] = [A, B, [-1.0, 0.0, 1.0, 2.0], [-2.0, 1.0, 1.0, 1.5]];
    let want = [
        [0.0, 0.5, 3.6, 3.4375],
        [0.384615, 0.0, 2.538462, 2.259615],
        [3.6, 3.3, 0.0, 0.4375],
        [2.235772, 1.910569, 0.284553, 0.0],
    ];
    for (i, row) in want.iter().enumerate() {
        for (j, want) in row.iter().enumerate() {
            close(distance(&x[i], &x[j]), *want, 1e-6);
        }
    }
    let flat = x.concat();
    let batch = Batch { x: &flat, dim: 4, labels: &[0, 0, 1, 1], refs: None };
    let loss = LossConfig::SnrContrastive(SnrContrastive { pos_margin: 0.0, neg_margin: 4.0 });
    let plain = Objective { distance: snr(false, 0.0), reducer: Some(ReducerConfig::mean()), ..loss.into() };
    let found = plain.evaluate(&batch, false).unwrap();
    let channel = |name: &str| found.stats.channels.iter().find(|c| c.name.starts_with(name)).unwrap().value;
    close(channel("positive"), 0.401667, 1e-6);
    close(channel("negative"), 1.139760, 1e-6);
    let centred = RegularizerConfig::ZeroMean(ZeroMean { weight: 1.0 });
    close(centred.add(&flat, 4, &mut [0.0; 16]).unwrap(), 1.875, 1e-12);
    // The triplet of rows 0, 1 and 3.
    let loss = LossConfig::TripletMargin(TripletMargin { margin: 3.0, ..TripletMargin::default() });
    let triplet = Objective { distance: snr(false, 0.0), ..loss.into() };
    let refs = [x[1], x[3]].concat();
    let refs = Some(Refs { r: &refs, labels: &[0, 1], own: Own::None });
    let found = triplet.evaluate(&Batch { x: &x[0], dim: 4, labels: &[0], refs }, false).unwrap();
    close(found.value, 0.0625, 1e-12);
}

#[test]
fn the_third_example() {
    let x: Vec<f64> = [0.0f64, 20.0, 40.0, 60.0, 80.0]
        .iter()
        .flat_map(|t| [2.0 * t.to_radians().cos(), 0.5 * t.to_radians().sin()])
        .collect();
    let labels = [0, 0, 1, 1, 2];
    let batch = Batch { x: &x, dim: 2, labels: &labels, refs: None };
    let loss = LossConfig::SnrContrastive(SnrContrastive { pos_margin: 0.0, neg_margin: 0.1 });
    let objective =
        Objective { regularizer: Some(RegularizerConfig::ZeroMean(ZeroMean { weight: 0.1 })), ..loss.into() };
    let found = objective.evaluate(&batch, false).unwrap();
    let channel = |name: &str| found.stats.channels.iter().find(|c| c.name.starts_with(name)).unwrap();
    close(channel("positive").value, 0.090906, 1e-6);
    close(channel("negative").value, 0.053125, 1e-6);
    assert_eq!(channel("negative").active, 4);
    let centred = RegularizerConfig::ZeroMean(ZeroMean { weight: 1.0 });
    close(centred.add(&x, 2, &mut [0.0; 10]).unwrap(), 1.635318, 1e-6);
    close(found.value, 0.307562, 1e-6);
}

#[test]
fn identities_of_random_rows() {
    for seed in 0..20 {
        let (a, b) = (drawn(Key::new(seed), 9), drawn(Key::new(seed).named("b"), 9));
        let (d, back) = (distance(&a, &b), distance(&b, &a));
        let r = (variance(&b) / variance(&a)).sqrt();
        close(d, 1.0 + r * r - 2.0 * r * correlation(&a, &b), 1e-9);
        close(variance(&a) * d, variance(&b) * back, 1e-9);
        let scaled = |v: &[f64], c: f64| v.iter().map(|x| c * x).collect::<Vec<_>>();
        let shifted = |v: &[f64], c: f64| v.iter().map(|x| x + c).collect::<Vec<_>>();
        close(distance(&scaled(&a, -3.0), &scaled(&b, -3.0)), d, 1e-9);
        close(distance(&shifted(&a, 5.0), &shifted(&b, -2.0)), d, 1e-9);
        assert!((distance(&scaled(&a, 2.0), &b) - d).abs() > 1e-3);
        close(distance(&unit(&a), &unit(&b)), 2.0 - 2.0 * correlation(&a, &b), 1e-9);
        close(distance(&a, &shifted(&a, 1.5)), 0.0, 1e-12);
    }
}

/// An ordinary index of squared Euclidean distances between centred rows ranks as the distance does.
#[test]
fn ranking_is_that_of_centred_rows() {
    let dim = 6;
    let rows: Vec<Vec<f64>> = (0..300).map(|i| drawn(Key::new(7).at(i), dim)).collect();
    let centred = |v: &[f64]| v.iter().map(|x| x - mean(v)).collect::<Vec<_>>();
    for query in 0..50 {
        let query = drawn(Key::new(8).at(query), dim);
        let by_snr: Vec<f64> = rows.iter().map(|row| distance(&query, row)).collect();
        let q = centred(&query);
        let by_square: Vec<f64> = rows
            .iter()
            .map(|row| centred(row).iter().zip(&q).map(|(a, b)| (a - b).powi(2)).sum::<f64>())
            .collect();
        let order = |values: &[f64]| {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            order
        };
        assert_eq!(order(&by_snr), order(&by_square));
        let scale = dim as f64 * variance(&query);
        by_snr
            .iter()
            .zip(&by_square)
            .for_each(|(snr, square)| close(*snr, square / scale, 1e-9 * (1.0 + snr)));
    }
}

fn losses() -> [LossConfig; 5] {
    [
        LossConfig::Contrastive(Contrastive { pos_margin: 0.1, neg_margin: 2.5 }),
        LossConfig::SnrContrastive(SnrContrastive { pos_margin: 0.1, neg_margin: 2.5 }),
        LossConfig::TripletMargin(TripletMargin { margin: 0.9, ..TripletMargin::default() }),
        LossConfig::LiftedStructure(LiftedStructure { neg_margin: 2.0, pos_margin: 0.1 }),
        LossConfig::NPairs(NPairs {}),
    ]
}

#[test]
fn every_loss_of_the_family_has_the_gradient_of_its_value() {
    let (dim, labels) = (5, [0, 0, 1, 1, 2, 2, 0, 1]);
    let x: Vec<f64> = (0..8).flat_map(|i| drawn(Key::new(9).at(i), dim)).collect();
    for loss in losses() {
        for distance in [snr(false, 0.0), snr(true, 0.0), snr(false, 0.3), snr(true, 1e-3)] {
            let objective = Objective { distance: distance.clone(), ..loss.clone().into() };
            let value = |x: &[f64]| {
                objective.evaluate(&Batch { x, dim, labels: &labels, refs: None }, false).unwrap()
            };
            let found = value(&x);
            assert!(found.value > 0.0, "{objective:?}");
            for at in 0..x.len() {
                let moved = |h: f64| {
                    let mut x = x.clone();
                    x[at] += h;
                    value(&x).value
                };
                let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                let error = (found.grad[at] - numeric).abs() / numeric.abs().max(1.0);
                assert!(error < 1e-6, "{at}: {} {numeric} {objective:?}", found.grad[at]);
            }
        }
    }
}

/// Where a similarity is needed, the distance enters with its sign turned: N-pairs is cross-entropy of −d.
#[test]
fn n_pairs_takes_the_distance_as_a_negative_logit() {
    let (dim, labels) = (6, [0, 1, 2, 0, 1, 2]);
    let rows: Vec<Vec<f64>> = (0..6).map(|i| drawn(Key::new(11).at(i), dim)).collect();
    let want: f64 = (0..3)
        .map(|c| {
            let d: Vec<f64> = (0..3).map(|k| distance(&rows[c], &rows[3 + k])).collect();
            d.iter().map(|other| (d[c] - other).exp()).sum::<f64>().ln() / 3.0
        })
        .sum();
    let objective = Objective { distance: snr(false, 0.0), ..LossConfig::NPairs(NPairs {}).into() };
    let x = rows.concat();
    let found = objective.evaluate(&Batch { x: &x, dim, labels: &labels, refs: None }, false).unwrap();
    close(found.value, want, 1e-12);
}

#[test]
fn an_anchor_without_variance_and_one_dimension() {
    let constant = [0.5; 4];
    assert_eq!(pair(snr(false, 0.0), &constant, &B).unwrap_err(), Error::ConstantRow { row: 0 });
    let eps = 1e-3;
    let found = pair(snr(false, eps), &constant, &B).unwrap();
    close(found.value, variance(&B) / eps, 1e-9);
    for at in 0..4 {
        let moved = |h: f64| {
            let mut a = constant;
            a[at] += h;
            pair(snr(false, eps), &a, &B).unwrap().value
        };
        let numeric = (moved(1e-7) - moved(-1e-7)) / 2e-7;
        assert!(
            (found.grad[at] - numeric).abs() < 1e-4 * numeric.abs().max(1.0),
            "{} {numeric}",
            found.grad[at]
        );
    }
    // A dead head in 32 bits: large, and finite.
    let loss = LossConfig::SnrContrastive(SnrContrastive { pos_margin: 0.0, neg_margin: 1.0 });
    let objective = Objective { distance: snr(true, 1e-12), ..loss.into() };
    let x: Vec<f32> = [vec![1.0; 4], B.map(|b| b as f32).to_vec(), vec![0.0; 4]].concat();
    let found = objective.evaluate(&Batch { x: &x, dim: 4, labels: &[0, 0, 1], refs: None }, false).unwrap();
    assert!(found.value.is_finite() && found.grad.iter().all(|g| g.is_finite()));
    let refused = pair(snr(false, 1e-3), &[1.0], &[2.0]).unwrap_err().to_string();
    assert!(refused.contains("at least 2 dimensions"), "{refused}");
    assert!(matches!(pair(snr(false, -1.0), &A, &B), Err(Error::Parameter { .. })));
}
