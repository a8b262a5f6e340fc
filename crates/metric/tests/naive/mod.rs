//! Every loss and miner by its definition, with plain loops over pairs and triplets.

use parallax_metric::miner::{Strategy, TripletKind};
use parallax_metric::{Batch, DistanceConfig, LossConfig, MinerConfig, Objective, Own, ReducerConfig};

/// The distance by its definition.
pub(crate) fn distance(config: &DistanceConfig, a: &[f64], b: &[f64]) -> f64 {
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
        DistanceConfig::Hamming(_) => (false, 2.0),
    };
    let (a, b) = if normalize { (unit(a, p), unit(b, p)) } else { (a.to_vec(), b.to_vec()) };
    let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    let variance = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (v.len() - 1) as f64
    };
    let dot = || a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>();
    match config {
        DistanceConfig::Cosine(_) | DistanceConfig::Dot(_) => dot(),
        DistanceConfig::Lp(c) => {
            difference.iter().map(|d| d.abs().powf(c.p)).sum::<f64>().powf(c.power / c.p)
        }
        DistanceConfig::SquaredEuclidean(_) => difference.iter().map(|d| d * d).sum(),
        DistanceConfig::Snr(_) => variance(&difference) / variance(&a),
        DistanceConfig::Hamming(_) => (a.len() as f64 - dot()) / 2.0,
    }
}

/// One anchor: columns of its pairs, and its triplets.
#[derive(Clone, Default)]
pub(crate) struct Line {
    pub(crate) positives: Vec<usize>,
    pub(crate) negatives: Vec<usize>,
    pub(crate) triplets: Vec<(usize, usize)>,
}

/// A batch as a table: nearness of every pair, larger is nearer whatever the distance, and the relations.
pub(crate) struct Table {
    pub(crate) near: Vec<Vec<f64>>,
    pub(crate) lines: Vec<Line>,
    /// Whether columns are rows of the batch.
    pub(crate) itself: bool,
    own: Vec<Option<usize>>,
    classes: Vec<u32>,
    labels: Vec<u32>,
    sign: f64,
    largest: f64,
}

/// The table of a batch, mined.
pub(crate) fn table(objective: &Objective, batch: &Batch<'_, f64>) -> Table {
    let config = objective.distance();
    let sign = if config.larger_is_nearer() { 1.0 } else { -1.0 };
    let (r, columns, own) = batch
        .refs
        .as_ref()
        .map_or((batch.x, batch.labels, None), |refs| (refs.r, refs.labels, Some(refs.own)));
    let rows = |m: &[f64]| m.chunks(batch.dim).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let (xs, rs) = (rows(batch.x), rows(r));
    let near: Vec<Vec<f64>> =
        xs.iter().map(|a| rs.iter().map(|b| sign * distance(&config, a, b)).collect()).collect();
    let mut own_column = vec![None; xs.len()];
    let mut lines = Vec::new();
    for i in 0..xs.len() {
        let mut line = Line::default();
        for j in 0..rs.len() {
            let same = columns[j] == batch.labels[i];
            let relation = match own {
                None if i == j => {
                    own_column[i] = Some(j);
                    None
                }
                Some(Own::Item(own)) if own[i] == Some(j as u32) => {
                    own_column[i] = Some(j);
                    None
                }
                Some(Own::Positive) if i == j => Some(true),
                Some(Own::Positive) if same => None,
                Some(Own::Pairs(pairs)) if pairs.contains(&(i as u32, j as u32)) => Some(true),
                Some(Own::Pairs(_)) if same => None,
                Some(Own::Pairs(_)) => Some(false),
                _ => Some(same),
            };
            match relation {
                Some(true) => line.positives.push(j),
                Some(false) => line.negatives.push(j),
                None => {}
            }
        }
        lines.push(line);
    }
    let mut classes = columns.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let power = match &config {
        DistanceConfig::Lp(c) => c.power,
        _ => 2.0,
    };
    let mut table = Table {
        near,
        lines,
        itself: batch.refs.is_none(),
        own: own_column,
        classes,
        labels: batch.labels.to_vec(),
        sign,
        largest: 2f64.powf(power),
    };
    mine(objective, &mut table, &xs, &rs);
    table
}

fn all_triplets(line: &Line) -> Vec<(usize, usize)> {
    line.positives.iter().flat_map(|&p| line.negatives.iter().map(move |&n| (p, n))).collect()
}

fn mine(objective: &Objective, table: &mut Table, xs: &[Vec<f64>], rs: &[Vec<f64>]) {
    let sign = table.sign;
    if let Some(MinerConfig::Hdc(m)) = &objective.miner {
        // The k-th hardest by sorting all pairs; ties in row order.
        for positive in [true, false] {
            let mut pairs = Vec::new();
            for (i, line) in table.lines.iter().enumerate() {
                let side = if positive { &line.positives } else { &line.negatives };
                pairs.extend(
                    side.iter().map(|&j| (table.near[i][j] * if positive { 1.0 } else { -1.0 }, i, j)),
                );
            }
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let kept = (m.filter_percentage * pairs.len() as f64).ceil() as usize;
            let kept: Vec<(usize, usize)> = pairs[..kept].iter().map(|p| (p.1, p.2)).collect();
            for (i, line) in table.lines.iter_mut().enumerate() {
                let side = if positive { &mut line.positives } else { &mut line.negatives };
                side.retain(|&j| kept.contains(&(i, j)));
            }
        }
    }
    for (i, line) in table.lines.iter_mut().enumerate() {
        let near = &table.near[i];
        let mut listed = None;
        match &objective.miner {
            None | Some(MinerConfig::Hdc(_)) => {}
            Some(MinerConfig::MultiSimilarity(m)) => {
                let farthest = line.positives.iter().map(|&j| near[j]).fold(f64::INFINITY, f64::min);
                let nearest = line.negatives.iter().map(|&j| near[j]).fold(f64::NEG_INFINITY, f64::max);
                line.positives.retain(|&j| near[j] < nearest + m.epsilon);
                line.negatives.retain(|&j| near[j] > farthest - m.epsilon);
            }
            Some(MinerConfig::PairMargin(m)) => {
                line.positives.retain(|&j| near[j] < sign * m.pos_margin);
                line.negatives.retain(|&j| near[j] > sign * m.neg_margin);
            }
            Some(MinerConfig::BatchHard(_)) => {
                choose(line, near, Strategy::Hard, Strategy::Hard, (None, None), sign);
            }
            Some(MinerConfig::BatchEasyHard(m)) => {
                let ranges = (m.allowed_pos_range, m.allowed_neg_range);
                choose(line, near, m.pos_strategy, m.neg_strategy, ranges, sign);
            }
            Some(MinerConfig::TripletMargin(m)) => {
                let mut list = all_triplets(line);
                list.retain(|&(p, n)| {
                    let margin = near[p] - near[n];
                    match m.type_of_triplets {
                        TripletKind::All => margin <= m.margin,
                        TripletKind::Hard => margin <= m.margin && margin <= 0.0,
                        TripletKind::Semihard => margin <= m.margin && margin > 0.0,
                        TripletKind::Easy => margin > m.margin,
                    }
                });
                listed = Some(list);
            }
            Some(MinerConfig::Angular(m)) => {
                let mut list = all_triplets(line);
                list.retain(|&(p, n)| {
                    let apart = |a: &[f64], b: &[f64]| {
                        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
                    };
                    let centre: Vec<f64> = xs[i].iter().zip(&rs[p]).map(|(a, p)| 0.5 * (a + p)).collect();
                    (apart(&xs[i], &rs[p]) / (2.0 * apart(&rs[n], &centre))).atan().to_degrees() > m.angle
                });
                listed = Some(list);
            }
            Some(other) => panic!("{other:?} draws at random"),
        }
        line.triplets = listed.clone().unwrap_or_else(|| all_triplets(line));
        if let Some(list) = listed {
            line.positives.retain(|p| list.iter().any(|t| t.0 == *p));
            line.negatives.retain(|n| list.iter().any(|t| t.1 == *n));
        }
    }
}

fn choose(
    line: &mut Line,
    near: &[f64],
    pos: Strategy,
    neg: Strategy,
    ranges: (Option<[f64; 2]>, Option<[f64; 2]>),
    sign: f64,
) {
    let inside = |range: Option<[f64; 2]>, j: usize| {
        range.is_none_or(|[low, high]| sign * near[j] >= low && sign * near[j] <= high)
    };
    let nearest =
        |side: &[usize]| side.iter().copied().reduce(|best, j| if near[j] > near[best] { j } else { best });
    let farthest =
        |side: &[usize]| side.iter().copied().reduce(|best, j| if near[j] < near[best] { j } else { best });
    let p: Vec<usize> = line.positives.iter().copied().filter(|&j| inside(ranges.0, j)).collect();
    let n: Vec<usize> = line.negatives.iter().copied().filter(|&j| inside(ranges.1, j)).collect();
    let positive = |p: &[usize]| if pos == Strategy::Easy { nearest(p) } else { farthest(p) };
    let negative = |n: &[usize]| if neg == Strategy::Easy { farthest(n) } else { nearest(n) };
    let (a, b) = if pos == Strategy::Semihard {
        let b = negative(&n);
        let p: Vec<usize> = p.into_iter().filter(|&j| b.is_some_and(|b| near[j] > near[b])).collect();
        (positive(&p), b)
    } else if neg == Strategy::Semihard {
        let a = positive(&p);
        let n: Vec<usize> = n.into_iter().filter(|&j| a.is_some_and(|a| near[j] < near[a])).collect();
        (a, negative(&n))
    } else {
        (positive(&p), negative(&n))
    };
    let free = pos == Strategy::All || neg == Strategy::All;
    let both = a.is_some() && b.is_some();
    if pos != Strategy::All {
        line.positives = a.filter(|_| free || both).into_iter().collect();
    }
    if neg != Strategy::All {
        line.negatives = b.filter(|_| free || both).into_iter().collect();
    }
}

/// An element: channel, anchor and value.
type Element = (usize, usize, f64);

/// The objective by its definition. What a loss treats as constant is taken from `frozen`.
pub(crate) fn value(objective: &Objective, batch: &Batch<'_, f64>, frozen: &Batch<'_, f64>) -> f64 {
    let table = table(objective, batch);
    let constants = self::table(objective, frozen);
    let (elements, divisor) = elements(objective, &table, &constants);
    let mut total = penalty(&objective.loss);
    for channel in 0..4 {
        let of: Vec<&Element> = elements.iter().filter(|e| e.0 == channel).collect();
        total += reduce(&objective.reducer(), &of, divisor, &table);
    }
    total
}

fn penalty(loss: &LossConfig) -> f64 {
    match loss {
        LossConfig::Margin(c) if c.learn_beta && c.num_classes.is_none() => c.nu * c.beta,
        _ => 0.0,
    }
}

fn reduce(config: &ReducerConfig, elements: &[&Element], divisor: Option<f64>, table: &Table) -> f64 {
    let mean = |values: Vec<f64>| {
        if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
    };
    let values = || elements.iter().map(|e| e.2);
    match config {
        ReducerConfig::Mean(_) => mean(values().collect()),
        ReducerConfig::Sum(_) => values().sum(),
        ReducerConfig::AvgNonZero(_) => mean(values().filter(|e| *e > 1e-13).collect()),
        ReducerConfig::ClassWeighted(c) => {
            mean(elements.iter().map(|e| e.2 * c.weights[table.labels[e.1] as usize]).collect())
        }
        ReducerConfig::PerAnchor(_) => {
            let rows = table.lines.len();
            let row = |i: usize| mean(elements.iter().filter(|e| e.1 == i).map(|e| e.2).collect());
            (0..rows).map(row).sum::<f64>() / rows as f64
        }
        ReducerConfig::Threshold(t) => mean(
            values()
                .filter(|e| *e > t.low.unwrap_or(f64::NEG_INFINITY) && *e < t.high.unwrap_or(f64::INFINITY))
                .collect(),
        ),
        ReducerConfig::Divisor(_) => match divisor {
            Some(divisor) if divisor > 0.0 => values().sum::<f64>() / divisor,
            Some(_) => 0.0,
            None => mean(values().collect()),
        },
    }
}

fn log_sum_exp(terms: impl Iterator<Item = f64>) -> Option<f64> {
    let terms: Vec<f64> = terms.collect();
    let top = terms.iter().copied().reduce(f64::max)?;
    Some(top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln())
}

/// `log(1 + eᵘ)`.
fn log_one_plus_exp(u: f64) -> f64 {
    if u > 30.0 { u + (-u).exp() } else { u.exp().ln_1p() }
}

fn elements(objective: &Objective, table: &Table, constants: &Table) -> (Vec<Element>, Option<f64>) {
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
