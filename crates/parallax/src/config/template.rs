//! A run file with every setting explained.

use std::fmt::Write;

use serde_json::Value as Json;
use toml::{Table, Value};

use super::{RunConfig, named_variants, plain_schema, resolved};
use crate::{Error, Result};

/// Width of a comment, without its mark.
const WIDTH: usize = 100;

impl RunConfig {
    /// The whole run as TOML in which every setting has its description above it. Settings that are not set stand there
    /// too, as comments. `notes` are comment lines put under a table's name, such as `objective.loss`.
    ///
    /// # Errors
    /// If a path is not UTF-8, which TOML cannot hold.
    pub fn to_commented_toml(&self, notes: &[(&str, Vec<String>)]) -> Result<String> {
        let table = Table::try_from(self)
            .map_err(|e| Error::setting(format!("the run cannot be written as TOML: {e}")))?;
        let mut writer = Writer { out: String::new(), notes };
        writer.table("", &table, plain_schema());
        Ok(writer.out)
    }
}

struct Writer<'a> {
    out: String,
    notes: &'a [(&'a str, Vec<String>)],
}

impl Writer<'_> {
    fn table(&mut self, path: &str, table: &Table, schema: &Json) {
        let schema = resolved(plain_schema(), schema);
        let mut properties = &schema["properties"];
        let variants = named_variants(schema);
        if let (Some(variants), Some(name)) = (&variants, table.get("name").and_then(Value::as_str))
            && let Some((_, variant)) = variants.iter().find(|(variant, _)| *variant == name)
        {
            properties = &variant["properties"];
            self.comment(&format!("{name}: {}", description(variant)));
            let others: Vec<&str> =
                variants.iter().map(|(name, _)| *name).filter(|other| *other != name).collect();
            if !others.is_empty() {
                self.comment(&format!("Others: {}.", others.join(", ")));
            }
        }
        let notes = self.notes;
        for line in notes.iter().filter(|(at, _)| *at == path).flat_map(|(_, lines)| lines) {
            self.comment(line);
        }
        let mut tables = Vec::new();
        for (key, value) in table {
            match value {
                Value::Table(inner) => tables.push((key, inner)),
                value => {
                    if key != "name" || path.is_empty() {
                        self.comment(&described(&properties[key]));
                    }
                    let _ = writeln!(self.out, "{key} = {value}");
                }
            }
        }
        // What can be set and is not.
        let mut absent = Vec::new();
        for (key, property) in properties.as_object().into_iter().flatten() {
            if table.contains_key(key) {
                continue;
            }
            let inner = resolved(plain_schema(), property);
            if inner["properties"].is_object() || named_variants(inner).is_some() {
                absent.push((key, property, inner));
                continue;
            }
            self.comment(&described(property));
            let _ = writeln!(self.out, "# {key} =");
        }
        for (key, property, inner) in absent {
            self.comment(&described(property));
            if let Some(variants) = named_variants(inner) {
                let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
                self.comment(&format!("One of: {}.", names.join(", ")));
            }
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let _ = writeln!(self.out, "# [{full}]");
        }
        for (key, inner) in tables {
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.out.push('\n');
            self.comment(&described(&properties[key]));
            let _ = writeln!(self.out, "[{full}]");
            self.table(&full, inner, &properties[key]);
        }
    }

    fn comment(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + word.len() >= WIDTH {
                let _ = writeln!(self.out, "# {line}");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            let _ = writeln!(self.out, "# {line}");
        }
    }
}

fn description(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A property's own description, or that of its type.
fn described(property: &Json) -> String {
    let own = description(property);
    if own.is_empty() { description(resolved(plain_schema(), property)) } else { own }
}
