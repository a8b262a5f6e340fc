//! Results to standard output, errors to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::args::Global;
use crate::style;

/// The result, as text or as one JSON document.
pub(crate) fn result(
    global: &Global,
    json: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if global.json {
        return document(json);
    }
    line(&text())
}

/// One JSON document.
pub(crate) fn document(json: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(json)?)
}

/// Text with one line break at its end.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end_matches('\n'))?;
    out.flush()?;
    Ok(())
}

/// Whether the reader of standard output went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// `error:`, the causes, and `hint:` where there is one.
pub(crate) fn report(error: &anyhow::Error) {
    let mut text = format!("{} {error}\n", style::error());
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many errors already end with their cause.
        if !said.contains(&cause) {
            text.push_str(&format!("  because: {cause}\n"));
            said = cause;
        }
    }
    let source: &(dyn std::error::Error + 'static) = error.as_ref();
    let own = || error.downcast_ref().and_then(parallax_systems::Error::hint);
    if let Some(hint) = parallax::hint(source).or_else(own) {
        text.push_str(&format!("{} {hint}\n", style::hint()));
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
