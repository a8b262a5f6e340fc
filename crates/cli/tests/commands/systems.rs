use crate::Folder;

/// A recipe over vectors that lie in the folder.
const RECIPE: &str = r#"
title = "A head"
paper = "none"
what = "A head that is trained."
usage = "head = 'linear'"
fidelity = "specified"
[[claims]]
name = "better"
says = "a trained head beats vectors as they are"
measure = "map@r"
margin = 0.01
seeds = 5
beside = ["train"]
quick.train.max_steps = 2
tuning.trials = 3
tuning.folds = 2
tuning.search = { name = "random" }
[claims.common]
data = { vectors = "x.npy", labels = "y.npy", split = { name = "class_disjoint", seen = 12, order = "alphabetical" } }
train = { epochs = 20, batch_size = 32, sampler = { name = "per_class", per_class = 4 }, optimizer = { name = "adamw", lr = 1e-2 } }
[claims.baseline]
label = "a single step"
run.train.max_steps = 1
[claims.system]
label = "trained"
run.objective.loss = "multi_similarity"
space."train.optimizer.lr" = { low = 1e-2, high = 1e-1, log = true }
[[claims]]
name = "frozen"
says = "a trained head beats vectors as they are"
measure = "map@r"
margin = 0.9
seeds = 2
quick.train.max_steps = 2
[claims.common]
data = { vectors = "x.npy", labels = "y.npy", split = { name = "class_disjoint", seen = 12, order = "alphabetical" } }
train = { max_steps = 5, batch_size = 32, sampler = { name = "per_class", per_class = 4 } }
[claims.baseline]
label = "as they are"
frozen = true
[claims.system]
label = "trained"
"#;

/// Classes differ in two dimensions of eight; the others are noise, so that a head has something to find.
fn vectors(folder: &Folder) {
    let draw = |i: u64| {
        let mut x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x2545_f491_4f6c_dd1d);
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 32;
        (x >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let (classes, each, dim) = (20u64, 10u64, 8u64);
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for class in 0..classes {
        for item in 0..each {
            for d in 0..dim {
                let centre = if d < 2 { 2.0 * draw(class * dim + d) } else { 0.0 };
                values.push(
                    centre
                        + if d < 2 { 0.3 } else { 2.0 } * draw(1_000_000 + (class * each + item) * dim + d),
                );
            }
            labels.extend((class as i64).to_le_bytes());
        }
    }
    folder.npy("x.npy", dim as usize, &values);
    folder.write("y.npy", crate::npy("<i8", &format!("({},)", classes * each), &labels));
}

#[test]
fn systems_are_listed_and_shown() {
    let folder = Folder::new();
    let list = folder.run(&["systems", "list"]).ok();
    assert!(list.lines().any(|line| line.starts_with("multi-similarity")), "{list}");
    let json = folder.run(&["systems", "list", "--json"]).json();
    assert_eq!(json.as_array().unwrap().len(), list.lines().count());
    let show = folder.run(&["systems", "show", "multi-similarity"]).ok();
    for part in
        ["CVPR 2019", "miner = \"multi_similarity\"", "claim contrastive", "parallax systems reproduce"]
    {
        assert!(show.contains(part), "{part:?} is not in: {show}");
    }
    folder
        .refused(&["systems", "show", "multi-similarty"])
        .names(&["did you mean \"multi-similarity\"?"])
        .hints("multi-similarity");
    folder.run(&["systems", "docs", "-o", "docs"]).ok();
    assert!(std::fs::read_to_string(folder.path("docs/multi-similarity.md")).unwrap().contains("## Claims"));
}

#[test]
fn a_recipe_is_run_judged_and_written_down_twice_the_same() {
    let folder = Folder::new();
    vectors(&folder);
    folder.write("own.toml", RECIPE);
    let first =
        folder.run(&["systems", "reproduce", "own.toml", "--json", "-q", "--results", "results"]).json();
    let claim = &first["claims"][0];
    assert_eq!(claim["verdict"], "holds", "{claim}");
    assert_eq!(claim["baseline"].as_array().unwrap().len(), 5);
    assert!(claim["difference"]["low"].as_f64().unwrap() > 0.01);
    assert_eq!(claim["tuned"][1]["trials"], 3);
    assert_eq!(claim["beside"][0][0], "map@r on the training rows");
    assert_eq!(first["claims"][1]["verdict"], "does_not_hold", "by so much nothing rises");
    for name in ["reproductions/own/result.json", "reproductions/own/report.html", "results/own.json"] {
        assert!(folder.path(name).is_file(), "{name}");
    }
    let second = folder
        .run(&["systems", "reproduce", "own.toml", "--json", "-q", "--out", "again", "--threads", "1"])
        .json();
    for key in ["baseline", "system", "difference", "tuned"] {
        assert_eq!(claim[key], second["claims"][0][key], "{key}");
    }
}

#[test]
fn a_quick_run_decides_nothing_and_missing_data_are_named() {
    let folder = Folder::new();
    vectors(&folder);
    folder.write("own.toml", RECIPE);
    let quick = folder.run(&["systems", "reproduce", "own.toml", "--quick", "-q"]).ok();
    assert!(quick.contains("nothing is decided"), "{quick}");
    let page = std::fs::read_to_string(folder.path("reproductions/own/report.html")).unwrap();
    assert!(page.contains("decides nothing"), "the page says so too");
    folder
        .refused(&["systems", "reproduce", "multi-similarity"])
        .names(&["banking77"])
        .hints("PARALLAX_DATA");
    folder.write("bad.toml", RECIPE.replace("margin = 0.01", "margin = \"little\""));
    folder.refused(&["systems", "reproduce", "bad.toml"]).names(&["recipes/bad.toml, line"]);
    folder.write("bad.toml", RECIPE.replace("\"multi_similarity\"", "\"multi_similarty\""));
    folder.refused(&["systems", "reproduce", "bad.toml"]).names(&["claim \"better\"", "multi_similarty"]);
}
