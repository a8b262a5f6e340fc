//! The real binary in a fresh folder: what it prints, how it ends, and what it leaves behind.

mod bad_input;
mod bench;
mod classifier;
mod colour;
mod completions;
mod config;
mod doctor;
mod dry_run;
mod embed;
mod eval;
mod first_tries;
mod inspect;
mod list;
mod newcomer;
mod process;
mod quickstart;
mod runs;
mod sides;
mod systems;
mod tensorboard;
mod tune;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder to work in, removed at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// An `.npy` matrix of float32.
    fn npy(&self, name: &str, dim: usize, values: &[f32]) {
        let shape = format!("({}, {dim})", values.len() / dim);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write(name, npy("<f4", &shape, &bytes));
    }

    /// Names of everything here, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A run file of a few steps of a tiny encoder on the support table; `train` stands at its end, in `[train]`.
    fn run_file(&self, name: &str, train: &str) {
        let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/support.csv");
        let model = reference("bert");
        let text = format!(
            "output.report = false\n[data]\npath = {table:?}\nsplit = {{ name = \"class_disjoint\", seen = 16, validation = 4 }}\n\
             [model]\npath = {model:?}\n[objective]\nloss = \"supcon\"\n[evaluate]\nresamples = 100\n\
             [train]\nbatch_size = 16\nsampler = {{ name = \"per_class\", per_class = 4 }}\n{train}\n"
        );
        self.write(name, text);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parallax"));
        command.current_dir(self.0.path()).args(args).stdin(Stdio::null());
        for name in
            ["PARALLAX_MODELS", "PARALLAX_DATA", "PARALLAX_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"]
        {
            command.env_remove(name);
        }
        // Nothing here may reach a network or the caches of whoever runs the tests.
        command.env("PARALLAX_CACHE", self.path("cache")).env("HF_ENDPOINT", "http://127.0.0.1:9");
        command
    }

    fn run(&self, args: &[&str]) -> Ended {
        Ended::from(self.command(args).output().unwrap())
    }

    fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ended::from(child.wait_with_output().unwrap())
    }

    /// Runs what must fail with exit code 1 and leave nothing new behind.
    fn refused(&self, args: &[&str]) -> Refusal {
        let before = self.names();
        let ended = self.run(args);
        assert_eq!(ended.code, Some(1), "{args:?}: {} {}", ended.out, ended.err);
        assert_eq!(ended.out, "", "{args:?}");
        assert_eq!(self.names(), before, "{args:?} left something behind");
        Refusal::new(&ended.err)
    }
}

fn npy(dtype: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = format!("{header:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    file.extend_from_slice(padded.as_bytes());
    file.extend_from_slice(bytes);
    file
}

/// How a run ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// The standard output of a success.
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// What was said when something was refused.
struct Refusal {
    error: String,
    hint: Option<String>,
}

impl Refusal {
    fn new(stderr: &str) -> Refusal {
        let error = stderr.lines().find_map(|line| line.strip_prefix("error: "));
        let hint = stderr.lines().last().and_then(|line| line.strip_prefix("hint: "));
        Refusal {
            error: error.unwrap_or_else(|| panic!("no error line: {stderr}")).to_owned(),
            hint: hint.map(str::to_owned),
        }
    }

    /// All of `parts` stand in the message.
    fn names(self, parts: &[&str]) -> Refusal {
        for part in parts {
            assert!(self.error.contains(part), "{part:?} is not in: {}", self.error);
        }
        self
    }

    fn hints(self, part: &str) {
        let hint = self.hint.unwrap_or_else(|| panic!("no hint after: {}", self.error));
        assert!(hint.contains(part), "{part:?} is not in: {hint}");
    }
}

/// A reference model of the nn crate.
fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/reference").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The values of a float32 `.npy` matrix and its dimension.
fn read_npy(path: &Path) -> (Vec<f32>, usize) {
    let bytes = fs::read(path).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let dims: Vec<usize> = shape.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let values: Vec<f32> =
        bytes[10 + length..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(values.len(), dims[0] * dims[1]);
    (values, dims[1])
}
