//! Values and gradients of other programs, from `PARALLAX_GOLDEN` (default `../shared/golden` beside the workspace).

use std::collections::BTreeMap;
use std::path::PathBuf;

use parallax_kernels::Real;
use parallax_metric::{Batch, DistanceConfig, LossConfig, MinerConfig, Objective, Own, Refs};
use serde_json::{Value, json};

/// Cases whose reference is wrong, and the right value.
///
/// In this one a positive pair of two identical rows has similarity 1 and costs nothing at margin 1. In the reference
/// the norm's rounding leaves 1.1e-16 for one class of such pairs, which its mean over non-zero pairs then counts: 12
/// non-zero positive pairs instead of 10.
const DIFFERENCES: [(&str, f64); 1] =
    [("contrastive_similarity/cosine/duplicates/53", 0.540_365_993_221_508_4)];

fn golden(name: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("PARALLAX_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden")),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let text = std::fs::read_to_string(&path).expect("a readable file");
    let file: Value = serde_json::from_str(&text).expect("valid JSON");
    Some(file["cases"].as_array().expect("cases").clone())
}

fn matrix<T: Real>(value: &Value) -> (Vec<T>, usize) {
    let rows = value.as_array().expect("rows");
    let dim = rows[0].as_array().expect("a row").len();
    let values = rows.iter().flat_map(|row| row.as_array().expect("a row"));
    (values.map(|v| T::of(v.as_f64().expect("a number"))).collect(), dim)
}

fn labels(value: &Value) -> Vec<u32> {
    value.as_array().expect("labels").iter().map(|v| v.as_u64().expect("a label") as u32).collect()
}

/// Parameters of a case as a config: `name` beside them.
fn tagged(name: &str, params: &Value) -> Value {
    let mut config = json!({ "name": name });
    for (key, value) in params.as_object().into_iter().flatten().filter(|(key, _)| *key != "kind") {
        config[key] = value.clone();
    }
    config
}

fn distance(case: &Value) -> Option<DistanceConfig> {
    let given = case.get("distance").filter(|d| !d.is_null())?;
    let kind = given["kind"].as_str().expect("a kind");
    Some(serde_json::from_value(tagged(kind, given)).expect("a distance"))
}

/// `max |Δ| / max(1, max |reference|)`.
fn error<T: Real>(found: &[T], reference: &[f64]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let size = reference.iter().fold(1.0, |m: f64, r| m.max(r.abs()));
    let worst = found.iter().zip(reference).map(|(f, r)| (f.f64() - r).abs());
    worst.fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) }) / size
}

fn loss_error<T: Real>(case: &Value, loss: LossConfig) -> f64 {
    let (x, dim) = matrix::<T>(&case["embeddings"]);
    let y = labels(&case["labels"]);
    let refs = case.get("ref_embeddings").map(|r| (matrix::<T>(r).0, labels(&case["ref_labels"])));
    let objective = Objective { distance: distance(case), ..loss.into() };
    let batch = Batch {
        x: &x,
        dim,
        labels: &y,
        refs: refs.as_ref().map(|(r, labels)| Refs { r, labels, own: Own::None }),
    };
    let found = objective.evaluate(&batch, true).expect("a valid case");
    let expect = &case["expect"];
    let mut worst = error(&[found.value], &[expect["loss"].as_f64().expect("a loss")]);
    worst = worst.max(error(&found.grad, &matrix(&expect["grad"]).0));
    assert_eq!(found.ref_grad.is_some(), expect.get("ref_grad").is_some(), "{}", case["case"]);
    if let Some(grad) = &found.ref_grad {
        worst = worst.max(error(grad, &matrix(&expect["ref_grad"]).0));
    }
    worst
}

#[test]
fn losses() {
    let Some(cases) = golden("losses.json") else { return };
    let mut ran: BTreeMap<String, (usize, f64, f64)> = BTreeMap::new();
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut known = 0;
    for case in &cases {
        let name = case["loss"].as_str().expect("a loss");
        let Ok(loss) = serde_json::from_value::<LossConfig>(tagged(name, &case["params"])) else {
            *missing.entry(name.into()).or_default() += 1;
            continue;
        };
        if let Some((_, value)) = DIFFERENCES.iter().find(|(name, _)| case["case"] == *name) {
            known += 1;
            let (x, dim) = matrix::<f64>(&case["embeddings"]);
            let objective = Objective { distance: distance(case), ..loss.into() };
            let batch = Batch { x: &x, dim, labels: &labels(&case["labels"]), refs: None };
            let found = objective.evaluate(&batch, false).expect("a valid case").value;
            assert!((found - value).abs() < 1e-12, "{}: {found}, not {value}", case["case"]);
            continue;
        }
        let (double, single) = (loss_error::<f64>(case, loss.clone()), loss_error::<f32>(case, loss));
        if double > 1e-7 || single > 1e-4 {
            failed.push(format!("{}: f64 {double:.1e}, f32 {single:.1e}", case["case"]));
        }
        let entry = ran.entry(name.into()).or_default();
        *entry = (entry.0 + 1, entry.1.max(double), entry.2.max(single));
    }
    for (name, (count, double, single)) in &ran {
        println!("{name}: {count} cases, largest error f64 {double:.1e}, f32 {single:.1e}");
    }
    println!("known differences: {known}");
    println!("not implemented yet: {missing:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let counts = |name: &str| ran.get(name).map_or(0, |r| r.0);
    assert_eq!(
        ["contrastive", "ntxent", "supcon", "multi_similarity"].map(counts),
        [61 - DIFFERENCES.len(), 13, 6, 13],
        "every case of an implemented loss ran"
    );
}

#[test]
fn miners() {
    let Some(cases) = golden("miners.json") else { return };
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let name = case["miner"].as_str().expect("a miner");
        let Ok(miner) = serde_json::from_value::<MinerConfig>(tagged(name, &case["params"])) else {
            *missing.entry(name.into()).or_default() += 1;
            continue;
        };
        let (x, dim) = matrix::<f64>(&case["embeddings"]);
        let y = labels(&case["labels"]);
        let objective = Objective { miner: Some(miner), distance: distance(case), ..Objective::default() };
        let found = objective.mine(&Batch { x: &x, dim, labels: &y, refs: None }).expect("a valid case");
        let pairs = |field: &str| -> Vec<(u32, u32)> {
            let pairs = case["expect"][field].as_array().expect("pairs").iter();
            pairs.map(labels).map(|p| (p[0], p[1])).collect()
        };
        assert_eq!(found.positives, pairs("positive_pairs"), "{}", case["case"]);
        assert_eq!(found.negatives, pairs("negative_pairs"), "{}", case["case"]);
        *ran.entry(name.into()).or_default() += 1;
    }
    println!("miners: {ran:?}; not implemented yet: {missing:?}");
    assert_eq!(ran.get("multi_similarity"), Some(&12), "every case of an implemented miner ran");
}
