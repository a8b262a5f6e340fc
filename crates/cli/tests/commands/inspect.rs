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
fn proxies_have_weights_and_curves_are_drawn() {
    let folder = Folder::new();
    let text = folder.run(&["inspect", "weights", "proxy_anchor", "-o", "weights.svg"]).ok();
    assert!(text.starts_with("proxy_anchor: margin 0.1, alpha 32.0") && text.contains("a proxy"), "{text}");
    let svg = std::fs::read_to_string(folder.path("weights.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.matches("<polyline").count() == 2, "{svg}");
}

#[test]
fn losses_without_pairs_are_refused() {
    Folder::new().refused(&["inspect", "weights", "cosent"]).names(&["cosent"]).hints("pair loss");
}
