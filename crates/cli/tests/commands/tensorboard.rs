use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Folder;

/// (step, tag) to every value of it, in the event files of a run, in the order of their names.
fn scalars(run: &Path) -> BTreeMap<(u64, String), Vec<f32>> {
    let mut names: Vec<String> = fs::read_dir(run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("events.out.tfevents."))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut found: BTreeMap<(u64, String), Vec<f32>> = BTreeMap::new();
    for name in names {
        let bytes = fs::read(run.join(name)).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            event(&rest[12..12 + length], &mut found);
            rest = &rest[16 + length..];
        }
    }
    found
}

fn varint(data: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = data[0];
        *data = &data[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The fields of a message: number and bytes; of wire type 0 the value.
fn fields(mut data: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data);
        let size = match key & 7 {
            0 => {
                let value = varint(&mut data);
                found.push((key >> 3, Vec::new(), value));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut data) as usize,
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, data[..size].to_vec(), 0));
        data = &data[size..];
    }
    found
}

fn event(data: &[u8], found: &mut BTreeMap<(u64, String), Vec<f32>>) {
    let event = fields(data);
    let step = event.iter().find(|field| field.0 == 2).map_or(0, |field| field.2);
    for summary in event.iter().filter(|field| field.0 == 5) {
        for value in fields(&summary.1) {
            let value = fields(&value.1);
            let tag = String::from_utf8(value[0].1.clone()).unwrap();
            let number = f32::from_le_bytes(value[1].1[..].try_into().unwrap());
            found.entry((step, tag)).or_default().push(number);
        }
    }
}

fn log(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_hold_what_the_log_holds_and_a_killed_run_repeats_no_step() {
    let folder = Folder::new();
    folder.run_file("run.toml", "epochs = 10\ncheckpoint_every = 7\nvalidate_every = 25");
    let run = folder.path("runs/run");
    let mut command = folder.command(&["train", "run.toml", "--tensorboard"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < 40 {
        assert!(begun.elapsed() < Duration::from_secs(300));
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    folder.run(&["train", "run.toml", "--resume", "--quiet", "--tensorboard"]).ok();

    let found = scalars(&run);
    for ((step, tag), values) in &found {
        assert_eq!(values.len(), 1, "{tag} at step {step}");
    }
    let mut expected = 0;
    for line in log(&run) {
        let step = line["step"].as_u64().unwrap();
        let at = |tag: &str| found[&(step, tag.to_owned())][0];
        let same = |tag: &str, value: &serde_json::Value| {
            assert_eq!(at(tag), value.as_f64().unwrap() as f32, "{tag} at step {step}");
        };
        match line["validation"].as_object() {
            Some(measures) => {
                expected += measures.len();
                measures.iter().for_each(|(name, value)| same(&format!("validation/{name}"), value));
            }
            None => {
                expected += 3;
                same("train/loss", &line["loss"]);
                same("train/learning_rate", &line["lr"]);
                let rate = 16.0 / line["seconds"].as_f64().unwrap();
                assert!((f64::from(at("train/rows_per_second")) / rate - 1.0).abs() < 1e-5, "step {step}");
            }
        }
    }
    assert_eq!(found.len(), expected, "120 steps of three values, and five validations");
    assert!(expected > 360);
}

#[test]
fn without_the_setting_there_are_none_and_the_flag_sets_it() {
    let folder = Folder::new();
    folder.run_file("run.toml", "max_steps = 2");
    let events = |name: &str| {
        let entries = fs::read_dir(folder.path(name)).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("tfevents"))
            .count()
    };
    folder.run(&["train", "run.toml", "--quiet"]).ok();
    assert_eq!(events("runs/run"), 0);
    folder.run(&["train", "run.toml", "--quiet", "--tensorboard", "--out", "other"]).ok();
    assert_eq!(events("other"), 1);
    let config = fs::read_to_string(folder.path("other/config.toml")).unwrap();
    assert!(config.contains("tensorboard = true"), "{config}");
}
