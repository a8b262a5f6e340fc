//! Values and gradients of other programs, from `PARALLAX_GOLDEN` (default `../shared/golden` beside the workspace).

use std::collections::BTreeMap;
use std::path::PathBuf;

use parallax_metric::{
    Batch, Context, DistanceConfig, LossConfig, MinerConfig, Number, Objective, Own, Refs,
};
use serde_json::{Value, json};

/// Cases whose reference is wrong, and the right value.
///
/// - contrastive: a positive pair of two identical rows has similarity 1 and costs nothing at margin 1. In the reference the
///   norm's rounding leaves 1.1e-16 for one class of such pairs, which its mean over non-zero pairs then counts: 12
///   non-zero positive pairs instead of 10.
/// - smooth_ap: the reference takes the number of items a class for the number of classes, which is right only where the
///   two are equal, as in the balanced case. In the case of pairs it ranks two classes of six instead of six of two; in the
///   case of one class it ranks six of one, and what it has of a gradient is the rounding of a sum kept in f32.
const DIFFERENCES: [(&str, f64); 3] = [
    ("contrastive_similarity/cosine/duplicates/53", 0.540_365_993_221_508_4),
    ("smooth_ap/cosine/pairs/203", 0.037_655_416_398_347_69),
    ("smooth_ap/cosine/one_class/204", 0.0),
];

/// Cases of miners with equally hard pairs at the edge of the share, of which the reference keeps some by the rounding of
/// their distances or the order of its selection, and this crate the first in row order.
const TIES: [&str; 3] =
    ["hdc/euclidean/ragged/115", "hdc/euclidean/duplicates/113", "hdc/euclidean/duplicates/119"];

/// Euclidean distances of normalised rows, sorted: what must agree where ties are broken differently.
fn sorted_distances(x: &[f64], dim: usize, pairs: &[Vec<u32>]) -> Vec<f64> {
    let unit = |i: u32| -> Vec<f64> {
        let row = &x[i as usize * dim..][..dim];
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter().map(|v| v / norm).collect()
    };
    let distance = |pair: &Vec<u32>| -> f64 {
        let squares = unit(pair[0]).into_iter().zip(unit(pair[1])).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt()
    };
    let mut all: Vec<f64> = pairs.iter().map(distance).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The cases of a file, and whether they are the large set.
fn golden(name: &str) -> (Vec<Value>, bool) {
    let folder = std::env::var_os("PARALLAX_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden")),
        PathBuf::from,
    );
    let large = folder.join(name).exists();
    let path = if large {
        folder.join(name)
    } else {
        println!("{} is not there; the small set in its place", folder.join(name).display());
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/small")).join(name)
    };
    let text = std::fs::read_to_string(&path).expect("a readable file");
    let file: Value = serde_json::from_str(&text).expect("valid JSON");
    (file["cases"].as_array().expect("cases").clone(), large)
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
fn error<T: Number>(found: &[T], reference: &[f64]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let size = reference.iter().fold(1.0, |m: f64, r| m.max(r.abs()));
    let worst = found.iter().zip(reference).map(|(f, r)| (f.f64() - r).abs());
    worst.fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) }) / size
}

fn loss_error<T: Number>(case: &Value, loss: LossConfig) -> f64 {
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
    let proxies = case.get("proxies").map(|proxies| matrix::<T>(proxies).0);
    let context = Context { want_ref_grad: true, proxies: proxies.as_deref(), ..Context::default() };
    let found = objective.evaluate_with(&batch, &context).expect("a valid case");
    let expect = &case["expect"];
    let mut worst = error(&[found.value], &[expect["loss"].as_f64().expect("a loss")]);
    worst = worst.max(error(&found.grad, &matrix(&expect["grad"]).0));
    assert_eq!(found.ref_grad.is_some(), expect.get("ref_grad").is_some(), "{}", case["case"]);
    if let Some(grad) = &found.ref_grad {
        worst = worst.max(error(grad, &matrix(&expect["ref_grad"]).0));
    }
    assert_eq!(found.proxy_grad.is_empty(), expect.get("proxy_grad").is_none(), "{}", case["case"]);
    if proxies.is_some() {
        worst = worst.max(error(&found.proxy_grad, &matrix(&expect["proxy_grad"]).0));
    }
    worst
}

/// Every loss that is here, with how many cases it has. A case of one of these that does not run is a failure.
const LOSSES: [(&str, usize); 31] = [
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
    ("contrastive", 61),
    ("triplet_margin", 55),
    ("ntxent", 13),
    ("supcon", 6),
    ("multi_similarity", 13),
    ("circle", 13),
    ("lifted_structure", 6),
    ("generalized_lifted_structure", 6),
    ("nca", 10),
    ("margin", 6),
    ("fast_ap", 6),
    ("smooth_ap", 4),
    ("intra_pair_variance", 6),
    ("tuplet_margin", 5),
    ("snr_contrastive", 6),
    ("ranked_list", 6),
    ("instance", 6),
    ("pnp", 6),
    ("threshold_consistent_margin", 6),
];

/// Every miner that is here, with how many cases it has.
const MINERS: [(&str, usize); 7] = [
    ("multi_similarity", 12),
    ("batch_hard", 18),
    ("batch_easy_hard", 24),
    ("triplet_margin", 48),
    ("pair_margin", 6),
    ("hdc", 12),
    ("angular", 6),
];

#[test]
fn losses() {
    let (cases, large) = golden("losses.json");
    let mut ran: BTreeMap<String, (usize, f64, f64)> = BTreeMap::new();
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut differences = Vec::new();
    for case in &cases {
        let name = case["loss"].as_str().expect("a loss");
        let Ok(loss) = serde_json::from_value::<LossConfig>(tagged(name, &case["params"])) else {
            *missing.entry(name.into()).or_default() += 1;
            continue;
        };
        if let Some((_, value)) = DIFFERENCES.iter().find(|(name, _)| case["case"] == *name) {
            differences.push(case["case"].clone());
            let (x, dim) = matrix::<f64>(&case["embeddings"]);
            let objective = Objective { distance: distance(case), ..loss.into() };
            let batch = Batch { x: &x, dim, labels: &labels(&case["labels"]), refs: None };
            let found = objective.evaluate(&batch, false).expect("a valid case").value;
            assert!((found - value).abs() < 1e-12, "{}: {found}, not {value}", case["case"]);
            ran.entry(name.into()).or_default().0 += 1;
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
    println!("where the reference is wrong: {differences:?}");
    println!("not in this crate: {missing:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if !large {
        assert!(ran.len() > LOSSES.len() && missing.is_empty());
        return;
    }
    assert_eq!(differences.len(), DIFFERENCES.len());
    for (name, count) in LOSSES {
        assert_eq!(ran.get(name).map_or(0, |r| r.0), count, "every case of {name} ran");
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(ran.values().map(|r| r.0).sum::<usize>(), 317);
}

#[test]
fn miners() {
    let (cases, large) = golden("miners.json");
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut ties = 0;
    for case in &cases {
        let name = case["miner"].as_str().expect("a miner");
        let Ok(miner) = serde_json::from_value::<MinerConfig>(tagged(name, &case["params"])) else {
            *missing.entry(name.into()).or_default() += 1;
            continue;
        };
        let (x, dim) = matrix::<f64>(&case["embeddings"]);
        let y = labels(&case["labels"]);
        let objective = Objective { miner: Some(miner), distance: distance(case), ..Objective::default() };
        let batch = Batch { x: &x, dim, labels: &y, refs: None };
        let lists = |field: &str| -> Option<Vec<Vec<u32>>> {
            Some(case["expect"].get(field)?.as_array().expect("a list").iter().map(labels).collect())
        };
        let right = if let Some(triplets) = lists("triplets") {
            let found = objective.mine_triplets(&batch, &Context::default()).expect("a valid case");
            found.iter().map(|t| vec![t.0, t.1, t.2]).collect::<Vec<_>>() == triplets
        } else {
            let found = objective.mine(&batch).expect("a valid case");
            let pairs = |pairs: &[(u32, u32)]| pairs.iter().map(|p| vec![p.0, p.1]).collect::<Vec<_>>();
            let sides = [(&found.positives, "positive_pairs"), (&found.negatives, "negative_pairs")];
            if TIES.iter().any(|name| case["case"] == *name) {
                ties += 1;
                sides.into_iter().all(|(found, field)| {
                    let found = sorted_distances(&x, dim, &pairs(found));
                    let wanted = sorted_distances(&x, dim, &lists(field).expect("pairs"));
                    found.len() == wanted.len()
                        && found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-12)
                })
            } else {
                sides.into_iter().all(|(found, field)| Some(pairs(found)) == lists(field))
            }
        };
        if !right {
            failed.push(case["case"].to_string());
        }
        *ran.entry(name.into()).or_default() += 1;
    }
    println!("ties broken differently: {ties}");
    println!("miners: {ran:?}; not in this crate: {missing:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if !large {
        assert!(ran.len() == MINERS.len() && missing.is_empty());
        return;
    }
    assert_eq!(ties, TIES.len());
    for (name, count) in MINERS {
        assert_eq!(ran.get(name), Some(&count), "every case of {name} ran");
    }
}
