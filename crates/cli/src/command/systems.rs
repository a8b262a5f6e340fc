use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use parallax_systems::{
    Options, Progress as Told, Recipe, System, find, markdown, reproduce, systems as all,
};

use crate::args::{Global, Reproduce, Systems};
use crate::progress::{Progress, duration};
use crate::{interrupt, output};

/// `parallax systems`
pub(crate) fn systems(global: &Global, args: Systems) -> anyhow::Result<ExitCode> {
    match args {
        Systems::List => list(global)?,
        Systems::Show { name } => show(global, &name)?,
        Systems::Reproduce(args) => run(global, args)?,
        Systems::Docs { output } => docs(global, &output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(global: &Global) -> anyhow::Result<()> {
    let all = all()?;
    let json: Vec<_> = all
        .iter()
        .map(|system| {
            serde_json::json!({
                "name": system.recipe.slug, "title": system.recipe.title, "status": system.status(),
                "claims": system.recipe.claims.len(),
            })
        })
        .collect();
    output::result(global, &json, || {
        let width = all.iter().map(|system| system.recipe.slug.len()).max().unwrap_or(0);
        let line = |system: &System| {
            format!("{:<width$}  {:<13}  {}", system.recipe.slug, system.status(), system.recipe.title)
        };
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn show(global: &Global, name: &str) -> anyhow::Result<()> {
    let system = find(name).map_err(plain)?;
    let json = serde_json::json!({
        "name": system.recipe.slug, "status": system.status(), "recipe": system.recipe, "result": system.result,
    });
    output::result(global, &json, || {
        let recipe = &system.recipe;
        let mut lines =
            vec![format!("{} ({})", recipe.title, system.status()), recipe.paper.clone(), String::new()];
        lines.extend([recipe.what.trim().to_owned(), String::new()]);
        lines.extend(recipe.usage.trim().lines().map(|line| format!("    {line}")));
        lines.push(String::new());
        lines.extend(recipe.choices.iter().map(|choice| format!("- {choice}")));
        for claim in &recipe.claims {
            lines.push(format!("claim {}: {}", claim.name, claim.says));
            lines.push(format!(
                "  {} over {}: {}, margin {:+}, {} seeds",
                claim.system.label, claim.baseline.label, claim.measure, claim.margin, claim.seeds
            ));
        }
        if let Some(result) = &system.result {
            lines.extend([String::new(), result.table()]);
        }
        lines.push(format!("\nparallax systems reproduce {}", recipe.slug));
        lines.join("\n")
    })
}

fn run(global: &Global, args: Reproduce) -> anyhow::Result<()> {
    let path = Path::new(&args.what);
    let recipe = if path.extension().is_some_and(|ending| ending == "toml") {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let slug = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Recipe::parse(&slug, &text)?
    } else {
        find(&args.what).map_err(plain)?.recipe
    };
    let mut progress = Progress::new(global.quiet);
    let mut command = format!("parallax systems reproduce {}", recipe.slug);
    if let Some(seeds) = args.seeds {
        command.push_str(&format!(" --seeds {seeds}"));
    }
    let options = Options {
        seeds: args.seeds,
        quick: args.quick,
        out: args.out.unwrap_or_else(|| PathBuf::from("reproductions").join(&recipe.slug)),
        command,
        stop: interrupt::flag("stopping after this step"),
    };
    let result = reproduce(&recipe, &options, &mut |told| match told {
        Told::Message(text) => progress.line(&text),
        Told::Step { done, total, text, left } => {
            progress.step(done, total, &format!("{text}, {} left", duration(left)));
        }
    })
    .map_err(plain)?;
    progress.clear();
    if let Some(folder) = &args.results {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let to = folder.join(format!("{}.json", recipe.slug));
        fs::copy(options.out.join("result.json"), &to)
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    output::result(global, &result, || {
        let last = if args.quick {
            "a quick run: everything works, and nothing is decided".to_owned()
        } else {
            format!("{}: {}", recipe.slug, result.verdict())
        };
        format!("{}\n{last}\nreport {}", result.table(), options.out.join("report.html").display())
    })
}

/// An error of a run as itself, so that an interruption and its hint are seen.
fn plain(error: parallax_systems::Error) -> anyhow::Error {
    match error {
        parallax_systems::Error::Run(error) => error.into(),
        parallax_systems::Error::Data(error) => error.into(),
        other => other.into(),
    }
}

fn docs(global: &Global, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut written = Vec::new();
    for system in all()? {
        let path = folder.join(format!("{}.md", system.recipe.slug));
        fs::write(&path, markdown(&system)).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path.display().to_string());
    }
    output::result(global, &written, || written.join("\n"))
}
