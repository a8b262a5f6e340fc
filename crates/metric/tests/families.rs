//! Losses with proxies, dense losses and losses on scored pairs: against their formulas, central differences, one another,
//! threads, memory and hostile input.

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use parallax_kernels::Real;
use parallax_metric::dense::{Angular, Histogram, Manifold, NPairs, Vicreg};
use parallax_metric::proxy::{self, *};
use parallax_metric::regularizer::{LpNorm, RegularFace, RegularizerConfig, SparseCenters};
use parallax_metric::scored::{Angle, Cosent, CosineMse, ListwiseKl, MarginMse, Targets};
use parallax_metric::{
    Batch, ClassWeighted, Context, DistanceConfig, Dot, Error, Evaluated, LossConfig, Lp, Matryoshka,
    MinerConfig, Objective, Own, PerAnchor, ReducerConfig, Refs, Shape, SquaredEuclidean, TILE_BYTES,
    Threshold, miner,
};
use parallax_random::Key;

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

fn random<T: Real>(seed: u64, values: usize) -> Vec<T> {
    (0..values).map(|i| T::of(Key::new(seed).normal(i as u64))).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// All that an evaluation is given, owned.
#[derive(Clone)]
struct Given<T> {
    name: &'static str,
    dim: usize,
    x: Vec<T>,
    labels: Vec<u32>,
    r: Option<(Vec<T>, Vec<u32>)>,
    proxies: Option<Vec<T>>,
    targets: Option<Vec<f64>>,
}

impl<T: Real> Given<T> {
    fn evaluate_in(&self, objective: &Objective, tile_bytes: usize) -> Result<Evaluated<T>, Error> {
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

    fn evaluate(&self, objective: &Objective) -> Evaluated<T> {
        self.evaluate_in(objective, TILE_BYTES)
            .unwrap_or_else(|e| panic!("{}: {e}: {objective:?}", self.name))
    }
}

const DIM: usize = 5;

/// Batches: random classes, duplicates of vectors, one class, all singletons, equal targets.
fn batches(objective: &Objective) -> Vec<Given<f64>> {
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

fn losses() -> Vec<LossConfig> {
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

fn takes_a_reducer(loss: &LossConfig) -> bool {
    let fixed = matches!(loss, LossConfig::Manifold(_) | LossConfig::Histogram(_) | LossConfig::Vicreg(_));
    loss.wants().targets.is_none() && !fixed
}

/// Losses in their own setting, and with other parts where they take them.
fn objectives() -> Vec<Objective> {
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

mod formulas {
    //! Values by their formulas, one pair after another.

    use super::*;

    type Rows<'a> = Vec<&'a [f64]>;

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn norm(a: &[f64]) -> f64 {
        dot(a, a).sqrt()
    }

    fn unit(a: &[f64]) -> Vec<f64> {
        a.iter().map(|v| v / norm(a)).collect()
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        dot(a, b) / norm(a) / norm(b)
    }

    /// Nearness by a distance: larger is nearer.
    fn near(distance: &DistanceConfig, a: &[f64], b: &[f64]) -> f64 {
        let (ua, ub) = (unit(a), unit(b));
        let p_norm = |a: &[f64], b: &[f64], p: f64, power: f64| {
            a.iter().zip(b).map(|(a, b)| (a - b).abs().powf(p)).sum::<f64>().powf(power / p)
        };
        match distance {
            DistanceConfig::Cosine(_) | DistanceConfig::Dot(Dot { normalize: true }) => cosine(a, b),
            DistanceConfig::Dot(_) => dot(a, b),
            DistanceConfig::SquaredEuclidean(c) if c.normalize => -p_norm(&ua, &ub, 2.0, 2.0),
            DistanceConfig::SquaredEuclidean(_) => -p_norm(a, b, 2.0, 2.0),
            DistanceConfig::Lp(c) => -p_norm(a, b, c.p, c.power),
            other => unreachable!("{other:?} is tested elsewhere"),
        }
    }

    fn reduce(reducer: &ReducerConfig, elements: &[f64]) -> f64 {
        let sum: f64 = elements.iter().sum();
        match reducer {
            ReducerConfig::Sum(_) => sum,
            ReducerConfig::AvgNonZero(_) => {
                let kept: Vec<f64> = elements.iter().copied().filter(|e| *e > 0.0).collect();
                kept.iter().sum::<f64>() / (kept.len() as f64).max(1.0)
            }
            _ => sum / (elements.len() as f64).max(1.0),
        }
    }

    /// `−log softmax` of the logit at `own`.
    fn cross_entropy(logits: &[f64], own: usize) -> f64 {
        logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[own]
    }

    fn margin_angle(c: f64, degrees: f64) -> f64 {
        let (theta, m) = (c.acos(), degrees.to_radians());
        if theta <= std::f64::consts::PI - m { (theta + m).cos() } else { c - m * m.sin() }
    }

    fn psi(m: usize, c: f64) -> f64 {
        let theta = c.acos();
        let k = (theta * m as f64 / std::f64::consts::PI).floor();
        (if k % 2.0 == 0.0 { 1.0 } else { -1.0 }) * (m as f64 * theta).cos() - 2.0 * k
    }

    pub(super) fn value(objective: &Objective, given: &Given<f64>) -> f64 {
        let rows = |values: &'static [f64]| -> Rows<'static> { values.chunks(DIM).collect() };
        // Leaked for the length of the test: it keeps the formulas below free of lifetimes.
        let leak = |values: &Vec<f64>| rows(Box::leak(values.clone().into_boxed_slice()));
        let x = leak(&given.x);
        let y: Vec<usize> = given.labels.iter().map(|&label| label as usize).collect();
        let w = given.proxies.as_ref().map(leak).unwrap_or_default();
        let r = given.r.as_ref().map(|(r, _)| leak(r)).unwrap_or_default();
        let t = given.targets.clone().unwrap_or_default();
        let (distance, reducer) = (objective.distance(), objective.reducer());
        let n = x.len();
        let s = |i: usize, j: usize| near(&distance, x[i], w[j]);
        let anchors = |element: &dyn Fn(usize) -> f64| -> f64 {
            reduce(&reducer, &(0..n).map(element).collect::<Vec<_>>())
        };
        // Cross-entropy over classes with the logit of the own class replaced.
        let softmax =
            |logit: &dyn Fn(usize, usize) -> f64, own: &dyn Fn(usize, usize) -> f64, classes: usize| {
                anchors(&|i| {
                    let logits: Vec<f64> =
                        (0..classes).map(|c| if c == y[i] { own(i, c) } else { logit(i, c) }).collect();
                    cross_entropy(&logits, y[i])
                })
            };
        match &objective.loss {
            LossConfig::ProxyAnchor(l) => {
                let side = |j: usize, sign: f64, of: bool| -> f64 {
                    let members = (0..n).filter(|&i| (y[i] == j) == of);
                    // A margin on a distance stands on the other side of it.
                    let margin = if distance.larger_is_nearer() { l.margin } else { -l.margin };
                    let exponent = |i: usize| l.alpha * (sign * s(i, j) + margin);
                    members.map(|i| exponent(i).exp()).sum::<f64>().ln_1p()
                };
                let present = (0..w.len()).filter(|j| y.contains(j));
                let positive: Vec<f64> = present.map(|j| side(j, -1.0, true)).collect();
                let negative: Vec<f64> = (0..w.len()).map(|j| side(j, 1.0, false)).collect();
                reduce(&reducer, &positive) + reduce(&reducer, &negative)
            }
            LossConfig::ProxyNca(l) if l.positive_in_denominator => {
                let z = |i: usize, j: usize| l.softmax_scale * s(i, j);
                softmax(&z, &z, w.len())
            }
            LossConfig::ProxyNca(l) => {
                if w.len() < 2 {
                    return 0.0;
                }
                anchors(&|i| {
                    let others = (0..w.len()).filter(|&j| j != y[i]);
                    let sum: f64 = others.map(|j| (l.softmax_scale * s(i, j)).exp()).sum();
                    sum.ln() - l.softmax_scale * s(i, y[i])
                })
            }
            LossConfig::ProxyNcaPlusPlus(l) => {
                let z = |i: usize, j: usize| s(i, j) / l.temperature;
                softmax(&z, &z, w.len())
            }
            LossConfig::NormalizedSoftmax(l) => {
                let z = |i: usize, j: usize| s(i, j) / l.temperature;
                softmax(&z, &z, w.len())
            }
            LossConfig::Arcface(l) => {
                let own = |i: usize, j: usize| l.scale * margin_angle(s(i, j), l.margin);
                softmax(&|i, j| l.scale * s(i, j), &own, w.len())
            }
            LossConfig::Cosface(l) => {
                let own = |i: usize, j: usize| l.scale * (s(i, j) - l.margin);
                softmax(&|i, j| l.scale * s(i, j), &own, w.len())
            }
            LossConfig::SubCenterArcface(l) => {
                let k = l.sub_centers;
                let best = |i: usize, c: usize| {
                    (c * k..(c + 1) * k).map(|j| s(i, j)).fold(f64::NEG_INFINITY, f64::max)
                };
                let own = |i: usize, c: usize| l.scale * margin_angle(best(i, c), l.margin);
                softmax(&|i, c| l.scale * best(i, c), &own, w.len() / k)
            }
            LossConfig::SoftTriple(l) => {
                let k = l.centers_per_class;
                let relaxed = |i: usize, c: usize| {
                    let weight = |j: usize| (s(i, j) / l.gamma).exp();
                    let centers = c * k..(c + 1) * k;
                    let total: f64 = centers.clone().map(weight).sum();
                    centers.map(|j| weight(j) * s(i, j)).sum::<f64>() / total
                };
                let own = |i: usize, c: usize| l.la * (relaxed(i, c) - l.margin);
                softmax(&|i, c| l.la * relaxed(i, c), &own, w.len() / k)
            }
            LossConfig::Sphereface(l) => {
                let own = |i: usize, j: usize| l.scale * norm(x[i]) * psi(l.margin, cosine(x[i], w[j]));
                softmax(&|i, j| l.scale * norm(x[i]) * cosine(x[i], w[j]), &own, w.len())
            }
            LossConfig::LargeMarginSoftmax(l) => {
                let length = |i: usize, j: usize| norm(x[i]) * norm(w[j]);
                let own = |i: usize, j: usize| l.scale * length(i, j) * psi(l.margin, cosine(x[i], w[j]));
                softmax(&|i, j| l.scale * dot(x[i], w[j]), &own, w.len())
            }
            LossConfig::P2sGrad(_) => {
                let mut elements = Vec::new();
                for i in 0..n {
                    elements.extend((0..w.len()).map(|j| (s(i, j) - f64::from(u8::from(j == y[i]))).powi(2)));
                }
                reduce(&reducer, &elements)
            }
            LossConfig::Manifold(l) => {
                let points: Rows<'_> = x.iter().chain(&w).copied().collect();
                let m = points.len();
                let affinity = |i: usize, j: usize| {
                    if i == j { 0.0 } else { (cosine(points[i], points[j]).max(0.0) / 0.5).exp() }
                };
                let degree: Vec<f64> = (0..m).map(|i| (0..m).map(|j| affinity(i, j)).sum()).collect();
                // (1 − α) Σ (αS̄)^k, by its series.
                let scaled = |i: usize, j: usize| l.alpha * affinity(i, j) / (degree[i] * degree[j]).sqrt();
                let mut power: Vec<Vec<f64>> =
                    (0..m).map(|i| (0..m).map(|j| f64::from(u8::from(i == j))).collect()).collect();
                let mut walk = power.clone();
                for _ in 0..120 {
                    power = (0..m)
                        .map(|i| (0..m).map(|j| (0..m).map(|k| power[i][k] * scaled(k, j)).sum()).collect())
                        .collect();
                    for i in 0..m {
                        for j in 0..m {
                            walk[i][j] += power[i][j];
                        }
                    }
                }
                let ranked = |v: &dyn Fn(usize) -> f64, own: usize| {
                    let t = (0..w.len()).filter(|&k| k != own).map(|k| v(k) - v(own) + l.margin);
                    t.filter(|t| *t >= 0.0).map(f64::exp).sum::<f64>().ln_1p()
                };
                let mean = |element: &dyn Fn(usize) -> f64| (0..n).map(element).sum::<f64>() / n as f64;
                mean(&|i| ranked(&|k| (1.0 - l.alpha) * walk[i][n + k], y[i]))
                    + l.lambda_c * mean(&|i| ranked(&|k| cosine(&walk[i], &walk[n + k]), y[i]))
            }
            LossConfig::NPairs(_) => {
                let pair = |c: usize| {
                    let mut members = (0..n).filter(|&i| y[i] == c);
                    members.next().zip(members.next())
                };
                let pairs: Vec<(usize, usize)> = (0..n).filter_map(pair).collect();
                let element = |&(a, _): &(usize, usize)| {
                    let logits: Vec<f64> = pairs.iter().map(|&(_, p)| near(&distance, x[a], x[p])).collect();
                    cross_entropy(&logits, pairs.iter().position(|pair| pair.0 == a).unwrap())
                };
                reduce(&reducer, &pairs.iter().map(element).collect::<Vec<_>>())
            }
            LossConfig::Angular(l) => {
                let q = l.alpha.to_radians().tan().powi(2);
                let c = |i: usize, j: usize| cosine(x[i], x[j]);
                let mut elements = Vec::new();
                for a in 0..n {
                    for p in (0..n).filter(|&p| p != a && y[p] == y[a]) {
                        let negatives = (0..n).filter(|&k| y[k] != y[a]);
                        let length = |k: usize| if l.normalize_negatives { 1.0 } else { norm(x[k]) };
                        let term =
                            |k: usize| 4.0 * q * length(k) * (c(a, k) + c(p, k)) - 2.0 * (1.0 + q) * c(a, p);
                        elements.push(negatives.map(|k| term(k).exp()).sum::<f64>().ln_1p());
                    }
                }
                reduce(&reducer, &elements)
            }
            LossConfig::Histogram(l) => {
                let (mut positive, mut negative) = (Vec::new(), Vec::new());
                let size = |i: usize| y.iter().filter(|&&label| label == y[i]).count();
                for i in 0..n {
                    for j in 0..i {
                        let c = cosine(x[i], x[j]);
                        if y[i] == y[j] {
                            if size(i) < n {
                                positive.push(c);
                            }
                        } else if size(i) > 1 || size(j) > 1 {
                            negative.push(c);
                        }
                    }
                }
                if positive.is_empty() || negative.is_empty() {
                    return 0.0;
                }
                let width = 2.0 / l.n_bins as f64;
                let density = |values: &[f64], node: usize| {
                    let place = -1.0 + node as f64 * width;
                    let share = |c: &f64| (1.0 - (c - place).abs() / width).max(0.0);
                    values.iter().map(share).sum::<f64>() / values.len() as f64
                };
                let below = |r: usize| (0..=r).map(|q| density(&positive, q)).sum::<f64>();
                (0..=l.n_bins).map(|r| density(&negative, r) * below(r)).sum()
            }
            LossConfig::Vicreg(l) => {
                let squares = (0..n).flat_map(|i| (0..DIM).map(move |d| (i, d)));
                let squares = squares.map(|(i, d)| (x[i][d] - r[i][d]).powi(2)).sum::<f64>();
                let mut value = l.invariance_lambda * squares / (n * DIM) as f64;
                for view in [&x, &r] {
                    let mean = |d: usize| view.iter().map(|row| row[d]).sum::<f64>() / n as f64;
                    let covariance = |d: usize, e: usize| {
                        let (md, me) = (mean(d), mean(e));
                        let sum: f64 = view.iter().map(|row| (row[d] - md) * (row[e] - me)).sum();
                        sum / (n - 1) as f64
                    };
                    for d in 0..DIM {
                        let deviation = (covariance(d, d) + l.eps).sqrt();
                        value += 0.5 * l.variance_mu * (1.0 - deviation).max(0.0) / DIM as f64;
                        for e in (0..DIM).filter(|&e| e != d) {
                            value += l.covariance_v * covariance(d, e).powi(2) / DIM as f64;
                        }
                    }
                }
                value
            }
            LossConfig::Cosent(Cosent { scale }) | LossConfig::Angle(Angle { scale }) => {
                let angle = matches!(objective.loss, LossConfig::Angle(_));
                let similarity = |i: usize| {
                    let (mut a, mut b) = (unit(x[i]), unit(r[i]));
                    if !angle {
                        return dot(&a, &b);
                    }
                    // Complex numbers of the two halves: the real part of a·b̄ plus its imaginary part.
                    a.push(0.0);
                    b.push(0.0);
                    let half = a.len() / 2;
                    let parts = |k: usize| {
                        let (re, im) = ((a[k], b[k]), (a[k + half], b[k + half]));
                        re.0 * re.1 + im.0 * im.1 + im.0 * re.1 - re.0 * im.1
                    };
                    (0..half).map(parts).sum::<f64>().abs()
                };
                let mut sum = 0.0;
                for i in 0..n {
                    for j in (0..n).filter(|&j| t[i] > t[j]) {
                        sum += (scale * (similarity(j) - similarity(i))).exp();
                    }
                }
                sum.ln_1p()
            }
            LossConfig::CosineMse(_) => {
                (0..n).map(|i| (near(&distance, x[i], r[i]) - t[i]).powi(2)).sum::<f64>() / n as f64
            }
            LossConfig::MarginMse(_) => {
                let s = |i: usize, k: usize| dot(x[i], r[if k == 0 { i } else { n + 2 * i + k - 1 }]);
                let error = |i: usize, k: usize| (s(i, 0) - s(i, k)) - (t[3 * i] - t[3 * i + k]);
                let sum = (0..n).map(|i| error(i, 1).powi(2) + error(i, 2).powi(2)).sum::<f64>();
                sum / (2 * n) as f64
            }
            LossConfig::ListwiseKl(l) => {
                let softmax = |z: [f64; 3]| {
                    let sum: f64 = z.iter().map(|z| z.exp()).sum();
                    z.map(|z| z.exp() / sum)
                };
                let tau = l.student_temperature;
                let divergence = |i: usize| {
                    let s = |k: usize| near(&distance, x[i], r[if k == 0 { i } else { n + 2 * i + k - 1 }]);
                    let student = softmax([0, 1, 2].map(|k| s(k) / tau));
                    let teacher = softmax([0, 1, 2].map(|k| t[3 * i + k] / l.teacher_temperature));
                    (0..3).map(|k| teacher[k] * (teacher[k] / student[k]).ln()).sum::<f64>()
                };
                tau * tau * (0..n).map(divergence).sum::<f64>() / n as f64
            }
            other => unreachable!("{other:?} is tested elsewhere"),
        }
    }
}

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

/// A batch of some size for a loss, in f32.
fn large(objective: &Objective, b: usize, classes: usize, dim: usize) -> Given<f32> {
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
