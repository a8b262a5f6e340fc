//! Runs of the real program on small data: what it accepts, what it refuses, and what it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn reference(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/reference").join(family)
}

fn support() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/support.csv")
}

struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Run { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Rows of vectors as an .npy file.
    fn npy(&self, name: &str, rows: &[Vec<f32>]) -> PathBuf {
        let mut header = format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
            rows.len(),
            rows[0].len()
        );
        while !(header.len() + 11).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
        self.write(name, bytes)
    }

    fn train(&self, toml: &str, extra: &[&str]) -> Output {
        let config = self.write("run.toml", toml);
        let out = self.path("out");
        Command::new(env!("CARGO_BIN_EXE_parallax"))
            .arg("train")
            .arg(config)
            .arg("--out")
            .arg(out)
            .args(["--json", "--quiet"])
            .args(extra)
            .output()
            .unwrap()
    }

    /// The result of a run that must succeed.
    fn result(&self, toml: &str, extra: &[&str]) -> Value {
        let output = self.train(toml, extra);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A run that must be refused with all of `wanted` in its message, a hint, and nothing left behind.
    #[track_caller]
    fn refused(&self, toml: &str, wanted: &[&str]) {
        let output = self.train(toml, &[]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in wanted.iter().chain(&["error: ", "hint: "]) {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        assert!(!message.contains("panicked"), "{message}");
        assert!(
            !self.path("out").exists(),
            "left behind: {:?}",
            std::fs::read_dir(self.path("out")).unwrap().count()
        );
    }
}

fn on(data: &Path, model: &Path) -> String {
    format!(
        "[data]\npath = {data:?}\n[model]\npath = {model:?}\n[train]\nbatch_size = 16\nmax_steps = 3\n\
         sampler = {{ name = \"per_class\", per_class = 4 }}\n"
    )
}

fn measure<'a>(result: &'a Value, name: &str) -> &'a Value {
    let measure = &result["measures"][name];
    assert!(measure.is_object(), "{name} is not among {}", result["measures"]);
    measure
}

#[test]
fn every_family_trains_and_its_folder_opens() {
    for family in ["bert", "roberta", "xlm_roberta", "distilbert", "mpnet"] {
        let run = Run::new();
        let result = run.result(&on(&support(), &reference(family)), &[]);
        assert_eq!(result["training"]["steps"], 3);
        assert!(result["training"]["parameters"][0].as_u64() > Some(10_000));
        let map = measure(&result, "map@r");
        assert!(map["before"] != map["after"], "{family}: training changed nothing");
        assert!(map["definition"].as_str().unwrap().contains("divided by R"));
        let out = run.path("vectors.jsonl");
        let texts = run.write("texts.txt", "one\ntwo words\n");
        let output = Command::new(env!("CARGO_BIN_EXE_parallax"))
            .arg("embed")
            .arg(run.path("out/model"))
            .arg(texts)
            .arg("-o")
            .arg(&out)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), 2);
        let card = std::fs::read_to_string(run.path("out/model/README.md")).unwrap();
        assert!(card.contains("loss:multi_similarity") && card.contains("map@r"), "{card}");
    }
}

#[test]
fn a_run_is_the_same_with_one_thread_and_two() {
    let bytes = |threads: &str| {
        let run = Run::new();
        run.result(&on(&support(), &reference("mpnet")), &["--threads", threads]);
        std::fs::read(run.path("out/model/model.safetensors")).unwrap()
    };
    assert!(bytes("1") == bytes("2"));
}

/// Vectors whose classes differ in two of eight dimensions; the rest is noise of a larger scale.
fn noisy_classes(classes: usize, per_class: usize) -> (Vec<Vec<f32>>, Vec<String>) {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for class in 0..classes {
        let angle = class as f32 * 2.4;
        for _ in 0..per_class {
            let mut row: Vec<f32> = (0..8).map(|_| 2.0 * noise()).collect();
            row[0] = angle.cos() + 0.2 * noise();
            row[1] = angle.sin() + 0.2 * noise();
            rows.push(row);
            labels.push(format!("c{class:02}"));
        }
    }
    (rows, labels)
}

fn vectors_config(run: &Run, rows: &[Vec<f32>], labels: &[String], rest: &str) -> String {
    let vectors = run.npy("vectors.npy", rows);
    let table = run.write("labels.csv", format!("label\n{}\n", labels.join("\n")));
    format!("[data]\npath = {table:?}\nvectors = {vectors:?}\n{rest}")
}

const ADAPT: &str = "[train]\nepochs = 40\nbatch_size = 40\noptimizer = { name = \"adamw\", lr = 0.02 }\n\
                     sampler = { name = \"per_class\", per_class = 4 }\n[objective]\n";

#[test]
fn every_loss_and_head_improves_vectors_on_unseen_classes() {
    let (rows, labels) = noisy_classes(20, 12);
    for loss in [
        "loss = \"multi_similarity\"\nminer = \"multi_similarity\"",
        "loss = \"supcon\"",
        "loss = \"ntxent\"",
        "loss = \"contrastive\"",
    ] {
        let run = Run::new();
        let result = run.result(&vectors_config(&run, &rows, &labels, &format!("{ADAPT}{loss}\n")), &[]);
        let map = measure(&result, "map@r");
        assert!(map["change_interval"][0].as_f64() > Some(0.0), "{loss}: {map}");
    }
    for head in ["linear", "mlp", "residual", "multi_head"] {
        let run = Run::new();
        let rest = format!("{ADAPT}[head]\nname = \"{head}\"\n");
        let result = run.result(&vectors_config(&run, &rows, &labels, &rest), &[]);
        let map = measure(&result, "map@r");
        assert!(map["after"].as_f64() > map["before"].as_f64(), "{head}: {map}");
        // The adapter's folder turns stored vectors into adapted ones.
        let out = run.path("adapted.npy");
        let output = Command::new(env!("CARGO_BIN_EXE_parallax"))
            .arg("embed")
            .arg(run.path("out/model"))
            .arg(run.path("vectors.npy"))
            .arg("-o")
            .arg(&out)
            .output()
            .unwrap();
        assert!(output.status.success(), "{head}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(out.metadata().unwrap().len() > 240 * 4);
    }
}

#[test]
fn pairs_train_with_ranking_and_report_masked_duplicates() {
    let run = Run::new();
    let rows: Vec<String> =
        (0..60).map(|i| format!("question {} about {},answer {}", i, i % 7, i % 30)).collect();
    let table = run.write("pairs.csv", format!("question,answer\n{}\n", rows.join("\n")));
    let toml = format!(
        "[data]\npath = {table:?}\nsplit = {{ name = \"random\", test = 0.3 }}\n[model]\npath = {:?}\n\
         [objective]\nloss = \"multiple_negatives_ranking\"\n[train]\nepochs = 2\nbatch_size = 14\n\
         sampler = {{ name = \"shuffled\", no_duplicates = false }}\n",
        reference("bert")
    );
    let result = run.result(&toml, &[]);
    assert_eq!(result["training"]["negatives_per_anchor"], 13.0);
    let log = std::fs::read_to_string(run.path("out/metrics.jsonl")).unwrap();
    let masked: u64 = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["masked_false_negatives"].as_u64().unwrap())
        .sum();
    assert!(masked > 0, "rows that share an answer are not each other's negatives: {log}");
}

#[test]
fn freezing_and_early_stopping_do_what_they_say() {
    let run = Run::new();
    let toml = format!(
        "{}\nfreeze = [\"encoder\"]\nvalidate_every = 1\npatience = 2\n[head]\nname = \"linear\"\n[data.split]\n\
         name = \"class_disjoint\"\nseen = 16\nvalidation = 4\n",
        on(&support(), &reference("bert"))
            .replace("max_steps = 3", "epochs = 40\noptimizer = { name = \"adamw\", lr = 0.0 }")
    );
    let result = run.result(&toml, &[]);
    // A rate of 0 never improves on the first validation: two more and the run ends.
    assert_eq!(result["training"]["steps"], 3, "{result}");
    assert_eq!(result["training"]["parameters"][0], 32 * 32);
    let kept = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap().len();
    assert!(kept(&run.path("out/model")) > 50_000);
}

#[test]
fn bad_data_is_refused_by_file_row_and_field() {
    let model = reference("bert");
    let run = Run::new();
    let csv = |text: &str| run.write("data.csv", text);
    run.refused(&on(&csv("text,kind\na,b\n"), &model), &["data.csv"]);
    let named = on(&csv("text,kind\na,b\n"), &model).replace("[model]", "label = \"intent\"\n[model]");
    run.refused(&named, &["intent", "kind"]);
    run.refused(&on(&csv("text,label\na,x\nb,y,z\n"), &model), &["data.csv", "3"]);
    run.refused(&on(&csv(""), &model), &["data.csv", "empty"]);
    run.refused(&on(&csv("text,label\n"), &model), &["data.csv"]);
    run.refused(&on(&run.write("data.csv", b"text,label\nab\xff,x\n"), &model), &["data.csv", "UTF-8", "2"]);
    run.refused(
        &on(&csv("text,label\na,x\nb,x\nc,x\n"), &model)
            .replace("[model]", "split = { name = \"random\", test = 0.0 }\n[model]"),
        &["\"x\""],
    );
    let singles: String = (0..20).map(|i| format!("t{i},c{i:02}\n")).collect();
    run.refused(&on(&csv(&format!("text,label\n{singles}")), &model), &["one row"]);
    run.refused(&on(&run.path("missing.csv"), &model), &["missing.csv"]);
}

#[test]
fn bad_vectors_are_refused_by_row() {
    let (mut rows, labels) = noisy_classes(6, 6);
    let run = Run::new();
    rows[7][3] = f32::NAN;
    run.refused(&vectors_config(&run, &rows, &labels, ADAPT), &["vectors.npy", "NaN", "7"]);
    rows[7][3] = 0.0;
    run.refused(&vectors_config(&run, &rows[..30], &labels, ADAPT), &["30", "36"]);
    let toml = vectors_config(&run, &rows, &labels, ADAPT);
    let bytes = std::fs::read(run.path("vectors.npy")).unwrap();
    run.write("vectors.npy", &bytes[..bytes.len() - 5]);
    run.refused(&toml, &["vectors.npy"]);
}

#[test]
fn bad_models_settings_and_places_are_refused() {
    let run = Run::new();
    let copy = run.path("model");
    for entry in ["", "1_Pooling", "2_Normalize"] {
        std::fs::create_dir_all(copy.join(entry)).unwrap();
        for file in std::fs::read_dir(reference("bert").join(entry)).unwrap() {
            let file = file.unwrap();
            if file.path().is_file() {
                std::fs::copy(file.path(), copy.join(entry).join(file.file_name())).unwrap();
            }
        }
    }
    let weights = copy.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 3]).unwrap();
    run.refused(&on(&support(), &copy), &["model.safetensors"]);

    let good = on(&support(), &reference("bert"));
    run.refused(&good.replace("max_steps", "max_step"), &["run.toml", "max_step", "max_steps"]);
    run.refused(&good.replace("\"per_class\"", "\"per_clas\""), &["per_clas", "per_class"]);
    run.refused(&good.replace("per_class = 4", "per_class = 5"), &["16", "5"]);
    run.refused(&format!("{good}freeze = [\"decoder\"]\n"), &["decoder", "encoder"]);
    run.refused(&format!("{good}optimizer = {{ name = \"adamw\", lr = -1.0 }}\n"), &["lr", "-1"]);
    run.refused(&good.replace(&format!("{:?}", reference("bert")), "\"no-such-model/\""), &["no-such-model"]);
    let head = "[data]\n".to_owned()
        + &good.replacen("[data]\n", "", 1)
        + "[head]\nname = \"multi_head\"\nheads = 5\n";
    run.refused(&head, &["heads", "5", "32"]);

    // A file stands where the run's folder should be made.
    let blocked = run.write("file", "");
    let config = run.write("run.toml", &good);
    let output = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .arg("train")
        .arg(config)
        .arg("--out")
        .arg(blocked.join("run"))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && message.contains("file/run") && !message.contains("panicked"),
        "{message}"
    );
}

#[test]
fn a_run_is_never_overwritten_by_accident() {
    let run = Run::new();
    let toml = on(&support(), &reference("bert"));
    let first = run.result(&toml, &[]);
    let again = run.train(&toml, &[]);
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1));
    assert!(message.contains("already holds a run") && message.contains("--resume"), "{message}");
    assert_eq!(run.result(&toml, &["--resume"]), first, "a finished run answers with its results");
}
