//! Heads with something of their own: logits of a classifier, binary codes, filters over images.

mod classifier;
mod hashing;
mod images;

use std::path::{Path, PathBuf};

use parallax_data::NpyWriter;
use parallax_random::Key;

/// Vectors around the centres of classes, and a table with the class of each row and a shelf, 0 and 1 by turns: `sizes[c]` rows of class `c`.
fn world(folder: &Path, names: &[&str], sizes: &[usize], dim: usize, spread: f64) -> (PathBuf, PathBuf) {
    let key = Key::new(5);
    let (vectors, table) = (folder.join("rows.npy"), folder.join("rows.csv"));
    let mut file = NpyWriter::create(&vectors, dim).unwrap();
    let mut text = String::from("label,shelf\n");
    let mut row = 0;
    for (class, (name, size)) in names.iter().zip(sizes).enumerate() {
        for _ in 0..*size {
            let noise = key.named("row").at(row);
            let centre = key.named("centre").at(class as u64);
            let values: Vec<f32> =
                (0..dim as u64).map(|d| (centre.normal(d) + spread * noise.normal(d)) as f32).collect();
            file.push_rows(&values).unwrap();
            text.push_str(&format!("{name},{}\n", row % 2));
            row += 1;
        }
    }
    file.finish().unwrap();
    std::fs::write(&table, text).unwrap();
    (vectors, table)
}

/// A run over them.
fn config(folder: &Path, (vectors, table): &(PathBuf, PathBuf), rest: &str) -> parallax::RunConfig {
    let text = format!(
        "name = \"run\"\n[data]\npath = {table:?}\nvectors = {vectors:?}\n[output]\ndir = {folder:?}\nreport = false\n{rest}"
    );
    parallax::RunConfig::parse::<&str>(&text, &[]).unwrap()
}

fn train(config: parallax::RunConfig) -> parallax::Result<(parallax::run::Outcome, Vec<String>)> {
    let mut said = Vec::new();
    let outcome = parallax::run::train(config, Default::default(), &mut |event| {
        if let parallax::run::Event::Message(text) = event {
            said.push(text.clone());
        }
    })?;
    Ok((outcome, said))
}

fn value(outcome: &parallax::run::Outcome, name: &str) -> f64 {
    outcome.measures.iter().find(|measure| measure.name == name).unwrap().after.unwrap()
}
