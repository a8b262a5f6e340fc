use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Folder;

const SPACE: &str = "max_steps = 6\n[tune]\ntrials = 3\nfolds = 2\nsearch = \"random\"\n[tune.space]\n\
    \"train.optimizer.lr\" = { low = 1e-5, high = 1e-2, log = true }\n";

#[test]
fn a_search_tells_what_it_tried_what_mattered_and_what_was_gained() {
    let folder = Folder::new();
    folder.run_file("run.toml", SPACE);
    let report = folder.run(&["tune", "run.toml", "--seeds", "2", "--json", "--quiet"]).json();
    assert_eq!(report["trials"].as_array().unwrap().len(), 3);
    assert_eq!(report["gain"]["change"]["seeds"], 2);
    assert_eq!(report["importance"][0]["key"], "train.optimizer.lr");
    for name in ["trials.jsonl", "tune.json", "best.toml", "tune.html"] {
        assert!(folder.path("runs/run-tune").join(name).is_file(), "{name}");
    }
    // The best settings are a run file that trains.
    folder.run(&["train", "runs/run-tune/best.toml", "--dry-run", "--quiet"]).ok();

    folder.refused(&["tune", "run.toml"]).names(&["already holds a search"]).hints("--resume");
    // More trials go on with the same search: what was measured is not measured again.
    let more = folder
        .run(&[
            "tune",
            "run.toml",
            "--resume",
            "--trials",
            "4",
            "--seeds",
            "0",
            "--search",
            "train.optimizer.lr=1e-5..1e-2,log",
        ])
        .ok();
    assert!(more.contains("4 trials, 4 of them on all folds"), "{more}");
    assert!(more.contains("what mattered"), "{more}");
    folder.refused(&["tune", "run.toml", "--resume", "--search", "train.epochs=1..3"]).hints("--force");
}

#[test]
fn what_cannot_be_searched_is_refused_by_name() {
    let folder = Folder::new();
    folder.run_file("run.toml", "max_steps = 6");
    folder.refused(&["tune", "run.toml", "--search", "train.epochs=5"]).hints("1..4");
    folder.refused(&["tune", "run.toml", "--search", "train.epoch=1..4"]).names(&["train.epoch"]);
    folder
        .refused(&["tune", "run.toml", "--search", "objective.loss=[supcon,tripplet]"])
        .names(&["tripplet"]);
    folder.refused(&["tune", "run.toml", "--set", "tune.folds=0"]).names(&["tune.folds"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_search_in_good_order_and_it_goes_on_to_the_same_end() {
    let folder = Folder::new();
    folder.run_file("run.toml", &SPACE.replace("trials = 3", "trials = 12"));
    let mut child = folder
        .command(&["tune", "run.toml", "--seeds", "0", "--out", "stopped"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = folder.path("stopped/trials.jsonl");
    let begun = Instant::now();
    let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    while lines() < 4 && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!((4..26).contains(&lines()), "{} lines", lines());
    let resumed = folder
        .run(&["tune", "run.toml", "--seeds", "0", "--out", "stopped", "--resume", "--json", "-q"])
        .json();
    let whole = folder.run(&["tune", "run.toml", "--seeds", "0", "--out", "whole", "--json", "-q"]).json();
    assert_eq!(resumed["best"], whole["best"]);
    for (a, b) in resumed["trials"].as_array().unwrap().iter().zip(whole["trials"].as_array().unwrap()) {
        assert_eq!((&a["point"], &a["scores"]), (&b["point"], &b["scores"]));
    }
}
