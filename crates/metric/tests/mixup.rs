//! Metrix: limits, symmetry, numbers by hand, gradients, and what goes together with it; energy confusion beside a loss.

use parallax_metric::loss::{
    BinomialDeviance, Contrastive, GeneralizedLiftedStructure, MultiSimilarity, Nca, SnrContrastive,
    TripletMargin,
};
use parallax_metric::mixup::{
    Branch, Branches, DECOMPOSED, Form, Level, Metrix, Mixtures, MixupConfig, Pairing, Rho, Sigma, TwoBranch,
    two_branch,
};
use parallax_metric::proxy::{NormalizedSoftmax, ProxyAnchor};
use parallax_metric::regularizer::{EnergyConfusion, RegularizerConfig};
use parallax_metric::{
    Batch, Context, DistanceConfig, Error, Evaluated, Layer, LossConfig, Matryoshka, MinerConfig, Mixed,
    Objective, ReducerConfig, Refs,
};
use parallax_random::Key;

/// Unit vectors in the plane, by their angles in degrees.
fn at(degrees: &[f64]) -> Vec<f64> {
    degrees.iter().flat_map(|d| [d.to_radians().cos(), d.to_radians().sin()]).collect()
}

fn near(found: f64, want: f64) {
    assert!((found - want).abs() < 6e-7, "{found} instead of {want}");
}

/// The mixture of p at 20° and n at 70° with λ = 0.6.
fn mixture() -> Vec<f64> {
    Mixtures::new(vec![(0, 1)], vec![0.6], Pairing::All).unwrap().mix(&at(&[20.0, 70.0]), 2)
}

fn on<'a>(anchors: &'a [f64], classes: &'a [u32], examples: &'a [f64]) -> TwoBranch<'a, f64> {
    TwoBranch { anchors, classes, examples, dim: 2 }
}

/// Values on p and n as they are, and on their mixture.
fn clean_and_mixed(branches: &Branches, distance: &DistanceConfig) -> (f64, f64) {
    let (a, mean) = (at(&[0.0]), ReducerConfig::mean());
    let value = |examples: &[f64], labels: &[f64]| {
        let label = |_: usize, example: usize| Some(labels[example]);
        two_branch(branches, distance, &mean, &on(&a, &[0], examples), &label).unwrap().value
    };
    (value(&at(&[20.0, 70.0]), &[1.0, 0.0]), value(&mixture(), &[0.6]))
}

fn decomposed() -> Vec<LossConfig> {
    vec![
        LossConfig::Contrastive(Contrastive { neg_margin: 0.9, ..Contrastive::default() }),
        LossConfig::SnrContrastive(SnrContrastive::default()),
        LossConfig::BinomialDeviance(BinomialDeviance { beta: 10.0, ..BinomialDeviance::default() }),
        LossConfig::GeneralizedLiftedStructure(GeneralizedLiftedStructure::default()),
        LossConfig::Nca(Nca { softmax_scale: 3.0 }),
        LossConfig::MultiSimilarity(MultiSimilarity { beta: 10.0, ..MultiSimilarity::default() }),
        LossConfig::ProxyAnchor(ProxyAnchor { alpha: 8.0, ..ProxyAnchor::default() }),
    ]
}

fn mixed(loss: LossConfig, metrix: Metrix) -> Objective {
    Objective { mixup: Some(MixupConfig::Metrix(metrix)), ..loss.into() }
}

fn embedding() -> Metrix {
    Metrix { level: Level::Embedding, ..Metrix::default() }
}

const DIM: usize = 5;
const LABELS: [u32; 9] = [0, 1, 2, 0, 1, 2, 0, 1, 7];

fn values(seed: u64, rows: usize) -> Vec<f64> {
    (0..rows * DIM).map(|i| Key::new(seed).normal(i as u64)).collect()
}

struct Given {
    x: Vec<f64>,
    proxies: Vec<f64>,
    v: Vec<f64>,
}

impl Given {
    fn new() -> Self {
        Given { x: values(1, 9), proxies: values(2, 8), v: values(3, 9) }
    }

    fn evaluate(&self, objective: &Objective, mixed: Option<&Mixtures>) -> Result<Evaluated<f64>, Error> {
        let batch = Batch { x: &self.x, dim: DIM, labels: &LABELS, refs: None };
        let wants = objective.wants();
        let context = Context {
            proxies: wants.proxies.map(|_| &self.proxies[..]),
            mixed: mixed.map(|mixtures| Mixed { mixtures, embeddings: Some(&self.v) }),
            key: Key::new(11),
            ..Context::default()
        };
        objective.evaluate_with(&batch, &context)
    }
}

#[test]
fn the_mixture_by_hand() {
    let v = mixture();
    near(v[0], 0.700_624);
    near(v[1], 0.581_089);
    let length = v[0].hypot(v[1]);
    near(length, 0.910_241);
    near(v[0] / length, 0.769_713);
    near(v[1] / length, 0.638_391);
    let swapped = Mixtures::new(vec![(1, 0)], vec![0.4], Pairing::All).unwrap().mix(&at(&[20.0, 70.0]), 2);
    assert!(v.iter().zip(&swapped).all(|(a, b)| (a - b).abs() < 1e-15));
}

#[test]
fn contrastive_on_similarities_by_hand() {
    let branches =
        Branches::of_pairs(Rho::Linear { scale: -1.0, shift: 0.0 }, Rho::Hinge { scale: 1.0, shift: 0.5 });
    let (clean, mixed) = clean_and_mixed(&branches, &DistanceConfig::cosine());
    near(clean, -0.939_693);
    near(mixed, -0.353_943);
    near(clean + 0.4 * mixed, -1.081_270);
}

#[test]
fn contrastive_on_distances_by_hand() {
    let hinge = |scale, shift| Rho::Hinge { scale, shift };
    let branches = Branches::of_pairs(hinge(1.0, 0.0), hinge(-1.0, 0.5));
    let (clean, mixed) = clean_and_mixed(&branches, &DistanceConfig::euclidean());
    near(clean, 0.347_296);
    near(mixed, 0.407_194);
    near(clean + 0.4 * mixed, 0.510_174);
    // The anchor plays the positive.
    let v = Mixtures::new(vec![(0, 1)], vec![0.6], Pairing::All).unwrap().mix(&at(&[0.0, 70.0]), 2);
    let (a, mean) = (at(&[0.0]), ReducerConfig::mean());
    let label = |_: usize, _: usize| Some(0.6);
    let found =
        two_branch(&branches, &DistanceConfig::euclidean(), &mean, &on(&a, &[0], &v), &label).unwrap();
    near(found.value, 0.293_473);
}

#[test]
fn multi_similarity_by_hand() {
    let branch = |scale: f64| Branch {
        rho: Rho::Exponential { scale, shift: 0.5 },
        sigma: Sigma::LogOnePlus { factor: 1.0 / scale.abs() },
    };
    let branches = Branches::of_anchors(branch(-2.0), branch(50.0));
    let (clean, mixed) = clean_and_mixed(&branches, &DistanceConfig::cosine());
    near(clean, 0.173_586);
    near(mixed, 0.401_384);
    near(clean + 0.4 * mixed, 0.334_139);
    // A mixture draws below the threshold and pushes above it.
    let slope = |s: f64| {
        let v = at(&[s.acos().to_degrees()]);
        let (a, mean) = (vec![1.0, 0.0], ReducerConfig::mean());
        let label = |_: usize, _: usize| Some(0.6);
        let dot = DistanceConfig::Dot(Default::default());
        let found = two_branch(&branches, &dot, &mean, &on(&a, &[0], &v), &label).unwrap();
        found.ref_grad.unwrap()[0]
    };
    let threshold = 0.5 + (0.6f64 / 0.4).ln() / 52.0;
    near(threshold, 0.507_797);
    assert!(slope(threshold).abs() < 1e-12);
    near(slope(0.769_713), 0.740_820);
    assert!(slope(0.5) < 0.0);
}

#[test]
fn branches_on_labels_of_zero_and_one_are_the_loss() {
    let given = Given::new();
    for loss in decomposed() {
        for distance in [None, Some(DistanceConfig::cosine()), Some(DistanceConfig::Snr(Default::default()))]
        {
            let objective = Objective { distance, ..loss.clone().into() };
            let want = if objective.wants().proxies.is_some() {
                given.evaluate(&objective, None).unwrap()
            } else {
                // Anchors against a set of their own, so that none is its own example.
                let refs = Refs { r: &given.v, labels: &LABELS, own: Default::default() };
                let batch = Batch { x: &given.x, dim: DIM, labels: &LABELS, refs: Some(refs) };
                objective.evaluate(&batch, true).unwrap()
            };
            // Unmixed examples: every source with a share of 1 or of 0.
            let sources = (0..9).map(|i| if i % 2 == 0 { (i, 0) } else { (0, i) }).collect();
            let shares = (0..9).map(|i| f64::from(u8::from(i % 2 == 0))).collect();
            let mixtures = Mixtures::new(sources, shares, Pairing::All).unwrap();
            let all = mixed(loss.clone(), Metrix { level: Level::Feature, weight: 1.0, ..Metrix::default() });
            let all = Objective { distance: objective.distance.clone(), ..all };
            let base = given.evaluate(&objective, None).unwrap();
            let examples = if objective.wants().proxies.is_some() { &given.x } else { &given.v };
            let given = Given { v: examples.clone(), ..Given::new() };
            let both = given.evaluate(&all, Some(&mixtures)).unwrap();
            let name = loss.name();
            let close = |a: f64, b: f64| (a - b).abs() < 1e-10 * b.abs().max(1.0);
            assert!(close(both.value - base.value, want.value), "{name}: {} {}", both.value, want.value);
            let by_examples = want.ref_grad.as_ref().unwrap_or(&want.grad);
            let same = both.mixed_grad.iter().zip(by_examples).all(|(a, b)| close(*a, *b));
            assert!(same, "{name}: {:?} {by_examples:?}", both.mixed_grad);
        }
    }
}

#[test]
fn a_weight_of_zero_is_the_loss_to_the_last_bit() {
    let given = Given::new();
    for loss in decomposed() {
        let base = given.evaluate(&loss.clone().into(), None).unwrap();
        let off = mixed(loss, Metrix { weight: 0.0, ..Metrix::default() });
        assert_eq!(given.evaluate(&off, None).unwrap(), base);
    }
}

#[test]
fn a_share_of_one_has_no_negatives() {
    // Mixtures of a positive and a negative that are the positive.
    let given = Given::new();
    let loss = LossConfig::Contrastive(Contrastive { neg_margin: 3.0, ..Contrastive::default() });
    let sources: Vec<(u32, u32)> = vec![(0, 1), (3, 2), (6, 4)];
    let all = mixed(loss, Metrix { weight: 1.0, pairs: Pairing::PositiveNegative, ..Metrix::default() });
    let pure = Mixtures::new(sources, vec![1.0; 3], Pairing::PositiveNegative).unwrap();
    let v = pure.mix(&given.x, DIM);
    let given = Given { v, ..given };
    let found = given.evaluate(&all, Some(&pure)).unwrap();
    let (_, term) = found.terms[0];
    // By hand: of class 0 the anchors 0, 3 and 6 with the two others; of the negatives' classes the mixture is no example
    // with a weight in the positive branch, and every distance is below the margin of 3.
    let unit = |i: usize| {
        let row = &given.x[i * DIM..(i + 1) * DIM];
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter().map(|v| v / length).collect::<Vec<f64>>()
    };
    let distance =
        |i: usize, j: usize| unit(i).iter().zip(unit(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let positive = [(0, 3), (0, 6), (3, 0), (3, 6), (6, 0), (6, 3)].map(|(i, j)| distance(i, j));
    let mean = positive.iter().sum::<f64>() / 6.0;
    // Anchors of classes 1 and 2 see mixtures whose second source is of their class: label 0, so negatives.
    let negative: Vec<f64> = [(1, 6), (7, 0), (7, 6), (4, 0), (5, 3), (1, 0), (4, 6), (2, 3)]
        .into_iter()
        .filter(|&(a, s)| {
            let second = [(0, 1), (3, 2), (6, 4)].into_iter().find(|&(i, _)| i == s).unwrap().1;
            LABELS[a] == LABELS[second] && a != second
        })
        .map(|(a, s)| 3.0 - distance(a, s))
        .collect();
    let want = mean + negative.iter().sum::<f64>() / negative.len() as f64;
    near(term, want);
}

#[test]
fn mixing_the_other_way_round_is_the_same() {
    let given = Given::new();
    let sources: Vec<(u32, u32)> = (0..9).map(|i| (i, (i + 4) % 9)).collect();
    let shares: Vec<f64> = (0..9).map(|i| Key::new(6).uniform(i)).collect();
    let swapped: Vec<(u32, u32)> = sources.iter().map(|&(i, j)| (j, i)).collect();
    let other: Vec<f64> = shares.iter().map(|share| 1.0 - share).collect();
    for pairs in [Pairing::All, Pairing::PositiveNegative, Pairing::AnchorNegative] {
        let one = Mixtures::new(sources.clone(), shares.clone(), pairs).unwrap();
        let two = Mixtures::new(swapped.clone(), other.clone(), pairs).unwrap();
        for loss in decomposed() {
            let objective = mixed(loss, Metrix { pairs, ..embedding() });
            let batch = Batch { x: &given.x, dim: DIM, labels: &LABELS, refs: None };
            let value = |mixtures: &Mixtures| {
                let proxies = objective.wants().proxies.map(|_| &given.proxies[..]);
                let mixed = Some(Mixed { mixtures, embeddings: None });
                objective.evaluate_with(&batch, &Context { proxies, mixed, ..Context::default() }).unwrap()
            };
            let (one, two) = (value(&one), value(&two));
            assert!((one.value - two.value).abs() < 1e-12);
            assert!(one.grad.iter().zip(&two.grad).all(|(a, b)| (a - b).abs() < 1e-11));
        }
    }
}

/// Gradient by every input against central differences.
fn check_gradients(objective: &Objective, given: &Given, mixtures: Option<&Mixtures>) {
    let found = given.evaluate(objective, mixtures).unwrap();
    let name = format!("{objective:?}");
    let check = |which: fn(&mut Given) -> &mut Vec<f64>, gradient: &[f64]| {
        for k in 0..gradient.len() {
            let value = |h: f64| {
                let mut moved =
                    Given { x: given.x.clone(), proxies: given.proxies.clone(), v: given.v.clone() };
                which(&mut moved)[k] += h;
                moved.evaluate(objective, mixtures).unwrap().value
            };
            let h = 1e-6;
            let numeric = (value(h) - value(-h)) / (2.0 * h);
            let size = numeric.abs().max(gradient[k].abs()).max(1e-2);
            assert!((gradient[k] - numeric).abs() < 1e-5 * size, "{name} {k}: {} {numeric}", gradient[k]);
        }
    };
    check(|given| &mut given.x, &found.grad);
    check(|given| &mut given.proxies, &found.proxy_grad);
    check(|given| &mut given.v, &found.mixed_grad);
}

#[test]
fn gradients_are_the_central_differences() {
    let given = Given::new();
    let mixtures = Mixtures::draw(&Metrix::default(), 9, Key::new(8));
    for loss in decomposed() {
        for pairs in [Pairing::All, Pairing::PositiveNegative] {
            let metrix = Metrix { pairs, weight: 0.7, ..embedding() };
            check_gradients(&mixed(loss.clone(), metrix.clone()), &given, None);
            let feature = Metrix { level: Level::Feature, ..metrix };
            check_gradients(&mixed(loss.clone(), feature), &given, Some(&mixtures));
        }
        let snr = Some(DistanceConfig::Snr(Default::default()));
        check_gradients(&Objective { distance: snr, ..mixed(loss.clone(), embedding()) }, &given, None);
    }
    let anchors = Metrix { pairs: Pairing::AnchorNegative, one_lambda: true, rounds: 2, ..embedding() };
    check_gradients(&mixed(decomposed()[5].clone(), anchors), &given, None);
    // A distance that does not normalise: mixtures are brought back to length 1, or not.
    for renormalize in [true, false] {
        let dot = Some(DistanceConfig::Dot(Default::default()));
        let metrix = Metrix { renormalize, ..embedding() };
        check_gradients(&Objective { distance: dot, ..mixed(decomposed()[5].clone(), metrix) }, &given, None);
    }
}

#[test]
fn other_losses_go_by_their_labelings() {
    let given = Given::new();
    let metrix = Metrix { form: Form::Labelings, ..embedding() };
    for loss in [
        LossConfig::TripletMargin(TripletMargin { margin: 0.4, ..TripletMargin::default() }),
        LossConfig::NormalizedSoftmax(NormalizedSoftmax::default()),
    ] {
        let refused = mixed(loss.clone(), embedding()).check().unwrap_err();
        assert!(refused.to_string().contains("multi_similarity"), "{refused}");
        check_gradients(&mixed(loss.clone(), metrix.clone()), &given, None);
        let mined = mixed(loss, metrix.clone());
        mined.check().unwrap();
    }
    // Of a sum over pairs the labelings are the branches.
    let sum = |form| {
        let loss = LossConfig::Contrastive(Contrastive { neg_margin: 1.2, ..Contrastive::default() });
        let metrix = Metrix { form, one_lambda: true, ..embedding() };
        let objective = Objective { reducer: Some(ReducerConfig::sum()), ..mixed(loss, metrix) };
        given.evaluate(&objective, None).unwrap()
    };
    let (branches, labelings) = (sum(Form::Branches), sum(Form::Labelings));
    assert!((branches.value - labelings.value).abs() < 1e-11);
    assert!(branches.grad.iter().zip(&labelings.grad).all(|(a, b)| (a - b).abs() < 1e-11));
    let dense: Objective = serde_json::from_str(
        r#"{"loss": {"name": "angular"}, "mixup": {"name": "metrix", "level": "embedding", "form": "labelings"}}"#,
    )
    .unwrap();
    assert!(matches!(dense.check(), Err(Error::NotMixable { .. })));
    let pairs: Objective = serde_json::from_str(
        r#"{"loss": {"name": "multiple_negatives_ranking"}, "mixup": {"name": "metrix", "form": "labelings"}}"#,
    )
    .unwrap();
    assert!(matches!(pairs.check(), Err(Error::NotMixable { .. })));
}

#[test]
fn the_list_of_losses_that_decompose_is_true() {
    let mut names: Vec<&str> = decomposed().iter().map(LossConfig::name).collect();
    names.sort_unstable();
    assert_eq!(names, DECOMPOSED);
    for loss in decomposed() {
        mixed(loss, Metrix::default()).check().unwrap();
    }
}

#[test]
fn miners_prefixes_and_threads_go_with_it() {
    let given = Given::new();
    let metrix = Metrix { weight: 0.8, ..embedding() };
    let mined = Objective {
        miner: Some(MinerConfig::MultiSimilarity(Default::default())),
        ..mixed(decomposed()[5].clone(), metrix.clone())
    };
    check_gradients(&mined, &given, None);
    let prefixes = Some(Matryoshka { dims: vec![5, 3], weights: vec![1.0, 0.5] });
    let nested = Objective { matryoshka: prefixes, ..mixed(decomposed()[5].clone(), metrix.clone()) };
    check_gradients(&nested, &given, None);
    let mixtures = Mixtures::draw(&metrix, 9, Key::new(8));
    let level = Some(MixupConfig::Metrix(Metrix { level: Level::Input, ..metrix }));
    check_gradients(&Objective { mixup: level.clone(), ..nested.clone() }, &given, Some(&mixtures));
    let without = Objective { mixup: level, ..nested.clone() };
    assert_eq!(given.evaluate(&without, None).unwrap_err(), Error::NeedsMixtures);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            decomposed()
                .into_iter()
                .map(|loss| given.evaluate(&mixed(loss, embedding()), None))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(run(1), run(2));
    // The same key draws the same mixtures, another one others.
    let objective = mixed(decomposed()[0].clone(), embedding());
    let batch = Batch { x: &given.x, dim: DIM, labels: &LABELS, refs: None };
    let by = |seed| {
        objective.evaluate_with(&batch, &Context { key: Key::new(seed), ..Context::default() }).unwrap().value
    };
    assert!(by(1) == by(1) && by(1) != by(2));
}

#[test]
fn energy_confusion_stands_beside_a_loss() {
    let z = [1.0, 0.0, 0.5, 0.5, -1.0, 1.0, 0.0, 2.0];
    let labels = [0, 0, 1, 1];
    let batch = Batch { x: &z, dim: 2, labels: &labels, refs: None };
    let loss = LossConfig::BinomialDeviance(BinomialDeviance::default());
    let base = Objective::from(loss.clone()).evaluate(&batch, false).unwrap();
    near(base.value, 3.096_178);
    let confused = |weight| Objective {
        regularizer: Some(RegularizerConfig::EnergyConfusion(EnergyConfusion {
            weight,
            ..EnergyConfusion::default()
        })),
        ..loss.clone().into()
    };
    let context = Context { layer: Some(Layer { z: &z, dim: 2, labels: &labels }), ..Context::default() };
    let both = confused(0.13).evaluate_with(&batch, &context).unwrap();
    near(both.value, 3.177_897);
    // It leaves the gradient by the embeddings to the loss, and has one of its own by the layer.
    assert_eq!(both.grad, base.grad);
    near(both.layer_grad[0], 0.13 * 0.4);
    let named: Vec<&str> = both.terms.iter().map(|term| term.0).collect();
    assert_eq!(named, ["energy_confusion", "energy", "metric_layer_norm"]);
    near(both.terms[1].1, 1.875);
    let none = confused(0.0).evaluate_with(&batch, &context).unwrap();
    assert_eq!((none.value, &none.grad), (base.value, &base.grad));
    assert!(none.layer_grad.iter().all(|&g| g == 0.0));
    assert!(matches!(confused(0.1).evaluate(&batch, false), Err(Error::NeedsLayer { .. })));
    let proxies: Objective = serde_json::from_str(
        r#"{"loss": {"name": "proxy_anchor"}, "proxy_regularizer": {"name": "energy_confusion"}}"#,
    )
    .unwrap();
    assert!(proxies.check().is_err());
    let sampled: RegularizerConfig = serde_json::from_str(
        r#"{"name": "energy_confusion", "pairs": {"sampled": 10}, "trains": "everything"}"#,
    )
    .unwrap();
    sampled.check(4).unwrap();
}
