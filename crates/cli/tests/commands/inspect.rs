use crate::Folder;

#[test]
fn the_weights_of_a_loss_are_shown() {
    let folder = Folder::new();
    let text = folder.run(&["inspect", "weights", "multi_similarity", "--set", "alpha=3.0"]).ok();
    assert!(text.starts_with("multi_similarity: ") && text.contains("alpha 3.0"), "{text}");
    assert!(text.contains("######") && text.contains("0.40"), "{text}");
    let args =
        ["inspect", "weights", "multi_similarity", "--json", "--points", "3", "--negatives", "0.5,-0.5"];
    let json = folder.run(&args).json();
    assert_eq!(json["negatives"], serde_json::json!([0.5, -0.5]));
    assert_eq!(json["similarity"], serde_json::json!([-1.0, 0.0, 1.0]));
    let positive: Vec<f64> = serde_json::from_value(json["positive"].clone()).unwrap();
    // The farther a positive is, the more it weighs.
    assert!(positive[0] > positive[1] && positive[1] > positive[2] && positive[2] > 0.0, "{positive:?}");
}

#[test]
fn losses_without_pairs_are_refused() {
    Folder::new().refused(&["inspect", "weights", "cosent"]).names(&["cosent"]).hints("pair loss");
}
