use std::fs;

use serde_json::Value;

use crate::{Folder, copy, reference};

#[test]
fn embedding_is_measured() {
    let folder = Folder::new();
    let model = reference("bert");
    let known: Value = serde_json::from_slice(&fs::read(model.join("reference.json")).unwrap()).unwrap();
    let lines = known["texts"].as_array().unwrap().iter();
    folder.write("texts.jsonl", lines.map(|text| format!("{{\"text\": {text}}}\n")).collect::<String>());
    let lengths: Vec<usize> =
        known["input_ids"].as_array().unwrap().iter().map(|ids| ids.as_array().unwrap().len()).collect();
    let model = model.to_str().unwrap();
    let command = ["bench", "encode", model, "texts.jsonl", "--runs", "3", "--threads", "2", "--json"];
    let found = folder.run(&command).json();
    assert_eq!(folder.names(), ["texts.jsonl"], "nothing is left");
    assert_eq!(found["texts"], lengths.len());
    assert_eq!(found["tokens"], lengths.iter().sum::<usize>());
    assert_eq!(found["threads"], 2);

    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {found}"));
    let ordered = |spread: &Value| {
        let [lowest, median, highest] = ["lowest", "median", "highest"].map(|name| number(&spread[name]));
        assert!(0.0 < lowest && lowest <= median && median <= highest && spread["runs"] == 3, "{spread}");
        median
    };
    let texts = ordered(&found["batch"]["texts_per_second"]);
    let tokens = ordered(&found["batch"]["tokens_per_second"]);
    let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    assert!((tokens / texts - mean).abs() < 1e-6 * mean);
    ordered(&found["batch"]["tokenised_per_second"]);
    // A process takes longer to start than a text in one that runs.
    let start = ordered(&found["start_seconds"]);
    let (half, most) = (number(&found["one"]["p50_ms"]), number(&found["one"]["p99_ms"]));
    assert!(0.0 < half && half <= most && half < 1e3 * start, "{found}");
    assert_eq!(found["one"]["calls"], 200);

    // The model cuts texts after 40 tokens, and has 64 positions.
    assert_eq!(found["max_tokens"], 40);
    let shapes = found["shapes"].as_array().unwrap();
    let listed: Vec<(u64, u64)> = shapes
        .iter()
        .map(|shape| (shape["length"].as_u64().unwrap(), shape["batch"].as_u64().unwrap()))
        .collect();
    let lengths_and_batches: Vec<(u64, u64)> =
        [16, 32, 64].into_iter().flat_map(|length| [1, 4, 16, 64].map(|batch| (length, batch))).collect();
    assert_eq!(listed, lengths_and_batches);
    shapes.iter().for_each(|shape| assert!(ordered(&shape["tokens_per_second"]) > 0.0));

    // Two layers of width 32 with 40 units between: 4 · 32² + 2 · 32 · 40 weights, each multiplied and added; and 2 · 32
    // products for each token that another meets, of which a text of n tokens has n².
    let squares: usize = lengths.iter().map(|n| n * n).sum();
    let met = squares as f64 / lengths.iter().sum::<usize>() as f64;
    let operations = 2.0 * (2.0 * (4.0 * 1024.0 + 2.0 * 1280.0) + 2.0 * 2.0 * 32.0 * met);
    let limit = &found["limit"];
    assert!((number(&limit["operations_per_token"]) - operations).abs() < 1e-6 * operations, "{limit}");
    let allowed = number(&limit["operations_per_second"]) / operations;
    assert!((number(&limit["tokens_per_second"]) - allowed).abs() < 1e-6 * allowed);
    assert!((number(&limit["reached"]) - tokens / allowed).abs() < 1e-6 * (tokens / allowed));
    if cfg!(target_os = "linux") {
        assert!(found["peak_memory"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn one_thing_is_measured_alone_and_told_in_words() {
    let folder = Folder::new();
    let model = reference("bert");
    let model = model.to_str().unwrap();
    folder.write("texts.txt", "wheel\nchain\n");
    let command = ["bench", "encode", model, "texts.txt", "--only", "one", "--runs", "1"];
    let text = folder.run(&command).ok();
    assert!(text.contains("2 texts of 4.5 tokens") && text.contains("one text       p50 "), "{text}");
    let absent = ["batch job", "first vector", "tokens/s", "limit"];
    absent.iter().for_each(|part| assert!(!text.contains(part), "{part:?} is in:\n{text}"));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = Folder::new();
    copy(&reference("distilbert").join("2_Dense"), &folder.path("head/2_Dense"));
    folder.write(
        "head/modules.json",
        r#"[{"idx": 0, "name": "0", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#,
    );
    folder.refused(&["bench", "encode", "head"]).names(&["stored vectors"]).hints("reads texts");
    folder.write("none.txt", "");
    let bert = reference("bert");
    folder.refused(&["bench", "encode", bert.to_str().unwrap(), "none.txt"]).names(&["none.txt"]);
}
