use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// Values by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// What it shows: `loss`, `learning rate`, or a measure of the validation rows.
    pub name: String,
    /// (step, value).
    pub points: Vec<(u64, f64)>,
}

impl Curve {
    /// The first value, the last one, the lowest and the highest.
    pub fn range(&self) -> Option<[f64; 4]> {
        let first = self.points.first()?.1;
        let values = || self.points.iter().map(|point| point.1);
        let low = values().fold(first, f64::min);
        Some([first, self.points.last()?.1, low, values().fold(first, f64::max)])
    }
}

/// The curves in a `metrics.jsonl`; a line that cannot be read (the last one of a run that was killed) is left out.
pub(super) fn curves(path: &Path) -> Vec<Curve> {
    let text =
        std::fs::read(path).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned());
    let mut curves: Vec<Curve> = Vec::new();
    let mut push = |name: &str, step: u64, value: &Value| {
        let Some(value) = value.as_f64() else { return };
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push((step, value)),
            None => curves.push(Curve { name: name.to_owned(), points: vec![(step, value)] }),
        }
    };
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let Some(step) = line["step"].as_u64() else { continue };
        push("loss", step, &line["loss"]);
        push("learning rate", step, &line["lr"]);
        for (measure, value) in line["validation"].as_object().into_iter().flatten() {
            push(&format!("validation {measure}"), step, value);
        }
    }
    curves
}

/// Values as a line of blocks of eight heights, from the lowest to the highest; more than `width` values are averaged in
/// runs of nearly equal length.
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = values.len().min(width.max(1));
    let means: Vec<f64> = (0..columns)
        .map(|at| {
            let run = &values[at * values.len() / columns..(at + 1) * values.len() / columns];
            run.iter().sum::<f64>() / run.len() as f64
        })
        .collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    means
        .into_iter()
        .map(|mean| {
            // A flat line stands in the middle.
            let height = if high > low { (mean - low) / (high - low) * 7.0 } else { 3.0 };
            BLOCKS[(height.round() as usize).min(7)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_by_hand() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[7.0, 0.0], 8), "█▁");
        assert_eq!(sparkline(&[2.0, 2.0, 2.0], 8), "▄▄▄");
        assert_eq!(sparkline(&[], 8), "");
        // Means of (0, 2), (6, 8), (14, 16): 1, 7, 15, that is heights 0, 3, 7.
        assert_eq!(sparkline(&[0.0, 2.0, 6.0, 8.0, 14.0, 16.0], 3), "▁▄█");
        assert_eq!(sparkline(&[1.0; 1000], 40).chars().count(), 40);
    }

    #[test]
    fn curves_leave_out_what_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let text = "{\"step\":1,\"loss\":2.0,\"lr\":0.1}\n{\"step\":1,\"validation\":{\"map@r\":0.25},\"best\":true}\n\
                    {\"step\":2,\"loss\":1.0,\"lr\":0.2}\n{\"step\":3,\"lo";
        std::fs::write(&path, text).unwrap();
        let curves = curves(&path);
        let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
        assert_eq!(names, ["loss", "learning rate", "validation map@r"]);
        assert_eq!(curves[0].points, [(1, 2.0), (2, 1.0)]);
        assert_eq!(curves[0].range(), Some([2.0, 1.0, 1.0, 2.0]));
        assert!(super::curves(&folder.path().join("none")).is_empty());
    }
}
