use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Spread;
use crate::{Error, Result};

/// A program that embeds a file of texts: what is started to find out how long the first vector takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// What it is given before the file of texts, the output's flag and the output.
    pub arguments: Vec<OsString>,
}

/// Seconds from the start of the program to its end, when it has written the vector of `text`; the first run, which may
/// find files that are not in memory, does not count.
pub(super) fn start(program: &Program, text: &str, runs: usize) -> Result<Spread> {
    let folder = tempfile::tempdir().map_err(Error::io(&std::env::temp_dir(), "create a folder in"))?;
    let (texts, output) = (folder.path().join("texts.txt"), folder.path().join("vectors.npy"));
    // A line is a text, and the text may be of several lines.
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    fs::write(&texts, format!("{line}\n")).map_err(Error::io(&texts, "write"))?;
    let mut seconds = Vec::with_capacity(runs);
    for run in 0..=runs {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).arg(&texts).arg("-o").arg(&output);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let begun = Instant::now();
        let ended = command.output().map_err(Error::io(&program.path, "start"))?;
        let taken = begun.elapsed().as_secs_f64();
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            let said = said.lines().next().unwrap_or("it said nothing");
            return Err(Error::setting(format!("{} failed: {said}", program.path.display())));
        }
        if run > 0 {
            seconds.push(taken);
        }
    }
    Ok(Spread::of(seconds))
}
