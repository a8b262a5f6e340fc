use std::fmt::Write;

use parallax::catalogue::{self, Entry, Family};
use parallax::models::{Known, known};
use serde::Serialize;

use crate::args::{Global, List};
use crate::output;

/// The name of the list of models beside the families of components.
const MODELS: &str = "models";

/// `parallax list`
pub(crate) fn list(global: &Global, args: List) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Everything<'a> {
        families: Vec<Family>,
        models: &'a [Known],
    }
    let Some(name) = args.family else {
        let everything = Everything { families: catalogue::families(), models: known() };
        return output::result(global, &everything, || overview(&everything.families));
    };
    if name == MODELS {
        return output::result(global, &known(), models);
    }
    match catalogue::family(&name) {
        Some(family) => output::result(global, &family, || details(&family)),
        None => {
            let mut names: Vec<&str> = catalogue::families().iter().map(|family| family.name).collect();
            names.push(MODELS);
            Err(parallax::Error::unknown_name("family", &name, &names).into())
        }
    }
}

fn overview(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let names: Vec<&str> = family.entries.iter().map(|entry| entry.name.as_str()).collect();
        let _ = writeln!(text, "{:<11} {}", family.name, names.join(", "));
    }
    let names: Vec<&str> = known().iter().map(|model| model.name.as_str()).collect();
    let _ = writeln!(text, "{MODELS:<11} {}", names.join(", "));
    text.push_str(
        "\n\"parallax list FAMILY\" describes the members of one, with their settings and sources.",
    );
    text
}

fn details(family: &Family) -> String {
    let mut text = format!("{}, for {} in a run file\n", family.name, family.key);
    for Entry { name, description, parameters } in &family.entries {
        let _ = writeln!(text, "\n{name}\n    {description}");
        let width = parameters.iter().map(|parameter| parameter.name.len()).max().unwrap_or(0);
        for parameter in parameters {
            let default = match &parameter.default {
                serde_json::Value::Null => String::new(),
                default => format!(" = {default}"),
            };
            let (name, kind) = (&parameter.name, &parameter.kind);
            let _ = writeln!(text, "    {name:<width$}  {kind}{default}: {}", parameter.description);
        }
    }
    text
}

fn models() -> String {
    let mut text = format!("{MODELS}, for model.path in a run file and MODEL on the command line\n");
    for Known { name, description, repository, licence, .. } in known() {
        let _ = writeln!(text, "\n{name}\n    {description}\n    {repository}, {licence}");
    }
    text.push_str("\nAny folder of sentence-transformers does too, and organisation/name on the model hub.");
    text
}
