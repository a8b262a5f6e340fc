use crate::Folder;

/// A label that a table has more of one kind of, told from words.
fn table() -> String {
    let mut text = String::from("text,label\n");
    for at in 0..120 {
        let (words, label) = match at % 6 {
            0 => ("please refund my money, order", "refund"),
            1 | 2 => ("where is my parcel, number", "delivery"),
            _ => ("i cannot log in to account", "access"),
        };
        text.push_str(&format!("\"{words} {at}\",{label}\n"));
    }
    text
}

#[test]
fn a_classifier_is_trained_measured_and_used_from_the_command_line() {
    let folder = Folder::new();
    folder.write("rows.csv", table());
    folder.write(
        "run.toml",
        "[data]\npath = \"rows.csv\"\npositive_class = \"refund\"\n[model]\npath = \"starter\"\n\
         [objective]\nloss = { name = \"anyloss\", score = { f_beta = 2 } }\n\
         [train]\nepochs = 20\nbatch_size = 48\noptimizer.lr = 0.02\nfreeze = [\"encoder\"]\n\
         [evaluate]\nresamples = 50\n",
    );
    let plan = folder.run(&["train", "run.toml", "--dry-run"]).ok();
    assert!(plan.contains("positive: 20 of 120 rows (16.7 %)") && plan.contains("loss: anyloss"), "{plan}");
    let said = folder.run(&["train", "run.toml", "--out", "out"]).ok();
    assert!(said.contains("balanced_accuracy") && said.contains("24 rows, positive where"), "{said}");
    let page = std::fs::read_to_string(folder.path("out/report.html")).unwrap();
    assert!(page.contains("balanced_accuracy") && !page.contains("NaN"));
    let measured = folder.run(&["eval", "out/model", "rows.csv", "--json"]).json();
    let f1 = measured["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == "f1").unwrap();
    assert!(f1["value"].as_f64().unwrap() > 0.9, "{measured}");
    let shown = folder.run(&["eval", "out/model", "rows.csv", "--resamples", "0"]).ok();
    assert!(shown.contains("called positive where the logit is at least 0"), "{shown}");
    let wrong = ["train", "run.toml", "--out", "other", "--set", "data.positive_class=refunds"];
    folder.refused(&wrong).names(&["\"refunds\"", "did you mean \"refund\"?"]);
    let list = folder.run(&["list", "losses"]).ok();
    assert!(list.contains("{ f_beta = number } | { formula = text } = \"f1\""), "{list}");
}
