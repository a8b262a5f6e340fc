use crate::Folder;

#[test]
fn every_family_is_listed() {
    let text = Folder::new().run(&["list"]).ok();
    for (family, member) in [
        ("losses", "multi_similarity"),
        ("miners", "multi_similarity"),
        ("distances", "cosine"),
        ("reducers", "avg_non_zero"),
        ("heads", "multi_head"),
        ("samplers", "per_class"),
        ("optimizers", "adamw"),
        ("schedules", "linear"),
        ("splits", "class_disjoint"),
        ("poolings", "mean"),
        ("measures", "map@r"),
        ("extras", "objective.memory"),
        ("models", "all-MiniLM-L6-v2"),
    ] {
        let line = text.lines().find(|line| line.split(' ').next() == Some(family));
        let line = line.unwrap_or_else(|| panic!("{family} is not in:\n{text}"));
        assert!(line.split([' ', ',']).any(|word| word == member), "{member} is not in: {line}");
    }
}

#[test]
fn a_family_shows_settings_defaults_and_sources() {
    let folder = Folder::new();
    let text = folder.run(&["list", "losses"]).ok();
    assert!(text.starts_with("losses, for objective.loss in a run file\n"), "{text}");
    assert!(text.contains("CVPR 2019"), "{text}");
    assert!(text.contains("temperature  number = 0.07: "), "{text}");
    let json = folder.run(&["list", "losses", "--json"]).json();
    let entries = json["entries"].as_array().unwrap();
    let contrastive = entries.iter().find(|entry| entry["name"] == "contrastive").unwrap();
    let margin = contrastive["parameters"].as_array().unwrap().iter().find(|p| p["name"] == "neg_margin");
    assert_eq!(margin.unwrap()["default"], 1.0);
    assert_eq!(margin.unwrap()["type"], "number");
    let extras = folder.run(&["list", "extras"]).ok();
    assert!(extras.contains("memory_size") && extras.contains("1024"), "{extras}");
    assert!(extras.contains("train.grad_cache") && extras.contains("chunk"), "{extras}");
    let everything = folder.run(&["list", "--json"]).json();
    assert!(everything["families"].as_array().unwrap().len() >= 11);
}

#[test]
fn an_unknown_family_names_the_nearest() {
    let refusal = Folder::new().refused(&["list", "loses"]);
    refusal.names(&["\"loses\"", "did you mean \"losses\"?"]).hints("measures");
}
