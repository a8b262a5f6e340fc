//! A learned score of queries and keys in the attention of an encoder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use parallax_nn::encoder::{AttentionScore, StructuralSparseScore};
use parallax_nn::{Input, LoadOptions, Pass, Precision, SentenceEncoder, cpu, folder, ops, parameters};
use parallax_random::Key;

const FAMILIES: [&str; 5] = ["bert", "roberta", "xlm_roberta", "distilbert", "mpnet"];

fn source(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(family)
}

fn load(path: &Path) -> SentenceEncoder {
    let exact = LoadOptions { precision: Precision::F32, ..LoadOptions::default() };
    SentenceEncoder::load(path, &exact, &cpu()).unwrap()
}

fn score(block: Option<usize>, sum: bool, symmetric: bool) -> AttentionScore {
    AttentionScore::StructuralSparse(StructuralSparseScore { block, sum, symmetric })
}

/// The model with random blocks and diagonals.
fn learned(model: &SentenceEncoder, score: &AttentionScore) -> SentenceEncoder {
    let model = model.clone().with_attention(score).unwrap();
    model.map_network(|network| {
        parameters::write(network, |path, shape| {
            let salt = path.bytes().map(u64::from).sum();
            let draw = |i| 0.4 * Key::new(salt).normal(i) as f32;
            path.contains(".score.").then(|| (0..shape.iter().product::<usize>() as u64).map(draw).collect())
        })
    })
}

fn inputs(model: &SentenceEncoder) -> Vec<Input> {
    let texts = ["the quick brown fox", "a", "jumps over the lazy dog and then some more", "fox"];
    model.tokenize(&texts, None).unwrap()
}

fn embedded(model: &SentenceEncoder) -> Vec<f32> {
    model.embed(&inputs(model), 1000, |_| ()).unwrap()
}

#[test]
fn it_begins_as_the_inner_product_and_ends_in_the_query_projection() {
    for family in FAMILIES {
        let base = load(&source(family));
        let before = embedded(&base);
        for score in [score(None, false, false), score(Some(1), false, false), score(Some(2), true, true)] {
            let start = base.clone().with_attention(&score).unwrap();
            assert_eq!(embedded(&start), before, "{family} {score:?}");
            let model = learned(&base, &score);
            let after = embedded(&model);
            assert_ne!(after, before, "{family} {score:?}");
            let merged = model.frozen();
            assert_eq!(embedded(&merged), after, "{family} {score:?}");
            // What is written is an ordinary encoder with the tensors that were read.
            let names = |model: &SentenceEncoder| -> Vec<String> {
                model.parameters().into_iter().map(|parameter| parameter.path).collect()
            };
            assert_eq!(names(&merged), names(&base));
            assert!(names(&model).len() > names(&base).len());
            let to = tempfile::tempdir().unwrap();
            folder::save(&model, &to.path().join("model"), "").unwrap();
            assert_eq!(embedded(&load(&to.path().join("model"))), after, "{family} {score:?}");
        }
    }
}

/// Σ weights · embeddings, and its gradients by path.
fn weighed(model: &SentenceEncoder) -> (f64, BTreeMap<String, Vec<f32>>) {
    let trained = |path: &str| parameters::selected(&patterns(), path);
    let model = model.clone().map_network(|network| parameters::prepare(network, |path| !trained(path)));
    let inputs = inputs(&model);
    let x = model.forward(&inputs.iter().collect::<Vec<_>>(), &Pass::inference()).unwrap();
    let weights: Vec<f32> =
        (0..x.dims().iter().product::<usize>() as u64).map(|i| Key::new(3).normal(i) as f32).collect();
    let values: Vec<f32> = x.clone().without_autodiff().into_data().try_into_vec().unwrap();
    let value = values.iter().zip(&weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, x.dims()), &x.device());
    let mut found = (x * weights).sum().backward();
    (value, parameters::gradients(model.network(), &mut found))
}

fn patterns() -> Vec<String> {
    ["encoder", "!encoder.layers.*.attention.score"].map(str::to_owned).into()
}

#[test]
fn gradients_are_differences_and_reach_the_score_alone() {
    for family in ["bert", "mpnet"] {
        let base = load(&source(family));
        let model = learned(&base, &score(Some(2), true, false));
        let (_, found) = weighed(&model);
        assert!(found.keys().all(|path| path.contains(".attention.score.")), "{:?}", found.keys());
        assert!(found.len() >= 4, "{:?}", found.keys());
        let (_, plain) = ops::plainly(|| weighed(&model));
        for (path, gradient) in &found {
            let size = gradient.iter().fold(0f32, |most, g| most.max(g.abs()));
            for (a, b) in gradient.iter().zip(&plain[path]) {
                assert!((a - b).abs() <= 1e-3 * size.max(1e-2), "{family} {path}: {a} {b}");
            }
            // Along the gradient itself, where a difference is largest against rounding.
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let moved = |by: f64| {
                let model = model.clone().map_network(|network| {
                    parameters::write(network, |at, _| {
                        if at != path {
                            return None;
                        }
                        let mut values = Vec::new();
                        parameters::read(model.network(), |p, _, v| {
                            if p == at {
                                values = v.to_vec();
                            }
                        });
                        values
                            .iter_mut()
                            .zip(gradient)
                            .for_each(|(v, g)| *v += (by * f64::from(*g) / norm) as f32);
                        Some(values)
                    })
                });
                weighed(&model).0
            };
            let slope = (moved(0.02) - moved(-0.02)) / 0.04;
            assert!((slope - norm).abs() <= 0.02 * norm.max(0.05), "{family} {path}: {slope} {norm}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let base = load(&source("bert"));
    let error = base.clone().with_attention(&score(Some(3), false, false)).err().unwrap().to_string();
    assert!(error.contains("attention.block = 3 does not divide the width of a head"), "{error}");
    assert!(base.with_attention(&score(Some(0), false, false)).is_err());
    let vectors = SentenceEncoder::over_vectors(8, Vec::new()).unwrap();
    let error = vectors.with_attention(&score(None, false, false)).err().unwrap().to_string();
    assert!(error.contains("the model has none"), "{error}");
}
