//! Pages: the report of a reproduction, and a page of documentation for each system.

use std::fmt::Write as _;

use parallax_report::{Chart, Fact, IntervalLine, Part, Section, Series, Sheet, SheetVerdict, Table};
use serde_json::Value as Json;

use crate::reproduce::Curves;
use crate::{ClaimResult, Fidelity, Recipe, Reproduction, Status, System, Verdict};

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn settings(chosen: &serde_json::Map<String, Json>) -> String {
    if chosen.is_empty() {
        return "as the recipe has them".into();
    }
    let all: Vec<String> = chosen.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    all.join(", ")
}

/// The report of a committed result; without curves, which are not kept.
pub fn sheet(recipe: &Recipe, result: &Reproduction) -> Sheet {
    report(recipe, result, &[], false)
}

pub(crate) fn report(recipe: &Recipe, result: &Reproduction, curves: &[Curves], quick: bool) -> Sheet {
    let mut verdicts = Vec::new();
    if quick {
        verdicts.push(SheetVerdict {
            good: None,
            sentence: "A quick run: it shows that everything works, and decides nothing.".into(),
            from: String::new(),
        });
    }
    let lines = |claim: &ClaimResult| IntervalLine {
        name: format!("{} − {}", claim.system_label, claim.baseline_label),
        value: claim.difference.mean,
        interval: Some([claim.difference.low, claim.difference.high]),
        margin: claim.margin,
    };
    let mut sections = vec![Section {
        title: "Claims".into(),
        text: "The difference to the baseline, positive where the system is better, and the margin that its lower bound has to lie above.".into(),
        parts: vec![Part::Intervals(result.claims.iter().map(lines).collect())],
    }];
    for (at, claim) in result.claims.iter().enumerate() {
        if let (Some(verdict), false) = (claim.verdict, quick) {
            verdicts.push(SheetVerdict {
                good: match verdict {
                    Verdict::Holds => Some(true),
                    Verdict::DoesNotHold => Some(false),
                    Verdict::Undecided => None,
                },
                sentence: format!("{}: {verdict}.", claim.says),
                from: format!(
                    "{} {:.4} against {:.4}: {:+.4} (95 % interval {:+.4} to {:+.4}), margin {:+.4}; {} seeds, {} queries, {}",
                    claim.measure,
                    mean(&claim.system),
                    mean(&claim.baseline),
                    claim.difference.mean,
                    claim.difference.low,
                    claim.difference.high,
                    claim.margin,
                    claim.difference.seeds,
                    claim.difference.queries,
                    claim.difference.method
                ),
            });
        }
        sections.push(section(claim, curves.get(at)));
    }
    let toml = toml::to_string(recipe).unwrap_or_default();
    sections.push(Section {
        title: "Recipe".into(),
        text: recipe.what.clone(),
        parts: vec![Part::Code("The recipe (TOML)".into(), toml)],
    });
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    Sheet {
        title: recipe.title.clone(),
        summary: recipe.paper.clone(),
        verdicts,
        sections,
        facts: vec![
            fact("machine", result.machine.clone()),
            fact("minutes", format!("{:.1}", result.minutes)),
            fact("command", result.command.clone()),
            fact("version", result.version.clone()),
            fact(
                "recipe",
                format!("SHA-256 {}", &result.recipe_sha256[..result.recipe_sha256.len().min(16)]),
            ),
        ],
        file: "result.json".into(),
    }
}

fn section(claim: &ClaimResult, curves: Option<&Curves>) -> Section {
    let head = vec![
        "seed".to_owned(),
        claim.baseline_label.clone(),
        claim.system_label.clone(),
        "difference".into(),
    ];
    let rows = claim.baseline.iter().zip(&claim.system).enumerate();
    let rows = rows.map(|(seed, (a, b))| {
        vec![seed.to_string(), format!("{a:.4}"), format!("{b:.4}"), format!("{:+.4}", b - a)]
    });
    let table = Table { caption: format!("{} for each seed", claim.measure), head, rows: rows.collect() };
    let mut parts = vec![Part::Table(table)];
    if !claim.beside.is_empty() {
        let rows =
            claim.beside.iter().map(|(name, a, b)| vec![name.clone(), format!("{a:.4}"), format!("{b:.4}")]);
        let head = vec!["beside".into(), claim.baseline_label.clone(), claim.system_label.clone()];
        parts.push(Part::Table(Table { caption: String::new(), head, rows: rows.collect() }));
    }
    if let Some(tuned) = &claim.tuned {
        let head = ["arm", "trials", "before", "after", "settings"].map(str::to_owned).to_vec();
        let score = |score: Option<f64>| score.map_or_else(|| "-".into(), |score| format!("{score:.4}"));
        let labels = [&claim.baseline_label, &claim.system_label];
        let rows = labels.iter().zip(tuned).map(|(label, tuned)| {
            vec![
                (*label).clone(),
                tuned.trials.to_string(),
                score(tuned.scores[0]),
                score(tuned.scores[1]),
                settings(&tuned.chosen),
            ]
        });
        let caption = "Tuned on folds of the training rows".into();
        parts.push(Part::Table(Table { caption, head, rows: rows.collect() }));
    }
    // The loss of each arm over the steps of the first seed.
    let first: Vec<Series> = curves
        .into_iter()
        .flatten()
        .filter(|(_, seed, points)| *seed == 0 && !points.is_empty())
        .map(|(arm, _, points)| Series {
            name: arm.clone(),
            points: points.iter().map(|(step, loss)| (*step as f64, *loss)).collect(),
        })
        .collect();
    for series in first {
        let title = format!("Loss of {}", series.name);
        parts.push(Part::Lines(Chart { title, note: "Seed 0.".into(), smooth: true, series: vec![series] }));
    }
    Section { title: claim.name.clone(), text: claim.says.clone(), parts }
}

/// The page of a system for the documentation, in Markdown.
pub fn markdown(system: &System) -> String {
    let System { recipe, result } = system;
    let mut text = format!("# {}\n\n", recipe.title);
    let _ = writeln!(
        text,
        "<!-- Made by \"parallax systems docs\"; edit recipes/{}.toml instead. -->\n",
        recipe.slug
    );
    let _ = writeln!(text, "{}\n", recipe.paper);
    let _ = writeln!(text, "Status: **{}**.\n", system.status());
    let _ = writeln!(text, "{}\n", recipe.what.trim());
    let _ = writeln!(text, "```toml\n{}\n```\n", recipe.usage.trim());
    if recipe.fidelity == Fidelity::Reconstructed {
        let _ = writeln!(
            text,
            "Largely our reading of the paper's abstract: where its claims hold it is called reconstructed.\n"
        );
    }
    if !recipe.choices.is_empty() {
        let _ = writeln!(text, "## Choices\n");
        for choice in &recipe.choices {
            let _ = writeln!(text, "- {choice}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "## Claims\n");
    for claim in &recipe.claims {
        let _ = writeln!(
            text,
            "- **{}** ({}, margin {:+}, {} seeds): {}",
            claim.name, claim.measure, claim.margin, claim.seeds, claim.says
        );
    }
    let _ = writeln!(text, "\n```sh\nparallax systems reproduce {}\n```\n", recipe.slug);
    let Some(result) = result else { return text };
    let _ = writeln!(text, "## Results\n");
    if system.status() == Status::Stale {
        let _ = writeln!(text, "The recipe was changed after these results.\n");
    }
    let _ = writeln!(
        text,
        "| claim | baseline | system | difference (95 % interval) | margin | verdict | minutes |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|---|---|");
    for claim in &result.claims {
        let _ = writeln!(
            text,
            "| {} | {}: {:.4} | {}: {:.4} | {:+.4} ({:+.4} to {:+.4}) | {:+.4} | {} | {:.1} |",
            claim.name,
            claim.baseline_label,
            mean(&claim.baseline),
            claim.system_label,
            mean(&claim.system),
            claim.difference.mean,
            claim.difference.low,
            claim.difference.high,
            claim.margin,
            claim.verdict.map_or_else(|| "-".to_owned(), |verdict| verdict.to_string()),
            claim.minutes
        );
    }
    for claim in result.claims.iter().filter(|claim| !claim.beside.is_empty()) {
        text.push('\n');
        for (name, a, b) in &claim.beside {
            let _ = writeln!(text, "- {}, {name}: {a:.4} (baseline), {b:.4} (system)", claim.name);
        }
    }
    for claim in &result.claims {
        if let Some([baseline, system]) = &claim.tuned {
            let _ = writeln!(
                text,
                "\nTuned for \"{}\" with {} trials of each arm: {} ({}); {} ({}).",
                claim.name,
                baseline.trials.max(system.trials),
                claim.baseline_label,
                settings(&baseline.chosen),
                claim.system_label,
                settings(&system.chosen)
            );
        }
    }
    let _ = writeln!(text, "\nBy `{}` on {}, {:.0} minutes.", result.command, result.machine, result.minutes);
    text
}
