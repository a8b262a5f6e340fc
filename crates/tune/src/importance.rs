//! What mattered: how much of the scores' variance a key explains.

use serde::{Deserialize, Serialize};

use crate::{Dimension, Point, Space};

/// How much a key mattered over the trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The key.
    pub key: String,
    /// The share of the variance of the scores that differs between groups of its values: ε² of a one-way analysis of variance,
    /// `(SS_between − (k − 1) MS_within) / SS_total`, at least 0. Ranges are cut into groups of equally many trials. Empty where there are
    /// too few trials.
    pub explained: Option<f64>,
    /// The groups: from, to (the same for a list), trials and mean score.
    pub groups: Vec<Group>,
}

/// Trials whose values of a key lie together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The values: one, or `low to high`.
    pub values: String,
    /// Trials in it.
    pub trials: usize,
    /// Their mean score.
    pub mean: f64,
}

/// Groups of a range.
const GROUPS: usize = 4;

/// How much each key mattered, the most important first. Trials without a score do not count.
pub fn importance(space: &Space, trials: &[(&Point, f64)]) -> Vec<Importance> {
    let mut all: Vec<Importance> =
        space.0.iter().map(|(key, dimension)| one(key, dimension, trials)).collect();
    let size = |importance: &Importance| importance.explained.unwrap_or(-1.0);
    all.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.key.cmp(&b.key)));
    all
}

fn one(key: &str, dimension: &Dimension, trials: &[(&Point, f64)]) -> Importance {
    let mut placed: Vec<(f64, String, f64)> = trials
        .iter()
        .filter(|(_, score)| score.is_finite())
        .filter_map(|(point, score)| {
            let value = point.get(key)?;
            Some((dimension.unit(value)?, value.to_string(), *score))
        })
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut groups: Vec<&[(f64, String, f64)]> = Vec::new();
    match dimension.choices() {
        Some(_) => groups.extend(placed.chunk_by(|a, b| a.0 == b.0)),
        None => {
            let (n, k) = (placed.len(), GROUPS.min(placed.len() / 2).max(1));
            let mut from = 0;
            for group in 1..=k {
                // Equal values stay together.
                let mut to = (n * group / k).max(from);
                while to > from && to < n && placed[to].0 == placed[to - 1].0 {
                    to += 1;
                }
                if to > from {
                    groups.push(&placed[from..to]);
                }
                from = to;
            }
        }
    }
    let mean = |group: &[(f64, String, f64)]| group.iter().map(|g| g.2).sum::<f64>() / group.len() as f64;
    let (n, k) = (placed.len() as f64, groups.len() as f64);
    let explained = (k > 1.0 && n > k).then(|| {
        let all = mean(&placed);
        let total: f64 = placed.iter().map(|p| (p.2 - all).powi(2)).sum();
        let within: f64 = groups.iter().map(|g| g.iter().map(|p| (p.2 - mean(g)).powi(2)).sum::<f64>()).sum();
        let between = total - within - (k - 1.0) * within / (n - k);
        if total > 0.0 { (between / total).max(0.0) } else { 0.0 }
    });
    let groups = groups
        .iter()
        .map(|group| {
            let (first, last) = (&group[0].1, &group[group.len() - 1].1);
            let values = if first == last { first.clone() } else { format!("{first} to {last}") };
            Group { values, trials: group.len(), mean: mean(group) }
        })
        .collect();
    Importance { key: key.to_owned(), explained, groups }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parallax_random::Key;

    #[test]
    fn what_decides_explains_and_what_does_not_does_not() {
        let space: Space = serde_json::from_str(
            r#"{ "matters": { "low": 0.0, "high": 1.0 }, "nothing": { "low": 0.0, "high": 1.0 }, "choice": ["a", "b"] }"#,
        )
        .unwrap();
        let points: Vec<Point> = (0..5000).map(|i| space.draw(Key::new(1).at(i))).collect();
        let scored: Vec<(&Point, f64)> = points
            .iter()
            .map(|p| (p, 4.0 * p["matters"].as_f64().unwrap() + f64::from(u8::from(p["choice"] == "b"))))
            .collect();
        let found = importance(&space, &scored);
        assert_eq!(found[0].key, "matters");
        // Of a variance of 16 / 12 + 1 / 4, the four groups explain 15 / 16 of the first part.
        assert!((found[0].explained.unwrap() - 0.79).abs() < 0.02, "{:?}", found[0]);
        assert_eq!(found[1].key, "choice");
        assert!((found[1].explained.unwrap() - 0.158).abs() < 0.02, "{:?}", found[1]);
        assert!(found[2].explained.unwrap() < 0.03, "{:?}", found[2]);
        assert!(found[1].groups[1].mean > found[1].groups[0].mean);
    }

    #[test]
    fn too_few_trials_say_nothing() {
        let space: Space = serde_json::from_str(r#"{ "x": ["a", "b"] }"#).unwrap();
        let point: Point = [("x".to_owned(), "a".into())].into();
        assert_eq!(importance(&space, &[(&point, 1.0)])[0].explained, None);
        assert_eq!(importance(&space, &[])[0].groups.len(), 0);
    }
}
