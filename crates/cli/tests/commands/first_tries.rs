use crate::{Folder, reference};

/// What somebody who guesses the commands types, how it ends, and what the answer must hold: what to type instead, ready to
/// be copied, or the thing itself.
const TRIES: &[(&[&str], i32, &[&str])] = &[
    (&[], 2, &["Usage: parallax", "First steps:", "parallax train data.csv", "Exit codes:"]),
    (&["help"], 0, &["First steps:", "train", "[aliases: fit, finetune]", "130"]),
    (&["help", "train"], 0, &["--dry-run", "--set <KEY=VALUE>", "--tensorboard"]),
    (&["--version"], 0, &["parallax "]),
    (&["-V"], 0, &["parallax "]),
    (&["-v"], 2, &["hint: type: parallax --version"]),
    (&["version"], 2, &["hint: type: parallax --version"]),
    (&["train"], 2, &["hint: type: parallax train data.csv", "--help"]),
    (&["train", "missing.csv"], 1, &["missing.csv", "hint: check the path"]),
    (&["finetune", "missing.toml"], 1, &["missing.toml", "hint: check the path"]),
    (&["fit", "missing.toml"], 1, &["missing.toml", "hint: check the path"]),
    (&["fine-tune", "x.toml"], 2, &["hint: type: parallax train"]),
    (&["run", "x.toml"], 2, &["hint: type: parallax train"]),
    (
        &["train", "data.csv", "--epochs", "3"],
        2,
        &["hint: ", "type: parallax train data.csv --set train.epochs=3"],
    ),
    (&["validate"], 2, &["hint: type: parallax data check data.csv"]),
    (&["new"], 2, &["hint: type: parallax init data.csv"]),
    (&["distill", "m"], 2, &["hint: type: parallax convert distill ", " -o "]),
    (&["run.toml"], 2, &["hint: type: parallax train run.toml"]),
    (&["data.csv"], 2, &["hint: type: parallax train data.csv"]),
    (&["train", "--data", "run.toml"], 2, &["hint: type: parallax train run.toml"]),
    (
        &["embed", "some text"],
        2,
        &["hint: type: echo \"some text\" | parallax embed all-MiniLM-L6-v2 - -o vectors.jsonl"],
    ),
    (
        &["embed", "all-MiniLM-L6-v2", "some text", "-o", "v.npy"],
        1,
        &["hint: for one text: echo \"some text\" | parallax embed all-MiniLM-L6-v2 - -o v.npy"],
    ),
    (&["encode", "texts.txt"], 2, &["hint: type: parallax embed all-MiniLM-L6-v2 texts.txt -o vectors.npy"]),
    (
        &["embed", "all-MiniLM-L6-v2", "a.txt"],
        2,
        &["hint: type: parallax embed all-MiniLM-L6-v2 a.txt -o vectors.npy"],
    ),
    (&["embed"], 2, &["hint: type: parallax embed all-MiniLM-L6-v2 texts.txt -o vectors.npy"]),
    (&["evaluate"], 2, &["hint: type: parallax eval all-MiniLM-L6-v2 data.csv"]),
    (&["evaluate", "my.csv"], 2, &["hint: type: parallax eval all-MiniLM-L6-v2 my.csv"]),
    (&["eval", "vectors.npy"], 2, &["hint: type: parallax eval vectors.npy labels.csv"]),
    (&["benchmark"], 2, &["hint: type: parallax bench encode "]),
    (&["search", "some text"], 2, &["hint: type: parallax search INDEX \"some text\" -k 5"]),
    (&["search", "texts.index", "some text"], 1, &["texts.index", "hint: "]),
    (&["query", "some text"], 2, &["hint: type: parallax search INDEX "]),
    (&["index"], 2, &["build", "info", "delete"]),
    (&["demo"], 2, &["hint: type: parallax quickstart"]),
    (&["models"], 2, &["hint: type: parallax list models"]),
    (&["losses"], 2, &["hint: type: parallax list losses"]),
    (&["list", "models"], 0, &["all-MiniLM-L6-v2"]),
    (&["serve"], 2, &["hint: type: parallax search ", "no server in this version"]),
    (&["download", "all-MiniLM-L6-v2"], 2, &["hint: type: parallax embed ", "when it is first used"]),
    (&["runs"], 2, &["list", "show", "diff"]),
    (&["runs", "list"], 0, &["there are no runs in runs"]),
    (&["runs", "all"], 2, &["hint: parallax runs takes one of: list, show, diff"]),
    (&["runs", "show"], 2, &["hint: type: parallax runs show RUN"]),
    (&["runs", "diff", "a"], 2, &["hint: type: parallax runs diff a OTHER_RUN"]),
    (&["history"], 2, &["hint: type: parallax runs list"]),
    (&["doctor", "parity", "m"], 2, &["hint: type: parallax doctor parity m --against vectors.npy"]),
    (&["trian", "run.toml"], 2, &["hint: type: parallax train run.toml"]),
];

#[test]
fn first_tries_work_or_say_what_to_type() {
    let folder = Folder::new();
    for (args, code, parts) in TRIES {
        let ended = folder.run(args);
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.code, Some(*code), "{args:?}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{args:?}: {part:?} is not in:\n{said}");
        }
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        // Failures leave standard output to the programs that read it, and the hint is the last thing said.
        if *code != 0 {
            assert_eq!(ended.out, "", "{args:?}");
            if let Some(at) = said.find("hint: ") {
                assert_eq!(said[at..].trim_end().lines().count(), 1, "{args:?}: {said}");
            }
        }
        assert_eq!(folder.names(), [""; 0], "{args:?}");
    }
}

/// Settings as flags: what the hint says to type is typed, and runs.
#[test]
fn a_setting_as_a_flag_is_written_out_and_then_runs() {
    let folder = Folder::new();
    folder.run_file("run.toml", "max_steps = 2");
    let ended = folder.run(&["train", "run.toml", "--epochs", "3", "--lr=1e-3", "--quiet"]);
    assert_eq!(ended.code, Some(2));
    let typed = ended.err.split("type: parallax ").nth(1).unwrap().trim().to_owned();
    assert_eq!(typed, "train run.toml --set train.epochs=3 --lr=1e-3 --quiet");
    let ended = folder.run(&typed.split(' ').collect::<Vec<_>>());
    let typed = ended.err.split("type: parallax ").nth(1).unwrap().trim().to_owned();
    let json = [&typed.split(' ').collect::<Vec<_>>()[..], &["--json"]].concat();
    assert_eq!(folder.run(&json).json()["training"]["steps"], 2);
    let config = std::fs::read_to_string(folder.path("runs/run/config.toml")).unwrap();
    assert!(config.contains("epochs = 3") && config.contains("lr = 0.001"), "{config}");
}

/// Aliases are the commands themselves.
#[test]
fn aliases_do_the_same() {
    let folder = Folder::new();
    folder.write("in.txt", "a line\n");
    let bert = reference("bert");
    let bert = bert.to_str().unwrap();
    folder.run(&["encode", bert, "in.txt", "-o", "a.npy"]).ok();
    folder.run(&["embed", bert, "in.txt", "-o", "b.npy"]).ok();
    assert_eq!(std::fs::read(folder.path("a.npy")).unwrap(), std::fs::read(folder.path("b.npy")).unwrap());
    let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/support.csv");
    let table = table.to_str().unwrap();
    let measured = |command: &str| folder.run(&[command, bert, table, "--resamples", "0"]).ok();
    assert_eq!(measured("evaluate"), measured("eval"));
}
