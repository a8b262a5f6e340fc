//! What an evaluation is given, and the objectives that are tested.

use parallax_metric::dense::{Angular, Histogram, Manifold, NPairs, Vicreg};
use parallax_metric::proxy::{self, *};
use parallax_metric::scored::{Angle, Cosent, CosineMse, ListwiseKl, MarginMse, Targets};
use parallax_metric::{
    Batch, Context, DistanceConfig, Dot, Error, Evaluated, LossConfig, Lp, Number, Objective, Own,
    ReducerConfig, Refs, SquaredEuclidean, TILE_BYTES,
};
use parallax_random::Key;

pub(crate) fn random<T: Number>(seed: u64, values: usize) -> Vec<T> {
    (0..values).map(|i| T::of(Key::new(seed).normal(i as u64))).collect()
}

pub(crate) fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// All that an evaluation is given, owned.
#[derive(Clone)]
pub(crate) struct Given<T> {
    pub(crate) name: &'static str,
    pub(crate) dim: usize,
    pub(crate) x: Vec<T>,
    pub(crate) labels: Vec<u32>,
    pub(crate) r: Option<(Vec<T>, Vec<u32>)>,
    pub(crate) proxies: Option<Vec<T>>,
    pub(crate) targets: Option<Vec<f64>>,
}

impl<T: Number> Given<T> {
    pub(crate) fn evaluate_in(
        &self,
        objective: &Objective,
        tile_bytes: usize,
    ) -> Result<Evaluated<T>, Error> {
        let paired = objective.wants().pairs;
        let own = if paired { Own::Positive } else { Own::None };
        let refs = self.r.as_ref().map(|(r, labels)| Refs { r, labels, own });
        let batch = Batch { x: &self.x, dim: self.dim, labels: &self.labels, refs };
        let context = Context {
            want_ref_grad: true,
            proxies: self.proxies.as_deref(),
            targets: self.targets.as_deref(),
            tile_bytes,
            ..Context::default()
        };
        objective.evaluate_with(&batch, &context)
    }

    pub(crate) fn evaluate(&self, objective: &Objective) -> Evaluated<T> {
        self.evaluate_in(objective, TILE_BYTES)
            .unwrap_or_else(|e| panic!("{}: {e}: {objective:?}", self.name))
    }
}

pub(crate) const DIM: usize = 5;

/// Batches: random classes, duplicates of vectors, one class, all singletons, equal targets.
pub(crate) fn batches(objective: &Objective) -> Vec<Given<f64>> {
    let b = 8;
    let mut duplicates = random::<f64>(2, b * DIM);
    duplicates.copy_within(0..2 * DIM, 4 * DIM);
    let labelled = vec![
        ("random", random(1, b * DIM), vec![0, 2, 1, 1, 0, 2, 2, 3]),
        ("duplicates", duplicates, vec![0, 0, 1, 1, 0, 1, 2, 2]),
        ("one class", random(3, b * DIM), vec![0; b]),
        ("singletons", random(4, b * DIM), (0..b as u32).collect()),
    ];
    let wants = objective.wants();
    let given = |seed: u64, (name, x, labels): (&'static str, Vec<f64>, Vec<u32>)| {
        let classes = labels.iter().max().unwrap() + 1;
        let proxies = wants
            .proxies
            .map(|per_class| proxy::initial(classes as usize, per_class, DIM, Key::new(90 + seed)));
        let each = if wants.targets == Some(Targets::Lists) { 2 } else { 0 };
        let targets = wants.targets.map(|_| {
            let value = |i: usize| if name == "one class" { 0.5 } else { Key::new(seed).uniform(i as u64) };
            (0..b * (1 + each)).map(value).collect()
        });
        let r = wants.pairs.then(|| (random(70 + seed, b * (1 + each) * DIM), vec![0; b * (1 + each)]));
        Given { name, dim: DIM, x, labels, r, proxies, targets }
    };
    labelled.into_iter().enumerate().map(|(i, batch)| given(i as u64, batch)).collect()
}

pub(crate) fn losses() -> Vec<LossConfig> {
    vec![
        LossConfig::ProxyAnchor(ProxyAnchor { margin: 0.2, alpha: 5.0 }),
        LossConfig::ProxyNca(ProxyNca { softmax_scale: 2.0, positive_in_denominator: true }),
        LossConfig::ProxyNca(ProxyNca { softmax_scale: 2.0, positive_in_denominator: false }),
        LossConfig::ProxyNcaPlusPlus(ProxyNcaPlusPlus { temperature: 0.5 }),
        LossConfig::NormalizedSoftmax(NormalizedSoftmax { temperature: 0.3 }),
        LossConfig::Arcface(Arcface { margin: 35.0, scale: 3.0 }),
        LossConfig::Arcface(Arcface { margin: 140.0, scale: 3.0 }),
        LossConfig::Cosface(Cosface { margin: 0.2, scale: 4.0 }),
        LossConfig::SubCenterArcface(SubCenterArcface { margin: 20.0, scale: 4.0, sub_centers: 3 }),
        LossConfig::SoftTriple(SoftTriple { centers_per_class: 2, la: 4.0, gamma: 0.3, margin: 0.1 }),
        LossConfig::Sphereface(Sphereface { margin: 3, scale: 0.7 }),
        LossConfig::LargeMarginSoftmax(LargeMarginSoftmax { margin: 2, scale: 0.6 }),
        LossConfig::P2sGrad(P2sGrad {}),
        LossConfig::Manifold(Manifold { lambda_c: 0.7, alpha: 0.6, margin: 0.05, intrinsic: true }),
        LossConfig::NPairs(NPairs {}),
        LossConfig::Angular(Angular { alpha: 30.0, normalize_negatives: true }),
        LossConfig::Angular(Angular { alpha: 25.0, normalize_negatives: false }),
        LossConfig::Histogram(Histogram { n_bins: 7 }),
        LossConfig::Vicreg(Vicreg { invariance_lambda: 2.0, variance_mu: 3.0, covariance_v: 1.5, eps: 1e-3 }),
        LossConfig::Cosent(Cosent { scale: 3.0 }),
        LossConfig::Angle(Angle { scale: 2.0 }),
        LossConfig::CosineMse(CosineMse {}),
        LossConfig::MarginMse(MarginMse {}),
        LossConfig::ListwiseKl(ListwiseKl { student_temperature: 0.8, teacher_temperature: 0.4 }),
    ]
}

pub(crate) fn takes_a_reducer(loss: &LossConfig) -> bool {
    let fixed = matches!(loss, LossConfig::Manifold(_) | LossConfig::Histogram(_) | LossConfig::Vicreg(_));
    loss.wants().targets.is_none() && !fixed
}

/// Losses in their own setting, and with other parts where they take them.
pub(crate) fn objectives() -> Vec<Objective> {
    let mut all: Vec<Objective> = losses().into_iter().map(Objective::from).collect();
    let mut with = |loss: LossConfig, change: &dyn Fn(&mut Objective)| {
        let mut objective = Objective::from(loss);
        change(&mut objective);
        all.push(objective);
    };
    let lp = |p, power| DistanceConfig::Lp(Lp { p, power, normalize: false });
    for distance in [lp(2.0, 1.0), lp(1.0, 1.0), lp(3.0, 2.0), DistanceConfig::Dot(Dot::default())] {
        let distance = &distance;
        with(LossConfig::ProxyAnchor(ProxyAnchor { margin: 0.2, alpha: 2.0 }), &|o| {
            o.distance = Some(distance.clone());
        });
        with(LossConfig::NormalizedSoftmax(NormalizedSoftmax { temperature: 0.6 }), &|o| {
            o.distance = Some(distance.clone());
        });
        with(LossConfig::NPairs(NPairs {}), &|o| o.distance = Some(distance.clone()));
    }
    let squared = DistanceConfig::SquaredEuclidean(SquaredEuclidean { normalize: false });
    with(LossConfig::ProxyNca(ProxyNca::default()), &|o| o.distance = Some(squared.clone()));
    for reducer in [ReducerConfig::sum(), ReducerConfig::avg_non_zero()] {
        let reducer = &reducer;
        for loss in losses().into_iter().filter(takes_a_reducer) {
            with(loss, &|o| o.reducer = Some(reducer.clone()));
        }
    }
    with(LossConfig::CosineMse(CosineMse {}), &|o| o.distance = Some(DistanceConfig::Dot(Dot::default())));
    with(LossConfig::ListwiseKl(ListwiseKl::default()), &|o| o.distance = Some(DistanceConfig::cosine()));
    all
}

/// A batch of some size for a loss, in f32.
pub(crate) fn large(objective: &Objective, b: usize, classes: usize, dim: usize) -> Given<f32> {
    let wants = objective.wants();
    let each = if wants.targets == Some(Targets::Lists) { 3 } else { 0 };
    let references = b * (1 + each);
    Given {
        name: "large",
        dim,
        x: random(1, b * dim),
        labels: (0..b).map(|i| (i % classes) as u32).collect(),
        r: wants.pairs.then(|| (random(2, references * dim), vec![0; references])),
        proxies: wants.proxies.map(|per_class| proxy::initial(classes, per_class, dim, Key::new(3))),
        targets: wants.targets.map(|_| (0..references).map(|i| Key::new(4).uniform(i as u64)).collect()),
    }
}
