//! Losses with proxies and losses that are no row losses against values of other programs, from `PARALLAX_GOLDEN` (default
//! `../shared/golden` beside the workspace).

use std::path::PathBuf;

use parallax_metric::{
    Batch, Context, DistanceConfig, LossConfig, Number, Objective, Own, Refs, RegularizerConfig,
};
use serde_json::{Value, json};

fn golden() -> Option<Vec<Value>> {
    let folder = std::env::var_os("PARALLAX_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden")),
        PathBuf::from,
    );
    let path = folder.join("losses.json");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let text = std::fs::read_to_string(&path).expect("a readable file");
    let file: Value = serde_json::from_str(&text).expect("valid JSON");
    Some(file["cases"].as_array().expect("cases").clone())
}

fn matrix<T: Number>(value: &Value) -> (Vec<T>, usize) {
    let rows = value.as_array().expect("rows");
    let dim = rows[0].as_array().expect("a row").len();
    let values = rows.iter().flat_map(|row| row.as_array().expect("a row"));
    (values.map(|v| T::of(v.as_f64().expect("a number"))).collect(), dim)
}

fn labels(value: &Value) -> Vec<u32> {
    value.as_array().expect("labels").iter().map(|v| v.as_u64().expect("a label") as u32).collect()
}

/// `max |Δ| / max(1, max |reference|)`.
fn error<T: Number>(found: &[T], reference: &[f64]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let size = reference.iter().fold(1.0, |m: f64, r| m.max(r.abs()));
    let worst = found.iter().zip(reference).map(|(f, r)| (f.f64() - r).abs());
    worst.fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) }) / size
}

/// Parameters as a config: `name` beside them.
fn tagged(name: &str, params: &Value) -> Value {
    let mut config = json!({ "name": name });
    for (key, value) in params.as_object().into_iter().flatten().filter(|(key, _)| *key != "kind") {
        config[key] = value.clone();
    }
    config
}

/// The rows of a matrix, of a list of numbers as one column, or nothing.
fn optional<T: Number>(value: Option<&Value>) -> Option<Vec<T>> {
    let rows = value?.as_array().expect("rows");
    let number = |v: &Value| T::of(v.as_f64().expect("a number"));
    Some(
        rows.iter()
            .flat_map(|row| row.as_array().cloned().unwrap_or_else(|| vec![row.clone()]))
            .map(|v| number(&v))
            .collect(),
    )
}

/// The largest error of a case: value and every gradient that it has.
fn case_error<T: Number>(case: &Value, name: &str, rows: &str) -> f64 {
    let loss: LossConfig = serde_json::from_value(tagged(name, &case["params"])).expect("a loss");
    let distance = case.get("distance").filter(|d| !d.is_null()).map(|given| {
        let kind = given["kind"].as_str().expect("a kind");
        serde_json::from_value::<DistanceConfig>(tagged(kind, given)).expect("a distance")
    });
    let (x, dim) = matrix::<T>(&case[rows]);
    let y = case.get("labels").map_or_else(|| vec![0; x.len() / dim], labels);
    let (r, proxies) = (optional::<T>(case.get("r")), optional::<T>(case.get("proxies")));
    let targets = optional::<f64>(case.get("targets"));
    let ref_labels = vec![0; r.as_ref().map_or(0, |r| r.len() / dim)];
    let refs = r.as_ref().map(|r| Refs { r, labels: &ref_labels, own: Own::Positive });
    let objective = Objective { distance, ..loss.into() };
    let state = case.get("state").map(|state| state.as_array().expect("a list"));
    let state = state.map(|state| state.iter().map(|v| v.as_f64().expect("a number")).collect::<Vec<_>>());
    let context = Context {
        want_ref_grad: true,
        proxies: proxies.as_deref(),
        state: state.as_deref(),
        targets: targets.as_deref(),
        ..Context::default()
    };
    let batch = Batch { x: &x, dim, labels: &y, refs };
    let found = objective.evaluate_with(&batch, &context).expect("a valid case");
    let expect = &case["expect"];
    let mut worst = error(&[found.value], &[expect["loss"].as_f64().expect("a loss")]);
    worst = worst.max(error(&found.grad, &matrix(&expect["grad"]).0));
    if let Some(state) = expect.get("state") {
        let state: Vec<f64> = state.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
        worst = worst.max(error(&found.state, &state));
    }
    let empty = Vec::new();
    let ref_grad = found.ref_grad.as_ref().unwrap_or(&empty);
    worst = worst.max(error(ref_grad, &optional(expect.get("ref_grad")).unwrap_or_default()));
    worst.max(error(&found.proxy_grad, &optional(expect.get("proxy_grad")).unwrap_or_default()))
}

/// Names, how many of their cases ran, and the errors in f64 and f32.
#[derive(Default)]
struct Ran(Vec<(String, usize, f64, f64)>);

impl Ran {
    fn add(&mut self, name: &str, double: f64, single: f64) {
        if self.0.last().is_none_or(|last| last.0 != name) {
            self.0.push((name.into(), 0, 0.0, 0.0));
        }
        let entry = self.0.last_mut().expect("just pushed");
        *entry = (name.into(), entry.1 + 1, entry.2.max(double), entry.3.max(single));
    }

    fn check(&self) {
        for (name, count, double, single) in &self.0 {
            println!("{name}: {count} cases, largest error f64 {double:.1e}, f32 {single:.1e}");
        }
        for (name, _, double, single) in &self.0 {
            assert!(*double <= 1e-7 && *single <= 1e-4, "{name}: f64 {double:.1e}, f32 {single:.1e}");
        }
    }
}

/// The losses of this file and how many cases the reference values hold of each.
const NAMES: [(&str, usize); 12] = [
    ("n_pairs", 6),
    ("angular", 6),
    ("histogram", 5),
    ("proxy_anchor", 6),
    ("proxy_nca", 6),
    ("normalized_softmax", 6),
    ("arcface", 12),
    ("cosface", 6),
    ("sphereface", 6),
    ("large_margin_softmax", 6),
    ("sub_center_arcface", 6),
    ("soft_triple", 6),
];

#[test]
fn reference_values() {
    let Some(cases) = golden() else { return };
    let mut ran = Ran::default();
    for (name, count) in NAMES {
        let cases: Vec<&Value> = cases.iter().filter(|case| case["loss"] == name).collect();
        assert_eq!(cases.len(), count, "{name}");
        for case in cases {
            let double = case_error::<f64>(case, name, "embeddings");
            ran.add(name, double, case_error::<f32>(case, name, "embeddings"));
        }
    }
    ran.check();
    let with_proxies = cases.iter().filter(|case| case.get("proxies").is_some());
    assert!(with_proxies.into_iter().all(|case| NAMES.iter().any(|(name, _)| case["loss"] == *name)));
}

/// `peers.json`: small cases of losses and regularisers that the shared reference values do not hold, computed in f64 by
/// pytorch-metric-learning 2.9 and sentence-transformers 6.
#[test]
fn values_of_peers() {
    let file: Value = serde_json::from_str(include_str!("peers.json")).expect("valid JSON");
    let mut ran = Ran::default();
    for case in file["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        if case["kind"] == "regularizer" {
            let errors = (regularizer_error::<f64>(case, name), regularizer_error::<f32>(case, name));
            ran.add(name, errors.0, errors.1);
        } else {
            ran.add(name, case_error::<f64>(case, name, "x"), case_error::<f32>(case, name, "x"));
        }
    }
    ran.check();
    assert_eq!(ran.0.iter().map(|entry| entry.1).sum::<usize>(), 23);
}

fn regularizer_error<T: Number>(case: &Value, name: &str) -> f64 {
    let config: RegularizerConfig =
        serde_json::from_value(tagged(name, &case["params"])).expect("a regulariser");
    let (x, dim) = matrix::<T>(&case["x"]);
    let mut gradient = vec![T::ZERO; x.len()];
    let value = config.add(&x, dim, &mut gradient).expect("a valid case");
    let expect = &case["expect"];
    let value = error(&[value], &[expect["loss"].as_f64().expect("a loss")]);
    value.max(error(&gradient, &matrix(&expect["grad"]).0))
}
