//! Reading a run file: overrides, checks, environment variables and paths.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::check::{Issue, Walk, dotted, plain_schema};
use super::{RunConfig, resolved};
use crate::{Error, Result};

impl RunConfig {
    /// Reads a run file and applies overrides of the form `a.b=value` in order.
    ///
    /// A value is read as TOML, and as a text where it is none. Environment variables in paths are replaced, and relative
    /// paths that exist beside the file become paths through its folder.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, and [`Error::Config`] with file, line and dotted path.
    pub fn load<S: AsRef<str>>(path: impl AsRef<Path>, sets: &[S]) -> Result<RunConfig> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let bytes = e.as_bytes();
            let line = 1 + bytes[..e.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            config_error(Some(path), Some(line), "not UTF-8", Some("save the file as UTF-8".to_owned()))
        })?;
        let mut config = read(&text, Some(path), sets)?;
        if config.name.is_empty() {
            config.name =
                path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        }
        config.place(path.parent().unwrap_or(Path::new("")))?;
        config.check(Some(path))?;
        Ok(config)
    }

    /// Reads the text of a run file; relative paths stay as they are.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse<S: AsRef<str>>(text: &str, sets: &[S]) -> Result<RunConfig> {
        let mut config = read(text, None, sets)?;
        if config.name.is_empty() {
            config.name = "run".to_owned();
        }
        config.place(Path::new(""))?;
        config.check(None)?;
        Ok(config)
    }

    /// The whole run as TOML, defaults written out.
    ///
    /// # Errors
    /// If a path is not UTF-8, which TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::setting(format!("the run cannot be written as TOML: {e}")))
    }

    /// Replaces environment variables and finds relative paths beside the run file.
    fn place(&mut self, folder: &Path) -> Result<()> {
        let data = &mut self.data;
        let files = data.path.0.iter_mut().chain(&mut data.vectors).chain(&mut data.positives);
        let files = files.chain(&mut data.labels);
        for file in files {
            if let Some(text) = file.to_str() {
                *file = expand(text, |name| std::env::var(name).ok())?.into();
            }
            *file = beside(folder, file);
        }
        for model in self.model.iter_mut().chain(&mut self.teacher) {
            model.path = expand(&model.path, |name| std::env::var(name).ok())?;
            let here = beside(folder, Path::new(&model.path));
            if let (true, Some(text)) = (here.is_dir(), here.to_str()) {
                model.path = text.to_owned();
            }
        }
        if let Some(text) = self.output.dir.to_str() {
            self.output.dir = expand(text, |name| std::env::var(name).ok())?.into();
        }
        Ok(())
    }

    /// Refuses what is well-formed and still cannot be run.
    fn check(&self, file: Option<&Path>) -> Result<()> {
        let refuse = |what: String| Err(config_error(file, None, what, None));
        let plain = |name: &str| !matches!(name, "." | "..") && !name.contains(['/', '\\', '\0']);
        if !plain(&self.name) {
            return refuse(format!("name = \"{}\" must be the name of a folder, without a path", self.name));
        }
        if self.data.vectors.is_none() && self.data.labels.is_some() {
            return refuse("data.labels goes with data.vectors, which is not set".into());
        }
        if self.data.vectors.is_none() && self.data.positives.is_some() {
            return refuse("data.positives goes with data.vectors, which is not set".into());
        }
        for (name, model) in [("model", &self.model), ("teacher", &self.teacher)] {
            let Some(model) = model else { continue };
            if model.path.is_empty() {
                return refuse(format!("{name}.path is not set"));
            }
            if model.max_tokens.is_some_and(|tokens| tokens < 3) {
                return refuse(format!(
                    "{name}.max_tokens must be 3 or more: two of them are special tokens"
                ));
            }
        }
        if self.evaluate.measures.is_empty() {
            return refuse("evaluate.measures is empty".into());
        }
        for (value, name) in [
            (self.evaluate.batch_tokens, "evaluate.batch_tokens"),
            (self.train.batch_size, "train.batch_size"),
        ] {
            if value == 0 {
                return refuse(format!("{name} = 0 must be 1 or more"));
            }
        }
        let in_part = |part: &str, e: parallax_metric::Error| refuse(format!("objective.{part}: {e}"));
        let objective = &self.objective;
        objective.loss.check().or_else(|e| in_part("loss", e))?;
        if let Some(miner) = &objective.miner {
            miner.check().or_else(|e| in_part("miner", e))?;
        }
        if let Some(distance) = &objective.distance {
            distance.check().or_else(|e| in_part("distance", e))?;
        }
        if let Some(mixup) = &objective.mixup {
            mixup.metrix().check().or_else(|e| in_part("mixup", e))?;
        }
        if let Some(memory) = &objective.memory {
            memory.check().or_else(|e| in_part("memory", e))?;
            objective.wants().remembered(objective.loss.name()).or_else(|e| in_part("memory", e))?;
        }
        self.train.optimizer.check().or_else(|e| refuse(e.to_string()))?;
        self.train.schedule.check().or_else(|e| refuse(e.to_string()))
    }
}

/// Reads one component, such as a split, from what would stand after `=` in a run file: a table, or a bare name.
///
/// `path` is where the component stands in a run file, such as `data.split`.
///
/// # Errors
/// [`Error::Config`] as for a run file.
pub fn parse_component<T: DeserializeOwned>(text: &str, path: &str) -> Result<T> {
    let mut value = value_of(text);
    let root = plain_schema();
    let mut property = root;
    for key in path.split('.') {
        property = resolved(root, property)
            .get("properties")
            .and_then(|properties| properties.get(key))
            .ok_or_else(|| Error::setting(format!("a run file has no key \"{path}\"")))?;
    }
    let mut walk = Walk { root, issues: Vec::new() };
    walk.value(&mut value, property, &mut path.split('.').map(str::to_owned).collect());
    let issues = walk.issues;
    T::deserialize(value).map_err(|e| {
        let (what, hint, _) = explain(&e, issues);
        config_error(None, None, what, hint)
    })
}

fn read<S: AsRef<str>>(text: &str, file: Option<&Path>, sets: &[S]) -> Result<RunConfig> {
    let mut table: toml::Table = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| line_at(text, span.start));
        config_error(file, line, e.message().replace('\n', "; "), None)
    })?;
    let mut set_paths = Vec::new();
    for set in sets {
        let set = set.as_ref();
        set_paths.push((apply(&mut table, set)?, set));
    }
    let mut value = Value::Table(table);
    let root = plain_schema();
    let mut walk = Walk { root, issues: Vec::new() };
    walk.value(&mut value, root, &mut Vec::new());
    let issues = walk.issues;
    serde::Deserialize::deserialize(value).map_err(|e| {
        let (what, hint, path) = explain(&e, issues);
        let set = set_paths.iter().rev().find(|(at, _)| path.starts_with(at) || at.starts_with(&path));
        if let (Some((_, set)), false) = (set, path.is_empty()) {
            return config_error(None, None, format!("--set {set}: {what}"), hint);
        }
        config_error(file, line_of(text, &path), what, hint)
    })
}

/// What to say of a value that serde refused: what the walk found, or serde's own words.
fn explain(error: &toml::de::Error, issues: Vec<Issue>) -> (String, Option<String>, Vec<String>) {
    let message = error.message();
    // A name that the schema does not list may be an alias; then it is not why serde refused.
    let counts =
        |issue: &Issue| issue.unknown_name.as_ref().is_none_or(|name| message.contains(&format!("`{name}`")));
    if let Some(issue) = issues.into_iter().find(counts) {
        return (issue.what, issue.hint, issue.path);
    }
    let whole = error.to_string();
    let path = whole.split_once("\nin `").and_then(|(_, rest)| rest.split_once('`')).map(|(path, _)| path);
    let path: Vec<String> = path.into_iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
    let place = if path.is_empty() { String::new() } else { format!("{}: ", dotted(&path)) };
    (format!("{place}{message}"), None, path)
}

fn config_error(
    file: Option<&Path>,
    line: Option<usize>,
    what: impl Into<String>,
    hint: Option<String>,
) -> Error {
    Error::Config { file: file.map(Path::to_owned), line, what: what.into(), hint }
}

/// Puts one override into the table; returns its path.
fn apply(table: &mut toml::Table, set: &str) -> Result<Vec<String>> {
    let bad = |what: &str| {
        Error::setting_with(
            format!("--set {set}: {what}"),
            "write --set train.epochs=3, or --set name=\"a b\"",
        )
    };
    let (key, text) = set.split_once('=').ok_or_else(|| bad("there is no \"=\""))?;
    let path: Vec<String> = key.trim().split('.').map(|part| part.trim().to_owned()).collect();
    if path.iter().any(String::is_empty) {
        return Err(bad("the key has an empty part"));
    }
    let mut at = table;
    for part in &path[..path.len() - 1] {
        let next = at.entry(part.as_str()).or_insert_with(|| Value::Table(toml::Table::new()));
        // A bare name becomes the table that it stands for.
        if let Value::String(name) = next {
            let mut component = toml::Table::new();
            component.insert("name".into(), Value::String(std::mem::take(name)));
            *next = Value::Table(component);
        }
        at = next.as_table_mut().ok_or_else(|| bad(&format!("\"{part}\" is not a table")))?;
    }
    at.insert(path[path.len() - 1].clone(), value_of(text.trim()));
    Ok(path)
}

/// The text as a TOML value, or else as a text.
fn value_of(text: &str) -> Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
    match parsed {
        Ok(mut table) if table.len() == 1 => {
            table.remove("value").unwrap_or_else(|| Value::String(text.into()))
        }
        _ => Value::String(text.into()),
    }
}

/// `${NAME}` and `${NAME:-default}` replaced.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (inside, after) = after
            .split_once('}')
            .ok_or_else(|| Error::setting(format!("\"{text}\": a \"${{\" without its \"}}\"")))?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let value = variable(name).filter(|value| default.is_none() || !value.is_empty());
        let value = value.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
            Error::setting_with(
                format!("\"{text}\": the environment variable {name} is not set"),
                format!("set it, or write ${{{name}:-default}}"),
            )
        })?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn beside(folder: &Path, path: &Path) -> PathBuf {
    let there = folder.join(path);
    if path.is_relative() && !path.as_os_str().is_empty() && there.exists() { there } else { path.to_owned() }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count()
}

/// The line on which the deepest key of `path` that the text has stands.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    let mut parts = path.iter();
    'table: while let Some(part) = parts.next() {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == part) else { break };
        found = Some(key.span().start);
        let mut value = value;
        loop {
            match value.get_ref() {
                DeValue::Table(inner) => {
                    table = inner;
                    continue 'table;
                }
                DeValue::Array(items) => {
                    let place =
                        parts.next().and_then(|part| part.trim_matches(['[', ']']).parse::<usize>().ok());
                    let Some(item) = place.and_then(|place| items.get(place)) else { break 'table };
                    found = Some(item.span().start);
                    value = item;
                }
                _ => break 'table,
            }
        }
    }
    found.map(|offset| line_at(text, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let lookup = |name: &str| match name {
            "A" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let ok = |text| expand(text, lookup).unwrap();
        assert_eq!(ok("plain $A"), "plain $A");
        assert_eq!(ok("${A}/b${A}"), "x/bx");
        assert_eq!(ok("${B:-c}/d"), "c/d");
        assert_eq!(ok("${EMPTY:-c}${EMPTY}"), "c");
        let error = expand("${B}/d", lookup).unwrap_err();
        assert!(error.to_string().contains("B is not set"), "{error}");
        assert!(error.hint().unwrap().contains("${B:-default}"));
        assert!(expand("${B", lookup).is_err());
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        let text =
            "seed = 1\n[train]\nepochs = 2\noptimizer.lr = 1\n[[train.groups]]\n[[train.groups]]\nlr = 3\n";
        let line = |path: &str| line_of(text, &path.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(line("seed"), Some(1));
        assert_eq!(line("train.epochs"), Some(3));
        assert_eq!(line("train.optimizer.lr"), Some(4));
        assert_eq!(line("train.optimizer.nothing"), Some(4));
        assert_eq!(line("train.groups.[1].lr"), Some(7));
        assert_eq!(line("nothing"), None);
    }

    #[test]
    fn texts_that_are_no_toml_are_texts() {
        assert_eq!(value_of("1e-3"), Value::Float(1e-3));
        assert_eq!(value_of("linear"), Value::String("linear".into()));
        assert_eq!(value_of("a b/c"), Value::String("a b/c".into()));
        assert_eq!(value_of("[1, 2]"), Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
        assert_eq!(value_of("1\nx = 2"), Value::String("1\nx = 2".into()));
    }
}
