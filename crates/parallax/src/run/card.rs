//! The model card: `README.md` of a saved model folder.

use std::fmt::Write;

use super::Outcome;
use super::outcome::changed;
use crate::config::RunConfig;

/// Writes the card of a finished run.
pub(super) fn card(config: &RunConfig, loss: &str, outcome: &Outcome) -> String {
    let base = config.model.as_ref().map(|m| m.path.clone());
    let mut text =
        String::from("---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\ntags:\n");
    for tag in ["sentence-transformers", "sentence-similarity", "feature-extraction", "dense", "parallax"] {
        let _ = writeln!(text, "- {tag}");
    }
    let _ = writeln!(text, "- dataset_size:{}\n- loss:{loss}", outcome.data.train);
    if let Some(base) = &base {
        let _ = writeln!(text, "base_model: {}", quoted(base));
    }
    if !outcome.measures.is_empty() {
        let _ = writeln!(text, "metrics:");
        outcome.measures.iter().for_each(|m| {
            let _ = writeln!(text, "- {}", quoted(&m.name));
        });
    }
    let _ = writeln!(text, "---\n\n# {}\n", outcome.name);
    let of = base.map_or("a head over stored vectors".to_owned(), |base| format!("`{base}`, adapted"));
    let _ = writeln!(
        text,
        "{of}: {} dimensions, trained by Parallax {}.\n",
        outcome.dim,
        env!("CARGO_PKG_VERSION")
    );
    text.push_str("## Usage\n\n");
    if config.model.is_some() {
        text.push_str(
            "```sh\nparallax embed THIS_FOLDER texts.txt -o vectors.npy\n```\n\n```python\n\
             from sentence_transformers import SentenceTransformer\n\
             vectors = SentenceTransformer(\"THIS_FOLDER\").encode([\"one text\", \"another\"])\n```\n",
        );
    } else {
        text.push_str("```sh\nparallax embed THIS_FOLDER vectors.npy -o adapted.npy\n```\n");
    }
    text.push_str("\n## Evaluation\n\n");
    if outcome.measures.is_empty() {
        text.push_str("Not measured: the data had no test rows.\n");
    } else {
        let _ = write!(text, "On the {} part: {}", outcome.part, outcome.measured_on());
        if config.model.is_some() {
            let _ = write!(text, "; vectors computed in {}", outcome.precision);
        }
        text.push_str(".\n\n");
        text.push_str("| measure | before | after | change (95 % interval) |\n|---|---|---|---|\n");
        for m in &outcome.measures {
            let value = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
            let (before, after) = (value(m.before), value(m.after));
            let _ = writeln!(text, "| {} | {before} | {after} | {} |", m.name, changed(m));
        }
        text.push('\n');
        for m in &outcome.measures {
            let _ = writeln!(text, "- `{}`: {}", m.name, m.definition);
        }
        if !outcome.interval_method.is_empty() {
            let _ = writeln!(text, "- intervals: {}", outcome.interval_method);
        }
    }
    if let Some(classes) = &outcome.classes {
        let names = classes.names();
        match classes.outputs() {
            1 => {
                let [no, yes] = [0, 1].map(|at: usize| names.get(at).cloned().unwrap_or_default());
                let _ = writeln!(
                    text,
                    "\n## Classes\n\nThe output is a logit: `{yes}` where it is at least 0, `{no}` where it is below."
                );
            }
            outputs => {
                let _ = writeln!(
                    text,
                    "\n## Classes\n\nThe {outputs} outputs are logits; a row is of the class with the largest: {}.",
                    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                );
            }
        }
    }
    let (data, training) = (&outcome.data, &outcome.training);
    text.push_str("\n## Training\n\n");
    let _ =
        writeln!(text, "- data: {} rows of {} (SHA-256 `{}`)", data.rows, data.files.join(", "), data.sha256);
    let _ =
        writeln!(text, "- parts: {} train, {} validation, {} test", data.train, data.validation, data.test);
    for (role, column) in &data.roles {
        let _ = writeln!(text, "- {role}: column `{column}`");
    }
    let (trained, all) = training.parameters;
    match &outcome.adapter {
        Some(selection) => {
            let _ = writeln!(text, "- no training; {}", selection.verdict);
        }
        None => {
            let (steps, seed) = (training.steps, outcome.seed);
            let _ = writeln!(text, "- {trained} of {all} parameters trained for {steps} steps, seed {seed}");
            let negatives = training.negatives_per_anchor;
            if negatives > 0.0 {
                let _ = writeln!(text, "- {negatives:.1} negatives per anchor in a batch, before mining");
            }
        }
    }
    for line in &outcome.advice {
        let _ = writeln!(text, "- note: {line}");
    }
    if let Ok(settings) = config.to_toml() {
        let _ = write!(text, "\n### Settings\n\n```toml\n{}\n```\n", settings.trim_end());
    }
    text
}

/// A YAML string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
