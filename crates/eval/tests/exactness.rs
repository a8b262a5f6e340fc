//! What must not change a bit: row order, tile sizes, threads. And agreement with a plain oracle.

use parallax_eval::{
    Cutoff, Error, Gallery, Measure, Ranking, Retrieval, RetrievalConfig, Similarity, Vectors, memory_bytes,
    retrieval,
};
use parallax_random::Key;

const SIMILARITIES: [Similarity; 3] = [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean];

struct Set {
    values: Vec<f32>,
    dim: usize,
    labels: Vec<u32>,
}

impl Set {
    /// Clustered rows; about every third repeats another row's vector, often under another label, and some are zero.
    fn with_duplicates(n: usize, dim: usize, classes: usize, key: Key) -> Self {
        let labels: Vec<u32> = (0..n as u64).map(|i| key.named("label").below(i, classes) as u32).collect();
        let mut values: Vec<f32> = (0..n * dim)
            .map(|at| {
                let centre = labels[at / dim] as usize * dim + at % dim;
                (key.named("centre").normal(centre as u64) + key.named("noise").normal(at as u64)) as f32
            })
            .collect();
        for i in 0..n {
            let draw = key.named("copy").uniform(i as u64);
            if draw < 0.35 {
                let from = key.named("from").below(i as u64, n) * dim;
                values.copy_within(from..from + dim, i * dim);
            } else if draw < 0.37 {
                values[i * dim..(i + 1) * dim].fill(0.0);
            }
        }
        Set { values, dim, labels }
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors { values: &self.values, dim: self.dim, labels: &self.labels }
    }

    fn reordered(&self, order: &[usize]) -> Set {
        Set {
            values: order
                .iter()
                .flat_map(|&i| &self.values[i * self.dim..(i + 1) * self.dim])
                .copied()
                .collect(),
            dim: self.dim,
            labels: order.iter().map(|&i| self.labels[i]).collect(),
        }
    }

    fn join(&self, other: &Set) -> Set {
        Set {
            values: [self.values.as_slice(), &other.values].concat(),
            dim: self.dim,
            labels: [self.labels.as_slice(), &other.labels].concat(),
        }
    }
}

fn order(n: usize, key: Key) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    key.shuffle(&mut order);
    order
}

fn all_measures() -> Vec<Measure> {
    [
        "precision@1",
        "precision@10",
        "r_precision",
        "map@r",
        "map",
        "map@5",
        "map@max_bin_count",
        "mrr",
        "mrr@3",
        "recall@1",
        "recall@8",
        "ir_recall@20",
    ]
    .iter()
    .map(|name| name.parse().unwrap())
    .collect()
}

fn config(similarity: Similarity, measures: Vec<Measure>) -> RetrievalConfig {
    RetrievalConfig {
        measures,
        similarity,
        resamples: 50,
        query_tile: 16,
        gallery_tile: 64,
        ..Default::default()
    }
}

/// The values of each query as bits, indexed by the row it had before `order` moved it there.
fn bits_by_query(result: &Retrieval, order: &[usize]) -> Vec<(usize, Vec<u64>)> {
    let per_query = result.per_query.as_ref().unwrap();
    let mut rows: Vec<(usize, Vec<u64>)> = per_query
        .query
        .iter()
        .enumerate()
        .map(|(i, &query)| {
            (order[query], per_query.columns.iter().map(|column| column[i].to_bits()).collect())
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn order_of_rows_changes_no_bit() {
    let key = Key::new(31);
    for dim in [3, 37, 512] {
        let (queries, reference) = (
            Set::with_duplicates(90, dim, 9, key.named("q").at(dim as u64)),
            Set::with_duplicates(333, dim, 9, key.named("r").at(dim as u64)),
        );
        // Queries that are also in the reference, so that exact ties at the top abound.
        let reference = reference.join(&queries);
        for similarity in SIMILARITIES {
            let config = config(similarity, all_measures());
            let plain =
                retrieval(&config, queries.vectors(), Gallery::Reference(reference.vectors())).unwrap();
            assert!(plain.ties > 100, "{}", plain.ties);
            let same: Vec<usize> = (0..90).collect();
            for round in 0..3 {
                let (p, r) = (order(90, key.at(round)), order(reference.labels.len(), key.at(100 + round)));
                let (moved_q, moved_r) = (queries.reordered(&p), reference.reordered(&r));
                let moved =
                    retrieval(&config, moved_q.vectors(), Gallery::Reference(moved_r.vectors())).unwrap();
                assert_eq!(bits_by_query(&plain, &same), bits_by_query(&moved, &p), "{similarity:?} {dim}");
                assert_eq!(plain.clone().without_per_query(), moved.without_per_query());
            }
            let alone = retrieval(&config, queries.vectors(), Gallery::LeaveOneOut).unwrap();
            let p = order(90, key.at(7));
            let moved = retrieval(&config, queries.reordered(&p).vectors(), Gallery::LeaveOneOut).unwrap();
            assert_eq!(bits_by_query(&alone, &same), bits_by_query(&moved, &p));
        }
    }
}

#[test]
fn tile_sizes_change_no_bit() {
    let set = Set::with_duplicates(230, 65, 12, Key::new(32));
    for similarity in SIMILARITIES {
        let whole =
            RetrievalConfig { query_tile: 1000, gallery_tile: 1000, ..config(similarity, all_measures()) };
        let want = retrieval(&whole, set.vectors(), Gallery::LeaveOneOut).unwrap();
        for (query_tile, gallery_tile) in [(1, 1), (1, 1000), (7, 13), (64, 32), (1000, 1), (229, 230)] {
            let tiled = RetrievalConfig { query_tile, gallery_tile, ..whole.clone() };
            assert_eq!(retrieval(&tiled, set.vectors(), Gallery::LeaveOneOut).unwrap(), want);
        }
    }
}

#[test]
fn threads_change_no_byte() {
    let set = Set::with_duplicates(400, 24, 20, Key::new(33));
    for similarity in SIMILARITIES {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let result = pool
                .install(|| {
                    retrieval(&config(similarity, all_measures()), set.vectors(), Gallery::LeaveOneOut)
                })
                .unwrap();
            serde_json::to_string(&result).unwrap()
        };
        assert_eq!(run(1), run(2));
    }
}

/// Scores in 64 bits by the definition, rounded as far as the scores of the crate are.
fn oracle(
    set: &Set,
    gallery: &Set,
    similarity: Similarity,
    own: bool,
    measures: &[Measure],
) -> Vec<Vec<f64>> {
    let row = |set: &Set, i: usize| -> Vec<f64> {
        let row: Vec<f64> =
            set.values[i * set.dim..(i + 1) * set.dim].iter().map(|&x| f64::from(x)).collect();
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        match similarity {
            Similarity::Cosine if norm > 0.0 => row.iter().map(|x| f64::from((x / norm) as f32)).collect(),
            _ => row,
        }
    };
    let rankings: Vec<Ranking> = (0..set.labels.len())
        .map(|i| {
            let q = row(set, i);
            let items: Vec<(f64, bool)> = (0..gallery.labels.len())
                .filter(|&j| !(own && i == j))
                .map(|j| {
                    let g = row(gallery, j);
                    let score: f64 = match similarity {
                        Similarity::Euclidean => {
                            -q.iter().zip(&g).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
                        }
                        _ => q.iter().zip(&g).map(|(a, b)| a * b).sum(),
                    };
                    // Ties come from equal vectors, so ten digits tell all scores apart that should be.
                    ((score * 1e10).round() + 0.0, set.labels[i] == gallery.labels[j])
                })
                .collect();
            Ranking::from_scores(&items)
        })
        .filter(|ranking| ranking.relevant() > 0)
        .collect();
    let most = rankings.iter().map(Ranking::relevant).max().unwrap();
    measures.iter().map(|m| rankings.iter().map(|r| m.expected(r, most)).collect()).collect()
}

#[test]
fn streaming_equals_sorting_everything() {
    for seed in 0..6 {
        let key = Key::new(34).at(seed);
        let queries = Set::with_duplicates(60, 5, 7, key.named("queries"));
        let rest = Set::with_duplicates(150, 5, 9, key.named("rest"));
        let both = queries.join(&rest);
        for similarity in SIMILARITIES {
            for (gallery, items, own) in [
                (Gallery::LeaveOneOut, &queries, true),
                (Gallery::Reference(both.vectors()), &both, false),
                (Gallery::QueriesFirst(both.vectors()), &both, true),
            ] {
                // Each measure alone, because what is asked for decides how early thresholds are let go; then together.
                let mut sets: Vec<Vec<Measure>> = all_measures().into_iter().map(|m| vec![m]).collect();
                sets.push(all_measures());
                for measures in sets {
                    let config = RetrievalConfig {
                        query_tile: 8,
                        gallery_tile: 16,
                        resamples: 0,
                        ..config(similarity, measures.clone())
                    };
                    let got = retrieval(&config, queries.vectors(), gallery).unwrap();
                    let want = oracle(&queries, items, similarity, own, &measures);
                    assert_eq!(got.per_query.unwrap().columns, want, "{similarity:?} {measures:?} own {own}");
                }
            }
        }
    }
}

#[test]
fn a_constant_scorer_gets_chance_and_says_so() {
    // 20 classes of 5 equal vectors: among 99 others 4 are relevant.
    let labels: Vec<u32> = (0..100).map(|i| i / 5).collect();
    let values = vec![0.5f32; 300];
    for similarity in SIMILARITIES {
        let result = retrieval(
            &config(similarity, all_measures()),
            Vectors { values: &values, dim: 3, labels: &labels },
            Gallery::LeaveOneOut,
        )
        .unwrap();
        for (measure, want) in [
            (Measure::Precision(1), 4.0 / 99.0),
            (Measure::RPrecision, 4.0 / 99.0),
            (Measure::IrRecall(20), 20.0 / 99.0),
        ] {
            assert!((result.value(measure).unwrap() - want).abs() < 1e-15, "{measure}");
        }
        assert_eq!(result.ties, 100 * 4 * 95);
        assert!(result.measures.iter().all(|m| m.tied_queries == 100));
    }
}

#[test]
fn far_apart_magnitudes_are_ranked_by_their_64_bit_scores() {
    // In 32 bits these products overflow or vanish.
    for scale in [1e30f32, 1e-30] {
        let values: Vec<f32> = [1.0, 0.5, -1.0, -0.5, 0.75, -2.0].iter().map(|x| x * scale).collect();
        let labels = [0, 0, 1, 1, 0, 1];
        for similarity in [Similarity::Dot, Similarity::Euclidean] {
            let config = config(similarity, vec![Measure::Precision(1), Measure::RPrecision]);
            let vectors = Vectors { values: &values, dim: 1, labels: &labels };
            let result = retrieval(&config, vectors, Gallery::LeaveOneOut).unwrap();
            assert_eq!(result.measures[0].value, 1.0, "{similarity:?} × {scale}");
            assert_eq!(result.ties, 0);
        }
    }
}

#[test]
fn asking_for_more_measures_changes_none() {
    let set = Set::with_duplicates(200, 16, 15, Key::new(35));
    let together =
        retrieval(&config(Similarity::Cosine, all_measures()), set.vectors(), Gallery::LeaveOneOut).unwrap();
    for (m, measure) in all_measures().into_iter().enumerate() {
        let alone =
            retrieval(&config(Similarity::Cosine, vec![measure]), set.vectors(), Gallery::LeaveOneOut)
                .unwrap();
        assert_eq!(alone.measures[0], together.measures[m]);
        let [low, high] = alone.measures[0].interval.unwrap();
        assert!(low <= alone.measures[0].value && alone.measures[0].value <= high);
    }
}

#[test]
fn recall_at_1_is_precision_at_1_and_lone_labels_are_dropped() {
    let mut set = Set::with_duplicates(80, 8, 6, Key::new(36));
    set.labels[3] = 1_000;
    set.labels[50] = 4_000_000_000;
    let measures = vec![Measure::Precision(1), Measure::Recall(1)];
    let result =
        retrieval(&config(Similarity::Cosine, measures), set.vectors(), Gallery::LeaveOneOut).unwrap();
    let per_query = result.per_query.as_ref().unwrap();
    for (p, r) in per_query.columns[0].iter().zip(&per_query.columns[1]) {
        assert!((p - r).abs() < 1e-15);
    }
    assert_eq!((result.queries, result.dropped), (78, 2));
    assert!(!per_query.query.contains(&3) && !per_query.query.contains(&50));
}

#[test]
fn labels_above_2_to_the_24_stay_apart() {
    let labels = [16_777_216, 16_777_217, 16_777_216, 16_777_217];
    let vectors = Vectors { values: &[0.0, 0.1, 10.0, 10.1], dim: 1, labels: &labels };
    let config = config(Similarity::Euclidean, vec![Measure::Precision(1)]);
    assert_eq!(retrieval(&config, vectors, Gallery::LeaveOneOut).unwrap().measures[0].value, 0.0);
}

#[test]
fn bad_input_is_refused_by_name() {
    let config = config(Similarity::Cosine, vec![Measure::Precision(1)]);
    let run = |queries: Vectors, gallery: Gallery| retrieval(&config, queries, gallery).unwrap_err();
    let good = Vectors { values: &[1.0, 2.0, 3.0, 4.0], dim: 2, labels: &[0, 0] };
    let empty = Vectors { values: &[], dim: 2, labels: &[] };
    assert_eq!(run(empty, Gallery::LeaveOneOut), Error::Empty { set: "queries" });
    assert_eq!(run(good, Gallery::Reference(empty)), Error::Empty { set: "references" });
    let ragged = Vectors { values: &[1.0, 2.0, 3.0], ..good };
    assert_eq!(run(ragged, Gallery::LeaveOneOut), Error::Ragged { set: "queries", values: 3, dim: 2 });
    let unlabelled = Vectors { labels: &[0], ..good };
    assert_eq!(run(unlabelled, Gallery::LeaveOneOut), Error::Labels { set: "queries", rows: 2, labels: 1 });
    let wide = Vectors { values: &[1.0, 2.0, 3.0], dim: 3, labels: &[0] };
    assert_eq!(run(good, Gallery::Reference(wide)), Error::Dimension { queries: 2, references: 3 });
    let nan = Vectors { values: &[1.0, 2.0, 3.0, f32::NAN], ..good };
    let message = run(good, Gallery::Reference(nan)).to_string();
    assert!(message.contains("row 2 of the references, column 2"), "{message}");
    let lone = Vectors { labels: &[0, 1], ..good };
    let message = run(lone, Gallery::LeaveOneOut).to_string();
    assert!(message.contains("every class has one example"), "{message}");
    let moved = Vectors { values: &[3.0, 4.0, 1.0, 2.0], ..good };
    assert_eq!(run(good, Gallery::QueriesFirst(moved)), Error::NotFirst { row: 1 });
    let short = Vectors { values: &[1.0, 2.0], dim: 2, labels: &[0] };
    assert_eq!(run(good, Gallery::QueriesFirst(short)), Error::NotFirst { row: 2 });
    let relabelled = Vectors { labels: &[0, 1], ..good };
    assert_eq!(run(good, Gallery::QueriesFirst(relabelled)), Error::NotFirst { row: 2 });
    for bad in [
        RetrievalConfig { measures: vec![], ..config.clone() },
        RetrievalConfig { query_tile: 0, ..config.clone() },
        RetrievalConfig { gallery_tile: 0, ..config.clone() },
        RetrievalConfig { measures: vec![Measure::Map(Cutoff::At(0))], ..config.clone() },
    ] {
        assert!(retrieval(&bad, good, Gallery::LeaveOneOut).is_err());
    }
}

#[test]
fn configs_and_results_go_through_json() {
    let text = r#"{"measures": ["map@r", "recall@8", "mrr@max_bin_count"], "similarity": "euclidean"}"#;
    let config: RetrievalConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.measures, [Measure::MapAtR, Measure::Recall(8), Measure::Mrr(Cutoff::MaxBinCount)]);
    let error = serde_json::from_str::<RetrievalConfig>(r#"{"measures": ["ndcg"]}"#).unwrap_err().to_string();
    assert!(error.contains("ir_recall@K"), "{error}");
    let set = Set::with_duplicates(50, 4, 3, Key::new(37));
    let result = retrieval(&config, set.vectors(), Gallery::LeaveOneOut).unwrap();
    let text = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<Retrieval>(&text).unwrap(), result);
    let text = serde_json::to_string(&result.without_per_query()).unwrap();
    assert!(!text.contains("per_query") && text.contains("\"definition\":"));
}

#[test]
fn memory_does_not_grow_with_the_square() {
    let config = RetrievalConfig::default();
    let small = memory_bytes(&config, 10_000, 0, 128, 60, 2);
    let large = memory_bytes(&config, 100_000, 0, 128, 60, 2);
    assert!(large < 11 * small && large < 100_000 * 100_000 / 64, "{small} {large}");
}
