use crate::{Folder, reference};

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_run_is_planned_and_nothing_is_written() {
    let folder = Folder::new();
    folder.run_file("run.toml", "epochs = 2");
    let ended = folder.run(&["train", "run.toml", "--dry-run"]);
    assert_eq!(ended.err, "");
    let text = ended.ok();
    has(
        &text,
        &[
            "data: 384 rows of support.csv",
            "text",
            "label",
            "split: 192 rows to train on, 64 to validate on, 128 to test on",
            "split by class_disjoint: 12 classes to train on, 4 to validate on, 8 to test on",
            "32 dimensions",
            "loss: supcon, miner: none",
            "trained: 0.0",
            "24 steps, 12 an epoch",
            // 4 of each class in a batch of 16.
            "effective negatives per anchor: 12.0",
            "estimated peak memory",
            "estimated time",
            "dry run: nothing was written; the run would write runs/run",
        ],
    );
    assert_eq!(folder.names(), ["run.toml"]);
    let json = folder.run(&["train", "run.toml", "--dry-run", "--json", "--out", "else/where"]).json();
    assert_eq!(json["training"]["negatives_per_anchor"], 12.0);
    assert_eq!(json["training"]["steps"], 24);
    assert_eq!(json["data"]["test"], 128);
    assert_eq!(json["folder"], "else/where");
    assert_eq!(folder.names(), ["run.toml"]);

    // What the run reports is what the plan said.
    let outcome = folder.run(&["train", "run.toml", "--json", "--quiet"]).json();
    assert_eq!(outcome["training"]["negatives_per_anchor"], json["training"]["negatives_per_anchor"]);
    assert_eq!(outcome["training"]["steps"], json["training"]["steps"]);
    assert_eq!(outcome["data"]["measured_sha256"], json["data"]["measured_sha256"]);

    // What the run would be refused for, the plan is refused for.
    folder.refused(&["train", "run.toml", "--dry-run"]).names(&["already holds a run"]).hints("--out");
    let done = folder.run(&["train", "run.toml", "--dry-run", "--resume"]).ok();
    has(&done, &["is finished", "nothing left to do"]);
    folder.write("file", "");
    folder.refused(&["train", "run.toml", "--dry-run", "--out", "file/run"]).names(&["file: ", "folder"]);
    folder
        .refused(&["train", "run.toml", "--dry-run", "--out", "x", "--set", "train.freeze=['decoder']"])
        .names(&["decoder"]);
}

#[test]
fn a_model_that_is_not_here_is_not_fetched() {
    let folder = Folder::new();
    folder.run_file("run.toml", "epochs = 2");
    let set = ["--set", "model.path=all-MiniLM-L6-v2"];
    let text = folder.run(&[&["train", "run.toml", "--dry-run"][..], &set].concat()).ok();
    has(&text, &["192 rows to train on", "would fetch it first (10 files, 90.9 MB)", "nothing was written"]);
    assert_eq!(folder.names(), ["run.toml"]);
    let set = ["--set", "model.path=all-MiniLM-L6"];
    folder.refused(&[&["train", "run.toml", "--dry-run"][..], &set].concat()).hints("all-MiniLM-L6-v2");
}

#[test]
fn embedding_and_measuring_are_planned_too() {
    let folder = Folder::new();
    let bert = reference("bert");
    let bert = bert.to_str().unwrap();
    folder.write("in.csv", "text,label\na line,x\nanother line,x\nwords,y\nmore words,y\n");
    let text = folder.run(&["embed", bert, "in.csv", "-o", "out.npy", "--dry-run"]).ok();
    has(&text, &["out.npy: 4 rows of 32 numbers", "tokens a row", "nothing was written"]);
    let json = folder.run(&["embed", bert, "in.csv", "-o", "out.npy", "--dry-run", "--json"]).json();
    assert_eq!((json["rows"].as_u64(), json["dim"].as_u64()), (Some(4), Some(32)));
    let text = folder.run(&["eval", bert, "in.csv", "--dry-run"]).ok();
    has(&text, &["to measure: 4 rows of 2 classes (all), 32 dimensions", "map@r", "nothing was measured"]);
    assert_eq!(folder.names(), ["in.csv"]);
    let dry = |more: &[&str]| folder.refused(&[&["embed", bert], more, &["--dry-run"]].concat());
    dry(&["-", "-o", "out.npy"]).names(&["standard input"]).hints("--dry-run");
    dry(&["in.csv", "-o", "no/out.npy"]).names(&["no/out.npy"]).hints("path");
    dry(&["in.csv", "-o", "out.txt"]).names(&["out.txt"]).hints(".npy");
}
