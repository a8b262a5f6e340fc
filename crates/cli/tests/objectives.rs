//! One tiny run of every kind of objective: what it is given, what it learns beside the model, and that it goes on after a
//! kill with the same bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A run file of a tiny encoder on the support table; `train` stands at its end, in `[train]`.
fn run_file(folder: &Path, objective: &str, train: &str) -> PathBuf {
    let path = folder.join("run.toml");
    let text = format!(
        "output.report = false\n[data]\npath = {:?}\nsplit = {{ name = \"class_disjoint\", seen = 16, validation = 4 }}\n\
         [model]\npath = {:?}\n[objective]\n{objective}\n[evaluate]\nresamples = 0\n\
         [train]\nbatch_size = 16\nsampler = {{ name = \"per_class\", per_class = 4 }}\n{train}\n",
        workspace().join("examples/support.csv"),
        workspace().join("crates/nn/tests/reference/bert"),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn command(config: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parallax"));
    command.arg("train").arg(config).arg("--out").arg(out).args(more);
    command
}

fn ok(output: Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    err
}

/// Every step of the log but the times.
fn log(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let line = |line| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("seconds");
        value
    };
    text.lines().map(line).collect()
}

fn weights(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("model/model.safetensors")).unwrap()
}

/// A run killed in the middle and resumed, with one thread and with two, ends like one that was never touched.
fn resumes(objective: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let train =
        "max_steps = 60\nepochs = 20\ncheckpoint_every = 5\noptimizer = { name = \"adamw\", lr = 1e-3 }";
    let config = run_file(folder.path(), objective, train);
    let whole = folder.path().join("whole");
    ok(command(&config, &whole, &["--threads", "2"]).output().unwrap());
    let steps = log(&whole);
    for threads in ["1", "2"] {
        let out = folder.path().join(format!("killed-{threads}"));
        let mut child = command(&config, &out, &["--threads", threads])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < 23 {
            assert!(begun.elapsed() < Duration::from_secs(300));
            assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let resumed = command(&config, &out, &["--threads", threads, "--resume"]).output().unwrap();
        assert!(ok(resumed).contains("going on after step"));
        assert_eq!(log(&out), steps, "{objective}, {threads} threads");
        assert!(weights(&out) == weights(&whole), "{objective}, {threads} threads");
    }
    steps
}

fn losses(steps: &[Value]) -> Vec<f64> {
    steps.iter().filter_map(|step| step["loss"].as_f64()).collect()
}

#[test]
fn proxies_are_learned_and_resumed() {
    let losses = losses(&resumes("loss = \"proxy_anchor\""));
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert_eq!(losses.len(), 60);
    assert!(mean(&losses[50..]) < 0.9 * mean(&losses[..10]), "{losses:?}");
}

#[test]
fn a_boundary_is_learned_and_resumed() {
    let steps = resumes("loss = { name = \"margin\", learn_beta = true }\nminer = \"distance_weighted\"");
    let betas: Vec<f64> = steps.iter().filter_map(|step| step["scalars"][0].as_f64()).collect();
    assert_eq!(betas.len(), 60);
    assert!((betas[59] - 1.2).abs() > 0.01, "{betas:?}");
}

#[test]
fn every_rate_is_its_own() {
    let run = |rates: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = run_file(folder.path(), "loss = \"proxy_nca\"", &format!("max_steps = 3\n{rates}"));
        let out = folder.path().join("out");
        ok(command(&config, &out, &[]).output().unwrap());
        losses(&log(&out))
    };
    let (default, given, fixed) = (run(""), run("proxy_lr = 2e-3"), run("proxy_lr = 0.0"));
    assert_eq!(default, given, "100 times 2e-5");
    assert_eq!(default[0], fixed[0]);
    assert!(default[2] != fixed[2], "proxies that move change the loss");
}

#[test]
fn losses_on_whole_batches_train() {
    for loss in ["n_pairs", "angular", "histogram", "manifold", "soft_triple", "arcface"] {
        let folder = tempfile::tempdir().unwrap();
        let config = run_file(folder.path(), &format!("loss = \"{loss}\""), "max_steps = 3");
        let out = folder.path().join("out");
        let said = ok(command(&config, &out, &[]).output().unwrap());
        assert!(said.contains("objective: ") && said.contains(" MiB beside the model"), "{said}");
        assert_eq!(losses(&log(&out)).len(), 3, "{loss}");
    }
}

/// Pairs of texts with a score: 1 where both are of one intent, 0.2 where they are not.
fn scored_pairs(folder: &Path) -> PathBuf {
    let table = std::fs::read_to_string(workspace().join("examples/support.csv")).unwrap();
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .filter(|line| !line.contains('"'))
        .filter_map(|line| line.rsplit_once(','))
        .collect();
    let mut text = String::from("sentence1,sentence2,score\n");
    for (at, (first, intent)) in rows.iter().enumerate() {
        for step in [1, 29] {
            let (second, other) = rows[(at + step) % rows.len()];
            let quoted = |text: &str| format!("\"{text}\"");
            let score = if *intent == other { 1.0 } else { 0.2 };
            text.push_str(&format!("{},{},{score}\n", quoted(first), quoted(second)));
        }
    }
    let path = folder.join("pairs.csv");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn scored_pairs_are_learned_and_measured_by_correlation() {
    let folder = tempfile::tempdir().unwrap();
    let table = scored_pairs(folder.path());
    let model = workspace().join("crates/nn/tests/reference/bert");
    for loss in ["cosent", "angle", "cosine_mse"] {
        let out = folder.path().join(loss);
        let loss = format!("objective.loss={loss}");
        let model = model.to_str().unwrap();
        let more = [
            "--json",
            "--model",
            model,
            "--set",
            &loss,
            "--set",
            "train.max_steps=30",
            "--set",
            "train.batch_size=32",
            "--set",
            "train.optimizer.lr=1e-3",
        ];
        let output = command(&table, &out, &more).output().unwrap();
        let said = ok(output.clone());
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: Vec<&str> = result["measures"]
            .as_object()
            .map(|measures| measures.keys().map(String::as_str).collect())
            .unwrap_or_else(|| {
                result["measures"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect()
            });
        assert_eq!(names, ["spearman", "pearson"], "{said}");
        assert!(losses(&log(&out)).len() == 30);
        assert!(result.to_string().contains("share the mean of their ranks"), "{result}");
    }
}

#[test]
fn a_loss_named_for_bare_data_takes_the_chosen_miner_away() {
    let folder = tempfile::tempdir().unwrap();
    let (table, out) = (workspace().join("examples/support.csv"), folder.path().join("out"));
    let model = workspace().join("crates/nn/tests/reference/bert");
    let model = model.to_str().unwrap();
    let more = ["--dry-run", "--model", model, "--set", "objective.loss=n_pairs"];
    let output = command(&table, &out, &more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ok(output);
    assert!(said.contains("loss: n_pairs, miner: none"), "{said}");
    assert!(said.contains("MiB beside the model"), "{said}");
}

#[test]
fn what_cannot_be_fed_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (objective, parts) in [
        ("loss = \"margin_mse\"", &["margin_mse", "teacher"][..]),
        ("loss = \"listwise_kl\"", &["listwise_kl", "teacher"]),
        ("loss = { name = \"mnrl\", teacher_guided = true }", &["multiple_negatives_ranking", "teacher"]),
        ("loss = \"cosent\"", &["cosent", "score", "classes"]),
        ("loss = \"vicreg\"", &["vicreg", "pairs"]),
    ] {
        let config = run_file(folder.path(), objective, "max_steps = 3");
        let output = command(&config, &out, &[]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in parts.iter().chain(&["error: ", "hint: "]) {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        assert!(!out.exists(), "left something behind");
    }
    let table = scored_pairs(folder.path());
    let model = workspace().join("crates/nn/tests/reference/bert");
    let more = ["--model", model.to_str().unwrap(), "--set", "objective.loss=mnrl"];
    let output = command(&table, &out, &more).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("each pair has a score"), "{message}");
}
