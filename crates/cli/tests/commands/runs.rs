use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Ended, Folder};

#[test]
fn runs_are_listed_shown_and_compared() {
    let folder = Folder::new();
    folder.run_file("first.toml", "max_steps = 6");
    let outcome = folder.run(&["train", "first.toml", "--json", "--quiet"]).json();
    folder
        .run(&["train", "first.toml", "--quiet", "--set", "name=second", "--set", "train.max_steps=12"])
        .ok();
    folder
        .run(&["train", "first.toml", "--quiet", "--set", "name=third", "--set", "data.split.seen=14"])
        .ok();

    let list = folder.run(&["runs", "list"]).ok();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    for (line, name) in lines[1..].iter().zip(["first", "second", "third"]) {
        assert!(line.starts_with(name), "{list}");
        for part in ["finished", "support.csv", "bert", "supcon", "map@r"] {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }
    let map = &outcome["measures"]["map@r"];
    for key in ["before", "after"] {
        assert!(lines[1].contains(&format!("{:.4}", map[key].as_f64().unwrap())), "{list}");
    }
    let low = map["change_interval"][0].as_f64().unwrap();
    assert!(lines[1].contains(&format!("({low:+.4} to ")), "{list}");
    let json = folder.run(&["runs", "list", "runs", "--json"]).json();
    assert_eq!(json[0]["main"]["name"], "map@r");
    for key in ["before", "after", "change", "change_interval"] {
        assert_eq!(json[0]["main"][key], map[key]);
    }
    assert_eq!(json[2]["state"], "finished");

    let show = folder.run(&["runs", "show", "second"]).ok();
    for part in [
        "train.max_steps",
        "12",
        "loss",
        "validation map@r",
        "12 points",
        "metrics.json",
        "model/",
        "objective.loss.name",
    ] {
        assert!(show.contains(part), "{part:?} is not in:\n{show}");
    }
    assert!(show.lines().any(|line| line.contains("loss  ") && line.contains('█')), "{show}");
    let json = folder.run(&["runs", "show", "runs/second", "--json"]).json();
    assert_eq!(json["outcome"]["training"]["steps"], 12);
    assert_eq!(json["curves"][0]["points"].as_array().unwrap().len(), 12);

    // The same rows, other settings.
    let json = folder.run(&["runs", "diff", "first", "second", "--json"]).json();
    let keys: Vec<&str> =
        json["settings"].as_array().unwrap().iter().map(|s| s["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["train.max_steps"]);
    assert_eq!(json["incomparable"].as_array().unwrap().len(), 0);
    for measure in json["measures"].as_array().unwrap() {
        let after = |run: &str| measure[run][1].as_f64().unwrap();
        let difference = measure["difference"].as_f64().unwrap();
        assert_eq!(difference, after("b") - after("a"));
        let [low, high] = [0, 1].map(|at| measure["interval"][at].as_f64().unwrap());
        assert!(low <= difference + 1e-6 && difference - 1e-6 <= high, "{measure}");
    }
    let text = folder.run(&["runs", "diff", "first", "second"]).ok();
    assert!(text.ends_with("both were measured on the same rows in the same way\n"), "{text}");
    // Another split has other test rows.
    let text = folder.run(&["runs", "diff", "first", "third"]).ok();
    assert!(
        text.contains("cannot be compared: the splits differ") && text.contains("not comparable"),
        "{text}"
    );

    folder
        .refused(&["runs", "show", "secnd"])
        .names(&["did you mean \"second\"?"])
        .hints("first, second, third");
    folder.refused(&["runs", "list", "nowhere"]).names(&["nowhere"]).hints("path");
}

#[cfg(unix)]
#[test]
fn a_run_is_running_then_interrupted_then_finished() {
    let folder = Folder::new();
    folder.run_file("run.toml", "epochs = 200");
    let state = || {
        let json = folder.run(&["runs", "list", "--json"]).json();
        json[0]["state"].as_str().unwrap_or("none").to_owned()
    };
    let mut command = folder.command(&["train", "run.toml"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let log = folder.path("runs/run/metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 5 {
        assert!(begun.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(state(), "running");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert_eq!(state(), "interrupted");
    let show = folder.run(&["runs", "show", "run"]).ok();
    assert!(
        show.contains("interrupted") && show.contains("--resume") && show.contains("checkpoint/"),
        "{show}"
    );
    let plan = folder.run(&["train", "run.toml", "--resume", "--dry-run"]).ok();
    assert!(plan.contains("going on after step"), "{plan}");
    assert_eq!(state(), "interrupted");
}

#[test]
fn a_run_that_breaks_after_a_checkpoint_says_why() {
    let folder = Folder::new();
    let rows: String = (0..40).map(|row| format!("c{}\n", row % 4)).collect();
    folder.write("labels.csv", format!("label\n{rows}"));
    let values: Vec<f32> = (0..40).flat_map(|row| [row as f32 / 40.0, (row % 4) as f32, 1.0]).collect();
    folder.npy("vectors.npy", 3, &values);
    // The second of two steps as large as these leaves the range of f32.
    folder.write(
        "run.toml",
        "[data]\npath = \"labels.csv\"\nvectors = \"vectors.npy\"\nsplit = \"random\"\n[head]\nname = \"linear\"\n\
         [objective]\nloss = \"contrastive\"\ndistance = \"squared_euclidean\"\n[train]\nepochs = 4\nbatch_size = 8\n\
         sampler = { name = \"per_class\", per_class = 2 }\ncheckpoint_every = 1\n\
         optimizer = { name = \"adamw\", lr = 3e38, weight_decay = 0.0 }\n",
    );
    let ended = folder.run(&["train", "run.toml", "--quiet"]);
    assert_eq!(ended.code, Some(1), "{} {}", ended.out, ended.err);
    let json = folder.run(&["runs", "list", "--json"]).json();
    assert_eq!(json[0]["state"], "failed", "{json}");
    let why = json[0]["problem"].as_str().unwrap();
    assert!(ended.err.contains(why), "{why} is not in: {}", ended.err);
}
