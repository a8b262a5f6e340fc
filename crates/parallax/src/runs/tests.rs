use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Details, Difference, Run, State, find, hold, list, table};
use crate::RunConfig;
use crate::run::{MeasureChange, Outcome};

fn config(folder: &Path, sets: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    let text =
        "[data]\npath = ['a/train.csv', 'b.csv']\n[model]\npath = 'x/mini'\n[objective]\nloss = 'supcon'\n";
    fs::write(folder.join("config.toml"), RunConfig::parse(text, sets).unwrap().to_toml().unwrap()).unwrap();
}

fn outcome(after: f64, rows: &str) -> Outcome {
    let measure = |name: &str, after: f64| MeasureChange {
        name: name.to_owned(),
        before: Some(0.5),
        after: Some(after),
        definition: "of y".to_owned(),
        ..MeasureChange::default()
    };
    let mut outcome = Outcome { part: "test".to_owned(), mode: "m".to_owned(), ..Outcome::default() };
    outcome.measures = vec![measure("precision@1", 0.9), measure("map@r", after)];
    outcome.data.measured_sha256 = rows.to_owned();
    outcome.data.sha256 = "data".to_owned();
    outcome
}

fn results(folder: &Path, outcome: &Outcome, second: u64) {
    let path = folder.join("metrics.json");
    fs::write(&path, serde_json::to_string(outcome).unwrap()).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(second);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn states_and_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    config(&at("old"), &[]);
    results(&at("old"), &outcome(0.75, "r"), 1_000_000_000);
    config(&at("older"), &["objective.miner=multi_similarity"]);
    results(&at("older"), &outcome(0.25, "r"), 999_999_999);
    config(&at("failed"), &[]);
    config(&at("stopped"), &[]);
    fs::create_dir(at("stopped/checkpoint")).unwrap();
    fs::write(at("stopped/checkpoint/state.json"), "{}").unwrap();
    config(&at("broke"), &[]);
    fs::create_dir(at("broke/checkpoint")).unwrap();
    fs::write(at("broke/checkpoint/state.json"), "{}").unwrap();
    fs::write(at("broke/error.txt"), "step 7: the loss is not finite\n").unwrap();
    config(&at("works"), &[]);
    let held = hold(&at("works")).unwrap();
    fs::create_dir(at("no-run")).unwrap();
    fs::create_dir(at("damaged")).unwrap();
    fs::write(at("damaged/config.toml"), "= 1").unwrap();

    let runs = list(root.path()).unwrap();
    let state = |name: &str| runs.iter().find(|run| run.name == name).unwrap().state;
    assert_eq!(runs[..2].iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["older", "old"]);
    assert_eq!(runs.len(), 7);
    assert_eq!(state("old"), State::Finished);
    assert_eq!(state("failed"), State::Failed);
    assert_eq!(state("stopped"), State::Interrupted);
    assert_eq!(state("broke"), State::Failed);
    assert_eq!(state("works"), State::Running);
    drop(held);
    assert_eq!(Run::open(&at("works")).state, State::Failed);

    let old = &runs[1];
    assert_eq!(old.when, "2001-09-09T01:46:40Z");
    assert_eq!((old.data.join("+"), old.model.as_str()), ("train.csv+b.csv".to_owned(), "mini"));
    assert_eq!(old.objective, "supcon");
    assert_eq!(runs[0].objective, "supcon + multi_similarity miner");
    // train.validate_with is map@r, the second of the measures.
    assert_eq!(old.main.as_ref().unwrap().after, Some(0.75));
    let text = table(&runs);
    for part in ["2001-09-09 01:46", "0.5000", "0.7500", "+0.2500", "step 7: the loss", "config.toml: "] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_run_is_found_by_name_path_or_nearly() {
    let root = tempfile::tempdir().unwrap();
    config(&root.path().join("support"), &[]);
    let there = |name: &Path| find(name, root.path()).map(|run| run.name).map_err(|e| e.to_string());
    assert_eq!(there(Path::new("support")).unwrap(), "support");
    assert_eq!(there(&root.path().join("support")).unwrap(), "support");
    for name in [Path::new("suport").to_owned(), root.path().join("suport")] {
        let message = there(&name).unwrap_err();
        assert!(message.contains("did you mean \"support\"?"), "{message}");
    }
    fs::create_dir(root.path().join("empty")).unwrap();
    assert!(there(&root.path().join("empty")).unwrap_err().contains("no run"));
    assert!(find(Path::new("x"), &root.path().join("empty")).unwrap_err().to_string().contains("no runs"));
    assert!(find(Path::new("x"), &root.path().join("none")).is_err());
}

#[test]
fn details_show_what_is_not_the_default() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("r");
    config(&folder, &["train.epochs=7", "name=other"]);
    results(&folder, &outcome(0.75, "r"), 5);
    fs::write(folder.join("metrics.jsonl"), "{\"step\":1,\"loss\":2.0}\n{\"step\":2,\"loss\":1.0}\n")
        .unwrap();
    fs::create_dir(folder.join("model")).unwrap();
    fs::write(folder.join("model/w"), [0; 1500]).unwrap();
    let details = Details::of(Run::open(&folder)).unwrap();
    let keys: Vec<&str> = details.settings.iter().map(|s| s.key.as_str()).collect();
    assert!(keys.contains(&"train.epochs") && keys.contains(&"objective.loss.name"), "{keys:?}");
    assert!(!keys.contains(&"train.batch_size") && !keys.contains(&"name"), "{keys:?}");
    let text = details.to_string();
    for part in ["train.epochs", "█▁", "2.0000 to 1.0000", "model/", "1.5 kB", "map@r", "+0.2500"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let json = serde_json::to_value(&details).unwrap();
    assert_eq!(json["state"], "finished");
    assert_eq!(json["curves"][0]["points"][1][1], 1.0);
}

#[test]
fn runs_are_compared_only_on_the_same_rows() {
    let root = tempfile::tempdir().unwrap();
    let make = |name: &str, sets: &[&str], outcome: Option<Outcome>| {
        let folder = root.path().join(name);
        config(&folder, sets);
        outcome.iter().for_each(|outcome| results(&folder, outcome, 5));
        Run::open(&folder)
    };
    let a = make("a", &[], Some(outcome(0.75, "r")));
    let b = make("b", &["train.epochs=7", "output.dir=elsewhere"], Some(outcome(0.5, "r")));
    let difference = Difference::of(&a, &b);
    assert_eq!(difference.settings.len(), 1, "{:?}", difference.settings);
    assert_eq!(difference.settings[0].key, "train.epochs");
    assert!(difference.incomparable.is_empty());
    assert_eq!(difference.measures[1].difference, Some(-0.25));
    let text = difference.to_string();
    assert!(text.contains("-0.2500") && text.contains("same rows"), "{text}");

    let mut other = outcome(0.5, "other");
    other.seed = 3;
    let c = make("c", &["seed=3", "data.split=random"], Some(other));
    let difference = Difference::of(&a, &c);
    assert_eq!(difference.measures[1].difference, None);
    let why = difference.incomparable.join("\n");
    assert!(why.contains("splits differ") && why.contains("0 against 3"), "{why}");
    assert!(difference.to_string().contains("cannot be compared"));
    // The same rows by another way to the same split are the same rows.
    let mut same = outcome(0.5, "r");
    same.seed = 3;
    let difference = Difference::of(&a, &make("d", &["seed=3", "data.split=random"], Some(same)));
    assert!(difference.incomparable.is_empty(), "{:?}", difference.incomparable);

    let mut bytes = outcome(0.5, "other");
    bytes.data.sha256 = "changed".to_owned();
    let difference = Difference::of(&a, &make("e", &[], Some(bytes)));
    assert!(difference.incomparable[0].contains("other bytes of the same name"), "{difference}");
    let difference = Difference::of(&a, &make("f", &[], None));
    assert!(difference.incomparable[0].contains("f has no results: it is failed"), "{difference}");
    assert_eq!(difference.measures[0].b, [None, None]);
}

#[test]
fn differences_have_intervals_where_single_queries_were_kept() {
    let root = tempfile::tempdir().unwrap();
    let make = |name: &str, values: &[[f32; 2]]| {
        let folder = root.path().join(name);
        config(&folder, &[]);
        let mean = values.iter().map(|v| f64::from(v[1])).sum::<f64>() / values.len() as f64;
        let outcome = Outcome { queries: values.len(), ..outcome(mean, "r") };
        results(&folder, &outcome, 5);
        let mut file = parallax_data::NpyWriter::create(folder.join(super::QUERIES), 2).unwrap();
        file.push_rows(values.as_flattened()).unwrap();
        file.finish().unwrap();
        Run::open(&folder)
    };
    let a = make("a", &[[0.0, 0.25], [1.0, 0.5], [0.0, 0.0], [1.0, 0.75]]);
    // Every query gains a quarter: whichever are drawn, the mean does.
    let b = make("b", &[[0.0, 0.5], [1.0, 0.75], [1.0, 0.25], [1.0, 1.0]]);
    let found = Difference::of(&a, &b);
    assert_eq!(found.measures[1].interval, Some([0.25, 0.25]));
    assert!(found.to_string().contains("+0.2500 (+0.2500 to +0.2500)"), "{found}");
    // One of four gains 1: the mean of four drawn gains between 0 and 3/4 in 95 of 100.
    assert_eq!(found.measures[0].interval, Some([0.0, 0.75]));
    let other = make("other", &[[0.0, 0.5]]);
    assert_eq!(Difference::of(&a, &other).measures[1].interval, None);
    fs::remove_file(b.folder.join(super::QUERIES)).unwrap();
    let found = Difference::of(&a, &b);
    assert!(found.measures[1].difference.is_some() && found.measures[1].interval.is_none());
    assert!(found.to_string().contains("no intervals"), "{found}");
}
