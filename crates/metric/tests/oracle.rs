//! Every loss against plain loops over pairs and triplets, against central differences, and f32 against f64.

mod naive;

use parallax_kernels::Real;
use parallax_metric::dense::DynamicSoftMargin;
use parallax_metric::loss::*;
use parallax_metric::miner::{self, Strategy, TripletKind};
use parallax_metric::{
    Batch, ClassWeighted, Context, CrossBatchMemory, DistanceConfig, Divisor, Dot, Error, Hamming,
    LossConfig, Lp, Memory, MinerConfig, Objective, Own, PerAnchor, ReducerConfig, Refs, Snr,
    SquaredEuclidean, Threshold, pair_weights,
};
use parallax_random::Key;

const DIM: usize = 5;

fn random(seed: u64, values: usize) -> Vec<f64> {
    (0..values).map(|i| Key::new(seed).normal(i as u64)).collect()
}

/// The batch whose distances are nearly all equal to others, where a choice among equals must not change the value.
const TIES: &str = "ties";

/// Nine different corners of a cube in all dimensions but the last: of length 2, so that all is exact and few distances
/// differ.
fn corners() -> Vec<f64> {
    let at = |i: usize, k: usize| if (i * 3 + 1) >> k & 1 == 0 { -1.0 } else { 1.0 };
    let corner = |i: usize| (0..DIM).map(move |k| if k + 1 == DIM { 0.0 } else { at(i, k) });
    (0..9).flat_map(corner).collect()
}

/// Batches: random classes, duplicates of vectors within and across classes, one class, all singletons, equal distances.
fn batches() -> Vec<(&'static str, Vec<f64>, Vec<u32>)> {
    let b = 9;
    let classes: Vec<u32> = (0..b).map(|i| Key::new(5).below(i, 3) as u32).collect();
    let mut duplicates = random(2, b as usize * DIM);
    duplicates.copy_within(0..2 * DIM, 4 * DIM);
    vec![
        ("random", random(1, b as usize * DIM), classes),
        ("duplicates", duplicates, vec![0, 0, 1, 1, 0, 1, 2, 2, 2]),
        ("one class", random(3, b as usize * DIM), vec![1; b as usize]),
        ("singletons", random(4, b as usize * DIM), (0..b as u32).collect()),
        (TIES, corners(), vec![0, 0, 1, 1, 0, 1, 2, 2, 2]),
    ]
}

fn losses() -> Vec<LossConfig> {
    let margin =
        |learn_beta, num_classes| Margin { margin: 0.21, nu: 0.1, beta: 1.13, learn_beta, num_classes };
    let triplet = |margin, swap, smooth_loss| TripletMargin { margin, swap, smooth_loss };
    let pnp = |variant| Pnp { b: 2.0, alpha: 1.5, anneal: 0.2, variant };
    vec![
        LossConfig::Contrastive(Contrastive { pos_margin: 0.21, neg_margin: 0.83 }),
        LossConfig::TripletMargin(triplet(0.33, false, false)),
        LossConfig::TripletMargin(triplet(0.33, true, false)),
        LossConfig::TripletMargin(triplet(0.1, false, true)),
        LossConfig::TripletMargin(triplet(0.1, true, true)),
        LossConfig::Ntxent(Ntxent { temperature: 0.3 }),
        LossConfig::Supcon(Supcon { temperature: 0.4 }),
        LossConfig::MultiSimilarity(MultiSimilarity { alpha: 2.0, beta: 10.0, base: 0.4 }),
        LossConfig::Circle(Circle { m: 0.3, gamma: 8.0 }),
        LossConfig::LiftedStructure(LiftedStructure { neg_margin: 1.1, pos_margin: 0.2 }),
        LossConfig::GeneralizedLiftedStructure(GeneralizedLiftedStructure {
            neg_margin: 1.1,
            pos_margin: 0.1,
        }),
        LossConfig::Nca(Nca { softmax_scale: 1.7 }),
        LossConfig::Margin(margin(false, None)),
        LossConfig::Margin(margin(true, None)),
        LossConfig::Margin(margin(true, Some(9))),
        LossConfig::FastAp(FastAp { num_bins: 7 }),
        LossConfig::SmoothAp(SmoothAp { temperature: 0.2 }),
        LossConfig::IntraPairVariance(IntraPairVariance { pos_eps: 0.02, neg_eps: 0.03 }),
        LossConfig::TupletMargin(TupletMargin { margin: 5.73, scale: 7.0 }),
        LossConfig::SnrContrastive(SnrContrastive { pos_margin: 0.3, neg_margin: 1.9 }),
        LossConfig::RankedList(RankedList { tn: 3.0, tp: 1.5, ..RankedList::default() }),
        LossConfig::Instance(Instance { gamma: 4.0 }),
        LossConfig::ThresholdConsistentMargin(ThresholdConsistentMargin {
            lambda_plus: 0.7,
            lambda_minus: 1.3,
            margin_plus: 0.9,
            margin_minus: 0.13,
        }),
        LossConfig::BinomialDeviance(BinomialDeviance { alpha: 2.0, beta: 9.0, base: 0.3 }),
        LossConfig::Pnp(pnp(PnpVariant::Ds)),
        LossConfig::Pnp(pnp(PnpVariant::Dq)),
        LossConfig::Pnp(pnp(PnpVariant::Iu)),
        LossConfig::Pnp(pnp(PnpVariant::Ib)),
        LossConfig::Pnp(pnp(PnpVariant::O)),
        LossConfig::DynamicSoftMargin(DynamicSoftMargin { min_val: -1.7, num_bins: 9, momentum: 0.2 }),
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
        DistanceConfig::Hamming(Hamming {}),
    ]
}

fn miners() -> Vec<MinerConfig> {
    let easy_hard = |pos_strategy, neg_strategy| miner::BatchEasyHard {
        pos_strategy,
        neg_strategy,
        allowed_pos_range: Some([-0.9, 1.7]),
        allowed_neg_range: Some([-0.8, 1.8]),
    };
    let triplets =
        |type_of_triplets| MinerConfig::TripletMargin(miner::TripletMargin { margin: 0.3, type_of_triplets });
    vec![
        MinerConfig::MultiSimilarity(miner::MultiSimilarity { epsilon: 0.1 }),
        MinerConfig::BatchHard(miner::BatchHard {}),
        MinerConfig::BatchEasyHard(easy_hard(Strategy::Easy, Strategy::Semihard)),
        MinerConfig::BatchEasyHard(easy_hard(Strategy::Semihard, Strategy::Hard)),
        MinerConfig::BatchEasyHard(easy_hard(Strategy::All, Strategy::Hard)),
        triplets(TripletKind::All),
        triplets(TripletKind::Hard),
        triplets(TripletKind::Semihard),
        triplets(TripletKind::Easy),
        MinerConfig::PairMargin(miner::PairMargin { pos_margin: 0.4, neg_margin: 0.5 }),
        MinerConfig::Hdc(miner::Hdc { filter_percentage: 0.4 }),
        MinerConfig::Angular(miner::Angular { angle: 25.0 }),
    ]
}

fn reducers() -> Vec<ReducerConfig> {
    let weights: Vec<f64> = (1..10).map(|i| 0.3 * f64::from(i)).collect();
    vec![
        ReducerConfig::mean(),
        ReducerConfig::sum(),
        ReducerConfig::avg_non_zero(),
        ReducerConfig::Divisor(Divisor {}),
        ReducerConfig::PerAnchor(PerAnchor {}),
        ReducerConfig::ClassWeighted(ClassWeighted { weights }),
        ReducerConfig::Threshold(Threshold { low: Some(0.1), high: Some(0.9) }),
        ReducerConfig::Threshold(Threshold { low: Some(-1.0), high: Some(0.5) }),
    ]
}

/// Checks value against the loops, gradients against central differences, and f32 against f64.
fn check(name: &str, objective: &Objective, batch: &Batch<'_, f64>) {
    let tied = name.starts_with(TIES);
    // Where all elements of a row are at an edge together, and the distance is not exact, rounding decides on which side.
    let inexact = matches!(objective.distance(), DistanceConfig::Snr(_)) && objective.miner.is_some();
    if tied && (inexact || matches!(objective.reducer, Some(ReducerConfig::Threshold(_)))) {
        return;
    }
    let found = objective.evaluate(batch, true).expect(name);
    let value = naive::value(objective, batch, batch);
    assert!((found.value - value).abs() < 1e-9 * value.abs().max(1.0), "{name}: {} {value}", found.value);

    // Between equal distances a hinge, a bin and a choice have kinks.
    if tied {
        return;
    }

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
                (slope - grad).abs() < 3e-6 * slope.abs().max(1.0),
                "{name}: d/d{what}[{k}] is {grad}, differences say {slope}"
            );
        }
    };
    // Where a loss treats something as constant, differences are taken of the loops, with that held fast.
    let constant = matches!(objective.loss, LossConfig::Circle(_) | LossConfig::DynamicSoftMargin(_));
    let run = |moved: &Batch<'_, f64>| {
        if constant {
            naive::value(objective, moved, batch)
        } else {
            objective.evaluate(moved, false).expect("a valid batch").value
        }
    };
    compare("x", batch.x, &found.grad, &|x| run(&Batch { x, ..*batch }));
    if let (Some(refs), Some(grad)) = (batch.refs, &found.ref_grad) {
        compare("r", refs.r, grad, &|r| run(&Batch { refs: Some(Refs { r, ..refs }), ..*batch }));
    }
    if !found.scalar_grad.is_empty() {
        let first = objective.scalars();
        for (k, &grad) in found.scalar_grad.iter().enumerate() {
            let at = |offset: f64| {
                let mut scalars = first.clone();
                scalars[k] += offset;
                let context = Context { scalars: Some(&scalars), ..Context::default() };
                objective.evaluate_with(batch, &context).expect("a valid batch").value
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            assert!((slope - grad).abs() < 3e-6 * slope.abs().max(1.0), "{name}: scalar {k}: {grad} {slope}");
        }
    }

    // Which of two equally hard pairs is at the edge of a share, rounding decides.
    if matches!(objective.miner, Some(MinerConfig::Hdc(_))) {
        return;
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

/// Whether the loss can be put together with the distance, and with a separate reference set.
fn fits(objective: &Objective, separate: bool) -> bool {
    let x = [0.3, 0.1, 0.2, 0.9];
    let refs = separate.then_some(Refs { r: &x, labels: &[0, 1], own: Own::None });
    let batch = Batch { x: &x, dim: 2, labels: &[0, 1], refs };
    match objective.evaluate::<f64>(&batch, false) {
        Ok(_) => true,
        Err(Error::Distance { .. } | Error::NeedsItself { .. }) => false,
        Err(other) => panic!("{objective:?}: {other}"),
    }
}

fn objectives() -> Vec<(String, Objective)> {
    let mut all = Vec::new();
    for loss in losses() {
        for distance in distances() {
            all.push(Objective { distance: Some(distance), ..loss.clone().into() });
        }
        for miner in miners() {
            all.push(Objective { miner: Some(miner), ..loss.clone().into() });
        }
        for reducer in reducers() {
            all.push(Objective { reducer: Some(reducer), ..loss.clone().into() });
        }
    }
    all.into_iter().map(|objective| (format!("{objective:?}"), objective)).collect()
}

#[test]
fn a_batch_against_itself() {
    let mut checked = 0;
    for (name, objective) in objectives().into_iter().filter(|(_, objective)| fits(objective, false)) {
        for (kind, x, labels) in batches() {
            let batch = Batch { x: &x, dim: DIM, labels: &labels, refs: None };
            check(&format!("{kind}, {name}"), &objective, &batch);
            checked += 1;
        }
    }
    println!("{checked} batches");
}

#[test]
fn a_batch_against_references() {
    let mut checked = 0;
    for (at, (name, objective)) in objectives().into_iter().enumerate() {
        if !fits(&objective, true) {
            continue;
        }
        for (k, (kind, x, labels)) in batches().into_iter().enumerate() {
            let mut r = random(8, 11 * DIM);
            let ref_labels: Vec<u32> = (0..11).map(|j| (j % 4) as u32).collect();
            // Reference 3 is anchor 1, as in a memory that holds the batch.
            r[3 * DIM..4 * DIM].copy_from_slice(&x[DIM..2 * DIM]);
            let mut own = vec![None; labels.len()];
            own[1] = Some(3);
            let pairs = [(0, 2), (0, 5), (3, 5), (4, 0), (8, 10)];
            let owns = [Own::None, Own::Item(&own), Own::Positive, Own::Pairs(&pairs)];
            let own = owns[(at + k) % owns.len()];
            let refs = Some(Refs { r: &r, labels: &ref_labels, own });
            let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
            check(&format!("{kind}, {own:?}, {name}"), &objective, &batch);
            checked += 1;
        }
    }
    println!("{checked} batches");
}

/// Every loss that is stated as a row is in the list above, and every loss whose oracle is elsewhere is there for a reason.
#[test]
fn no_loss_is_left_out() {
    let tested: Vec<&str> = losses().iter().map(LossConfig::name).collect();
    let elsewhere = ["multiple_negatives_ranking", "hardest_negative_hinge"];
    let schema = serde_json::to_value(schemars::schema_for!(LossConfig)).expect("a schema");
    let variants = schema["oneOf"].as_array().expect("variants");
    assert!(variants.len() > 40);
    for variant in variants {
        let name = variant["properties"]["name"]["const"].as_str().expect("a name");
        let loss: LossConfig = serde_json::from_value(serde_json::json!({ "name": name })).expect(name);
        // Losses with proxies have weights of pairs too; they are held against reference values in tests/golden_proxies.rs.
        let weighed = !matches!(pair_weights(&loss, &[0.1], &[0.5], &[0.2]), Err(Error::NoRow { .. }));
        let a_row = weighed && loss.wants().proxies.is_none();
        assert!(!a_row || tested.contains(&name) || elsewhere.contains(&name), "{name} has no oracle");
    }
}

/// A memory that holds earlier batches gives every loss the value of the plain loops over all that it holds.
#[test]
fn a_memory_of_earlier_batches() {
    let config = CrossBatchMemory { memory_size: 14, warm_up: 0, batch_weight: 0.0 };
    for loss in losses() {
        for miner in [None, Some(MinerConfig::MultiSimilarity(miner::MultiSimilarity { epsilon: 0.1 }))] {
            let objective = Objective { miner, ..loss.clone().into() };
            if !fits(&objective, true) {
                continue;
            }
            for (kind, x, labels) in batches() {
                let mut memory = Memory::<f64>::new(config.clone(), DIM).expect("a memory");
                let (earlier, earlier_labels) = (random(21, 5 * DIM), [0, 1, 2, 1, 0]);
                memory.evaluate(&objective, &earlier, &earlier_labels, &Context::default()).expect(kind);
                let found = memory.evaluate(&objective, &x, &labels, &Context::default()).expect(kind);
                let r: Vec<f64> = earlier.iter().chain(&x).copied().collect();
                let ref_labels: Vec<u32> = earlier_labels.iter().chain(&labels).copied().collect();
                let own: Vec<Option<u32>> = (5..14).map(Some).collect();
                let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Item(&own) });
                let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
                let value = naive::value(&objective, &batch, &batch);
                let error = (found.value - value).abs() / value.abs().max(1.0);
                assert!(error < 1e-9, "{kind}: {} {value}: {objective:?}", found.value);
                assert_eq!(found.grad, objective.evaluate(&batch, false).expect(kind).grad);
            }
        }
    }
}

#[test]
fn distances_that_a_loss_is_not_defined_for_are_refused() {
    let with = |loss: LossConfig, distance| Objective { distance: Some(distance), ..loss.into() };
    assert!(!fits(&with(LossConfig::Circle(Circle::default()), DistanceConfig::euclidean()), false));
    assert!(!fits(&with(LossConfig::FastAp(FastAp::default()), DistanceConfig::cosine()), false));
    assert!(!fits(&with(LossConfig::RankedList(RankedList::default()), DistanceConfig::cosine()), false));
    assert!(!fits(
        &with(LossConfig::TupletMargin(TupletMargin::default()), DistanceConfig::euclidean()),
        false
    ));
    let swap = LossConfig::TripletMargin(TripletMargin { swap: true, ..TripletMargin::default() });
    assert!(!fits(&swap.clone().into(), true) && fits(&swap.into(), false));
}

#[test]
fn multiple_negatives_ranking_is_a_masked_cross_entropy() {
    let (b, hard) = (6, 3);
    let (x, r) = (random(11, b * DIM), random(12, (b + hard) * DIM));
    // Pairs 1 and 4 have the same text on both sides, and hard negative 7 repeats the text of pair 2.
    let labels = [0, 1, 2, 3, 1, 5];
    let ref_labels = [0, 1, 2, 3, 1, 5, 6, 2, 8];
    let logits = |i: usize, j: usize| {
        20.0 * naive::distance(&DistanceConfig::cosine(), &x[i * DIM..][..DIM], &r[j * DIM..][..DIM])
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

/// Scores 0.7 0.6 0.1 / 0.4 0.5 0.55 / 0.2 0.3 0.9 with margin 0.2: 0.10 + 0.25 + 0 over rows, 0 + 0.30 + 0 over columns.
#[test]
fn the_hardest_negative_hinge_adds_rows_and_columns() {
    let x = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    // Column j of the scores is reference j.
    let r = [0.7, 0.4, 0.2, 0.6, 0.5, 0.3, 0.1, 0.55, 0.9];
    let labels = [0, 1, 2];
    let refs = Some(Refs { r: &r, labels: &labels, own: Own::Positive });
    let batch = Batch { x: &x, dim: 3, labels: &labels, refs };
    let with = |symmetric: bool, reducer: Option<ReducerConfig>| {
        let loss = HardestNegativeHinge { symmetric, ..Default::default() };
        Objective { reducer, ..LossConfig::HardestNegativeHinge(loss).into() }
    };
    let found = with(true, None).evaluate(&batch, true).expect("a valid batch");
    assert!((found.value - 0.65).abs() < 1e-12, "{}", found.value);
    assert_eq!((found.stats.active, found.stats.channels[0].elements), (3, 6));
    assert!((found.stats.channels[0].value - 0.65).abs() < 1e-12);
    // Rows 0 and 1 and column 1 are violated: S01 twice, S12 once against S00, S11 and S11.
    let want = [-1.0, 0.0, 0.0, 2.0, -2.0, 0.0, 0.0, 1.0, 0.0];
    assert_eq!(found.ref_grad.expect("asked for"), want);
    let one_way = with(false, None).evaluate(&batch, true).expect("a valid batch");
    assert!((one_way.value - 0.35).abs() < 1e-12, "{}", one_way.value);
    let mean = with(true, Some(ReducerConfig::mean())).evaluate(&batch, true).expect("a valid batch");
    assert!((mean.value - 0.65 / 3.0).abs() < 1e-12, "{}", mean.value);
    check("hinge", &with(false, None), &batch);

    // One pair has no negative, and a batch without pairs is refused.
    let alone = Refs { r: &r[..3], labels: &labels[..1], own: Own::Positive };
    let batch = Batch { x: &x[..3], dim: 3, labels: &labels[..1], refs: Some(alone) };
    let found = with(true, None).evaluate(&batch, true).expect("a valid batch");
    assert_eq!((found.value, found.grad), (0.0, vec![0.0; 3]));
    let labelled = Batch { x: &x, dim: 3, labels: &labels, refs: None };
    assert!(matches!(with(true, None).evaluate(&labelled, false), Err(Error::NeedsPairs { .. })));

    // Hard negatives, repeated labels, distances, lists of pairs; the derivative is that of the value.
    let (x, r) = (random(31, 6 * DIM), random(32, 9 * DIM));
    let (labels, ref_labels) = ([0, 1, 2, 3, 1, 5], [0, 1, 2, 3, 1, 5, 6, 2, 8]);
    let pairs = [(0, 2), (0, 5), (3, 6), (4, 0)];
    for (own, distance) in [
        (Own::Positive, DistanceConfig::cosine()),
        (Own::Positive, DistanceConfig::euclidean()),
        (Own::Pairs(&pairs), DistanceConfig::cosine()),
    ] {
        let refs = Some(Refs { r: &r, labels: &ref_labels, own });
        let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
        let config = |symmetric| Objective { distance: Some(distance.clone()), ..with(symmetric, None) };
        check("hinge", &config(false), &batch);
        let grad = config(true).evaluate(&batch, true).expect("a valid batch").ref_grad.expect("asked for");
        for (k, slope) in grad.iter().enumerate() {
            let at = |offset: f64| {
                let mut moved = r.clone();
                moved[k] += offset;
                let refs = Some(Refs { r: &moved, labels: &ref_labels, own });
                config(true).evaluate(&Batch { refs, ..batch }, false).expect("a valid batch").value
            };
            let found = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((found - slope).abs() < 1e-6, "{found} {slope}");
        }
    }
}

/// Writes the small set of reference values that stands in where the large one is not there: values by the loops,
/// gradients by their central differences, choices of miners by the loops.
#[test]
#[ignore = "writes tests/small"]
fn write_the_small_set() {
    use serde_json::json;
    let (b, dim) = (8, 4);
    let rows = |v: &[f64]| v.chunks(dim).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let x = random(31, b * dim);
    let labels = [0, 0, 1, 1, 0, 1, 2, 3];
    let batch = Batch { x: &x, dim, labels: &labels, refs: None };
    let split = |mut config: serde_json::Value| {
        let name = config.as_object_mut().unwrap().remove("name").unwrap();
        (name, config)
    };
    let mut cases = Vec::new();
    for (at, loss) in losses().into_iter().enumerate() {
        let objective = Objective::from(loss.clone());
        let step = 1e-5;
        let gradient: Vec<f64> = (0..x.len())
            .map(|k| {
                let at = |offset: f64| {
                    let mut moved = x.clone();
                    moved[k] += offset;
                    naive::value(&objective, &Batch { x: &moved, ..batch }, &batch)
                };
                (at(-2.0 * step) - 8.0 * at(-step) + 8.0 * at(step) - at(2.0 * step)) / (12.0 * step)
            })
            .collect();
        let (name, params) = split(serde_json::to_value(&loss).unwrap());
        cases.push(json!({
            "case": format!("{}/small/{at}", name.as_str().unwrap()), "loss": name, "params": params,
            "embeddings": rows(&x), "labels": labels,
            "expect": { "loss": naive::value(&objective, &batch, &batch), "grad": rows(&gradient) },
        }));
    }
    let source = "plain loops over pairs, and their central differences, f64";
    let write = |name: &str, cases: Vec<serde_json::Value>| {
        let text = serde_json::to_string(&json!({ "source": source, "cases": cases })).unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/small/").to_owned() + name, text).unwrap();
    };
    write("losses.json", cases);
    let mut cases = Vec::new();
    for (at, miner) in miners().into_iter().enumerate() {
        let objective = Objective { miner: Some(miner.clone()), ..Objective::default() };
        let table = naive::table(&objective, &batch);
        let lines = || table.lines.iter().enumerate();
        let (name, params) = split(serde_json::to_value(&miner).unwrap());
        let expect = if matches!(miner, MinerConfig::TripletMargin(_) | MinerConfig::Angular(_)) {
            let all = lines().flat_map(|(i, l)| l.triplets.iter().map(move |&(p, n)| [i, p, n]));
            json!({ "triplets": all.collect::<Vec<_>>() })
        } else {
            let positives = lines().flat_map(|(i, l)| l.positives.iter().map(move |&p| [i, p]));
            let negatives = lines().flat_map(|(i, l)| l.negatives.iter().map(move |&n| [i, n]));
            json!({
                "positive_pairs": positives.collect::<Vec<_>>(), "negative_pairs": negatives.collect::<Vec<_>>(),
            })
        };
        cases.push(json!({
            "case": format!("{}/small/{at}", name.as_str().unwrap()), "miner": name, "params": params,
            "embeddings": rows(&x), "labels": labels, "expect": expect,
        }));
    }
    write("miners.json", cases);
}

/// Sides too large to be compared item by item, the positives the larger one and the smaller one.
#[test]
fn triplets_of_large_rows() {
    let b = 42;
    let x = random(17, b * DIM);
    let labels: Vec<u32> = (0..b).map(|i| u32::from(i % 3 == 0)).collect();
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs: None };
    let loss = LossConfig::TripletMargin(TripletMargin { margin: 0.33, ..TripletMargin::default() });
    let triplets = miner::TripletMargin { margin: 0.2, type_of_triplets: TripletKind::Semihard };
    for distance in [DistanceConfig::cosine(), DistanceConfig::euclidean()] {
        for reducer in reducers() {
            for miner in [None, Some(MinerConfig::TripletMargin(triplets.clone()))] {
                let reducer = Some(reducer.clone());
                let objective =
                    Objective { reducer, miner, distance: Some(distance.clone()), ..loss.clone().into() };
                check(&format!("{objective:?}"), &objective, &batch);
            }
        }
    }
}
