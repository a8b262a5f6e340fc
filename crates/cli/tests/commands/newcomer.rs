//! Somebody with a table and nothing else: tables as people have them, no run file, no network.

use std::fs;

use crate::{Folder, reference};

/// Twelve classes of four texts each.
fn rows() -> Vec<(String, String)> {
    let things =
        ["bike", "lamp", "door", "tree", "boat", "shoe", "cake", "phone", "river", "chair", "coat", "train"];
    let says = [
        "the X is broken",
        "where can I find a new X",
        "I like this X very much",
        "please send me another X",
    ];
    let mut rows = Vec::new();
    for thing in things {
        rows.extend(says.iter().map(|text| (text.replace('X', thing), thing.to_owned())));
    }
    rows
}

fn lines(row: impl Fn(&(String, String)) -> String) -> String {
    rows().iter().map(|r| row(r) + "\n").collect()
}

const SHORT: [&str; 4] = ["--set", "train.epochs=1", "--set", "evaluate.resamples=100"];

fn train(folder: &Folder, data: &[&str]) -> serde_json::Value {
    folder.run(&[&["train"], data, &SHORT, &["--json", "--quiet"]].concat()).json()
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_table_alone_gives_a_model_a_report_and_its_run_file() {
    let folder = Folder::new();
    folder.write("data.csv", format!("text,label\n{}", lines(|(text, label)| format!("{text},{label}"))));
    let ended = folder.run(&[&["train", "data.csv"], &SHORT[..]].concat());
    has(
        &ended.err,
        &[
            "text      <- text",
            "label     <- label",
            "model: starter, built in",
            "split: by class",
            "objective: multi_similarity",
        ],
    );
    has(&ended.ok(), &["precision@1", "map@r", "runs/data/model", "runs/data/report.html"]);
    let config = fs::read_to_string(folder.path("runs/data/config.toml")).unwrap();
    has(&config, &["path = \"data.csv\"", "name = \"class_disjoint\"", "path = \"starter\"", "epochs = 1"]);
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path("runs/data/metrics.json")).unwrap()).unwrap();
    assert_eq!(json["data"]["rows"], 48);
    let page = fs::read_to_string(folder.path("runs/data/report.html")).unwrap();
    assert!(
        page.starts_with("<!doctype html>") && !page.contains("http://") && !page.contains("src="),
        "not self-contained"
    );

    // What was written is a run file that gives the same numbers again.
    let again = folder.run(&["train", "runs/data/config.toml", "--out", "again", "--json", "--quiet"]).json();
    assert_eq!(again["measures"], json["measures"]);
    folder.run(&["embed", "runs/data/model", "data.csv", "-o", "v.npy"]).ok();
}

#[test]
fn a_semicolon_table_with_a_byte_order_mark() {
    let folder = Folder::new();
    let table = format!("\u{feff}Message;Topic\n{}", lines(|(text, label)| format!("{text};{label}")));
    folder.write("export.csv", table);
    let json = train(&folder, &["export.csv"]);
    let roles = json["data"]["roles"].to_string();
    assert_eq!(json["data"]["rows"], 48);
    has(&roles, &[r#"["text","Message"]"#, r#"["label","Topic"]"#]);
}

#[test]
fn a_json_array() {
    let folder = Folder::new();
    let rows: Vec<_> =
        rows().iter().map(|(t, l)| serde_json::json!({ "utterance": t, "intent": l })).collect();
    folder.write("data.json", serde_json::Value::from(rows).to_string());
    let json = train(&folder, &["data.json"]);
    has(&json["data"]["roles"].to_string(), &[r#"["text","utterance"]"#, r#"["label","intent"]"#]);
}

#[test]
fn a_folder_of_texts() {
    let folder = Folder::new();
    for (at, (text, label)) in rows().iter().enumerate() {
        fs::create_dir_all(folder.path("texts").join(label)).unwrap();
        fs::write(folder.path("texts").join(label).join(format!("{at}.txt")), text).unwrap();
    }
    let json = train(&folder, &["texts"]);
    assert_eq!((&json["data"]["rows"], &json["data"]["classes"]), (&48.into(), &12.into()));
    assert_eq!(json["name"], "texts");
}

#[test]
fn labels_spelled_as_floats_are_classes() {
    let folder = Folder::new();
    let number = |label: &str| label.bytes().map(u32::from).sum::<u32>();
    folder.write(
        "data.csv",
        format!("text,label\n{}", lines(|(text, label)| format!("{text},{}.0", number(label)))),
    );
    let json = train(&folder, &["data.csv"]);
    let classes: std::collections::BTreeSet<u32> = rows().iter().map(|(_, label)| number(label)).collect();
    assert_eq!(json["data"]["classes"], classes.len());

    // Fractions beside one text are no classes: the question says what can be done.
    folder.write(
        "scores.csv",
        format!("text,label\n{}", lines(|(text, label)| format!("{text},0.{}", number(label) % 97))),
    );
    let ended = folder.run(&["train", "scores.csv"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    has(&ended.err, &["scores.csv", "hint: ", "label"]);
}

#[test]
fn cells_with_several_labels_are_a_question_that_can_be_answered() {
    let folder = Folder::new();
    folder.write(
        "data.csv",
        format!(
            "text,label\n{}",
            lines(|(text, label)| match text.len() % 3 {
                0 => format!("{text},{label}|urgent"),
                1 => format!("{text},{label}|new|private"),
                _ => format!("{text},{label}"),
            })
        ),
    );
    let ended = folder.run(&["train", "data.csv"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    has(&ended.err, &["several labels", "data.multi_label"]);
    let json = train(&folder, &["data.csv", "--set", "data.multi_label=first"]);
    assert_eq!(json["data"]["classes"], 12);
}

#[test]
fn init_writes_a_run_file_that_explains_itself_and_runs() {
    let folder = Folder::new();
    folder.write("data.csv", format!("text,label\n{}", lines(|(text, label)| format!("{text},{label}"))));
    has(&folder.run(&["init", "data.csv"]).ok(), &["data.toml", "parallax train data.toml"]);
    let text = fs::read_to_string(folder.path("data.toml")).unwrap();
    has(
        &text,
        &[
            "# Passes over the training rows.",
            "Losses that fit them:",
            "supcon",
            "# max_steps =",
            "[train.optimizer]",
        ],
    );
    folder.refused(&["init", "data.csv"]).names(&["data.toml exists"]).hints("--force");
    folder.run(&["init", "data.csv", "--force"]).ok();
    // The comments are comments: the run is the one that train makes of the data.
    let inferred = train(&folder, &["data.csv", "--out", "a"]);
    let written = train(&folder, &["data.toml", "--out", "b"]);
    assert_eq!(inferred["measures"], written["measures"]);
}

#[test]
fn data_check_reports_what_is_odd() {
    let folder = Folder::new();
    let mut table = format!("text,label\n{}", lines(|(text, label)| format!("{text},{label}")));
    table.push_str("the bike is broken,lamp\nThe Bike is  broken,bike\nonly one of its kind,moon\n,bike\n");
    folder.write("data.csv", table);
    let json = folder.run(&["data", "check", "data.csv", "--json"]).json();
    assert_eq!(json["rows"], 52);
    let text = folder.run(&["data", "check", "data.csv"]).ok();
    has(&text, &["52 rows", "data.csv:50", "moon"]);
    assert!(json["findings"].as_array().unwrap().len() >= 4, "{json:#}");
    folder.refused(&["data", "check", "missing.csv"]).names(&["missing.csv"]).hints("path");
}

#[test]
fn stored_vectors_get_the_best_closed_form_map_or_are_told_that_none_helps() {
    let folder = Folder::new();
    // Classes differ in the first four numbers; the other twelve are large noise.
    let noise = |i: usize, j: usize| (((i * 7919 + j * 104_729) % 1009) as f32 / 504.5 - 1.0) * 4.0;
    let (mut values, mut labels) = (Vec::new(), String::from("label\n"));
    for row in 0..400 {
        let class = row % 20;
        values.extend((0..16).map(|j| {
            let signal = if j < 4 { ((class * (j + 3) * 37 % 11) as f32 - 5.0) * 0.5 } else { 0.0 };
            signal + noise(row, j) * if j < 4 { 0.1 } else { 1.0 }
        }));
        labels.push_str(&format!("class {class}\n"));
    }
    folder.npy("vectors.npy", 16, &values);
    folder.write("labels.csv", labels);
    let json = folder.run(&["train", "vectors.npy", "labels.csv", "--json", "--quiet"]).json();
    let map = &json["measures"]["map@r"];
    assert!(map["change_interval"][0].as_f64().unwrap() > 0.05, "{map}");
    assert!(json["adapter"]["verdict"].as_str().unwrap().contains("alpha"), "{}", json["adapter"]["verdict"]);

    // Nothing but noise: it says so and leaves the vectors as they are.
    let even: Vec<f32> = (0..400 * 16).map(|i| noise(i / 16, i % 16)).collect();
    folder.npy("noise.npy", 16, &even);
    let json = folder.run(&["train", "noise.npy", "labels.csv", "--json", "--quiet"]).json();
    assert_eq!(json["measures"]["map@r"]["change"], 0.0, "{}", json["adapter"]["verdict"]);
}

#[test]
fn an_index_is_built_searched_extended_and_refused() {
    let folder = Folder::new();
    folder.write("data.csv", format!("text,label\n{}", lines(|(text, label)| format!("{text},{label}"))));
    has(
        &folder.run(&["index", "build", "data.csv", "-o", "things"]).ok(),
        &["48 rows of 128 numbers", "by starter", "label  texts"],
    );
    let hits = folder.run(&["search", "things", "my bike is broken", "-k", "3", "--json"]).json();
    assert_eq!(hits[0][0]["text"], "the bike is broken");
    assert_eq!(hits[0][0]["attributes"]["label"], "bike");
    assert_eq!(hits[0].as_array().unwrap().len(), 3);
    let hits =
        folder.run(&["search", "things", "my bike is broken", "--filter", "label = 'lamp'", "--json"]).json();
    assert!(hits[0].as_array().unwrap().iter().all(|hit| hit["attributes"]["label"] == "lamp"), "{hits}");
    folder.refused(&["search", "things", "x", "--filter", "colour = 'red'"]).names(&["colour", "\"label\""]);
    folder.refused(&["index", "build", "data.csv", "-o", "things"]).names(&["things"]).hints("--append");
    folder.write("more.csv", "id,text,label\nx1,a red balloon,balloon\n");
    folder.run(&["index", "build", "more.csv", "-o", "things", "--append"]).ok();
    let hits = folder.run(&["search", "things", "balloon", "--json"]).json();
    assert_eq!(hits[0][0]["id"], "x1");
    folder.run(&["index", "delete", "things", "x1"]).ok();
    assert_eq!(folder.run(&["index", "info", "things", "--json"]).json()["rows"], 48);
    folder.run(&["index", "compact", "things"]).ok();
    assert_eq!(folder.run(&["index", "info", "things", "--json"]).json()["deleted"], 0);
}

#[test]
fn a_model_is_distilled_and_used() {
    let folder = Folder::new();
    folder.write("data.csv", format!("text,label\n{}", lines(|(text, label)| format!("{text},{label}"))));
    let bert = reference("bert");
    let bert = bert.to_str().unwrap();
    let distill = ["convert", "distill", bert, "data.csv", "--dim", "8", "--json"];
    let plain = folder.run(&[&distill[..], &["-o", "plain"]].concat()).json();
    let small = folder.run(&[&distill[..], &["-o", "small", "--int8"]].concat()).json();
    assert_eq!(plain["dim"], 8);
    assert!(plain["counted"].as_u64().unwrap() > 100);
    assert!(small["bytes"].as_u64() < plain["bytes"].as_u64(), "{small} {plain}");
    folder.run(&["embed", "plain", "data.csv", "-o", "a.npy"]).ok();
    folder.run(&["embed", "small", "data.csv", "-o", "b.npy"]).ok();
    let ((a, dim), (b, _)) = (crate::read_npy(&folder.path("a.npy")), crate::read_npy(&folder.path("b.npy")));
    for (a, b) in a.chunks(dim).zip(b.chunks(dim)) {
        let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "{cosine}");
    }
    folder.refused(&["convert", "distill", "plain", "-o", "again"]).names(&["token table already"]);
    folder
        .refused(&["convert", "distill", bert, "-o", "x", "--dim", "9999"])
        .names(&["dim = 9999"])
        .hints("256");
}
