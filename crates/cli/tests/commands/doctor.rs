use std::fs;

use serde_json::Value;

use crate::{Folder, copy, read_npy, reference};

#[test]
fn the_machine_and_the_places_are_said() {
    let folder = Folder::new();
    copy(&reference("bert"), &folder.path("models/tiny"));
    let mut command = folder.command(&["doctor", "--threads", "2"]);
    let ended = crate::Ended::from(command.env("PARALLAX_MODELS", folder.path("models")).output().unwrap());
    let text = ended.ok();
    let parts = [
        "parallax ",
        "threads       2 of ",
        "models: tiny",
        "(the cache): not there",
        "PARALLAX_MODELS",
        "10 files, 90.9 MB",
    ];
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let mut command = folder.command(&["doctor", "--json"]);
    let ended = crate::Ended::from(command.env("PARALLAX_DATA", folder.path("none")).output().unwrap());
    let json = ended.json();
    assert_eq!(json["hub"], "http://127.0.0.1:9");
    let advice = json["advice"].to_string();
    assert!(advice.contains("PARALLAX_DATA") && advice.contains("no such folder"), "{advice}");
    assert_eq!(folder.names(), ["models"], "nothing is written");
}

/// A reference model, its texts, and vectors that another program made of them.
fn given(folder: &Folder, name: &str, prompt: Option<&str>) -> (String, Vec<f32>, usize) {
    let model = reference(name);
    let json: Value = serde_json::from_slice(&fs::read(model.join("reference.json")).unwrap()).unwrap();
    let texts = json["texts"].as_array().unwrap();
    let lines: Vec<String> =
        texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    folder.write("texts.jsonl", lines.join("\n") + "\n");
    let rows = match prompt {
        None => &json["embeddings"],
        Some(prompt) => &json["embeddings_with_prompt"][prompt],
    };
    let rows = rows.as_array().unwrap();
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|row| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32))
        .collect();
    let dim = values.len() / rows.len();
    folder.npy("vectors.npy", dim, &values);
    (model.to_str().unwrap().to_owned(), values, dim)
}

fn parity<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["doctor", "parity", model, "--against", "vectors.npy", "--texts", "texts.jsonl"], more].concat()
}

#[test]
fn vectors_of_sentence_transformers_are_the_same() {
    for name in ["bert", "roberta", "xlm_roberta", "distilbert", "mpnet"] {
        let folder = Folder::new();
        let (model, values, dim) = given(&folder, name, None);
        let json = folder.run(&parity(&model, &["--json"])).json();
        assert_eq!((json["same"].as_bool(), json["dim"].as_u64()), (Some(true), Some(dim as u64)), "{json}");
        assert_eq!(json["rows"], values.len() / dim);
        assert!(json["min_cosine"].as_f64() > Some(0.999_999), "{name}: {json}");
        assert!(json["largest_difference"].as_f64() < Some(1e-4), "{name}: {json}");
        assert!(
            folder.run(&parity(&model, &[])).ok().ends_with("the same: every cosine is at least 0.9999\n")
        );
    }
}

#[test]
fn what_makes_vectors_differ_is_named() {
    let folder = Folder::new();
    let (model, mut values, dim) = given(&folder, "bert", None);
    let differs = |more: &[&str], parts: &[&str]| {
        let ended = folder.run(&parity(&model, more));
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        assert_eq!(ended.err, "");
        for part in parts {
            assert!(ended.out.contains(part), "{part:?} is not in:\n{}", ended.out);
        }
    };
    // One number of one row.
    values[3 * dim] += 0.5;
    folder.npy("vectors.npy", dim, &values);
    differs(&["--worst", "1"], &["not the same: 1 of ", "row 4: cosine 0.", "no pooling, prompt"]);
    values[3 * dim] -= 0.5;
    // The rows in the opposite order.
    let turned: Vec<f32> = values.chunks(dim).rev().flatten().copied().collect();
    folder.npy("vectors.npy", dim, &turned);
    differs(&[], &["another order: text "]);

    // Vectors of the same model with another pooling, made by a copy of its folder that says so.
    copy(&reference("bert"), &folder.path("cls"));
    let config = folder.path("cls/1_Pooling/config.json");
    let text = fs::read_to_string(&config).unwrap();
    let text = text
        .replace("\"pooling_mode_cls_token\": false", "\"pooling_mode_cls_token\": true")
        .replace("\"pooling_mode_mean_tokens\": true", "\"pooling_mode_mean_tokens\": false");
    fs::write(&config, text).unwrap();
    folder.run(&["embed", "cls", "texts.jsonl", "-o", "vectors.npy", "--precision", "f32"]).ok();
    assert_ne!(read_npy(&folder.path("vectors.npy")).0, values);
    differs(&[], &["cause: the same with cls pooling", "1.000000"]);

    // A shorter limit.
    folder
        .run(&[
            "embed",
            &model,
            "texts.jsonl",
            "-o",
            "vectors.npy",
            "--max-tokens",
            "4",
            "--precision",
            "f32",
        ])
        .ok();
    differs(&[], &["not the same"]);
    folder.run(&parity(&model, &["--max-tokens", "4"])).ok();
}

#[test]
fn prompts_and_lengths_are_named() {
    let folder = Folder::new();
    let name = ["bert", "roberta", "xlm_roberta", "distilbert", "mpnet"].into_iter().find(|name| {
        fs::read_to_string(reference(name).join("reference.json")).unwrap().contains("\"query\"")
    });
    let name = name.expect("a reference model with prompts");
    let (model, values, dim) = given(&folder, name, Some("query"));
    let ended = folder.run(&parity(&model, &[]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("the same with the prompt \"query\""), "{}", ended.out);
    folder.run(&parity(&model, &["--prompt", "query"])).ok();
    // Three times as long: a cosine does not see it, and it is said.
    folder.npy("vectors.npy", dim, &values.iter().map(|x| 3.0 * x).collect::<Vec<_>>());
    let text = folder.run(&parity(&model, &["--prompt", "query"])).ok();
    assert!(text.contains("cause: ") && text.contains("length"), "{text}");
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let (model, values, dim) = given(&folder, "bert", None);
    folder.npy("vectors.npy", dim, &values[dim..]);
    folder.refused(&parity(&model, &[])).names(&["vectors.npy", "rows", "texts.jsonl"]).hints("blank lines");
    folder.npy("vectors.npy", dim / 2, &values);
    folder.refused(&parity(&model, &[])).names(&["16 numbers", "32"]).hints("shorter");
    folder.npy("vectors.npy", dim, &[f32::NAN; 32]);
    folder.refused(&parity(&model, &[])).names(&["vectors.npy", "NaN"]);
    folder.npy("vectors.npy", dim, &values);
    folder.refused(&parity(&model, &["--min-cosine", "2"])).names(&["2"]).hints("0.9999");
    folder.refused(&parity("no/model", &[])).names(&["no/model"]);
    // Without texts, those that the program prints.
    folder
        .refused(&["doctor", "parity", &model, "--against", "vectors.npy"])
        .names(&["built-in texts"])
        .hints("doctor texts");
    folder.write("lines.txt", folder.run(&["doctor", "texts"]).ok());
    folder.run(&["embed", &model, "lines.txt", "-o", "vectors.npy", "--precision", "f32"]).ok();
    let text = folder.run(&["doctor", "parity", &model, "--against", "vectors.npy"]).ok();
    assert!(text.contains("12 rows") && text.contains("lowest 1.000000"), "{text}");
}
