//! What this machine offers, and where models and data are looked for: the first thing to ask for when something is slow
//! or not found.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Precision;
use crate::models::{self, Locations, Place};

/// The machine and the places.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Version of Parallax.
    pub version: String,
    /// Processor architecture and operating system.
    pub target: String,
    /// The processor's own name, where the system tells.
    pub processor: Option<String>,
    /// Instructions that the arithmetic makes use of, and whether they are there.
    pub instructions: Vec<(String, bool)>,
    /// The instruction set that the encoder's products are written for, of those that are there and allowed.
    pub kernels: String,
    /// How the encoder's products are rounded where nothing else is asked for.
    pub precision: Precision,
    /// Processors that this process may use.
    pub processors: usize,
    /// Threads of the current pool.
    pub threads: usize,
    /// Memory of the machine in bytes, where the system tells.
    pub memory: Option<u64>,
    /// Memory that is free for new work, in bytes.
    pub memory_available: Option<u64>,
    /// The limit set for this process's group, in bytes, where there is one.
    pub memory_limit: Option<u64>,
    /// Variables of the environment that Parallax reads, with their values.
    pub environment: Vec<(String, Option<String>)>,
    /// Folders that are searched for models, in order; the cache is the last.
    pub folders: Vec<ModelFolder>,
    /// Where models are fetched from.
    pub hub: String,
    /// The models that are known by name, and where they are.
    pub models: Vec<KnownModel>,
    /// What is worth mending.
    pub advice: Vec<String>,
}

/// A folder that is searched for models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelFolder {
    /// The folder.
    pub path: PathBuf,
    /// Whether fetched models are put there.
    pub cache: bool,
    /// Whether it is there.
    pub exists: bool,
    /// The size of everything in it, in bytes; only of the cache.
    pub bytes: Option<u64>,
    /// The models in it.
    pub models: Vec<String>,
}

/// A model that is known by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownModel {
    /// Its name.
    pub name: String,
    /// Its folder, where it is on this machine.
    pub folder: Option<PathBuf>,
    /// What would be fetched: files and size.
    pub size: String,
}

/// The variables that Parallax reads.
const VARIABLES: [&str; 10] = [
    "PARALLAX_MODELS",
    "PARALLAX_DATA",
    "PARALLAX_CACHE",
    "PARALLAX_LOG",
    "PARALLAX_ISA",
    "XDG_CACHE_HOME",
    "HF_ENDPOINT",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_COLOR",
];

/// Looks at the machine and at the places of the environment. Nothing is fetched and nothing is written.
pub fn machine() -> Machine {
    let locations = Locations::from_env();
    let cache = [(&locations.cache, true)];
    let folders: Vec<ModelFolder> =
        locations.folders.iter().map(|path| (path, false)).chain(cache).map(|(p, c)| folder(p, c)).collect();
    let models: Vec<KnownModel> = models::known()
        .iter()
        .map(|known| KnownModel {
            name: known.name.clone(),
            folder: match models::look(&known.name, &locations) {
                Ok(Place::Folder(folder)) => Some(folder),
                _ => None,
            },
            size: known.size(),
        })
        .collect();
    let instructions: Vec<(String, bool)> =
        instructions().into_iter().map(|(name, there)| (name.to_owned(), there)).collect();
    let mut machine = Machine {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        target: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
        processor: processor(),
        instructions,
        kernels: parallax_nn::instruction_set().to_owned(),
        precision: Precision::Auto.resolved(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        threads: rayon::current_num_threads(),
        memory: kibibytes("MemTotal"),
        memory_available: kibibytes("MemAvailable"),
        memory_limit: fs::read_to_string("/sys/fs/cgroup/memory.max")
            .ok()
            .and_then(|n| n.trim().parse().ok()),
        environment: VARIABLES.map(|name| (name.to_owned(), std::env::var(name).ok())).to_vec(),
        folders,
        hub: locations.endpoint,
        models,
        advice: Vec::new(),
    };
    machine.advice = advice(&machine);
    machine
}

/// Instructions by name. The matrix products choose among them at run time.
fn instructions() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    let found = vec![
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = vec![("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = Vec::new();
    found
}

/// The processor's own name, where the system tells.
pub(crate) fn processor() -> Option<String> {
    line("/proc/cpuinfo", "model name")
}

/// The value after `name` and a colon, on the first line that has it.
fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

fn kibibytes(name: &str) -> Option<u64> {
    line("/proc/meminfo", name)?.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|n| n * 1024)
}

fn folder(path: &Path, cache: bool) -> ModelFolder {
    let mut models = Vec::new();
    let inside = |path: &Path| -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.sort();
        found
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_model = |path: &Path| ["modules.json", "config.json"].iter().any(|file| path.join(file).is_file());
    for entry in inside(path) {
        if is_model(&entry) {
            models.push(name(&entry));
        } else {
            // organisation/name
            let below = inside(&entry).into_iter().filter(|below| is_model(below));
            models.extend(below.map(|below| format!("{}/{}", name(&entry), name(&below))));
        }
    }
    let exists = path.is_dir();
    let bytes = (cache && exists).then(|| size(path));
    ModelFolder { path: path.to_owned(), cache, exists, bytes, models }
}

/// Links are not followed.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

fn advice(machine: &Machine) -> Vec<String> {
    let mut advice = Vec::new();
    if machine.instructions.iter().any(|(name, there)| matches!(name.as_str(), "avx2" | "fma") && !there) {
        advice.push("this processor has no AVX2 and FMA: expect a fraction of the usual speed".to_owned());
    }
    for (name, value) in &machine.environment {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        if matches!(name.as_str(), "PARALLAX_MODELS" | "PARALLAX_DATA") && !Path::new(value).is_dir() {
            advice.push(format!("{name} is {value}, and there is no such folder"));
        }
    }
    if [machine.memory_available, machine.memory_limit].into_iter().flatten().any(|bytes| bytes < 1 << 30) {
        advice
            .push("less than 1 GiB of memory is free: lower train.batch_size and --batch-tokens".to_owned());
    }
    for model in machine.models.iter().filter(|model| model.folder.is_none()) {
        advice.push(format!(
            "{} is not on this machine: its first use fetches {}, or set PARALLAX_MODELS to a folder that holds it",
            model.name, model.size
        ));
    }
    advice
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: Option<u64>| {
            bytes
                .map_or("unknown".to_owned(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
        };
        writeln!(f, "parallax {} on {}", self.version, self.target)?;
        writeln!(f, "processor     {}", self.processor.as_deref().unwrap_or("unknown"))?;
        let instructions: Vec<String> = self
            .instructions
            .iter()
            .map(|(name, there)| if *there { name.clone() } else { format!("no {name}") })
            .collect();
        writeln!(f, "instructions  {}", instructions.join(", "))?;
        writeln!(f, "products      {} on {}", self.precision, self.kernels)?;
        writeln!(f, "threads       {} of {} processors", self.threads, self.processors)?;
        write!(f, "memory        {}, {} free", gib(self.memory), gib(self.memory_available))?;
        if self.memory_limit.is_some() {
            write!(f, ", limited to {}", gib(self.memory_limit))?;
        }
        writeln!(f, "\n\nmodels are looked for in")?;
        for folder in &self.folders {
            write!(f, "  {}", folder.path.display())?;
            if folder.cache {
                write!(f, " (the cache")?;
                if let Some(bytes) = folder.bytes {
                    write!(f, ", {:.1} MB", bytes as f64 / 1e6)?;
                }
                write!(f, ")")?;
            }
            match (folder.exists, folder.models.is_empty()) {
                (false, _) => writeln!(f, ": not there")?,
                (true, true) => writeln!(f, ": no models")?,
                (true, false) => writeln!(f, ": {}", folder.models.join(", "))?,
            }
        }
        writeln!(f, "and fetched from {}", self.hub)?;
        for model in &self.models {
            match &model.folder {
                Some(folder) => writeln!(f, "  {}: {}", model.name, folder.display())?,
                None => writeln!(f, "  {}: not fetched yet ({})", model.name, model.size)?,
            }
        }
        writeln!(f, "\nenvironment")?;
        for (name, value) in &self.environment {
            writeln!(f, "  {name:<15}  {}", value.as_deref().unwrap_or("-"))?;
        }
        match self.advice.is_empty() {
            true => write!(f, "\nnothing to mend"),
            false => write!(f, "\nnote: {}", self.advice.join("\nnote: ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_one_and_two_levels_deep() {
        let root = tempfile::tempdir().unwrap();
        for model in ["a", "org/b"] {
            fs::create_dir_all(root.path().join(model)).unwrap();
            fs::write(root.path().join(model).join("modules.json"), "[]").unwrap();
        }
        fs::write(root.path().join("note.txt"), "12345").unwrap();
        let found = folder(root.path(), true);
        assert_eq!(found.models, ["a", "org/b"]);
        assert_eq!((found.exists, found.bytes), (true, Some(9)));
        let missing = folder(&root.path().join("none"), false);
        assert_eq!((missing.exists, missing.bytes, missing.models.len()), (false, None, 0));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut machine = machine();
        machine.environment = vec![("PARALLAX_MODELS".to_owned(), Some("/no/such/folder".to_owned()))];
        machine.memory_available = Some(1 << 20);
        machine.models[0].folder = None;
        let text = advice(&machine).join("\n");
        for part in ["/no/such/folder", "1 GiB", "fetches 10 files, 90.9 MB"] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}
