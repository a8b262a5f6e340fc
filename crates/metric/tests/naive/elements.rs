//! The elements of every loss.

use parallax_metric::{LossConfig, Objective};

use super::{Element, Line, Table};

fn log_sum_exp(terms: impl Iterator<Item = f64>) -> Option<f64> {
    let terms: Vec<f64> = terms.collect();
    let top = terms.iter().copied().reduce(f64::max)?;
    Some(top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln())
}

/// `log(1 + eᵘ)`.
fn log_one_plus_exp(u: f64) -> f64 {
    if u > 30.0 { u + (-u).exp() } else { u.exp().ln_1p() }
}

pub(super) fn elements(
    objective: &Objective,
    table: &Table,
    constants: &Table,
) -> (Vec<Element>, Option<f64>) {
    let mut out: Vec<Element> = Vec::new();
    let mut divisor = None;
    let turn = |margin: f64| table.sign * margin;
    let lines = || table.lines.iter().enumerate();
    let any = |negatives: bool| {
        table.lines.iter().any(|l| !if negatives { &l.negatives } else { &l.positives }.is_empty())
    };
    let sigmoid = |u: f64| 1.0 / (1.0 + (-u).exp());
    let softmax_loss = |p: f64, i: usize, line: &Line, t: f64| {
        let others = log_sum_exp(line.negatives.iter().map(|&n| table.near[i][n] / t));
        others.map_or(0.0, |others| log_one_plus_exp(others - p / t))
    };
    match &objective.loss {
        LossConfig::Contrastive(_)
        | LossConfig::SnrContrastive(_)
        | LossConfig::ThresholdConsistentMargin(_) => {
            let (pos, neg, plus, minus) = match &objective.loss {
                LossConfig::Contrastive(c) => (c.pos_margin, c.neg_margin, 1.0, 1.0),
                LossConfig::SnrContrastive(c) => (c.pos_margin, c.neg_margin, 1.0, 1.0),
                LossConfig::ThresholdConsistentMargin(c) => {
                    (c.margin_plus, c.margin_minus, c.lambda_plus, c.lambda_minus)
                }
                _ => unreachable!(),
            };
            for (i, line) in lines() {
                let near = &table.near[i];
                out.extend(line.positives.iter().map(|&p| (0, i, plus * (turn(pos) - near[p]).max(0.0))));
                out.extend(line.negatives.iter().map(|&n| (1, i, minus * (near[n] - turn(neg)).max(0.0))));
            }
        }
        LossConfig::DynamicSoftMargin(c) => {
            // In the first batch: the histogram is the batch's own, and so are the weights.
            let width = -2.0 * c.min_val / c.num_bins as f64;
            let place = |v: f64| ((v - c.min_val) / width).clamp(0.0, (c.num_bins - 1) as f64);
            let all = |table: &Table| -> Vec<(usize, f64)> {
                let margin = |i: usize, &(p, n): &(usize, usize)| table.near[i][n] - table.near[i][p];
                let rows = table.lines.iter().enumerate();
                rows.flat_map(|(i, line)| line.triplets.iter().map(move |t| (i, margin(i, t)))).collect()
            };
            let places: Vec<f64> = all(constants).iter().map(|&(_, v)| place(v)).collect();
            let share = |node: usize| -> f64 {
                places.iter().map(|at| (1.0 - (at - node as f64).abs()).max(0.0)).sum::<f64>()
            };
            for ((i, v), at) in all(table).into_iter().zip(&places) {
                let below: f64 = (0..=*at as usize).map(share).sum();
                out.push((0, i, v * below / places.len() as f64));
            }
        }
        LossConfig::TripletMargin(c) => {
            for (i, line) in lines() {
                for &(p, n) in &line.triplets {
                    let mut far = table.near[i][n];
                    if c.swap {
                        far = far.max(table.near[p][n]);
                    }
                    let v = far - table.near[i][p] + c.margin;
                    out.push((0, i, if c.smooth_loss { log_one_plus_exp(v) } else { v.max(0.0) }));
                }
            }
        }
        LossConfig::Margin(c) => {
            let mut open = 0.0;
            for (i, line) in lines() {
                for &(p, n) in &line.triplets {
                    let pull = (turn(c.beta) - table.near[i][p] + c.margin).max(0.0);
                    let push = (table.near[i][n] - turn(c.beta) + c.margin).max(0.0);
                    open += f64::from(u8::from(pull > 0.0) + u8::from(push > 0.0));
                    let regular = if c.learn_beta && c.num_classes.is_some() { c.nu * c.beta } else { 0.0 };
                    out.push((0, i, pull + push + regular));
                }
            }
            divisor = Some(open);
        }
        LossConfig::Ntxent(c) => {
            for (i, line) in lines() {
                for &p in &line.positives {
                    out.push((0, i, softmax_loss(table.near[i][p], i, line, c.temperature)));
                }
            }
        }
        LossConfig::MultipleNegativesRanking(c) => {
            for (i, line) in lines() {
                for &p in &line.positives {
                    out.push((0, i, softmax_loss(table.near[i][p] - c.margin, i, line, 1.0 / c.scale)));
                }
            }
        }
        LossConfig::HardestNegativeHinge(c) => {
            for (i, line) in lines() {
                let hardest = line.negatives.iter().map(|&n| table.near[i][n]).reduce(f64::max);
                for &p in &line.positives {
                    out.extend(hardest.map(|n| (0, i, (c.margin + n - table.near[i][p]).max(0.0))));
                }
            }
        }
        LossConfig::Supcon(c) => {
            for (i, line) in lines() {
                let t = c.temperature;
                let near = &table.near[i];
                let all: f64 =
                    line.positives.iter().chain(&line.negatives).map(|&j| (near[j] / t).exp()).sum();
                let mean = line.positives.iter().map(|&p| all.ln() - near[p] / t).sum::<f64>()
                    / (line.positives.len() as f64).max(1.0);
                out.push((0, i, if any(true) { mean } else { 0.0 }));
            }
        }
        LossConfig::MultiSimilarity(c) => {
            for (i, line) in lines() {
                let base = turn(c.base);
                let near = &table.near[i];
                let p: f64 = line.positives.iter().map(|&p| (-c.alpha * (near[p] - base)).exp()).sum();
                let n: f64 = line.negatives.iter().map(|&n| (c.beta * (near[n] - base)).exp()).sum();
                out.push((0, i, p.ln_1p() / c.alpha + n.ln_1p() / c.beta));
            }
        }
        LossConfig::BinomialDeviance(c) => {
            for (i, line) in lines() {
                let base = turn(c.base);
                let near = &table.near[i];
                let mean = |side: &[usize], f: &dyn Fn(f64) -> f64| {
                    side.iter().map(|&j| f(near[j])).sum::<f64>() / (side.len() as f64).max(1.0)
                };
                let p = mean(&line.positives, &|s| log_one_plus_exp(-c.alpha * (s - base)));
                out.push((0, i, p + mean(&line.negatives, &|s| log_one_plus_exp(c.beta * (s - base)))));
            }
        }
        LossConfig::Circle(c) => {
            for (i, line) in lines() {
                let (near, constant) = (&table.near[i], &constants.near[i]);
                let p = log_sum_exp(
                    line.positives
                        .iter()
                        .map(|&p| -c.gamma * (1.0 + c.m - constant[p]).max(0.0) * (near[p] - (1.0 - c.m))),
                );
                let n = log_sum_exp(
                    line.negatives.iter().map(|&n| c.gamma * (constant[n] + c.m).max(0.0) * (near[n] - c.m)),
                );
                out.push((0, i, p.zip(n).map_or(0.0, |(p, n)| log_one_plus_exp(p + n))));
            }
        }
        LossConfig::LiftedStructure(c) => {
            if any(true) && any(false) {
                for (i, line) in lines() {
                    for &p in &line.positives {
                        let term = |row: usize| {
                            let near = &table.near[row];
                            table.lines[row].negatives.iter().map(move |&n| near[n] - turn(c.neg_margin))
                        };
                        let mut terms: Vec<f64> = term(i).collect();
                        if table.itself {
                            terms.extend(term(p));
                        }
                        let j = log_sum_exp(terms.into_iter()).unwrap_or(0.0) + turn(c.pos_margin)
                            - table.near[i][p];
                        out.push((0, i, j.max(0.0).powi(2) / 2.0));
                    }
                }
            }
        }
        LossConfig::GeneralizedLiftedStructure(c) => {
            for (i, line) in lines() {
                let near = &table.near[i];
                let p = log_sum_exp(line.positives.iter().map(|&p| turn(c.pos_margin) - near[p]));
                let n = log_sum_exp(line.negatives.iter().map(|&n| near[n] - turn(c.neg_margin)));
                out.push((0, i, (p.unwrap_or(0.0) + n.unwrap_or(0.0)).max(0.0)));
            }
        }
        LossConfig::Nca(c) => {
            for (i, line) in lines().filter(|(_, line)| !line.positives.is_empty()) {
                let e = |j: &usize| (c.softmax_scale * table.near[i][*j]).exp();
                let p: f64 = line.positives.iter().map(e).sum();
                let n: f64 = line.negatives.iter().map(e).sum();
                out.push((0, i, -(p / (p + n)).ln()));
            }
        }
        LossConfig::FastAp(c) => {
            let width = table.largest / c.num_bins as f64;
            for (i, line) in lines().filter(|(_, line)| !line.positives.is_empty()) {
                let bin = |side: &[usize], l: usize| -> f64 {
                    side.iter()
                        .map(|&j| (1.0 - (-table.near[i][j] - l as f64 * width).abs() / width).max(0.0))
                        .sum()
                };
                let (mut running, mut total, mut sum) = (0.0, 0.0, 0.0);
                for l in 0..=c.num_bins {
                    let h = bin(&line.positives, l);
                    running += h;
                    total += h + bin(&line.negatives, l);
                    if h > 0.0 {
                        sum += h * running / total;
                    }
                }
                out.push((0, i, 1.0 - sum / line.positives.len() as f64));
            }
        }
        LossConfig::SmoothAp(c) => {
            for (i, line) in lines().filter(|(_, line)| !line.positives.is_empty()) {
                let near = &table.near[i];
                let mut class = line.positives.clone();
                class.extend(table.own[i]);
                let mut sum = 0.0;
                for &j in &class {
                    let above = |side: &[usize]| -> f64 {
                        side.iter()
                            .filter(|&&k| k != j)
                            .map(|&k| sigmoid((near[k] - near[j]) / c.temperature))
                            .sum()
                    };
                    let positive = 1.0 + above(&class);
                    sum += positive / (positive + above(&line.negatives));
                }
                out.push((0, i, 1.0 - sum / class.len() as f64));
            }
        }
        LossConfig::Pnp(c) => {
            use parallax_metric::loss::PnpVariant as V;
            for (i, line) in lines().filter(|(_, line)| !line.positives.is_empty()) {
                let near = &table.near[i];
                let mut class = line.positives.clone();
                class.extend(table.own[i]);
                let penalty = |j: usize| {
                    let r: f64 =
                        line.negatives.iter().map(|&n| sigmoid((near[n] - near[j]) / c.anneal)).sum();
                    match c.variant {
                        V::Ds => (1.0 + r).ln(),
                        V::Dq => 1.0 - (1.0 + r).powf(-c.alpha),
                        V::Iu => (1.0 + r) * (1.0 + r).ln(),
                        V::Ib => (c.b * r - (1.0 + c.b * r).ln()) / c.b.powi(2),
                        V::O => r,
                    }
                };
                out.push((0, i, class.iter().map(|&j| penalty(j)).sum::<f64>() / class.len() as f64));
            }
        }
        LossConfig::IntraPairVariance(c) => {
            let all = |side: fn(&Line) -> &Vec<usize>| -> Vec<(usize, f64)> {
                lines().flat_map(|(i, l)| side(l).iter().map(move |&j| (i, table.near[i][j]))).collect()
            };
            let mean =
                |pairs: &[(usize, f64)]| pairs.iter().map(|p| p.1).sum::<f64>() / pairs.len().max(1) as f64;
            // In terms of nearness, a distance has a negative mean: the tolerance widens away from 0 all the same.
            let (p, n) = (all(|l| &l.positives), all(|l| &l.negatives));
            let (below, above) = (mean(&p), mean(&n));
            let (lower, upper) = if table.sign > 0.0 {
                (1.0 - c.pos_eps, 1.0 + c.neg_eps)
            } else {
                (1.0 + c.pos_eps, 1.0 - c.neg_eps)
            };
            out.extend(p.iter().map(|(i, s)| (0, *i, (lower * below - s).max(0.0).powi(2))));
            out.extend(n.iter().map(|(i, s)| (1, *i, (s - upper * above).max(0.0).powi(2))));
        }
        LossConfig::TupletMargin(c) => {
            if any(true) && any(false) {
                for (i, line) in lines() {
                    for &p in &line.positives {
                        let shifted =
                            (table.near[i][p].clamp(-1.0, 1.0).acos() - c.margin.to_radians()).cos();
                        let sum: f64 = line
                            .negatives
                            .iter()
                            .map(|&n| (c.scale * (table.near[i][n] - shifted)).exp())
                            .sum();
                        out.push((0, i, (1.0 + sum).ln()));
                    }
                }
            }
        }
        LossConfig::RankedList(c) => {
            let alpha = c.alpha.unwrap_or(1.0 + c.margin / 2.0);
            for (i, line) in lines() {
                let guard = 1e-5 * table.near[i].len() as f64;
                let mean = |x: Vec<f64>, t: f64| {
                    let x: Vec<f64> = x.into_iter().filter(|x| *x > 0.0).collect();
                    let w: f64 = x.iter().map(|x| (t * x).exp()).sum();
                    x.iter().map(|x| x * (t * x).exp()).sum::<f64>() / (w + guard)
                };
                let d = |j: &usize| -table.near[i][*j];
                let far = line.positives.iter().map(d).map(|d| d - (alpha - c.margin)).collect();
                let close = line.negatives.iter().map(d).filter(|d| *d > 0.0).map(|d| alpha - d).collect();
                out.push((0, i, (1.0 - c.imbalance) * mean(far, c.tp) + c.imbalance * mean(close, c.tn)));
            }
        }
        LossConfig::Instance(c) => {
            for (i, line) in lines() {
                let e = |j: &usize| (c.gamma * table.near[i][*j]).exp();
                let p: f64 = line.positives.iter().map(e).sum();
                let n: f64 = line.negatives.iter().map(e).sum();
                if table.itself {
                    let target = table.classes.iter().position(|c| *c == table.labels[i]).unwrap();
                    let there =
                        target == i || line.positives.contains(&target) || line.negatives.contains(&target);
                    if there {
                        out.push((0, i, -(e(&target) / (p + n + e(&i))).ln()));
                    }
                } else if !line.positives.is_empty() {
                    out.push((0, i, -(p / (p + n)).ln()));
                }
            }
        }
        other => unreachable!("{other:?} is no row loss"),
    }
    (out, divisor)
}
