use crate::{Folder, npy, reference};

/// Two classes on a line; the fourth row stands among the others' class.
const LINE: [f32; 6] = [0.0, 1.0, 9.0, 2.5, 10.0, 11.0];

fn value(report: &serde_json::Value, measure: &str) -> f64 {
    let measures = report["measures"].as_array().unwrap();
    measures.iter().find(|m| m["name"] == measure).unwrap()["value"].as_f64().unwrap()
}

#[test]
fn stored_vectors_have_the_values_of_a_hand_computation() {
    let folder = Folder::new();
    folder.npy("x.npy", 1, &LINE);
    folder.write("x.csv", "id,label\n1,a\n2,a\n3,b\n4,b\n5,b\n6,b\n");
    let measures = ["precision@1", "r_precision", "map@r", "mrr", "recall@2"];
    let mut args = vec!["eval", "x.npy", "x.csv", "--similarity", "euclidean", "--json"];
    args.extend(measures.iter().flat_map(|measure| ["--measure", measure]));
    let report = folder.run(&args).json();
    // The fourth row finds 1.0 and 0.0 before 9.0; the other five find their own class first.
    for (measure, fourth) in measures.into_iter().zip([0.0, 1.0 / 3.0, 1.0 / 9.0, 1.0 / 3.0, 0.0]) {
        let expected = (5.0 + fourth) / 6.0;
        assert!((value(&report, measure) - expected).abs() < 1e-12, "{measure}: {}", value(&report, measure));
    }
    assert_eq!((report["queries"].as_u64(), report["classes"].as_u64()), (Some(6), Some(2)));
    assert_eq!(report["mode"], "leave_one_out");

    // Labels from an .npy list give the same.
    let labels: Vec<u8> = [7i64, 7, 2, 2, 2, 2].iter().flat_map(|label| label.to_le_bytes()).collect();
    folder.write("y.npy", npy("<i8", "(6,)", &labels));
    args[2] = "y.npy";
    let again = folder.run(&args).json();
    assert_eq!(again["measures"], report["measures"]);

    // As text, and without intervals.
    let text = folder.run(&["eval", "x.npy", "x.csv", "--similarity", "euclidean", "--resamples", "0"]).ok();
    assert!(text.contains("6 stored vectors of 2 classes (all), 1 dimensions"), "{text}");
    assert!(text.contains("precision@1  0.8333"), "{text}");
}

#[test]
fn a_part_of_a_split_is_measured_alone() {
    let folder = Folder::new();
    folder.npy("x.npy", 1, &LINE);
    folder.write("x.csv", "label,split\na,train\na,train\nb,test\nb,test\nb,test\nb,test\n");
    let part = |args: &[&str]| {
        let report =
            folder.run(&[&["eval", "x.npy", "x.csv", "--json", "--similarity", "dot"], args].concat()).json();
        (report["rows"].as_u64().unwrap(), report["part"].as_str().unwrap().to_owned())
    };
    assert_eq!(part(&[]), (6, "all".into()));
    assert_eq!(part(&["--split", "column"]), (4, "test".into()));
    assert_eq!(part(&["--part", "test"]), (4, "test".into()));
    assert_eq!(part(&["--split", "column", "--part", "train"]), (2, "train".into()));
    assert_eq!(part(&["--split", "{ name = 'class_disjoint', seen = 1 }"]), (4, "test".into()));
    folder
        .refused(&["eval", "x.npy", "x.csv", "--split", "class_disjont"])
        .names(&["did you mean \"class_disjoint\"?"])
        .hints("stratified");
    folder
        .refused(&["eval", "x.npy", "x.csv", "--split", "column", "--part", "validation"])
        .names(&["the validation part has no rows"])
        .hints("part");
}

#[test]
fn a_model_and_its_stored_vectors_give_the_same_values() {
    let folder = Folder::new();
    let bert = reference("bert");
    let bert = bert.to_str().unwrap();
    let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/support.csv");
    let table = table.to_str().unwrap();
    let direct = folder.run(&["eval", bert, table, "--json", "--resamples", "100"]).json();
    folder.run(&["embed", bert, table, "-o", "x.npy"]).ok();
    let stored = folder.run(&["eval", "x.npy", table, "--json", "--resamples", "100"]).json();
    assert_eq!(direct["shape"], "labelled rows");
    // Another batch gives other last bits, which may turn round a near tie.
    for measure in ["precision@1", "map@r", "mrr"] {
        let difference = (value(&direct, measure) - value(&stored, measure)).abs();
        assert!(difference < 1e-3, "{measure} differs by {difference}");
    }
}

#[test]
fn pairs_are_ranked_among_the_positives() {
    let folder = Folder::new();
    folder
        .write("p.csv", "anchor,positive\nunlock the door,unlock the door\nred car,red car\na song,a song\n");
    let bert = reference("bert");
    let report = folder.run(&["eval", bert.to_str().unwrap(), "p.csv", "--json", "--measure", "mrr"]).json();
    // Each anchor is its own positive, so it is found first.
    assert_eq!(report["mode"], "reference");
    assert_eq!(value(&report, "mrr"), 1.0);
}
