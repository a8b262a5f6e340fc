//! Every loss and miner by its definition, with plain loops over pairs and triplets.

mod elements;

use elements::elements;
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
