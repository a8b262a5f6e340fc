use std::fs;

use serde_json::Value;

use crate::{Folder, copy, read_npy, reference};

fn numbers(rows: &Value) -> Vec<Vec<f64>> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect())
        .collect()
}

fn largest_difference(values: &[f32], expected: &[Vec<f64>]) -> f64 {
    let flat: Vec<f64> = expected.iter().flatten().copied().collect();
    assert_eq!(values.len(), flat.len());
    values.iter().zip(flat).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max)
}

fn jsonl(texts: &Value) -> String {
    texts
        .as_array()
        .unwrap()
        .iter()
        .map(|text| format!("{}\n", serde_json::json!({ "text": text })))
        .collect()
}

#[test]
fn embeddings_equal_the_reference_values() {
    for name in ["bert", "roberta", "xlm_roberta", "distilbert", "mpnet"] {
        let folder = Folder::new();
        let model = reference(name);
        let reference: Value =
            serde_json::from_slice(&fs::read(model.join("reference.json")).unwrap()).unwrap();
        folder.write("in.jsonl", jsonl(&reference["texts"]));
        let model = model.to_str().unwrap();
        let exact = ["embed", model, "in.jsonl", "-o", "out.npy", "--precision", "f32", "--json"];
        let summary = folder.run(&exact).json();
        let want = numbers(&reference["embeddings"]);
        assert_eq!(summary["rows"], want.len());
        let (values, dim) = read_npy(&folder.path("out.npy"));
        assert_eq!(dim, want[0].len());
        let difference = largest_difference(&values, &want);
        assert!(difference < 1e-4, "{name}: {difference}");
        // Whatever the machine multiplies fastest is near.
        folder.run(&["embed", model, "in.jsonl", "-o", "out.npy"]).ok();
        let difference = largest_difference(&read_npy(&folder.path("out.npy")).0, &want);
        let largest = want.iter().flatten().fold(1f64, |most, value| most.max(value.abs()));
        assert!(difference < 2e-2 * largest, "{name}: {difference} of {largest}");
        // Another number of threads, the same bytes.
        folder.run(&["embed", model, "in.jsonl", "-o", "one.npy", "--threads", "1"]).ok();
        folder.run(&["embed", model, "in.jsonl", "-o", "two.npy", "--threads", "2"]).ok();
        assert_eq!(fs::read(folder.path("one.npy")).unwrap(), fs::read(folder.path("two.npy")).unwrap());
        assert_eq!(folder.names(), ["in.jsonl", "one.npy", "out.npy", "two.npy"]);

        for (prompt, rows) in reference["embeddings_with_prompt"].as_object().unwrap() {
            folder
                .run(&["embed", model, "in.jsonl", "-o", "out.npy", "--prompt", prompt, "--precision", "f32"])
                .ok();
            let (values, _) = read_npy(&folder.path("out.npy"));
            let difference = largest_difference(&values, &numbers(rows));
            assert!(difference < 1e-4, "{name} with prompt {prompt}: {difference}");
        }
    }
}

#[test]
fn lines_of_standard_input_become_rows() {
    let folder = Folder::new();
    let model = reference("bert");
    let model = model.to_str().unwrap();
    let args = ["embed", model, "-", "-o", "out.jsonl"];
    let said = folder.run_with_input(&args, "first line\n\nthird, \"line\"\n".as_bytes()).ok();
    assert_eq!(said, "out.jsonl: 3 rows of 32 numbers\n");
    let text = fs::read_to_string(folder.path("out.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["first line", "", "third, \"line\""]);

    folder.write("in.txt", "first line\n\nthird, \"line\"\n");
    folder.run(&["embed", model, "in.txt", "-o", "out.npy"]).ok();
    let (values, dim) = read_npy(&folder.path("out.npy"));
    for (row, json) in rows.iter().enumerate() {
        let embedding: Vec<f32> =
            json["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!(embedding, values[row * dim..(row + 1) * dim], "row {row}");
    }
}

#[test]
fn a_text_that_the_tokenizer_refuses_is_told_by_its_row() {
    let folder = Folder::new();
    copy(&reference("bert"), &folder.path("model"));
    let file = folder.path("model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // Without a token for what is unknown, such a word cannot be represented.
    tokenizer["model"]["unk_token"] = "[NONE]".into();
    fs::write(&file, tokenizer.to_string()).unwrap();
    // In the third window of rows.
    let mut lines = "wheel\n".repeat(5000);
    lines.push_str("wheel \u{2603}\nwheel\n");
    folder.write("in.txt", &lines);
    folder.refused(&["embed", "model", "in.txt", "-o", "out.npy"]).names(&["in.txt, row 5001", "[UNK]"]);
    folder.write("in.csv", format!("text\n{lines}"));
    folder.refused(&["index", "build", "in.csv", "--model", "model", "-o", "out"]).names(&["row 5001"]);
}

#[test]
fn rows_of_many_windows_are_each_their_own_vector() {
    let folder = Folder::new();
    let model = reference("bert");
    let model = model.to_str().unwrap();
    let texts = ["wheel", "The brakes squeal in the rain and the chain came off.", "", "chain wheel rain"];
    let few = texts.join("\n") + "\n";
    folder.write("few.txt", &few);
    // Windows hold 2,048 rows; four texts by turns, so that each window holds all of them.
    folder.write("many.txt", few.repeat(1500));
    folder.run(&["embed", model, "few.txt", "-o", "few.npy"]).ok();
    folder.run(&["embed", model, "many.txt", "-o", "many.npy"]).ok();
    folder.run(&["embed", model, "many.txt", "-o", "many.jsonl"]).ok();
    let ((few, dim), (many, _)) = (read_npy(&folder.path("few.npy")), read_npy(&folder.path("many.npy")));
    assert_eq!(many.len(), 1500 * few.len());
    for (row, vector) in many.chunks(dim).enumerate() {
        let own = &few[row % 4 * dim..(row % 4 + 1) * dim];
        assert!(vector.iter().zip(own).all(|(a, b)| (a - b).abs() < 1e-5), "row {row}");
    }
    let lines = fs::read_to_string(folder.path("many.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 6000);
    for (row, line) in lines.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["text"], texts[row % 4], "row {row}");
        assert_eq!(line["embedding"][0].as_f64().unwrap() as f32, many[row * dim], "row {row}");
    }
}

#[test]
fn a_head_alone_reads_stored_vectors() {
    let folder = Folder::new();
    copy(&reference("distilbert").join("2_Dense"), &folder.path("head/2_Dense"));
    folder.write(
        "head/modules.json",
        r#"[{"idx": 0, "name": "0", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#,
    );
    // tanh(W x + b) of the zero vector is tanh(b), whatever stands beside it.
    let mut values = vec![0.0; 3 * 32];
    values[32..64].fill(0.5);
    folder.npy("x.npy", 32, &values);
    folder.run(&["embed", "head", "x.npy", "-o", "y.npy"]).ok();
    let (out, dim) = read_npy(&folder.path("y.npy"));
    assert_eq!((dim, out.len()), (20, 60));
    assert_eq!(out[..20], out[40..]);
    assert_ne!(out[..20], out[20..40]);
    assert!(out.iter().all(|x| x.abs() < 1.0));

    folder.npy("short.npy", 16, &values[..32]);
    folder
        .refused(&["embed", "head", "short.npy", "-o", "z.npy"])
        .names(&["short.npy", "32", "16"])
        .hints("dimension");
    folder.write("x.txt", "a line\n");
    folder
        .refused(&["embed", "head", "x.txt", "-o", "z.npy"])
        .names(&["x.txt", "stored vectors"])
        .hints(".npy");
    let bert = reference("bert");
    folder
        .refused(&["embed", bert.to_str().unwrap(), "x.npy", "-o", "z.npy"])
        .names(&["x.npy", "reads texts"])
        .hints("table");
}

#[test]
fn a_quantized_folder_embeds_in_8_bits_and_others_are_refused() {
    let folder = Folder::new();
    let model = reference("bert");
    let reference: Value = serde_json::from_slice(&fs::read(model.join("reference.json")).unwrap()).unwrap();
    folder.write("in.jsonl", jsonl(&reference["texts"]));
    let model = model.to_str().unwrap();
    let in_8_bits =
        |model: &str| folder.run(&["embed", model, "in.jsonl", "-o", "out.npy", "--precision", "int8"]);
    folder
        .refused(&["embed", model, "in.jsonl", "-o", "out.npy", "--precision", "int8"])
        .names(&["calibration"])
        .hints("parallax convert quantize");
    let made =
        folder.run(&["convert", "quantize", model, "--texts", "in.jsonl", "-o", "small", "--json"]).json();
    assert_eq!(made["texts"], reference["texts"].as_array().unwrap().len());
    assert!(made["lowest_cosine"].as_f64() > Some(0.99), "{made}");
    in_8_bits("small").ok();
    let difference =
        largest_difference(&read_npy(&folder.path("out.npy")).0, &numbers(&reference["embeddings"]));
    assert!(difference > 1e-5 && difference < 0.2, "{difference}");
    // An index keeps the precision of its rows.
    folder
        .run(&["index", "build", "in.jsonl", "--model", "small", "-o", "index", "--precision", "int8"])
        .ok();
    let found = folder.run(&["search", "index", reference["texts"][0].as_str().unwrap(), "--json"]).json();
    assert!(found[0][0]["score"].as_f64() > Some(0.999_999), "{found}");
    folder
        .refused(&[
            "index",
            "build",
            "in.jsonl",
            "--model",
            "small",
            "-o",
            "index",
            "--append",
            "--precision",
            "f32",
        ])
        .names(&["int8"])
        .hints("--precision int8");
}
