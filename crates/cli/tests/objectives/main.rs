//! One tiny run of every kind of objective: what it is given, what it learns beside the model, and that it goes on after a
//! kill with the same bytes.

mod refusals;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use parallax::metric::scored::Targets;
use parallax::metric::{LossConfig, Wants};
use serde_json::{Value, json};

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

/// Rows of a query with one text of its intent and one of another, with a teacher's scores in columns where they are asked for.
fn lists(folder: &Path, scored: bool) -> PathBuf {
    let table = std::fs::read_to_string(workspace().join("examples/support.csv")).unwrap();
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .filter(|line| !line.contains('"'))
        .filter_map(|line| line.rsplit_once(','))
        .collect();
    let mut text = String::from("query,positive,negative");
    text.push_str(if scored { ",positive_score,negative_score\n" } else { "\n" });
    for (at, (query, intent)) in rows.iter().enumerate() {
        let same = rows[at + 1..].iter().chain(&rows[..at]).find(|(_, other)| other == intent).unwrap();
        let other = rows[(at + 29) % rows.len()];
        text.push_str(&format!("\"{query}\",\"{}\",\"{}\"", same.0, other.0));
        // Here and there the teacher likes the negative better.
        let scores = if at % 5 == 0 { (2.0, 3.5) } else { (6.0 + (at % 3) as f64, -1.0) };
        text.push_str(&if scored { format!(",{},{}\n", scores.0, scores.1) } else { "\n".to_owned() });
    }
    let path = folder.join(if scored { "scored.csv" } else { "triplets.csv" });
    std::fs::write(&path, text).unwrap();
    path
}

fn bert() -> String {
    workspace().join("crates/nn/tests/reference/bert").to_str().unwrap().to_owned()
}

/// A run on bare data with settings.
fn on_data(table: &Path, out: &Path, sets: &[&str]) -> Command {
    let model = bert();
    let mut more = vec!["--model", &model];
    let fixed = ["output.report=false", "evaluate.resamples=0", "train.batch_size=16"];
    for set in fixed.iter().chain(sets) {
        more.extend(["--set", set]);
    }
    command(table, out, &more)
}

#[test]
fn a_memory_is_filled_and_resumed() {
    let steps = resumes(
        "loss = \"multi_similarity\"\nminer = \"multi_similarity\"\nmemory = { memory_size = 96, warm_up = 4 }",
    );
    let pairs: Vec<(u64, u64)> = steps
        .iter()
        .filter_map(|step| Some((step["positive_pairs"].as_u64()?, step["negative_pairs"].as_u64()?)))
        .collect();
    // 16 rows of 4 classes: 3 others of its class each, and 12 of other classes.
    assert!(pairs[..4].iter().all(|pair| *pair == (48, 192)), "{pairs:?}");
    // The batch itself stands in the ring: nothing else does at first, and 95 others of each row once it is full.
    assert_eq!(pairs[4], (48, 192));
    assert_eq!(pairs[5].0 + pairs[5].1, 16 * 31);
    assert!(pairs[9..].iter().all(|pair| pair.0 + pair.1 == 16 * 95), "{pairs:?}");
}

#[test]
fn a_moving_histogram_is_resumed() {
    for more in ["", "\nmemory = { memory_size = 64, batch_weight = 1.0 }"] {
        assert_eq!(losses(&resumes(&format!("loss = \"dynamic_soft_margin\"{more}"))).len(), 60);
    }
}

#[test]
fn a_memory_with_the_batch_beside_it_and_chunks_is_resumed() {
    let steps = resumes(
        "loss = { name = \"margin\", learn_beta = true }\nmemory = { memory_size = 40, batch_weight = 0.5 }\n\
         [train.grad_cache]\nchunk = 6",
    );
    assert_eq!(losses(&steps).len(), 60);
    assert!(steps[59]["scalars"][0].as_f64() != Some(1.2));
}

#[test]
fn the_plan_counts_what_a_memory_gives_and_takes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let plan = |objective: &str| -> (Value, String) {
        let config = run_file(folder.path(), objective, "max_steps = 40\nepochs = 20");
        let json = command(&config, &out, &["--dry-run", "--json"]).output().unwrap();
        let text = command(&config, &out, &["--dry-run"]).output().unwrap();
        let said = String::from_utf8_lossy(&text.stdout).into_owned();
        ok(text);
        (serde_json::from_slice::<Value>(&json.stdout).unwrap()["training"].clone(), said)
    };
    let (alone, said) = plan("loss = \"contrastive\"");
    assert_eq!(alone["negatives_per_anchor"], 12.0, "{said}");
    let (with, said) = plan("loss = \"contrastive\"\nmemory = { memory_size = 512, warm_up = 3 }");
    let negatives = with["negatives_per_anchor"].as_f64().unwrap();
    // 16 classes as likely: about 15 of 16 in the ring are of another.
    assert!((450.0..510.0).contains(&negatives), "{negatives}");
    assert_eq!(with["remembered"]["embeddings"], 512);
    assert_eq!(with["remembered"]["negatives_in_batch"], 12.0);
    let bytes = |plan: &Value| plan["objective_bytes"].as_u64().unwrap();
    let dim = 32;
    assert!(bytes(&with) >= bytes(&alone) + 512 * 4 * dim, "{alone} {with}");
    assert!(said.contains("in a memory of 512 embeddings after 3 steps, 12.0 in the batch before"), "{said}");
}

#[test]
fn chunks_change_a_run_by_rounding_alone() {
    let folder = tempfile::tempdir().unwrap();
    let triplets = lists(folder.path(), false);
    let run = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        let sets = [&["train.max_steps=6", "train.optimizer.lr=1e-3"], sets].concat();
        let said = ok(on_data(&triplets, &out, &sets).output().unwrap());
        (losses(&log(&out)), weights(&out), said)
    };
    let whole = run("whole", &[]);
    // A batch of 16 triplets has 48 texts: it fits.
    let fits = run("fits", &["train.grad_cache.chunk=48"]);
    assert!(whole.0 == fits.0 && whole.1 == fits.1, "nothing is cut");
    for chunk in ["7", "1"] {
        let cut = run(chunk, &[&format!("train.grad_cache.chunk={chunk}")]);
        assert!(cut.2.contains(&format!("in chunks of {chunk}: ")), "{}", cut.2);
        // Dropout is on: another mask would be seen at once.
        for (at, (a, b)) in whole.0.iter().zip(&cut.0).enumerate() {
            let most = if at == 0 { 1e-6 } else { 1e-3 };
            assert!((a - b).abs() <= most * a.abs(), "step {at}: {a} {b}");
        }
        let again = run(&format!("{chunk} again"), &[&format!("train.grad_cache.chunk={chunk}"), "seed=0"]);
        assert!(cut.1 == again.1);
    }
}

#[test]
fn lists_with_scores_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let table = lists(folder.path(), true);
    for loss in ["margin_mse", "listwise_kl"] {
        let out = folder.path().join(loss);
        let sets = [
            &format!("objective.loss={loss}"),
            "objective.distance=cosine",
            "train.max_steps=60",
            "train.optimizer.lr=3e-3",
        ];
        // One number for each pair of lists, so the margin of each list is that of its scores: 3.
        let said = ok(on_data(&table, &out, &sets).output().unwrap());
        assert!(said.contains("triplets with scores"), "{said}");
        let losses = losses(&log(&out));
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(mean(&losses[50..]) < mean(&losses[..10]), "{loss}: {losses:?}");
        let result: Value =
            serde_json::from_str(&std::fs::read_to_string(out.join("metrics.json")).unwrap()).unwrap();
        assert!(result["measures"]["map@r"].is_object(), "measured as retrieval");
    }
}

#[test]
fn scores_mask_the_negatives_that_they_put_above_the_positive() {
    let folder = tempfile::tempdir().unwrap();
    let table = lists(folder.path(), true);
    let masked = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        let sets = [&["train.max_steps=5"], sets].concat();
        ok(on_data(&table, &out, &sets).output().unwrap());
        log(&out).iter().filter_map(|step| step["masked_by_teacher"].as_u64()).sum::<u64>()
    };
    // Chosen for such rows; a fifth of the 80 lists are turned round.
    let by_default = masked("default", &[]);
    assert!((5..40).contains(&by_default), "{by_default}");
    assert_eq!(masked("off", &["objective.loss.teacher_guided=false"]), 0);
    assert_eq!(masked("margin", &["objective.loss.teacher_margin=2.0"]), 0);
}

#[test]
fn a_model_teaches_and_its_embeddings_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = lists(folder.path(), false);
    let teacher = format!("teacher.path={}", workspace().join("crates/nn/tests/reference/mpnet").display());
    for sets in [
        &["objective.loss.teacher_guided=true"][..],
        &["objective.loss=margin_mse"],
        &["objective.loss=listwise_kl", "train.grad_cache.chunk=10"],
        &["objective.loss=cosine_mse"],
        &["objective.loss=similarity_distillation"],
        &[
            "objective.loss={ name = \"similarity_distillation\", match = \"squared\" }",
            "attention=structural_sparse",
            "attention.block=2",
        ],
    ] {
        let whole = folder.path().join("whole");
        let more = [sets, &[&teacher, "train.max_steps=40", "train.checkpoint_every=5"]].concat();
        let said = ok(on_data(&table, &whole, &more).output().unwrap());
        assert!(said.contains("teacher: ") && said.contains(" texts of "), "{said}");
        let out = folder.path().join("killed");
        let mut child =
            on_data(&table, &out, &more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_after(&mut child, &out, 12);
        let made = teachers(&out);
        assert_eq!(made.len(), 1);
        let mut again = on_data(&table, &out, &more);
        ok(again.arg("--resume").output().unwrap());
        assert_eq!(log(&out), log(&whole), "{sets:?}");
        assert!(weights(&out) == weights(&whole), "{sets:?}");
        assert!(teachers(&out).is_empty(), "a finished run keeps no embeddings of its teacher");
        for done in [whole, out] {
            std::fs::remove_dir_all(done).unwrap();
        }
    }
}

/// A student that is its own teacher has nothing to learn, if the teacher embeds each side as that side.
#[test]
fn a_teacher_with_two_sides_embeds_each_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let table = lists(folder.path(), false);
    let taught = folder.path().join("taught");
    let head = ["head=structural_sparse", "head.block=4", "train.freeze=[\"encoder\"]"];
    let quick = ["train.max_steps=20", "train.optimizer.lr=0.05", "evaluate.measures=[\"map@r\"]"];
    ok(on_data(&table, &taught, &[&head[..], &quick].concat()).output().unwrap());
    let model = taught.join("model").display().to_string();
    let first = |name: &str, model: &str, teacher: &str| {
        let out = folder.path().join(name);
        let sets = [
            format!("model.path={model}"),
            format!("teacher.path={teacher}"),
            "objective.loss={ name = \"similarity_distillation\", match = \"squared\" }".to_owned(),
            "objective.distance=dot".to_owned(),
            "train.dropout=false".to_owned(),
            "train.precision=f32".to_owned(),
            "train.max_steps=1".to_owned(),
        ];
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        ok(on_data(&table, &out, &sets).output().unwrap());
        losses(&log(&out))[0]
    };
    let same = first("same", &model, &model);
    let other = first("other", &model, &bert());
    assert!(same < 1e-9 && other > 1e-5, "{same} {other}");
}

/// The files of a teacher's embeddings in a run's folder.
fn teachers(out: &Path) -> Vec<String> {
    let names = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("teacher-"))
        .collect()
}

/// Kills a run without warning after so many lines of its log.
fn kill_after(child: &mut std::process::Child, out: &Path, lines: usize) {
    let begun = Instant::now();
    while std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < lines {
        assert!(begun.elapsed() < Duration::from_secs(300));
        assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn every_loss_of_the_list_trains() {
    let listed =
        Command::new(env!("CARGO_BIN_EXE_parallax")).args(["list", "losses", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names = listed["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (listed, scored) = (lists(folder.path(), true), scored_pairs(folder.path()));
    for name in names {
        let out = folder.path().join(name);
        let loss = format!("objective.loss={name}");
        let wants = serde_json::from_value::<LossConfig>(json!({ "name": name })).unwrap().wants();
        let on_rows = |sets: &[&str]| {
            let config = run_file(folder.path(), &format!("loss = \"{name}\""), "max_steps = 2");
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
            command(&config, &out, &sets).output()
        };
        let on_pairs = |table: &Path, sets: &[&str]| {
            on_data(table, &out, &[&[loss.as_str(), "train.max_steps=2"], sets].concat()).output()
        };
        let output = match wants {
            // A classifier is tested on the classes that it has learned.
            Wants { logits: true, .. } => on_rows(&["data.split=stratified", "train.sampler=stratified"]),
            Wants { teacher: Some(_), .. } => on_rows(&[&format!("teacher.path={}", bert())]),
            Wants { targets: Some(Targets::Pairs), .. } => on_pairs(&scored, &[]),
            // Both views need the same number of rows, so pairs without negatives.
            Wants { pairs: true, .. } if name == "vicreg" => {
                on_pairs(&lists(folder.path(), false), &["data.negatives=[]"])
            }
            Wants { pairs: true, .. } => on_pairs(&listed, &[]),
            _ => on_rows(&[]),
        };
        ok(output.unwrap());
        assert_eq!(losses(&log(&out)).len(), 2, "{name}");
    }
}

#[test]
fn confusion_and_mixtures_are_drawn_alike_after_a_kill() {
    let objective = "loss = \"multi_similarity\"\n\
         regularizer = { name = \"energy_confusion\", pairs = { sampled = 3 } }\n\
         mixup = { name = \"metrix\", level = \"feature\", pairs = \"alternate\" }\n\
         distance = \"snr\"\nminer = \"multi_similarity\"\n\
         [head]\nname = \"mlp\"\nhidden = 24\ndim = 16";
    let steps = resumes(objective);
    for name in ["energy_confusion", "energy", "metric_layer_norm", "mixed"] {
        let values: Vec<f64> = steps.iter().filter_map(|step| step[name].as_f64()).collect();
        assert_eq!(values.len(), 60, "{name}");
        assert!(
            values.iter().all(|value| value.is_finite()) && values[0] != values[59],
            "{name}: {values:?}"
        );
    }
}
