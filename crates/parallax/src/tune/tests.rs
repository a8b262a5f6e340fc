use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;

/// Vectors of 24 classes around centres that lie in the first half of the dimensions; the second half is noise. Training a head
/// at a good rate finds that out.
fn config(folder: &Path, extra: &str) -> RunConfig {
    let (dim, classes, each) = (8, 24, 8);
    let key = Key::new(3);
    let mut values: Vec<f32> = Vec::new();
    let mut labels: Vec<i64> = Vec::new();
    for class in 0..classes {
        for item in 0..each {
            let own = key.named("noise").at(class).at(item);
            values.extend((0..dim).map(|d| {
                let centre = if d < dim / 2 { key.named("centre").at(class).normal(d) } else { 0.0 };
                let noise = if d < dim / 2 { 0.4 } else { 1.5 };
                (centre + noise * own.normal(d)) as f32
            }));
            labels.push(class as i64);
        }
    }
    let rows = labels.len();
    let header = |descr: &str, shape: &str| {
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
        let pad = 64 - (10 + dict.len() + 1) % 64;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let body = format!("{dict}{}\n", " ".repeat(pad));
        bytes.extend((body.len() as u16).to_le_bytes());
        bytes.extend(body.into_bytes());
        bytes
    };
    let mut vectors = header("<f4", &format!("{rows}, {dim}"));
    values.iter().for_each(|v| vectors.extend(v.to_le_bytes()));
    let mut classes = header("<i8", &format!("{rows},"));
    labels.iter().for_each(|v| classes.extend(v.to_le_bytes()));
    fs::write(folder.join("x.npy"), vectors).unwrap();
    fs::write(folder.join("y.npy"), classes).unwrap();
    let text = format!(
        "[data]\nvectors = '{0}/x.npy'\nlabels = '{0}/y.npy'\nsplit = {{ name = 'class_disjoint', seen = 16, order = 'alphabetical' }}\n\
         [objective]\nloss = 'multi_similarity'\n[train]\nepochs = 20\nbatch_size = 32\nsampler = {{ name = 'per_class', per_class = 4 }}\n\
         optimizer = {{ name = 'adamw', lr = 1e-6 }}\n{extra}",
        folder.display()
    );
    RunConfig::parse::<&str>(&text, &[]).unwrap()
}

fn options(folder: &Path) -> TuneOptions {
    TuneOptions { out: folder.join("tune"), resume: false, force: false, seeds: 2, stop: Arc::default() }
}

const SPACE: &str = "[tune]\ntrials = 6\nfolds = 2\nsearch = 'random'\n[tune.space]\n\
    'train.optimizer.lr' = { low = 1e-6, high = 0.1, log = true }\n'objective.loss' = ['multi_similarity', 'contrastive']\n";

#[test]
fn a_search_finds_better_settings_writes_them_down_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), SPACE);
    let whole = tune(&config, &options(folder.path()), &mut |_| ()).unwrap();
    assert_eq!(whole.tuned.trials.len(), 6);
    assert!(whole.tuned.best > 0 && whole.tuned.best().mean > whole.tuned.trials[0].mean);
    let gain = whole.gain.as_ref().unwrap();
    assert!(gain.after > gain.before && gain.change.seeds == 2, "{gain:?}");
    for name in [JOURNAL, RESULT, BEST, PAGE] {
        assert!(folder.path().join("tune").join(name).is_file(), "{name}");
    }
    // The best settings are a run file, and say what the trial said.
    let best = RunConfig::load::<&str>(&whole.best_config, &[]).unwrap();
    let lr = whole.tuned.best().point["train.optimizer.lr"].as_f64().unwrap();
    assert_eq!(best.train.optimizer.adamw().lr, lr);
    assert!(best.tune.is_none());
    assert!(whole.table().contains("what mattered"));

    let refused = tune(&config, &options(folder.path()), &mut |_| ()).unwrap_err();
    assert!(refused.to_string().contains("already holds a search") && refused.hint().is_some());

    // Stopped after some measurements, the search goes on to the same end.
    let stop = Arc::new(AtomicBool::new(false));
    let seen = AtomicUsize::new(0);
    let other =
        TuneOptions { out: folder.path().join("other"), stop: stop.clone(), ..options(folder.path()) };
    let stopped = tune(&config, &other, &mut |progress| {
        if matches!(progress, Progress::Measured { .. }) && seen.fetch_add(1, Ordering::Relaxed) == 4 {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    stop.store(false, Ordering::Relaxed);
    let again = tune(&config, &TuneOptions { resume: true, ..other }, &mut |_| ()).unwrap();
    assert_eq!(again.tuned.best, whole.tuned.best);
    let means = |report: &TuneReport| report.tuned.trials.iter().map(|trial| trial.mean).collect::<Vec<_>>();
    assert_eq!(means(&again), means(&whole));
    assert_eq!(again.gain, whole.gain);
}

#[test]
fn folds_hold_whole_classes_out_and_never_a_test_row() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), SPACE);
    let prepared = Prepared::new(&config).unwrap();
    let labels = prepared.data.classes().unwrap();
    let mut seen = Vec::new();
    for fold in 0..2 {
        let parts = prepared.folds.parts(fold);
        let (train, test) = (labels.select(&parts.train), labels.select(&parts.test));
        assert!(test.iter().all(|class| !train.contains(class)));
        assert!(parts.test.iter().all(|row| prepared.parts.train.contains(row)));
        seen.extend(parts.test);
    }
    seen.sort_unstable();
    assert_eq!(seen, prepared.parts.train);
    // One fold is a part held out, and says so.
    let one = super::tests::config(folder.path(), &SPACE.replace("folds = 2", "folds = 1"));
    let prepared = Prepared::new(&one).unwrap();
    let said = format!("{} of {} training rows held out", prepared.folds.parts(0).test.len(), seen.len());
    assert!(prepared.folds.describe().starts_with(&said), "{}", prepared.folds.describe());
}

#[test]
fn what_a_run_would_refuse_is_refused_before_the_first_trial() {
    let folder = tempfile::tempdir().unwrap();
    for (space, says) in [
        ("'train.optimiser.lr' = [1e-3, 1e-2]", "train.optimi"),
        ("'train.epochs' = [1, 'many']", "train.epochs"),
        ("'objective.loss' = ['multi_similarity', 'no_such_loss']", "no_such_loss"),
        ("'train.batch_size' = { low = 9, high = 3 }", "low end"),
    ] {
        let text = format!("[tune]\n[tune.space]\n{space}\n");
        let error = tune(&config(folder.path(), &text), &options(folder.path()), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(!folder.path().join("tune").exists());
    }
    let many = config(folder.path(), "[tune]\nfolds = 12\n");
    let error = tune(&many, &options(folder.path()), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("cannot make 12 folds"), "{error}");
    let wrong = config(folder.path(), "[tune]\nmeasure = 'ndcg@3'\n");
    assert!(tune(&wrong, &options(folder.path()), &mut |_| ()).unwrap_err().to_string().contains("ndcg@3"));
}

#[test]
fn what_is_searched_can_be_typed() {
    let range = |text: &str| match dimension(text).unwrap() {
        (key, Dimension::Range(range)) => (key, range.low.to_string(), range.high.to_string(), range.log),
        other => panic!("{other:?}"),
    };
    assert_eq!(range("train.epochs=1..4"), ("train.epochs".into(), "1".into(), "4".into(), false));
    let (_, low, high, log) = range("a.b = 1e-6 .. 1e-3,log");
    assert_eq!((low.parse::<f64>().unwrap(), high.parse::<f64>().unwrap(), log), (1e-6, 1e-3, true));
    let list = |text: &str| match dimension(text).unwrap().1 {
        Dimension::Choices(values) => serde_json::to_string(&values).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(list("x=[1, 2.5]"), "[1,2.5]");
    assert_eq!(list("x=[contrastive, supcon]"), r#"["contrastive","supcon"]"#);
    assert_eq!(list("x=[{ name = 'circle', m = 0.3 }, 'supcon']"), r#"[{"name":"circle","m":0.3},"supcon"]"#);
    for wrong in ["x", "x=5", "x=1..", "x=a..b", "=1..2,", "x=[1"] {
        assert!(dimension(wrong).is_err() || wrong == "=1..2,", "{wrong}");
    }
}

#[test]
fn a_trial_measures_what_a_run_measures_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "");
    config.train.optimizer = parallax_train::optimizer::Optimizer::Adamw(parallax_train::optimizer::AdamW {
        lr: 1e-3,
        ..Default::default()
    });
    config.output.report = false;
    let before: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    let options = TrialOptions { before: true, on_train: true, vectors: true, ..TrialOptions::default() };
    let tried = trial(&config, &options, &mut |_| ()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before.len());
    let out = folder.path().join("run");
    let outcome =
        run::train(config.clone(), run::TrainOptions { out: Some(out), ..Default::default() }, &mut |_| ())
            .unwrap();
    for measure in &outcome.measures {
        assert_eq!(Some(value(tried.before.as_ref().unwrap(), &measure.name).unwrap()), measure.before);
        assert_eq!(Some(value(&tried.after, &measure.name).unwrap()), measure.after);
    }
    assert_eq!(tried.steps, outcome.training.steps);
    assert_eq!(tried.losses.len(), tried.steps as usize);
    let vectors = tried.vectors.unwrap();
    assert_eq!(vectors.train.len(), vectors.train_labels.len() * vectors.dim);
    // Half of the steps are half of them.
    let half = trial(&config, &TrialOptions { share: 0.5, ..TrialOptions::default() }, &mut |_| ()).unwrap();
    assert_eq!(half.steps, tried.steps.div_ceil(2));
    assert!(trial(&config, &TrialOptions { share: 0.0, ..TrialOptions::default() }, &mut |_| ()).is_err());
}
