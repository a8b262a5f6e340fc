//! A run that is killed at any step and resumed ends with the same bytes as one that was never touched, with one thread
//! and with two.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A run of a tiny encoder with a head, dropout, validation and a schedule: everything that a checkpoint must hold.
fn configuration(folder: &Path) -> PathBuf {
    let path = folder.join("run.toml");
    let text = format!(
        r#"
[data]
path = {table:?}
split = {{ name = "class_disjoint", seen = 16, validation = 4 }}
[model]
path = {model:?}
[head]
name = "multi_head"
heads = 4
[objective]
loss = "multi_similarity"
miner = "multi_similarity"
[train]
epochs = 30
batch_size = 16
sampler = {{ name = "per_class", per_class = 4 }}
optimizer = {{ name = "adamw", lr = 1e-3 }}
schedule = {{ name = "cosine", warmup = 10 }}
clip_norm = 1.0
groups = [{{ parameters = "head", lr = 3e-3, weight_decay = 0.0 }}]
validate_every = 25
checkpoint_every = 10
[evaluate]
resamples = 200
"#,
        table = workspace().join("examples/support.csv"),
        model = workspace().join("crates/nn/tests/reference/bert"),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn start(config: &Path, out: &Path, threads: usize, resume: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parallax"));
    command.arg("train").arg(config).arg("--out").arg(out).args(["--threads", &threads.to_string()]);
    if resume {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until `lines` steps are logged, then kills without warning.
fn kill_after(mut child: Child, log: &Path, lines: usize) {
    let begun = Instant::now();
    loop {
        let logged = std::fs::read_to_string(log).map_or(0, |text| text.lines().count());
        if logged >= lines {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "no {lines} lines in {}", log.display());
        assert!(child.try_wait().unwrap().is_none(), "ended before line {lines}");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
}

/// Every value of the log but the times.
fn log(out: &Path) -> Vec<Value> {
    std::fs::read_to_string(out.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            value.as_object_mut().unwrap().remove("seconds");
            value
        })
        .collect()
}

fn tensors(out: &Path) -> Vec<(String, Vec<u8>)> {
    ["model/model.safetensors", "model/3_MultiHeadProjection/model.safetensors"]
        .map(|name| (name.to_owned(), std::fs::read(out.join(name)).unwrap()))
        .to_vec()
}

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path());
    let whole = folder.path().join("whole");
    finish(start(&config, &whole, 2, false));
    assert!(log(&whole).len() > 200);
    for (threads, kills) in [(1, vec![37]), (2, vec![3]), (2, vec![88, 141, 205])] {
        let out = folder.path().join(format!("killed-{threads}-{}", kills.len()));
        for (at, &lines) in kills.iter().enumerate() {
            kill_after(start(&config, &out, threads, at > 0), &out.join("metrics.jsonl"), lines);
        }
        finish(start(&config, &out, threads, true));
        assert_eq!(log(&whole), log(&out), "{threads} threads, killed after {kills:?}");
        for (a, b) in tensors(&whole).into_iter().zip(tensors(&out)) {
            assert!(a == b, "{}: {threads} threads, killed after {kills:?}", a.0);
        }
        assert!(!out.join("checkpoint").exists(), "a finished run keeps no checkpoint");
    }
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path());
    let out = folder.path().join("run");
    kill_after(start(&config, &out, 2, false), &out.join("metrics.jsonl"), 30);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("lr = 1e-3", "lr = 2e-3")).unwrap();
    let output = start(&config, &out, 2, true).wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("state.json"), "{message}");
    assert!(message.contains("hint:"), "{message}");
}
