//! A crate uses crates of lower tiers only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The tier of a crate. `random` is the ground that all stand on.
const TIERS: [(&str, usize); 18] = [
    ("random", 0),
    ("tune", 1),
    ("kernels", 1),
    ("data", 1),
    ("nn", 2),
    ("search", 2),
    ("metric", 3),
    ("eval", 4),
    ("train", 5),
    ("linear", 5),
    ("report", 5),
    ("surgery", 6),
    ("parallax", 7),
    ("lab", 8),
    ("server", 8),
    ("systems", 9),
    ("cli", 10),
    ("python", 10),
];

fn name_of(package: &str) -> &str {
    package.strip_prefix("parallax-").unwrap_or(package)
}

#[test]
fn crates_use_lower_tiers_only() {
    let tiers: BTreeMap<&str, usize> = TIERS.into_iter().collect();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut uses = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let manifest: toml::Table = text.parse().unwrap();
        let package = manifest["package"]["name"].as_str().unwrap();
        let own = name_of(package);
        let tier = *tiers.get(own).unwrap_or_else(|| panic!("{own} has no tier"));
        // What tests use counts too: a test of a low crate must not need a high one.
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
            for (key, value) in dependencies {
                let used = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
                if used != "parallax" && !used.starts_with("parallax-") {
                    continue;
                }
                let used = name_of(used);
                let below = *tiers.get(used).unwrap_or_else(|| panic!("{used} has no tier"));
                assert!(below < tier, "{own} (tier {tier}) uses {used} (tier {below}) in [{kind}]");
                uses += 1;
            }
        }
    }
    assert!(uses > 10, "only {uses} uses were seen: are the manifests where they were?");
}
