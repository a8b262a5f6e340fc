//! What to type instead: a hint after a command line that makes no sense to the parser.
//!
//! The parser names what is wrong and the nearest spelling. Here stands what it cannot know: that `serve` is what others
//! call something, that a text was given where a file is read, that `--epochs` is a key of the run file. Every hint is a
//! command line that the program takes.

use std::ffi::OsString;
use std::path::Path;

use clap::builder::ArgAction;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use crate::args::Cli;

/// The model of the examples.
const MODEL: &str = "all-MiniLM-L6-v2";

/// What to type instead of `arguments` (without the program's name), which the parser refused.
pub(crate) fn hint(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let mut root = Cli::command();
    root.build();
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(&root, error, &words),
        ErrorKind::UnknownArgument => unknown_flag(&root, error, &words),
        ErrorKind::MissingRequiredArgument => missing(&root, &words),
        _ => None,
    }
}

/// Names that other programs have, and the command that does the same here.
const SYNONYMS: [(&[&str], &str); 15] = [
    (&["run", "learn", "tune", "adapt", "fine-tune", "start"], "train"),
    (&["test", "measure", "score", "metrics"], "eval"),
    (&["benchmark", "speed", "throughput", "latency", "perf"], "bench encode"),
    (&["vectorize", "vectorise", "transform", "predict", "infer", "embeddings"], "embed"),
    (&["serve", "server", "api", "http"], "search"),
    (&["query", "find", "retrieve", "ask"], "search"),
    (&["build", "add", "store"], "index build"),
    (&["download", "pull", "fetch", "install", "get"], "embed"),
    (&["demo", "tutorial", "example", "hello", "try"], "quickstart"),
    (&["new", "create", "setup"], "init"),
    (&["history", "experiments", "ls", "logs", "status"], "runs list"),
    (&["compare", "diff"], "runs diff"),
    (&["check", "validate", "inspect", "profile"], "data check"),
    (&["info", "env", "debug", "diagnose"], "doctor"),
    (&["compress", "quantize", "quantise", "distill", "distil"], "convert distill"),
];

/// A command line that shows the use of a command.
fn example(command: &str) -> Option<&'static str> {
    Some(match command {
        "train" => "parallax train data.csv",
        "eval" => "parallax eval all-MiniLM-L6-v2 data.csv",
        "bench" | "bench encode" => "parallax bench encode all-MiniLM-L6-v2",
        "embed" => "parallax embed all-MiniLM-L6-v2 texts.txt -o vectors.npy",
        "runs" | "runs list" => "parallax runs list",
        "runs show" => "parallax runs show RUN",
        "runs diff" => "parallax runs diff RUN OTHER_RUN",
        "doctor" => "parallax doctor",
        "doctor parity" => "parallax doctor parity all-MiniLM-L6-v2 --against vectors.npy",
        "config show" => "parallax config show run.toml",
        "config schema" => "parallax config schema",
        "completions" => "parallax completions bash",
        "init" => "parallax init data.csv",
        "search" => "parallax search INDEX \"a text\" -k 5",
        "quickstart" => "parallax quickstart",
        "index" | "index build" => "parallax index build texts.csv -o texts.index",
        "data check" => "parallax data check data.csv",
        "convert" | "convert distill" => {
            "parallax convert distill all-MiniLM-L6-v2 texts.txt -o static-model"
        }
        _ => return None,
    })
}

fn unknown_command(root: &Command, error: &clap::Error, words: &[String]) -> Option<String> {
    let (command, path, rest) = entered(root, words);
    let word = rest.iter().find(|word| !word.starts_with('-'))?;
    let nearest = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(name)) => Some(name.clone()),
        Some(ContextValue::Strings(names)) => names.first().cloned(),
        _ => None,
    };
    let retyped = nearest.map(|name| {
        let words = words.iter().map(|given| if given == word { name.clone() } else { quoted(given) });
        format!("type: parallax {}", words.collect::<Vec<_>>().join(" "))
    });
    if !path.is_empty() {
        if retyped.is_some() {
            return retyped;
        }
        let known: Vec<&str> =
            command.get_subcommands().map(Command::get_name).filter(|n| *n != "help").collect();
        return Some(format!("parallax {path} takes one of: {}", known.join(", ")));
    }
    let extension = Path::new(word).extension().and_then(|e| e.to_str()).unwrap_or("").to_lowercase();
    let shown = quoted(word);
    match extension.as_str() {
        "toml" | "csv" | "tsv" | "jsonl" | "json" => return Some(format!("type: parallax train {shown}")),
        "npy" => return Some(format!("type: parallax eval {shown} labels.csv")),
        "txt" => return Some(format!("type: parallax embed {MODEL} {shown} -o vectors.npy")),
        _ => {}
    }
    let lower = word.to_lowercase();
    if lower == "version" {
        return Some("type: parallax --version".to_owned());
    }
    if lower == "schema" {
        return Some("type: parallax config schema".to_owned());
    }
    let families = parallax::catalogue::families();
    let families = families.iter().map(|family| family.name).chain(["models"]);
    if let Some(family) =
        families.into_iter().find(|name| *name == lower || name.strip_suffix('s') == Some(&lower))
    {
        return Some(format!("type: parallax list {family}"));
    }
    if let Some((names, command)) = SYNONYMS.iter().find(|(names, _)| names.contains(&lower.as_str())) {
        let why = match names[0] {
            "serve" => " (there is no server in this version; search answers from the command line)",
            "download" => " (a model is fetched when it is first used)",
            _ => "",
        };
        return Some(format!("type: {}{why}", example(command)?));
    }
    if word.contains(' ') {
        return Some(format!("type: echo {shown} | parallax embed {MODEL} - -o vectors.jsonl"));
    }
    retyped.or_else(|| Some("\"parallax --help\" lists the commands".to_owned()))
}

/// Flags of other programs for keys of a run file that have another name.
const KEYS: [(&str, &str); 9] = [
    ("learning_rate", "train.optimizer.lr"),
    ("batch", "train.batch_size"),
    ("bs", "train.batch_size"),
    ("steps", "train.max_steps"),
    ("model", "model.path"),
    ("data", "data.path"),
    ("max_length", "model.max_tokens"),
    ("max_seq_length", "model.max_tokens"),
    ("warmup_steps", "train.schedule.warmup"),
];

/// Flags that say what a positional argument says.
const POSITIONAL: [&str; 6] = ["--data", "--config", "--file", "--input", "--model", "--text"];

fn unknown_flag(root: &Command, error: &clap::Error, words: &[String]) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let (_, path, _) = entered(root, words);
    if path.is_empty() && matches!(flag.as_str(), "-v" | "-version") {
        return Some("type: parallax --version".to_owned());
    }
    let at = words.iter().position(|word| word == flag || word.starts_with(&format!("{flag}=")))?;
    let (value, end) = match words[at].split_once('=') {
        Some((_, value)) => (Some(value), at + 1),
        None => match words.get(at + 1).filter(|next| !next.starts_with('-')) {
            Some(next) => (Some(next.as_str()), at + 2),
            None => (None, at + 1),
        },
    };
    let retyped = |middle: &[String]| {
        let all = [&words[..at], middle, &words[end..]].concat();
        let all: Vec<String> = all.iter().map(|word| quoted(word)).collect();
        format!("type: parallax {}", all.join(" "))
    };
    if ["--device", "--gpu", "--cuda", "--gpus"].contains(&flag.as_str()) {
        return Some(format!("everything runs on the processor; {}", retyped(&[])));
    }
    if matches!(flag.as_str(), "-o" | "--output" | "--output-dir" | "--save") && path == "train" {
        return Some(retyped(&["--out".to_owned(), value.unwrap_or("DIR").to_owned()]));
    }
    if let (Some(value), true, false) = (value, POSITIONAL.contains(&flag.as_str()), path.is_empty()) {
        let first = entered(root, words).2.first().is_some_and(|first| first == &words[at]);
        if first {
            return Some(retyped(&[value.to_owned()]));
        }
    }
    if path != "train" && path != "config show" {
        return None;
    }
    let name = flag.trim_start_matches('-').replace('-', "_");
    let keys = parallax::config::keys();
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let key = keys
        .iter()
        .find(|key| last(key) == name || key.as_str() == name)
        .map(String::as_str)
        .or_else(|| KEYS.iter().find(|(other, _)| *other == name).map(|(_, key)| *key))?;
    Some(format!(
        "it is the setting {key} of a run; {}",
        retyped(&["--set".to_owned(), format!("{key}={}", value.unwrap_or("VALUE"))])
    ))
}

fn missing(root: &Command, words: &[String]) -> Option<String> {
    let (command, path, rest) = entered(root, words);
    let given = positionals(command, rest);
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let typed = match (path.as_str(), &given[..]) {
        ("embed", [input]) if is_table_or_lines(input) => {
            format!("parallax embed {MODEL} {} -o vectors.npy", quoted(input))
        }
        ("embed", [model]) if is_model(model) => {
            format!("parallax embed {} texts.txt -o vectors.npy", quoted(model))
        }
        ("embed", [text]) => format!("echo {} | parallax embed {MODEL} - -o vectors.jsonl", quoted(text)),
        ("embed", [model, input, ..]) => {
            format!("parallax embed {} {} -o vectors.npy", quoted(model), quoted(input))
        }
        ("eval", [data]) if is_table_or_lines(data) && !data.ends_with(".npy") => {
            format!("parallax eval {MODEL} {}", quoted(data))
        }
        ("eval", [vectors]) if vectors.ends_with(".npy") => {
            format!("parallax eval {} labels.csv", quoted(vectors))
        }
        ("eval", [model]) => format!("parallax eval {} data.csv", quoted(model)),
        ("search", [index]) if Path::new(index).is_dir() => {
            format!("parallax search {} \"a text\" -k 5", quoted(index))
        }
        ("search", [text]) => format!("parallax search INDEX {} -k 5", quoted(text)),
        ("runs diff", [run]) => format!("parallax runs diff {} OTHER_RUN", quoted(run)),
        ("doctor parity", [model]) => {
            format!("parallax doctor parity {} --against vectors.npy", quoted(model))
        }
        _ => example(&path)?.to_owned(),
    };
    let more = match path.as_str() {
        "train" => " (\"parallax train --help\" says more)",
        "runs show" | "runs diff" => " (\"parallax runs list\" says which there are)",
        _ => "",
    };
    Some(format!("type: {typed}{more}"))
}

/// The command that `words` begin with, its name in full, and the words after it.
fn entered<'c, 'w>(root: &'c Command, words: &'w [String]) -> (&'c Command, String, &'w [String]) {
    let (mut command, mut path, mut at) = (root, Vec::new(), 0);
    while let Some(word) = words.get(at) {
        if let Some(found) = command.find_subcommand(word) {
            command = found;
            path.push(found.get_name());
        } else if !word.starts_with('-') || takes_value(command, word) && words.len() > at + 1 {
            // A global flag before the command; anything else is the command's own business.
            if !word.starts_with('-') {
                break;
            }
            at += 1;
        }
        at += 1;
        if command.get_subcommands().next().is_none() {
            break;
        }
    }
    (command, path.join(" "), &words[at.min(words.len())..])
}

/// Whether the next word belongs to the flag `word`.
fn takes_value(command: &Command, word: &str) -> bool {
    let matches = |arg: &clap::Arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| word == format!("-{short}")),
    };
    let takes = |action: &ArgAction| matches!(action, ArgAction::Set | ArgAction::Append);
    command.get_arguments().any(|arg| matches(arg) && takes(arg.get_action()))
}

fn positionals(command: &Command, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.len() > 1 && word.starts_with('-') {
            if takes_value(command, word) {
                words.next();
            }
        } else {
            found.push(word.clone());
        }
    }
    found
}

fn is_table_or_lines(word: &str) -> bool {
    let extension = Path::new(word).extension().and_then(|e| e.to_str()).unwrap_or("").to_lowercase();
    Path::new(word).is_file() || ["csv", "tsv", "json", "jsonl", "txt", "npy"].contains(&extension.as_str())
}

fn is_model(word: &str) -> bool {
    Path::new(word).is_dir()
        || word.contains('/')
        || parallax::models::known().iter().any(|known| known.name == word)
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.contains(['"', '$', '`', '\\', '!']) {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    format!("\"{word}\"")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn hinted(line: &[&str]) -> String {
        let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
        let all = [&[OsString::from("parallax")], &arguments[..]].concat();
        let error = Cli::try_parse_from(all).unwrap_err();
        hint(&error, &arguments).unwrap_or_default()
    }

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(quoted("data-1/a.csv"), "data-1/a.csv");
        assert_eq!(quoted("some text"), "\"some text\"");
        assert_eq!(quoted("it's $5"), "'it'\\''s $5'");
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn flags_that_are_settings_are_written_out() {
        let hint = hinted(&["train", "run.toml", "--epochs", "3", "--json"]);
        assert_eq!(
            hint,
            "it is the setting train.epochs of a run; type: parallax train run.toml --set train.epochs=3 --json"
        );
        assert!(hinted(&["train", "x.toml", "--lr=1e-4"]).ends_with("--set train.optimizer.lr=1e-4"));
        assert!(hinted(&["train", "x.toml", "--learning-rate", "1"]).ends_with("--set train.optimizer.lr=1"));
        assert!(hinted(&["train", "x.toml", "--temperature", "1"]).contains("objective.loss.temperature=1"));
        assert!(hinted(&["train", "x.toml", "-o", "a b"]).ends_with("train x.toml --out \"a b\""));
        assert!(hinted(&["train", "x.toml", "--device", "cuda"]).ends_with("type: parallax train x.toml"));
        assert!(hinted(&["train", "--data", "x.toml"]).ends_with("type: parallax train x.toml"));
        assert_eq!(hinted(&["train", "x.toml", "--nonsense"]), "");
        assert_eq!(hinted(&["-v"]), "type: parallax --version");
    }

    #[test]
    fn every_suggested_command_is_taken() {
        for (_, command) in SYNONYMS {
            let line = example(command).unwrap_or_else(|| panic!("no example of {command}"));
            assert!(line.starts_with(&format!("parallax {command}")), "{line}");
            // A shell reads what stands in quotes as one word.
            let words = line.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect(),
                _ => vec![part],
            });
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn a_typo_is_retyped_with_everything_after_it() {
        assert_eq!(hinted(&["--quiet", "trian", "a b.csv"]), "type: parallax --quiet train \"a b.csv\"");
        assert_eq!(hinted(&["runs", "lst"]), "type: parallax runs list");
        assert_eq!(hinted(&["xyzzy"]), "\"parallax --help\" lists the commands");
    }

    #[test]
    fn global_flags_before_the_command_do_not_hide_it() {
        let hint = hinted(&["--threads", "2", "--quiet", "embed", "texts.txt"]);
        assert_eq!(hint, "type: parallax embed all-MiniLM-L6-v2 texts.txt -o vectors.npy");
        assert_eq!(hinted(&["eval", "--label", "x", "y.csv"]), "type: parallax eval all-MiniLM-L6-v2 y.csv");
    }
}
