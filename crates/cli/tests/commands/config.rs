use crate::Folder;

#[test]
fn a_typo_names_the_nearest_key_the_file_and_the_line() {
    let folder = Folder::new();
    folder.write("run.toml", "[data]\npath = \"x.csv\"\n[train]\nepohcs = 3\n");
    let refusal = folder.refused(&["config", "show", "run.toml"]);
    refusal
        .names(&["run.toml, line 4: ", "\"train.epohcs\"", "did you mean \"epochs\"?"])
        .hints("batch_size");
    let refusal = folder.refused(&["train", "run.toml"]);
    refusal.names(&["run.toml, line 4: ", "did you mean \"epochs\"?"]).hints("epochs");
}

#[test]
fn an_unknown_component_names_the_nearest() {
    let folder = Folder::new();
    folder.write("run.toml", "[objective]\nloss = \"contrastve\"\n");
    folder
        .refused(&["config", "show", "run.toml"])
        .names(&["run.toml, line 2: ", "objective.loss", "did you mean \"contrastive\"?"])
        .hints("multi_similarity");
    let refusal =
        folder.refused(&["config", "show", "run.toml", "--set", "objective.loss=x", "--set", "head=liner"]);
    refusal.names(&["--set "]);
}

#[test]
fn a_run_file_is_shown_with_everything_written_out() {
    let folder = Folder::new();
    folder.write("my.toml", "objective.loss = \"contrastive\"\n");
    let args = ["config", "show", "my.toml", "--set", "train.epochs=7", "--seed", "5"];
    let text = folder.run(&args).ok();
    for line in ["name = \"my\"", "seed = 5", "epochs = 7", "name = \"contrastive\"", "neg_margin = 1.0"] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    // What is shown can be run: it is read back to the same.
    folder.write("again.toml", &text);
    assert_eq!(folder.run(&["config", "show", "again.toml"]).ok(), text);
    let json = folder.run(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(json["train"]["epochs"], 7);
}

#[test]
fn the_schema_is_json() {
    let schema = Folder::new().run(&["config", "schema"]).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for key in ["data", "model", "head", "objective", "train", "evaluate", "output"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn a_missing_run_file_is_named() {
    Folder::new().refused(&["train", "nowhere.toml"]).names(&["nowhere.toml", "cannot read"]).hints("path");
}
