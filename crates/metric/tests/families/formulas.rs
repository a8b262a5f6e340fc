//! Values by their formulas, one pair after another.

use parallax_metric::scored::{Angle, Cosent};
use parallax_metric::{DistanceConfig, Dot, LossConfig, Objective, ReducerConfig};

use crate::given::{DIM, Given};

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

pub(crate) fn value(objective: &Objective, given: &Given<f64>) -> f64 {
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
    let softmax = |logit: &dyn Fn(usize, usize) -> f64, own: &dyn Fn(usize, usize) -> f64, classes: usize| {
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
            let best =
                |i: usize, c: usize| (c * k..(c + 1) * k).map(|j| s(i, j)).fold(f64::NEG_INFINITY, f64::max);
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
