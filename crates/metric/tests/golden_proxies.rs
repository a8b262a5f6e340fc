//! Losses with proxies and losses that are no row losses against values of other programs, from `PARALLAX_GOLDEN` (default
//! `../shared/golden` beside the workspace).

use std::path::PathBuf;

use parallax_kernels::Real;
use parallax_metric::proxy::{
    self, Arcface, Cosface, LargeMarginSoftmax, NormalizedSoftmax, Proxies, ProxyAnchor, ProxyLoss, ProxyNca,
    SoftTriple, Sphereface, SubCenterArcface,
};
use parallax_metric::{Batch, TILE_BYTES};
use serde::de::DeserializeOwned;
use serde_json::Value;

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

fn matrix<T: Real>(value: &Value) -> (Vec<T>, usize) {
    let rows = value.as_array().expect("rows");
    let dim = rows[0].as_array().expect("a row").len();
    let values = rows.iter().flat_map(|row| row.as_array().expect("a row"));
    (values.map(|v| T::of(v.as_f64().expect("a number"))).collect(), dim)
}

fn labels(value: &Value) -> Vec<u32> {
    value.as_array().expect("labels").iter().map(|v| v.as_u64().expect("a label") as u32).collect()
}

/// `max |Δ| / max(1, max |reference|)`.
fn error<T: Real>(found: &[T], reference: &[f64]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let size = reference.iter().fold(1.0, |m: f64, r| m.max(r.abs()));
    let worst = found.iter().zip(reference).map(|(f, r)| (f.f64() - r).abs());
    worst.fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) }) / size
}

fn proxy_error<L: ProxyLoss, T: Real>(case: &Value, loss: &L) -> f64 {
    let (x, dim) = matrix::<T>(&case["embeddings"]);
    let (values, _) = matrix::<T>(&case["proxies"]);
    let y = labels(&case["labels"]);
    let proxies = Proxies { values: &values, classes: values.len() / dim / loss.per_class() };
    let batch = Batch { x: &x, dim, labels: &y, refs: None };
    let (distance, reducer) = (loss.distance(), loss.reducer());
    let found =
        proxy::evaluate_proxy_loss(loss, None, &distance, &reducer, &batch, &proxies, TILE_BYTES)
            .expect("a valid case");
    let expect = &case["expect"];
    let value = error(&[found.value], &[expect["loss"].as_f64().expect("a loss")]);
    let grad = error(&found.grad, &matrix(&expect["grad"]).0);
    value.max(grad).max(error(&found.proxy_grad, &matrix(&expect["proxy_grad"]).0))
}

/// Runs every case of a loss; the number of cases and the messages of those that failed.
fn run<L: ProxyLoss + DeserializeOwned>(cases: &[Value]) -> (usize, Vec<String>) {
    let (mut count, mut worst, mut failed) = (0, (0.0f64, 0.0f64), Vec::new());
    for case in cases.iter().filter(|case| case["loss"] == L::NAME) {
        let loss: L = serde_json::from_value(case["params"].clone()).expect("parameters");
        let (double, single) = (proxy_error::<L, f64>(case, &loss), proxy_error::<L, f32>(case, &loss));
        if double > 1e-7 || single > 1e-4 {
            failed.push(format!("{}: f64 {double:.1e}, f32 {single:.1e}", case["case"]));
        }
        worst = (worst.0.max(double), worst.1.max(single));
        count += 1;
    }
    println!("{}: {count} cases, largest error f64 {:.1e}, f32 {:.1e}", L::NAME, worst.0, worst.1);
    (count, failed)
}

#[test]
fn proxies() {
    let Some(cases) = golden() else { return };
    let ran = [
        run::<ProxyAnchor>(&cases),
        run::<ProxyNca>(&cases),
        run::<NormalizedSoftmax>(&cases),
        run::<Arcface>(&cases),
        run::<Cosface>(&cases),
        run::<Sphereface>(&cases),
        run::<LargeMarginSoftmax>(&cases),
        run::<SubCenterArcface>(&cases),
        run::<SoftTriple>(&cases),
    ];
    let failed: Vec<String> = ran.iter().flat_map(|(_, failed)| failed.clone()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let with_proxies = cases.iter().filter(|case| case.get("proxies").is_some()).count();
    assert_eq!(ran.iter().map(|(count, _)| count).sum::<usize>(), with_proxies, "every case with proxies ran");
}
