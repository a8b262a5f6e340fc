//! What an objective cannot be given is refused by name before anything is written.

use std::path::Path;

use super::{bert, command, lists, on_data, run_file, scored_pairs, workspace};

#[test]
fn what_cannot_be_fed_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (objective, parts) in [
        ("loss = \"margin_mse\"", &["margin_mse", "scores", "classes"][..]),
        ("loss = \"listwise_kl\"", &["listwise_kl", "scores", "classes"]),
        ("loss = { name = \"mnrl\", teacher_guided = true }", &["multiple_negatives_ranking", "classes"]),
        ("loss = \"contrastive\"\nmemory.memory_size = 8", &["objective.memory.memory_size", "16 rows"]),
        (
            "loss = \"contrastive\"\nmemory.warm_up = 3",
            &["objective.memory.warm_up = 3", "none of the 3 steps"],
        ),
        ("loss = \"proxy_anchor\"\nmemory.warm_up = 1", &["objective.memory", "proxy_anchor", "proxies"]),
        (
            "loss = { name = \"triplet_margin\", swap = true }\nmemory = {}",
            &["objective.memory", "triplet_margin", "itself alone"],
        ),
        ("loss = \"contrastive\"\nmemory.batch_weight = -1.0", &["objective.memory", "batch_weight"]),
        ("loss = \"contrastive\"\nmemory.size = 9", &["objective.memory.size", "memory_size"]),
        ("loss = \"contrastive\"\n[train.grad_cache]\nchunk = 0", &["train.grad_cache.chunk", "at least 1"]),
        ("loss = \"cosent\"", &["cosent", "score", "classes"]),
        ("loss = \"similarity_distillation\"", &["similarity_distillation", "[teacher]"]),
        (
            "loss = \"contrastive\"\n[attention]\nname = \"structural_sparse\"\nblock = 5",
            &["attention.block = 5", "width of a head"],
        ),
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

    let (plain, scored) = (lists(folder.path(), false), lists(folder.path(), true));
    let refused = |table: &Path, sets: &[&str], parts: &[&str]| {
        let output = on_data(table, &out, &[&["train.max_steps=3"], sets].concat()).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{sets:?}: {message}");
        for part in parts.iter().chain(&["error: ", "hint: "]) {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        assert!(!out.exists(), "left something behind");
    };
    let by_teacher = format!("teacher.path={}", bert());
    refused(&plain, &["objective.loss=margin_mse"], &["margin_mse", "data.score", "[teacher]"]);
    refused(&plain, &["objective.loss.teacher_guided=true"], &["data.score", "[teacher]"]);
    refused(&plain, &[&by_teacher], &["[teacher] is given", "multiple_negatives_ranking is not guided"]);
    refused(&scored, &["objective.loss=margin_mse", &by_teacher], &["learns the scores of the table"]);
    refused(&scored, &["objective.loss=similarity_distillation"], &["every pair of a batch", "[teacher]"]);
    refused(&scored, &["objective.loss=cosent"], &["cosent", "one score for each pair"]);
    refused(&plain, &["objective.memory={}"], &["objective.memory", "pairs of a batch"]);
    let no_negatives = ["objective.loss=margin_mse", &by_teacher, "data.negatives=[]"];
    refused(&plain, &no_negatives, &["margin_mse needs negatives"]);
    // A score that is no number, and rows with more of one than of the other.
    let text = std::fs::read_to_string(&scored).unwrap();
    let broken = folder.path().join("broken.csv");
    let loss =
        ["objective.loss=margin_mse", "data.split={ name = \"random\", validation = 0.0, test = 0.0 }"];
    std::fs::write(&broken, text.replacen(",2,3.5\n", ",2,good\n", 1)).unwrap();
    refused(&broken, &loss, &["negative_score", "\"good\"", "row 2"]);
    std::fs::write(&broken, text.replacen(",2,3.5\n", ",2,\n", 1)).unwrap();
    refused(&broken, &loss, &["negative_score", "row 2"]);
    let uneven = folder.path().join("uneven.jsonl");
    let row = |negatives: &str| {
        format!("{{\"query\": \"a\", \"positive\": \"b\", \"negatives\": {negatives}, \"score\": [1, 2]}}\n")
    };
    std::fs::write(&uneven, row("[\"c\"]").repeat(9) + &row("[\"c\", \"d\"]")).unwrap();
    refused(&uneven, &loss, &["row 10", "2 negatives"]);
}

#[test]
fn what_confusion_and_mixtures_need_is_said_before_anything_is_written() {
    let refused = |objective: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = run_file(folder.path(), objective, "max_steps = 2");
        let out = folder.path().join("out");
        let output = command(&config, &out, &[]).output().unwrap();
        assert!(!output.status.success() && !out.exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let bare = refused("loss = \"contrastive\"\nregularizer = \"energy_confusion\"");
    assert!(bare.contains("linear layer") && bare.contains("add [head]"), "{bare}");
    let texts = refused("loss = \"contrastive\"\nmixup = { name = \"metrix\", level = \"input\" }");
    assert!(texts.contains("level = \"feature\""), "{texts}");
    let triplets = refused("loss = \"triplet_margin\"\nmixup = \"metrix\"");
    assert!(triplets.contains("multi_similarity") && triplets.contains("labelings"), "{triplets}");
    let range = refused("loss = \"contrastive\"\nmixup = { name = \"metrix\", alpha = 0.0 }");
    assert!(range.contains("alpha"), "{range}");
}
