//! Pairs of stored vectors, and a model with one vector for a query and another for a document.

use super::Folder;

#[test]
fn pairs_of_vectors_are_learned_measured_and_embedded_by_side() {
    let folder = Folder::new();
    // Row i of y is row i of x with neighbours exchanged.
    let x: Vec<f32> =
        (0..40 * 4u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 16) as f32 / 32768.0 - 1.0).collect();
    let y: Vec<f32> = x.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    folder.npy("x.npy", 4, &x);
    folder.npy("y.npy", 4, &y);
    folder.write(
        "run.toml",
        "[data]\nvectors = \"x.npy\"\npositives = \"y.npy\"\nsplit = { name = \"random\", validation = 0.0, test = 0.5 }\n\
         [head]\nname = \"structural_sparse\"\nblock = 2\n\
         [objective]\nloss = \"hardest_negative_hinge\"\n\
         [train]\nepochs = 60\nbatch_size = 20\nvalidate_with = \"recall@1\"\noptimizer = { name = \"adamw\", lr = 0.05 }\n\
         [evaluate]\nmeasures = [\"recall@1\"]\n",
    );
    let outcome = folder.run(&["train", "run.toml", "--json", "--quiet"]).json();
    let change = &outcome["measures"]["recall@1"];
    assert!(change["after"].as_f64() > change["before"].as_f64(), "{change}");
    let plain =
        folder.run(&["eval", "x.npy", "--positives", "y.npy", "--measure", "recall@1", "--json"]).json();
    let args = ["eval", "runs/run/model", "--vectors", "x.npy", "--positives", "y.npy"];
    let learned = folder.run(&[&args[..], &["--measure", "recall@1", "--json"]].concat()).json();
    assert_eq!(learned["shape"], "pairs of stored vectors");
    assert_ne!(plain["similarity"], learned["similarity"]);
    let value = |report: &serde_json::Value| report["measures"][0]["value"].as_f64().unwrap();
    assert!(value(&learned) > value(&plain), "{learned}");
    for side in ["query", "document"] {
        let out = format!("{side}.npy");
        folder.run(&["embed", "runs/run/model", "x.npy", "-o", &out, "--as", side]).ok();
    }
    let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert_ne!(bytes("query.npy"), bytes("document.npy"));
    folder.run(&["embed", "runs/run/model", "x.npy", "-o", "usual.npy"]).ok();
    assert_eq!(bytes("query.npy"), bytes("usual.npy"));
    // Rows with classes have no sides.
    folder.write("x.csv", format!("label\n{}", "a\nb\n".repeat(20)));
    folder.refused(&["eval", "runs/run/model", "--vectors", "x.npy", "x.csv"]).hints("data.positives");
}
