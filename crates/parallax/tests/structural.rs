//! Pairs of stored vectors, and a model whose queries and documents differ: trained, measured, searched.

use std::path::Path;

use parallax::index::store::{Index, Similarity};
use parallax::index::{BuildOptions, Source, build};
use parallax::run::{TrialOptions, train, trial};
use parallax::{EmbedOptions, Evaluation, Model, Role, RunConfig, evaluate};
use parallax_data::{NpyWriter, Parts, Vectors};
use parallax_nn::head::{Head, StructuralSparseHead};
use parallax_nn::{SentenceEncoder, cpu, parameters};
use parallax_random::Key;

fn write(path: &Path, values: &[f32], dim: usize) {
    let mut file = NpyWriter::create(path, dim).unwrap();
    file.push_rows(values).unwrap();
    file.finish().unwrap();
}

fn normal(n: usize, salt: u64) -> Vec<f32> {
    (0..n as u64).map(|at| Key::new(salt).normal(at) as f32).collect()
}

/// Pairs (x, y) in 16 dimensions: y is x with the components of every group of four moved on by one to three places, and
/// noise of a tenth.
fn pairs(folder: &Path, rows: usize) {
    let unit = |v: Vec<f32>| {
        let norm = v.iter().map(|v| v * v).sum::<f32>().sqrt();
        v.into_iter().map(|v| v / norm).collect::<Vec<f32>>()
    };
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for row in 0..rows as u64 {
        let x = unit((0..16).map(|k| Key::new(1).normal(16 * row + k) as f32).collect());
        let moved = |k: usize| k / 4 * 4 + (k + 1 + k / 4 % 3) % 4;
        let noise = |k: usize| 0.1 * Key::new(2).normal(16 * row + k as u64) as f32;
        ys.extend(unit((0..16).map(|k| x[moved(k)] + noise(k)).collect()));
        xs.extend(x);
    }
    write(&folder.join("x.npy"), &xs, 16);
    write(&folder.join("y.npy"), &ys, 16);
}

fn config(folder: &Path, block: usize, sets: &[&str]) -> RunConfig {
    let text = format!(
        r#"
        name = "pairs"
        [data]
        vectors = "{0}/x.npy"
        positives = "{0}/y.npy"
        [head]
        name = "structural_sparse"
        block = {block}
        [objective]
        loss = {{ name = "multiple_negatives_ranking", scale = 10, symmetric = true }}
        distance = "dot"
        [train]
        epochs = 200
        batch_size = 400
        optimizer = {{ name = "adamw", lr = 0.03, weight_decay = 0 }}
        schedule = "constant"
        validate_with = "recall@1"
        [evaluate]
        measures = ["recall@1", "mrr"]
        resamples = 0
        [output]
        dir = "{0}/runs"
        report = false
        "#,
        folder.display()
    );
    RunConfig::parse(&text, sets).unwrap()
}

/// 400 pairs to train on and 200 to test on.
fn parts() -> TrialOptions {
    let parts = Parts { train: (0..400).collect(), validation: Vec::new(), test: (400..600).collect() };
    TrialOptions { parts: Some(parts), before: true, ..TrialOptions::default() }
}

/// Neither the cosine nor weights of components see what moved; blocks of the groups' size do, and so does a full matrix.
#[test]
fn blocks_find_what_moved_within_groups() {
    let folder = tempfile::tempdir().unwrap();
    pairs(folder.path(), 600);
    let measured = |block: usize| {
        let found = trial(&config(folder.path(), block, &[]), &parts(), &mut |_| ()).unwrap();
        let first = |retrieval: &parallax_eval::Retrieval| {
            assert_eq!((retrieval.queries, retrieval.gallery), (200, 200));
            retrieval.measures.iter().find(|m| m.name == "recall@1").unwrap().value
        };
        assert!(found.losses.last().unwrap().1 < found.losses[0].1);
        (first(found.before.as_ref().unwrap()), first(&found.after))
    };
    let (cosine, diagonal) = measured(1);
    let (_, blocks) = measured(4);
    let (_, full) = measured(16);
    println!("cosine {cosine}, diagonal {diagonal}, blocks {blocks}, full {full}");
    assert!(cosine < 0.1 && diagonal < 0.1, "cosine {cosine}, diagonal {diagonal}");
    assert!(blocks > 0.95 && full > 0.95, "blocks {blocks}, full {full}");
}

/// Parts of a batch keep their sides, and threads change nothing.
#[test]
fn a_batch_in_chunks_learns_the_same() {
    let folder = tempfile::tempdir().unwrap();
    pairs(folder.path(), 600);
    let losses = |threads: usize, sets: &[&str]| {
        let sets: Vec<&str> = ["train.max_steps=4"].iter().chain(sets).copied().collect();
        let config = config(folder.path(), 4, &sets);
        let run = || trial(&config, &parts(), &mut |_| ()).unwrap();
        let found = parallax::with_threads(threads, run).unwrap();
        (found.losses, found.after.measures[1].value)
    };
    let whole = losses(2, &[]);
    assert_eq!(whole, losses(1, &[]));
    for chunk in ["train.grad_cache.chunk=150", "train.grad_cache.chunk=400", "train.grad_cache.chunk=401"] {
        let parts = losses(2, &[chunk]);
        for ((_, a), (_, b)) in whole.0.iter().zip(&parts.0) {
            assert!((a - b).abs() < 1e-5, "{chunk}: {a} {b}");
        }
        assert!((whole.1 - parts.1).abs() < 1e-3, "{chunk}: {} {}", whole.1, parts.1);
    }
    // The hinge learns from pairs of vectors too.
    let hinge = losses(2, &["objective.loss=hardest_negative_hinge", "train.optimizer.lr=0.01"]).0;
    assert!(hinge[3].1 < hinge[0].1, "{hinge:?}");
}

/// A run from its file to a model that is read again, measured and embedded with on both sides.
#[test]
fn the_model_of_a_run_keeps_its_sides() {
    let folder = tempfile::tempdir().unwrap();
    pairs(folder.path(), 600);
    let split = "data.split={ name = \"random\", validation = 0.1, test = 0.3 }";
    let outcome = train(config(folder.path(), 4, &[split]), Default::default(), &mut |_| ()).unwrap();
    let first = &outcome.measures[0];
    let (before, after) = (first.before.unwrap(), first.after.unwrap());
    assert!(before < 0.1 && after > 0.95, "{first:?}");
    let model = Model::load(outcome.model.unwrap()).unwrap();
    let data = config(folder.path(), 4, &[split]).data;
    let evaluation = Evaluation { part: parallax::Part::Test, data, ..Evaluation::default() };
    let report = evaluate(Some(&model), &evaluation, &mut |_| ()).unwrap();
    assert_eq!(report.shape, "pairs of stored vectors");
    let found = report.retrieval.measures.iter().find(|m| m.name == "precision@1").unwrap().value;
    assert!((found - after).abs() < 1e-9, "{found} {after}");

    let embedded = |role: Role| {
        let to = folder.path().join("out.npy");
        let options = EmbedOptions { role, ..EmbedOptions::default() };
        parallax::embed(&model, &folder.path().join("x.npy"), &to, &options, &mut |_| ()).unwrap();
        let vectors = Vectors::open(&to).unwrap();
        (0..vectors.rows()).flat_map(|row| vectors.row(row)).collect::<Vec<f32>>()
    };
    let vectors = Vectors::open(folder.path().join("x.npy")).unwrap();
    let raw: Vec<f32> = (0..600).flat_map(|row| vectors.row(row)).collect();
    let (queries, documents) = (embedded(Role::Query), embedded(Role::Document));
    assert_eq!(queries, model.transform(&raw).unwrap().into_values());
    assert_eq!(documents, model.transform_as(Role::Document, &raw).unwrap().into_values());
    assert!(documents.iter().zip(&raw).all(|(a, b)| (a - b).abs() < 1e-6));
    assert_ne!(queries, documents);
}

/// The index of documents, searched with mapped queries, ranks as the similarity itself does, from both sides.
#[test]
fn exact_search_is_the_similarity() {
    let (dim, block, rows) = (32, 8, 1000);
    let folder = tempfile::tempdir().unwrap();
    let blocks = normal(dim * block, 3);
    let turned: Vec<f32> = blocks
        .chunks(block * block)
        .flat_map(|w| (0..block * block).map(|at| w[at % block * block + at / block]))
        .collect();
    let (x, y) = (normal(rows * dim, 4), normal(rows * dim, 5));
    let unit = |row: &[f32]| {
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|v| f64::from(*v) / norm).collect::<Vec<f64>>()
    };
    // xᵀ (I + A) y.
    let similarity = |x: &[f64], y: &[f64]| {
        let of = |i: usize| {
            let k = i / block;
            let row = &blocks[k * block * block + i % block * block..][..block];
            y[i] + row.iter().zip(&y[k * block..]).map(|(a, y)| f64::from(*a) * y).sum::<f64>()
        };
        (0..dim).map(|i| x[i] * of(i)).sum::<f64>()
    };
    for (name, values, queries, documents) in [("forth", &blocks, &x, &y), ("back", &turned, &y, &x)] {
        let head = Head::StructuralSparse(StructuralSparseHead { block, ..Default::default() });
        let stages = head.build(dim, Key::new(0), &cpu()).unwrap();
        let encoder = SentenceEncoder::over_vectors(dim, stages).unwrap();
        let model = Model::from(
            encoder.map_network(|network| parameters::write(network, |_, _| Some(values.clone()))),
        );
        let (stored, index) = (folder.path().join("documents.npy"), folder.path().join(name));
        write(&stored, documents, dim);
        let source = Source { vectors: Some(stored), ..Source::default() };
        let stop = std::sync::atomic::AtomicBool::new(false);
        let options = BuildOptions {
            append: false,
            force: false,
            prompt: None,
            codes: None,
            batch_tokens: 4096,
            stop: &stop,
        };
        build(&source, Some(("model", &model)), &index, &options, &mut |_, _| ()).unwrap();
        let index = Index::open(&index).unwrap();
        assert_eq!(index.config().similarity, Similarity::Dot);
        let mapped = model.transform(&queries[..40 * dim]).unwrap();
        let found = index.search(mapped.as_slice(), 10, None).unwrap();
        for (query, hits) in queries.chunks(dim).zip(&found) {
            let query = unit(query);
            let mut all: Vec<(f64, usize)> = documents
                .chunks(dim)
                .map(|document| {
                    let document = unit(document);
                    if name == "forth" {
                        similarity(&query, &document)
                    } else {
                        similarity(&document, &query)
                    }
                })
                .zip(1..)
                .collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (hit, (score, row)) in hits.iter().zip(&all) {
                assert_eq!(hit.id, row.to_string());
                assert!((hit.score - score).abs() < 1e-5, "{} {score}", hit.score);
            }
            assert_eq!(hits.len(), 10);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    pairs(folder.path(), 60);
    let refused = |config: RunConfig| {
        let error = trial(&config, &TrialOptions::default(), &mut |_| ()).unwrap_err();
        format!("{error}; {}", error.hint().unwrap_or_default())
    };
    let path = |name: &str| folder.path().join(name);
    // Rows with classes have no two sides.
    let table: String = (0..60).map(|row| format!("{}\n", row % 5)).collect();
    std::fs::write(path("labels.csv"), format!("label\n{table}")).unwrap();
    let mut labelled = config(folder.path(), 4, &["objective.loss=contrastive"]);
    labelled.data.positives = None;
    labelled.data.path = parallax::config::Files(vec![path("labels.csv")]);
    let said = refused(labelled.clone());
    assert!(said.contains("the rows have classes") && said.contains("data.positives"), "{said}");
    // Neither classes nor positives, and both.
    labelled.data.path = Default::default();
    assert!(refused(labelled).contains("data.positives"));
    let mut both = config(folder.path(), 4, &[]);
    both.data.label = Some("label".into());
    assert!(refused(both).contains("pairs have no classes"));
    // Sides of other lengths or widths, and a block that does not divide.
    for (values, dim, said) in [(normal(59 * 16, 1), 16, "59"), (normal(60 * 8, 1), 8, "dimension")] {
        write(&path("z.npy"), &values, dim);
        let mut other = config(folder.path(), 4, &[]);
        other.data.positives = Some(path("z.npy"));
        assert!(refused(other).contains(said), "{said}");
    }
    assert!(refused(config(folder.path(), 5, &[])).contains("does not divide"));
    let alone = RunConfig::parse("[data]\npositives = \"y.npy\"", &[] as &[&str]).unwrap_err().to_string();
    assert!(alone.contains("data.positives goes with data.vectors"), "{alone}");
}
