//! Agreement with pytorch-metric-learning, and with numbers worked out by hand.

use std::path::PathBuf;

use parallax_eval::{
    Cutoff, Gallery, Measure, Ranking, RetrievalConfig, Similarity, Vectors, ranked, retrieval,
};
use serde_json::Value;

fn golden(file: &str) -> Option<Value> {
    let folder = std::env::var_os("PARALLAX_GOLDEN")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden"));
    let path = folder.join(file);
    if !path.exists() {
        println!("skipped: no {file} under PARALLAX_GOLDEN");
        return None;
    }
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

fn rows(value: &Value) -> (Vec<f32>, usize) {
    let rows = value.as_array().unwrap();
    let flat =
        |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect::<Vec<_>>();
    (rows.iter().flat_map(flat).collect(), rows[0].as_array().unwrap().len())
}

fn labels(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|label| label.as_u64().unwrap() as u32).collect()
}

#[test]
fn every_reference_case_agrees() {
    let Some(file) = golden("metrics.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let (values, dim) = rows(&case["embeddings"]);
        let labels_ = labels(&case["labels"]);
        let queries = Vectors { values: &values, dim, labels: &labels_ };
        let reference = case.get("ref_embeddings").map(|r| (rows(r).0, labels(&case["ref_labels"])));
        let of_reference = || {
            let (values, labels) = reference.as_ref().unwrap();
            Vectors { values, dim, labels }
        };
        // The file gives the rows that follow the queries, or the whole set.
        let joined = reference.as_ref().map(|(v, l)| {
            if v.starts_with(&values) {
                (v.clone(), l.clone())
            } else {
                ([values.as_slice(), v].concat(), [labels_.as_slice(), l].concat())
            }
        });
        let gallery = match case["mode"].as_str().unwrap() {
            "self" => Gallery::LeaveOneOut,
            "reference" => Gallery::Reference(of_reference()),
            "query_in_reference" => {
                let (values, labels) = joined.as_ref().unwrap();
                Gallery::QueriesFirst(Vectors { values, dim, labels })
            }
            mode => panic!("{mode}"),
        };
        let cutoff = match &case["k"] {
            Value::Null => Cutoff::All,
            Value::String(_) => Cutoff::MaxBinCount,
            k => Cutoff::At(k.as_u64().unwrap() as usize),
        };
        for (measure, want) in case["expect"].as_object().unwrap() {
            let measure = match measure.as_str() {
                "precision_at_1" => Measure::Precision(1),
                "r_precision" => Measure::RPrecision,
                "mean_average_precision_at_r" => Measure::MapAtR,
                "mean_average_precision" => Measure::Map(cutoff),
                "mean_reciprocal_rank" => Measure::Mrr(cutoff),
                other => panic!("{other}"),
            };
            let config = RetrievalConfig {
                measures: vec![measure],
                similarity: Similarity::Euclidean,
                resamples: 0,
                ..Default::default()
            };
            let got = retrieval(&config, queries, gallery).unwrap().value(measure).unwrap();
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < 1e-6, "{name} {measure}: {got}, reference {want}");
            compared += 1;
        }
    }
    println!("{} cases, {compared} values", cases.len());
    assert_eq!((cases.len(), compared), (36, 156));
}

/// Labels of five neighbours for each query, the queries' own labels, and how many items each label 0..4 has.
const NEIGHBOURS: [[u32; 5]; 6] =
    [[0, 1, 1, 2, 2], [1, 0, 1, 1, 3], [4, 4, 4, 4, 2], [3, 1, 3, 1, 3], [0, 0, 4, 2, 2], [1, 2, 3, 4, 5]];
const QUERIES: [u32; 6] = [1, 1, 2, 3, 4, 0];
const COUNTS: [usize; 5] = [2, 3, 5, 4, 5];

fn from_table(skip: usize) -> [(f64, f64); 5] {
    let rankings: Vec<Ranking> = NEIGHBOURS
        .iter()
        .zip(QUERIES)
        .map(|(row, label)| {
            let list: Vec<bool> = row[skip..].iter().map(|&l| l == label).collect();
            Ranking::from_relevance(&list, COUNTS[label as usize] - skip)
        })
        .collect();
    let measures = vec![
        Measure::Precision(1),
        Measure::RPrecision,
        Measure::MapAtR,
        Measure::Map(Cutoff::All),
        Measure::Mrr(Cutoff::All),
    ];
    let config = RetrievalConfig { measures, resamples: 0, ..Default::default() };
    let result = ranked(&config, &rankings, &QUERIES).unwrap();
    std::array::from_fn(|m| (result.measures[m].value, result.measures[m].class_mean))
}

#[test]
fn a_neighbour_table_by_hand() {
    let with_self = [
        (0.333_333, 0.30),
        (0.372_222, 0.313_333),
        (0.244_630, 0.199_111),
        (0.311_296, 0.254_111),
        (0.505_556, 0.456_667),
    ];
    // MAP without the first column: (1 + 7/12 + 1/16 + 1/3 + 1/8 + 0)/6.
    let without_self = [
        (0.166_667, 0.10),
        (0.388_889, 0.316_667),
        (0.267_361, 0.195_833),
        (0.350_694, 0.2625),
        (0.458_333, 0.4),
    ];
    for (skip, wants) in [(0, with_self), (1, without_self)] {
        for (got, want) in from_table(skip).into_iter().zip(wants) {
            assert!((got.0 - want.0).abs() < 1e-6, "skip {skip}: {got:?}, by hand {want:?}");
            assert!((got.1 - want.1).abs() < 1e-6, "skip {skip}: {got:?}, by hand {want:?}");
        }
    }
}

#[test]
fn one_ranking_under_the_declared_denominator() {
    // 0 1 1 0 0 with R = 3 gives (1/2 + 2/3)/3, with R = 8 the same sum over 8: never over min(k, R) or over hits.
    let list = [false, true, true, false, false];
    for (relevant, want) in [(3, 7.0 / 18.0), (8, 7.0 / 48.0)] {
        let ranking = Ranking::from_relevance(&list, relevant);
        assert!((Measure::Map(Cutoff::At(5)).expected(&ranking, relevant) - want).abs() < 1e-15);
        assert_eq!(Measure::Precision(5).expected(&ranking, relevant), 0.4);
    }
}

#[test]
fn points_on_a_line_against_a_denser_reference() {
    // Ten queries 0..10, five of each class, against a reference at twice the density with ten of each.
    let queries: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let query_labels: Vec<u32> = (0..10).map(|i| u32::from(i >= 5)).collect();
    let reference: Vec<f32> = (0..20).map(|i| i as f32 / 2.0).collect();
    let reference_labels: Vec<u32> = (0..20).map(|i| u32::from(i >= 10)).collect();
    let config = RetrievalConfig {
        measures: vec![Measure::Precision(1), Measure::RPrecision, Measure::MapAtR],
        similarity: Similarity::Euclidean,
        resamples: 0,
        ..Default::default()
    };
    let result = retrieval(
        &config,
        Vectors { values: &queries, dim: 1, labels: &query_labels },
        Gallery::Reference(Vectors { values: &reference, dim: 1, labels: &reference_labels }),
    )
    .unwrap();
    assert_eq!(result.measures[0].value, 1.0);
    // Query 4 sees 4, 3.5|4.5, 3|5, 2.5|5.5, ...: from 5 on, each pair is one of its class and one of the other.
    let column = result.column(Measure::RPrecision).unwrap();
    assert_eq!(column[0], 1.0);
    let by_hand = 3.0 + 0.5 * 6.0 + 0.5; // 4, then 3.5 and 4.5, then six of the three pairs, half of one more pair
    assert_eq!(column[4], by_hand / 10.0);
    assert!(result.ties > 0);
}

#[test]
fn tied_points_get_the_expected_value_and_not_a_lucky_order() {
    // 10, 10, 20, 20 with labels 1, 0, 1, 0: the twin is always wrong, the two far points tie and one of them is right.
    let vectors = Vectors { values: &[10.0, 10.0, 20.0, 20.0], dim: 1, labels: &[1, 0, 1, 0] };
    let config = RetrievalConfig {
        measures: vec![Measure::Precision(1), Measure::Mrr(Cutoff::All), Measure::Recall(2)],
        similarity: Similarity::Euclidean,
        ..Default::default()
    };
    let result = retrieval(&config, vectors, Gallery::LeaveOneOut).unwrap();
    let values: Vec<f64> = result.measures.iter().map(|m| m.value).collect();
    assert_eq!(values, [0.0, (1.0 / 2.0 + 1.0 / 3.0) / 2.0, 0.5]);
    let tied: Vec<usize> = result.measures.iter().map(|m| m.tied_queries).collect();
    assert_eq!((result.ties, tied), (4, vec![0, 4, 4]));
}
