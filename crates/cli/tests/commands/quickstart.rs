//! The first command of the README, and what it promises.

use std::fs;

use serde_json::Value;

use crate::Folder;

#[test]
fn the_quickstart_gains_on_unseen_classes_and_leaves_model_index_and_report() {
    let folder = Folder::new();
    let json = folder.run(&["quickstart", "--json", "--quiet"]).json();
    assert_eq!(json["splits"].as_array().unwrap().len(), 5);
    for split in json["splits"].as_array().unwrap() {
        let frozen = split["measures"][0][1].as_f64().unwrap();
        assert!((0.60..0.90).contains(&frozen), "frozen precision@1 {frozen}");
    }
    for gain in json["gains"].as_array().unwrap() {
        assert!(gain["interval"][0].as_f64().unwrap() > 0.0, "{gain}");
    }
    assert_eq!(json["answers"].as_array().unwrap().len(), 3);
    for answer in json["answers"].as_array().unwrap() {
        assert_eq!(answer["hits"].as_array().unwrap().len(), 3, "{answer}");
    }
    let hits = folder.run(&["search", "quickstart/index", "my charger does not work", "--json"]).json();
    assert_eq!(hits[0].as_array().unwrap().len(), 5);

    // The page's numbers are those of the file beside it.
    let report = folder.path(json["report"].as_str().unwrap());
    let page = fs::read_to_string(&report).unwrap();
    let metrics: Value =
        serde_json::from_slice(&fs::read(report.with_file_name("metrics.json")).unwrap()).unwrap();
    let mut seen = 0;
    for part in page.split(" data-key=\"").skip(1) {
        let (key, rest) = part.split_once('"').unwrap();
        let (tag, rest) = rest.split_once('>').unwrap();
        let shown = rest.split_once('<').unwrap().0.replace('−', "-").replace(['+', ','], "");
        let digits: usize =
            tag.split_once("data-digits=\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap();
        let value = metrics
            .pointer(&key.replace("&amp;", "&"))
            .unwrap_or_else(|| panic!("{key} is not in metrics.json"));
        if let Some(value) = value.as_f64() {
            let shown: f64 = shown.parse().unwrap();
            assert!((shown - value).abs() <= 0.5001 * 10f64.powi(-(digits as i32)), "{key}: {shown} {value}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} numbers");

    folder.refused(&["quickstart"]).names(&["already holds a quickstart"]).hints("--force");
    let again =
        folder.run(&["--threads", "1", "quickstart", "--splits", "1", "--force", "--json", "--quiet"]).json();
    assert_eq!(again["splits"][0], json["splits"][0]);
}
