//! What there is to choose from: every family of components with its members, their settings and their sources.
//!
//! Everything here is read from the JSON schema of a run file, and so from the doc comments of the components: there is
//! no second list of names.

use parallax_eval::Measure;
use serde::Serialize;
use serde_json::Value as Json;

use crate::config::{named_variants, plain_schema, resolved};

/// A family of components.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Family {
    /// Its name: `losses`, `miners`, ...
    pub name: &'static str,
    /// The key of a run file that takes a member.
    pub key: &'static str,
    /// Its members.
    pub entries: Vec<Entry>,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its name in run files, on the command line and in results.
    pub name: String,
    /// What it does, and the paper it is from.
    pub description: String,
    /// Its settings.
    pub parameters: Vec<Parameter>,
}

/// A setting of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Its key.
    pub name: String,
    /// What it takes, in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its default; null where there is none.
    pub default: Json,
    /// What it is.
    pub description: String,
}

/// Where each family stands in a run file.
const FAMILIES: [(&str, &str); 16] = [
    ("losses", "objective.loss"),
    ("miners", "objective.miner"),
    ("distances", "objective.distance"),
    ("reducers", "objective.reducer"),
    ("regularizers", "objective.regularizer"),
    ("mixups", "objective.mixup"),
    ("heads", "head"),
    ("attentions", "attention"),
    ("adapters", "adapter.adapters"),
    ("samplers", "train.sampler"),
    ("optimizers", "train.optimizer"),
    ("schedules", "train.schedule"),
    ("splits", "data.split"),
    ("searches", "tune.search"),
    ("poolings", "model.pooling"),
    ("measures", "evaluate.measures"),
];

/// Tables of a run file that are not there unless they are asked for: by their own keys, since each has one member.
const EXTRAS: (&str, &str, [&str; 4]) = (
    "extras",
    "tables of their own",
    ["objective.memory", "objective.matryoshka", "train.grad_cache", "teacher"],
);

/// All families, in the order in which a run meets them; last the tables that are off unless they are there.
pub fn families() -> Vec<Family> {
    let named = FAMILIES.iter().map(|&(name, key)| {
        let entries = if name == "measures" { measures() } else { entries(at(key)) };
        Family { name, key, entries }
    });
    let (name, key, keys) = EXTRAS;
    named.chain([Family { name, key, entries: keys.into_iter().map(table).collect() }]).collect()
}

/// A table as a component whose name is its key.
fn table(key: &str) -> Entry {
    let parameters = at(key)["properties"].as_object();
    Entry {
        name: key.to_owned(),
        description: description(property(key)),
        parameters: parameters.into_iter().flatten().map(parameter).collect(),
    }
}

/// The family of this name.
pub fn family(name: &str) -> Option<Family> {
    families().into_iter().find(|family| family.name == name)
}

/// The property of this key, with its own description.
fn property(key: &str) -> &'static Json {
    let root = plain_schema();
    key.split('.').fold(root, |schema, key| &resolved(root, schema)["properties"][key])
}

fn at(key: &str) -> &'static Json {
    let root = plain_schema();
    let schema = resolved(root, property(key));
    // A list of members is a family too.
    schema.get("items").map_or(schema, |items| resolved(root, items))
}

fn description(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn entries(schema: &Json) -> Vec<Entry> {
    if let Some(variants) = named_variants(schema) {
        return variants
            .into_iter()
            .map(|(name, variant)| Entry {
                name: name.to_owned(),
                description: description(variant),
                parameters: variant["properties"].as_object().map_or_else(Vec::new, |properties| {
                    properties.iter().filter(|(key, _)| *key != "name").map(parameter).collect()
                }),
            })
            .collect();
    }
    let variants = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    variants
        .iter()
        .filter_map(|variant| {
            let name = variant["const"].as_str()?.to_owned();
            Some(Entry { name, description: description(variant), parameters: Vec::new() })
        })
        .collect()
}

fn parameter((name, property): (&String, &Json)) -> Parameter {
    let text = description(property);
    Parameter {
        name: name.clone(),
        kind: kind(property),
        default: property["default"].clone(),
        description: if text.is_empty() { description(resolved(plain_schema(), property)) } else { text },
    }
}

fn kind(property: &Json) -> String {
    let schema = resolved(plain_schema(), property);
    if let Some(variants) = schema["oneOf"].as_array() {
        let names = variants.iter().flat_map(|variant| match (&variant["const"], &variant["enum"]) {
            (Json::String(name), _) => vec![name.clone()],
            (_, Json::Array(names)) => names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            _ => vec![tagged(variant)],
        });
        return names.collect::<Vec<_>>().join(" | ");
    }
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" | ");
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        return branches.iter().map(kind).filter(|kind| kind != "null").collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Json::String(name) => name.as_str(),
        Json::Array(names) => {
            names.iter().filter_map(Json::as_str).find(|&name| name != "null").unwrap_or("")
        }
        _ => "",
    };
    match name {
        "string" => "text".into(),
        "array" => format!("list of {}s", kind(&schema["items"])),
        other => other.to_owned(),
    }
}

/// A member of a component by its name, or a choice with a value as it is written: `{ f_beta = number }`.
fn tagged(variant: &Json) -> String {
    let properties = &variant["properties"];
    if let Some(name) = properties["name"]["const"].as_str() {
        return name.to_owned();
    }
    match properties.as_object().and_then(|properties| properties.iter().next()) {
        Some((key, value)) => format!("{{ {key} = {} }}", kind(value)),
        None => "table".to_owned(),
    }
}

/// The measures by their written forms, each described by its own definition.
fn measures() -> Vec<Entry> {
    /// A cut-off that stands for any.
    const ANY: &str = "7919";
    let forms = Measure::NAMES.split(" (").next().unwrap_or_default().split(',').map(str::trim);
    forms
        .filter_map(|form| {
            let measure: Measure = form.replace('K', ANY).parse().ok()?;
            let definition = measure.definition();
            let formula = definition.split(';').next().unwrap_or_default().replace(ANY, "K");
            Some(Entry { name: form.to_owned(), description: formula, parameters: Vec::new() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_members_and_every_member_a_description() {
        for family in families() {
            assert!(!family.entries.is_empty(), "{} is empty", family.name);
            for entry in &family.entries {
                assert!(!entry.description.is_empty(), "{} {} has no description", family.name, entry.name);
                for parameter in &entry.parameters {
                    let place = format!("{} {} {}", family.name, entry.name, parameter.name);
                    assert!(!parameter.description.is_empty(), "{place} has no description");
                    assert!(!parameter.kind.is_empty(), "{place} has no type");
                }
            }
        }
    }

    #[test]
    fn names_and_defaults_are_those_of_the_components() {
        let losses = family("losses").unwrap().entries;
        let multi_similarity = losses.iter().find(|entry| entry.name == "multi_similarity").unwrap();
        let written = serde_json::to_value(parallax_metric::Objective::default().loss).unwrap();
        assert_eq!(written["name"], "multi_similarity");
        assert!(!multi_similarity.parameters.is_empty());
        for parameter in &multi_similarity.parameters {
            assert_eq!(parameter.default, written[&parameter.name], "{}", parameter.name);
        }
        let poolings: Vec<String> = family("poolings").unwrap().entries.into_iter().map(|e| e.name).collect();
        for mode in parallax_nn::pooling::Mode::ALL {
            assert!(poolings.iter().any(|name| name == mode.name()), "{}", mode.name());
        }
        let forms = Measure::NAMES.split(" (").next().unwrap().split(',').count();
        assert_eq!(family("measures").unwrap().entries.len(), forms);
    }
}
