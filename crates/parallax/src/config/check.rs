//! A TOML value held against the JSON schema of what it should be.
//!
//! serde alone would refuse the same values, but it neither knows the dotted path inside a tagged component nor what was
//! probably meant.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use toml::Value;

use super::RunConfig;

/// The JSON schema (draft 2020-12) of a run file, the bare names of components included.
pub fn schema() -> Json {
    let mut schema = plain_schema().clone();
    if let Some(Json::Object(defs)) = schema.get_mut("$defs") {
        for def in defs.values_mut() {
            let names: Vec<Json> =
                named_variants(def).into_iter().flatten().map(|(name, _)| Json::from(name)).collect();
            if let (false, Some(Json::Array(variants))) = (names.is_empty(), def.get_mut("oneOf")) {
                let description = "The component of this name with its default settings.";
                variants
                    .push(serde_json::json!({ "description": description, "type": "string", "enum": names }));
            }
        }
    }
    schema
}

/// The schema as the structs give it.
pub(crate) fn plain_schema() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| schemars::schema_for!(RunConfig).to_value());
    &SCHEMA
}

/// Follows `$ref` to a definition, and `anyOf` with null to the other branch.
pub(crate) fn resolved<'s>(root: &'s Json, mut schema: &'s Json) -> &'s Json {
    loop {
        if let Some(name) = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix("#/$defs/"))
        {
            match root.get("$defs").and_then(|defs| defs.get(name)) {
                Some(def) => schema = def,
                None => return schema,
            }
        } else if let Some(branches) = schema.get("anyOf").and_then(Json::as_array) {
            let mut real = branches.iter().filter(|branch| branch["type"] != "null");
            match (real.next(), real.next()) {
                (Some(only), None) => schema = only,
                _ => return schema,
            }
        } else {
            return schema;
        }
    }
}

/// The members of a family of components: each name with the schema of its table. `None` for any other schema.
pub(crate) fn named_variants(schema: &Json) -> Option<Vec<(&str, &Json)>> {
    let variants = schema.get("oneOf")?.as_array()?.iter();
    variants
        .map(|variant| Some((variant.get("properties")?.get("name")?.get("const")?.as_str()?, variant)))
        .collect()
}

/// The values of a plain list of choices.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return values.iter().filter(|v| !v.is_null()).map(Json::as_str).collect();
    }
    let mut all = Vec::new();
    for variant in schema.get("oneOf")?.as_array()? {
        match (variant.get("const"), variant.get("enum").and_then(Json::as_array)) {
            (Some(value), _) => all.push(value.as_str()?),
            (None, Some(values)) => all.extend(values.iter().filter_map(Json::as_str)),
            (None, None) => return None,
        }
    }
    Some(all)
}

/// Something in a value that does not fit the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    /// Where: table keys, and list places as `[i]`.
    pub(super) path: Vec<String>,
    /// What is wrong.
    pub(super) what: String,
    /// What would be right.
    pub(super) hint: Option<String>,
    /// The unknown name of a component; serde may know it as an older spelling.
    pub(super) unknown_name: Option<String>,
}

/// A path as it is written: `evaluate.measures[2]`.
pub(super) fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if !text.is_empty() && !part.starts_with('[') {
            text.push('.');
        }
        text.push_str(part);
    }
    text
}

/// The most similar of `known`, where one is similar.
pub(crate) fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = given.to_lowercase();
    known
        .iter()
        .map(|&name| {
            let name_lower = name.to_lowercase();
            let edits = strsim::damerau_levenshtein(&lower, &name_lower);
            (strsim::jaro_winkler(&lower, &name_lower), edits, name)
        })
        .filter(|&(similarity, edits, name)| similarity >= 0.8 || edits <= 1 + name.len() / 5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, _, name)| name)
}

fn did_you_mean(given: &str, known: &[&str]) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}

/// Walks a value along the schema, writes shorthands out in full, and notes what does not fit.
pub(super) struct Walk<'s> {
    pub(super) root: &'s Json,
    pub(super) issues: Vec<Issue>,
}

impl Walk<'_> {
    fn issue(&mut self, path: &[String], what: String, hint: Option<String>) {
        self.issues.push(Issue { path: path.to_vec(), what, hint, unknown_name: None });
    }

    /// Checks `value`, which stands at `path`; `property` is its entry in the schema of the table around it.
    pub(super) fn value(&mut self, value: &mut Value, property: &Json, path: &mut Vec<String>) {
        let root = self.root;
        let schema = resolved(root, property);
        if let Some(variants) = named_variants(schema) {
            self.component(value, &variants, property.get("default"), path);
        } else if let Some(choices) = choices(schema) {
            self.choice(value, &choices, path);
        } else if let Some(branches) = schema.get("anyOf").and_then(Json::as_array) {
            let fits = |branch: &Json| {
                let mut walk = Walk { root, issues: Vec::new() };
                walk.value(&mut value.clone(), branch, &mut path.clone());
                walk.issues.is_empty()
            };
            if !branches.iter().any(fits) {
                let kinds: Vec<String> = branches
                    .iter()
                    .filter(|b| b["type"] != "null")
                    .map(|b| kind(resolved(root, b)))
                    .collect();
                self.wrong_type(value, &kinds.join(" or "), path);
            }
        } else if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            match value {
                Value::Table(table) => self.table(table, properties, &[], path),
                _ => self.wrong_type(value, "a table", path),
            }
        } else {
            self.scalar(value, schema, path);
        }
    }

    fn component(
        &mut self,
        value: &mut Value,
        variants: &[(&str, &Json)],
        default: Option<&Json>,
        path: &mut Vec<String>,
    ) {
        let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
        if let Value::String(name) = value {
            let mut table = toml::Table::new();
            table.insert("name".into(), Value::String(std::mem::take(name)));
            *value = Value::Table(table);
        }
        let Value::Table(table) = value else {
            return self.wrong_type(value, "a name or a table", path);
        };
        let known = format!("known names: {}", names.join(", "));
        let name = match table.get("name") {
            Some(Value::String(name)) => name.clone(),
            Some(other) => {
                let other = other.clone();
                path.push("name".into());
                self.wrong_type(&other, "a name", path);
                path.pop();
                return;
            }
            None => match default.and_then(|default| default.get("name")).and_then(Json::as_str) {
                // A table without a name keeps the default component and changes its settings.
                Some(name) => {
                    table.insert("name".into(), Value::String(name.to_owned()));
                    name.to_owned()
                }
                None => return self.issue(path, format!("{} needs a name", dotted(path)), Some(known)),
            },
        };
        match variants.iter().find(|(known, _)| *known == name) {
            Some((_, variant)) => {
                if let Some(properties) = variant.get("properties").and_then(Json::as_object) {
                    self.table(table, properties, &["name"], path);
                }
            }
            None => {
                let what =
                    format!("unknown name \"{name}\" for {}{}", dotted(path), did_you_mean(&name, &names));
                let mut path = path.clone();
                path.push("name".into());
                self.issues.push(Issue { path, what, hint: Some(known), unknown_name: Some(name) });
            }
        }
    }

    fn table(
        &mut self,
        table: &mut toml::Table,
        properties: &Map<String, Json>,
        settled: &[&str],
        path: &mut Vec<String>,
    ) {
        let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
        for (key, value) in table.iter_mut() {
            if settled.contains(&key.as_str()) {
                continue;
            }
            path.push(key.clone());
            match properties.get(key) {
                Some(property) => self.value(value, property, path),
                None => {
                    let whole = dotted(path);
                    let what = format!("unknown key \"{whole}\"{}", did_you_mean(key, &keys));
                    let valid: Vec<&str> =
                        keys.iter().copied().filter(|key| !settled.contains(key)).collect();
                    let place = dotted(&path[..path.len() - 1]);
                    let place = if place.is_empty() { "a run file".to_owned() } else { place };
                    let hint = if valid.is_empty() {
                        format!("{place} has no settings")
                    } else {
                        format!("keys of {place}: {}", valid.join(", "))
                    };
                    self.issue(path, what, Some(hint));
                }
            }
            path.pop();
        }
    }

    fn choice(&mut self, value: &Value, choices: &[&str], path: &[String]) {
        let Value::String(given) = value else {
            return self.wrong_type(value, &format!("one of {}", choices.join(", ")), path);
        };
        if !choices.contains(&given.as_str()) {
            let what = format!("{} cannot be \"{given}\"{}", dotted(path), did_you_mean(given, choices));
            self.issue(path, what, Some(format!("one of {}", choices.join(", "))));
        }
    }

    fn scalar(&mut self, value: &mut Value, schema: &Json, path: &mut Vec<String>) {
        let is = |name: &str| match &schema["type"] {
            Json::String(kind) => kind == name,
            Json::Array(kinds) => kinds.iter().any(|kind| kind == name),
            _ => false,
        };
        match value {
            Value::Array(items) if is("array") => {
                let wanted = (schema.get("minItems").and_then(Json::as_u64), schema.get("maxItems"));
                let length = items.len() as u64;
                if let (Some(least), most) = wanted
                    && (length < least || most.and_then(Json::as_u64).is_some_and(|most| length > most))
                {
                    let what = format!("{} must have {least} entries, not {length}", dotted(path));
                    return self.issue(path, what, None);
                }
                if let Some(item) = schema.get("items") {
                    for (place, value) in items.iter_mut().enumerate() {
                        path.push(format!("[{place}]"));
                        self.value(value, item, path);
                        path.pop();
                    }
                }
            }
            Value::Integer(number) if is("integer") => {
                if let Some(least) = schema.get("minimum").and_then(Json::as_f64)
                    && (*number as f64) < least
                {
                    let what = format!("{} = {number} must be {least} or more", dotted(path));
                    self.issue(path, what, None);
                }
            }
            Value::Integer(_) | Value::Float(_) if is("number") => {}
            Value::Boolean(_) if is("boolean") => {}
            Value::String(text) if is("string") => {
                if schema.get("maxLength").and_then(Json::as_u64) == Some(1) && text.chars().count() != 1 {
                    let what = format!("{} = {text:?} must be one character", dotted(path));
                    self.issue(path, what, None);
                }
            }
            // A schema without a type takes anything; serde has the last word.
            _ if schema.get("type").is_none() => {}
            _ => self.wrong_type(value, &kind(schema), path),
        }
    }

    fn wrong_type(&mut self, value: &Value, wanted: &str, path: &[String]) {
        let found = match value {
            Value::String(text) => format!("the text {text:?}"),
            Value::Integer(number) => format!("the whole number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Boolean(value) => format!("{value}"),
            Value::Datetime(_) => "a date".into(),
            Value::Array(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        };
        self.issue(path, format!("{} must be {wanted}, not {found}", dotted(path)), None);
    }
}

/// What a schema asks for, in words.
fn kind(schema: &Json) -> String {
    let kind = match &schema["type"] {
        Json::String(kind) => kind.as_str(),
        Json::Array(kinds) => {
            kinds.iter().filter_map(Json::as_str).find(|&kind| kind != "null").unwrap_or("")
        }
        _ => "",
    };
    match kind {
        "string" => "a text".into(),
        "integer" => "a whole number".into(),
        "number" => "a number".into(),
        "boolean" => "true or false".into(),
        "array" => "a list".into(),
        _ => "a table".into(),
    }
}
