//! Scans against brute force in 64 bits, on every instruction set and in every form.

use super::*;
use crate::exact;
use crate::isa;

struct Best<'a> {
    lists: Vec<Candidates>,
    base: usize,
    exact: &'a dyn Fn(usize, usize) -> f64,
    hits: usize,
    widest: f64,
}

impl Sink for Best<'_> {
    fn floor(&mut self, query: usize) -> f64 {
        self.lists[query].floor()
    }

    fn hit(&mut self, hit: Hit) {
        let row = self.base + hit.row;
        let score = (self.exact)(hit.query, row);
        let error = (hit.score - score).abs();
        assert!(error <= hit.error, "{hit:?}: exactly {score}");
        if hit.error.is_finite() && hit.error > 0.0 {
            self.widest = self.widest.max(error / hit.error);
        }
        self.hits += 1;
        let exact = each(|row| (self.exact)(hit.query, row));
        self.lists[hit.query].offer(hit.score, hit.error, row, exact);
    }
}

fn each(score: impl Fn(usize) -> f64) -> impl Fn(&[usize], &mut Vec<f64>) {
    move |rows, out| out.extend(rows.iter().map(|&row| score(row)))
}

/// Numbers from a small generator, spread over −1 to 1.
fn draw(count: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn score(metric: Metric, x: &[f32], y: &[f32]) -> f64 {
    match metric {
        Metric::Dot => exact::dot(x, y),
        Metric::Euclidean => -exact::squared_distance(x, y),
    }
}

struct Case {
    name: &'static str,
    dim: usize,
    queries: Vec<f32>,
    rows: Vec<f32>,
}

/// What breaks a scan that trusts its tiles: ties, duplicates, zeros, rows of very different sizes, a far common mean,
/// numbers that overflow or vanish in 32 bits or in bf16.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dim, count, queries) in [(1, 5, 3), (24, 700, 33), (129, 333, 70), (384, 100, 1)] {
        let (q, r) = (draw(queries * dim, 1), draw(count * dim, 2));
        cases.push(Case { name: "plain", dim, queries: q.clone(), rows: r.clone() });
        let far = |v: &[f32], by: f32| v.iter().map(|x| x + by).collect::<Vec<f32>>();
        cases.push(Case { name: "far", dim, queries: far(&q, 40.0), rows: far(&r, 40.0) });
        let mut twice = r.clone();
        for at in (0..count).step_by(3) {
            twice.copy_within(0..dim, at * dim);
        }
        twice[dim * (count / 2)..][..dim].fill(0.0);
        cases.push(Case { name: "copies and zeros", dim, queries: q.clone(), rows: twice });
        let whole = |v: &[f32]| v.iter().map(|x| (x * 2.0).round()).collect::<Vec<f32>>();
        cases.push(Case { name: "whole numbers", dim, queries: whole(&q), rows: whole(&r) });
        for (name, size) in
            [("huge", 1e30f32), ("tiny", 1e-30), ("below normal", 1e-41), ("near the end", 3e38)]
        {
            let by = |v: &[f32]| v.iter().map(|x| x * size).collect::<Vec<f32>>();
            cases.push(Case { name, dim, queries: by(&q), rows: by(&r) });
        }
        let mut uneven = r;
        uneven.chunks_mut(dim).enumerate().for_each(|(row, v)| {
            v.iter_mut().for_each(|x| *x *= [1.0, 1e12, 1e-12, 1e-3][row % 4]);
        });
        cases.push(Case { name: "uneven", dim, queries: q, rows: uneven });
    }
    cases
}

fn forms(isa: Isa) -> impl Iterator<Item = Form> {
    [Form::Single, Form::Half, Form::Split, Form::Int8].into_iter().filter(move |form| form.runs_on(isa))
}

/// The best rows of each query, by tiles of `tile` rows.
fn best(
    isa: Isa,
    form: Form,
    metric: Metric,
    case: &Case,
    tile: usize,
    k: usize,
) -> (Vec<Vec<Found>>, usize, f64) {
    let dim = case.dim;
    let of = |values: &'_ [f32], at: usize| -> Vec<f32> { values[at * dim..(at + 1) * dim].to_vec() };
    let exact = |q: usize, r: usize| score(metric, &of(&case.queries, q), &of(&case.rows, r));
    let centre = centre(&case.rows, dim);
    let queries = Queries::on(isa, form, metric, &case.queries, dim, &centre);
    let lists = vec![Candidates::new(k); queries.len()];
    let mut sink = Best { lists, base: 0, exact: &exact, hits: 0, widest: 0.0 };
    let (mut ready, mut scratch) = (Tile::on(isa, form, metric, dim), Scratch::default());
    for values in case.rows.chunks(tile * dim) {
        ready.fill(values, &centre);
        queries.scan(&ready, values, &mut scratch, &mut sink);
        sink.base += tile;
    }
    let Best { lists, hits, widest, .. } = sink;
    let found = lists.into_iter().enumerate().map(|(q, list)| list.best(each(|row| exact(q, row)))).collect();
    (found, hits, widest)
}

#[test]
fn every_form_on_every_instruction_set_finds_what_brute_force_finds() {
    for case in cases() {
        for metric in [Metric::Dot, Metric::Euclidean] {
            let dim = case.dim;
            let want: Vec<Vec<Found>> = case
                .queries
                .chunks(dim)
                .map(|x| {
                    let rows = case.rows.chunks(dim).enumerate();
                    let mut all: Vec<Found> =
                        rows.map(|(row, y)| Found { score: score(metric, x, y), row }).collect();
                    all.sort_by(Found::order);
                    all.truncate(10);
                    all
                })
                .collect();
            for isa in isa::available() {
                for form in forms(isa) {
                    for tile in [1024, 47] {
                        let (found, ..) = best(isa, form, metric, &case, tile, 10);
                        assert_eq!(
                            found, want,
                            "{} × {dim}, {metric:?}, {form:?} on {isa}, tiles of {tile}",
                            case.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_product_that_serves_both_rows_finds_what_brute_force_finds() {
    for case in cases() {
        let (dim, count) = (case.dim, case.rows.len() / case.dim);
        let row = |at: usize| &case.rows[at * dim..][..dim];
        for metric in [Metric::Dot, Metric::Euclidean] {
            let want: Vec<Vec<Found>> = (0..count)
                .map(|query| {
                    let found = |at| Found { score: score(metric, row(query), row(at)), row: at };
                    let mut all: Vec<Found> = (0..count).map(found).collect();
                    all.sort_by(Found::order);
                    all.truncate(10);
                    all
                })
                .collect();
            for isa in isa::available() {
                // Blocks that a cache holds, and some that fill no panel and no register.
                for size in [300, 47] {
                    let blocks: Vec<Mutual> = case
                        .rows
                        .chunks(size * dim)
                        .map(|values| Mutual::on(isa, metric, values, dim))
                        .collect();
                    let exact: Vec<_> = (0..blocks.len())
                        .map(|block| move |q: usize, r: usize| score(metric, row(block * size + q), row(r)))
                        .collect();
                    let sink = |(block, exact): (&Mutual, _)| {
                        let lists = vec![Candidates::new(10); block.len()];
                        Best { lists, base: 0, exact, hits: 0, widest: 0.0 }
                    };
                    let mut sinks: Vec<Best> =
                        blocks.iter().zip(exact.iter().map(|exact| exact as _)).map(sink).collect();
                    let mut scratch = Scratch::default();
                    for (a, first) in blocks.iter().enumerate() {
                        let (done, rest) = sinks.split_at_mut(a);
                        rest[0].base = a * size;
                        first.scan_own(&mut scratch, &mut rest[0]);
                        for (b, (second, back)) in blocks.iter().zip(done).enumerate() {
                            (rest[0].base, back.base) = (b * size, a * size);
                            first.scan(second, &mut scratch, &mut rest[0], back);
                        }
                    }
                    let found: Vec<Vec<Found>> = sinks
                        .into_iter()
                        .zip(&exact)
                        .flat_map(|(sink, exact)| {
                            let best = move |(query, list): (usize, Candidates)| {
                                list.best(each(move |row| exact(query, row)))
                            };
                            sink.lists.into_iter().enumerate().map(best)
                        })
                        .collect();
                    assert_eq!(found, want, "{} × {dim}, {metric:?} on {isa}, blocks of {size}", case.name);
                }
            }
        }
    }
}

#[test]
fn bounds_are_close_enough_to_refuse_nearly_everything() {
    // 4,000 rows, 32 queries: without bounds 128,000 pairs would be looked at.
    let (dim, count) = (128, 4000);
    for shift in [0.0, 3.0] {
        let far = |v: Vec<f32>| v.into_iter().map(|x| x + shift).collect::<Vec<f32>>();
        let case =
            Case { name: "plain", dim, queries: far(draw(32 * dim, 5)), rows: far(draw(count * dim, 6)) };
        for isa in isa::available() {
            for form in forms(isa) {
                for metric in [Metric::Dot, Metric::Euclidean] {
                    let (_, hits, widest) = best(isa, form, metric, &case, 256, 10);
                    println!(
                        "{form:?} on {isa}, {metric:?}, shifted by {shift}: {hits} hits, {widest:.3} of the bound"
                    );
                    assert!(hits < 32 * 700, "{form:?} on {isa}, {metric:?}: {hits} hits");
                    // Rounding errors add up like a random walk; the bound is for the worst case.
                    assert!(widest > 0.003, "{form:?} on {isa}, {metric:?}: {widest} of the bound");
                }
            }
        }
    }
}

#[test]
fn the_best_are_found_whatever_the_bounds_hide() {
    let mut random = draw(400_000, 7).into_iter().map(|x| f64::from(x) * 0.5 + 0.5).cycle();
    for case in 0..300 {
        let mut below = |n: usize| (random.next().unwrap() * n as f64) as usize;
        let (n, k) = (1 + below(700), 1 + below(90));
        let levels = [3, 40, 1_000_000][below(3)];
        let error = [0.0, 1e-4, 0.3, f64::INFINITY][below(4)];
        let scores: Vec<f64> = (0..n).map(|_| below(levels) as f64 / levels as f64).collect();
        let blur = if error.is_finite() { error * 0.9 } else { 1.0 };
        // The last rows go through a list of their own, which is merged in the end.
        let (mut list, mut other) = (Candidates::new(k), Candidates::new(k));
        let apart = below(n + 1);
        let mut floor = f64::NEG_INFINITY;
        for (row, score) in scores.iter().enumerate() {
            let list = if row < apart { &mut list } else { &mut other };
            let value = score + (random.next().unwrap() * 2.0 - 1.0) * blur;
            list.offer(value, error, row, each(|row| scores[row]));
            assert!(row == apart || list.floor() >= floor);
            floor = list.floor();
        }
        list.merge(other, each(|row| scores[row]));
        let got = list.best(each(|row| scores[row]));
        let mut want: Vec<Found> = (0..n).map(|row| Found { score: scores[row], row }).collect();
        want.sort_by(Found::order);
        want.truncate(k);
        assert_eq!(got, want, "case {case}");
    }
}
