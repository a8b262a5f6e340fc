//! What a loss does with a pair, by the pair's similarity.

mod picture;

use std::fmt;
use std::path::Path;

use parallax_metric::pair_weights;
use serde::Serialize;

use crate::config::RunConfig;
use crate::{Error, Result};

/// How the weights of a loss are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSettings {
    /// Cosine similarities of the anchor's other positives.
    pub positives: Vec<f64>,
    /// Cosine similarities of the anchor's other negatives.
    pub negatives: Vec<f64>,
    /// Similarities that are looked at, evenly from −1 to 1; at least 2.
    pub points: usize,
}

impl Default for WeightSettings {
    /// One other positive at 0.6, two other negatives at 0.4 and 0.2, and 21 points.
    fn default() -> Self {
        WeightSettings { positives: vec![0.6], negatives: vec![0.4, 0.2], points: 21 }
    }
}

/// The weight that a loss puts on a pair, by its cosine similarity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weights {
    /// The loss with its settings.
    pub loss: serde_json::Value,
    /// Whether the loss has proxies, so that a pair is an embedding and a proxy.
    pub proxies: bool,
    /// Cosine similarities of the anchor's other positives; of proxies that of its own.
    pub positives: Vec<f64>,
    /// Cosine similarities of the anchor's other negatives.
    pub negatives: Vec<f64>,
    /// Similarities that were looked at.
    pub similarity: Vec<f64>,
    /// How strongly a positive pair of that similarity is drawn together: `−∂L/∂s`.
    pub positive: Vec<f64>,
    /// How strongly a negative pair of that similarity is pushed apart: `∂L/∂s`.
    pub negative: Vec<f64>,
}

/// The weights of a loss. `sets` are settings of the loss, such as `alpha=2.0`.
///
/// # Errors
/// An unknown loss or setting, similarities outside [−1, 1], fewer than 2 points, and losses that are not stated as pairs
/// of an anchor (whole batches, scores).
pub fn weights<S: AsRef<str>>(loss: &str, sets: &[S], settings: &WeightSettings) -> Result<Weights> {
    let mut all = vec![format!("objective.loss.name={loss}")];
    all.extend(sets.iter().map(|set| format!("objective.loss.{}", set.as_ref())));
    let loss = RunConfig::parse("", &all)?.objective.loss;
    let WeightSettings { positives, negatives, points } = settings;
    if *points < 2 {
        return Err(Error::setting(format!("{points} points: a curve has at least 2")));
    }
    let last = (points - 1) as f64;
    let similarity: Vec<f64> = (0..*points).map(|at| (2.0 * at as f64 - last) / last).collect();
    let found = pair_weights(&loss, &similarity, positives, negatives)?;
    Ok(Weights {
        proxies: loss.wants().proxies.is_some(),
        loss: serde_json::to_value(&loss).map_err(|e| Error::setting(e.to_string()))?,
        positives: positives.clone(),
        negatives: negatives.clone(),
        similarity,
        positive: found.iter().map(|pair| pair.positive).collect(),
        negative: found.iter().map(|pair| pair.negative).collect(),
    })
}

impl Weights {
    /// The curves as a picture: an SVG file.
    pub fn to_svg(&self) -> String {
        picture::svg(self)
    }

    /// The loss and its settings: `contrastive: pos_margin 0.0, neg_margin 1.0`.
    fn title(&self) -> String {
        let name = self.loss["name"].as_str().unwrap_or_default();
        let settings = self.loss.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
        let settings: Vec<String> = settings.map(|(key, value)| format!("{key} {value}")).collect();
        if settings.is_empty() { name.to_owned() } else { format!("{name}: {}", settings.join(", ")) }
    }

    /// What stands beside the pair.
    fn beside(&self) -> String {
        let list = |values: &[f64]| match values {
            [] => "none".to_owned(),
            values => values.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
        };
        let negatives = list(&self.negatives);
        if self.proxies {
            let own = list(&self.positives[..self.positives.len().min(1)]);
            return format!(
                "an embedding and a proxy: its own, beside others at {negatives}; or one more of another class, its own at {own}"
            );
        }
        format!(
            "one more pair of an anchor with positives at {} and negatives at {negatives}",
            list(&self.positives)
        )
    }
}

/// Writes the picture of the curves: the file is there whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn write_picture(weights: &Weights, path: &Path) -> Result<()> {
    let svg = weights.to_svg();
    Ok(parallax_data::atomic_write(path, |file| std::io::Write::write_all(file, svg.as_bytes()))?)
}

/// Characters of the longest bar.
const WIDTH: usize = 28;

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.title(), self.beside())?;
        let most = self.positive.iter().chain(&self.negative).fold(0.0f64, |most, v| most.max(v.abs()));
        // A weight that works against the pair's kind is drawn with another mark.
        let bar = |value: f64| {
            let length = if most > 0.0 { (value.abs() / most * WIDTH as f64).round() as usize } else { 0 };
            (if value < 0.0 { "-" } else { "#" }).repeat(length)
        };
        let heads = ["drawn together, if positive", "pushed apart, if negative"];
        write!(f, "{:>10}  {:<width$}  {}", "similarity", heads[0], heads[1], width = WIDTH + 10)?;
        for ((s, p), n) in self.similarity.iter().zip(&self.positive).zip(&self.negative) {
            let row = format!("{s:>10.2}  {p:>9.4} {:<WIDTH$}  {n:>9.4} {}", bar(*p), bar(*n));
            write!(f, "\n{}", row.trim_end())?;
        }
        write!(f, "\n\nbars: the longest is {most:.4}; \"-\" works against the pair's kind")
    }
}

#[cfg(test)]
mod tests {
    use parallax_metric::LossConfig;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_contrastive_loss_weighs_pairs_beyond_its_margins_alike() {
        let settings = WeightSettings { points: 5, ..WeightSettings::default() };
        let found = weights("contrastive", &["pos_margin=0.0", "neg_margin=1.0"], &settings).unwrap();
        assert_eq!(found.similarity, [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(found.loss["name"], "contrastive");
        assert!(found.positive.iter().chain(&found.negative).any(|weight| *weight > 0.0));
        let text = found.to_string();
        assert!(text.contains("contrastive: ") && text.contains('#'), "{text}");
        assert_eq!(text.lines().filter(|line| line.trim_start().starts_with(['-', '0', '1'])).count(), 5);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let none: [&str; 0] = [];
        let settings = WeightSettings::default();
        let message = weights("multi_similarty", &none, &settings).unwrap_err().to_string();
        assert!(message.contains("did you mean \"multi_similarity\"?"), "{message}");
        let message = weights("multi_similarity", &["alfa=1.0"], &settings).unwrap_err().to_string();
        assert!(message.contains("alpha"), "{message}");
        let error = weights("cosent", &none, &settings).unwrap_err();
        assert!(error.to_string().contains("cosent") && error.hint().is_some(), "{error}");
        let alone = WeightSettings { positives: Vec::new(), ..settings.clone() };
        let message = weights("proxy_nca", &none, &alone).unwrap_err().to_string();
        assert!(message.contains("own proxy"), "{message}");
        let far = WeightSettings { positives: vec![1.5], ..settings.clone() };
        assert!(weights("supcon", &none, &far).is_err());
        assert!(weights("supcon", &none, &WeightSettings { points: 1, ..settings }).is_err());
    }

    #[test]
    fn a_softmax_over_proxies_weighs_by_its_probabilities() {
        let none: [&str; 0] = [];
        let settings = WeightSettings { points: 5, ..WeightSettings::default() };
        let found = weights("normalized_softmax", &["temperature=0.5"], &settings).unwrap();
        assert!(found.proxies);
        for (at, &s) in found.similarity.iter().enumerate() {
            let e = |s: f64| (s / 0.5).exp();
            let others = e(0.4) + e(0.2);
            // −∂/∂s of −log p is (1 − p) / T, and that of another class its probability over T.
            let own = 2.0 * others / (e(s) + others);
            let other = 2.0 * e(s) / (e(0.6) + others + e(s));
            assert!((found.positive[at] - own).abs() < 1e-6, "{s}: {} {own}", found.positive[at]);
            assert!((found.negative[at] - other).abs() < 1e-6, "{s}: {} {other}", found.negative[at]);
        }
        // Every loss with a row or with proxies has curves of finite numbers.
        let losses = crate::catalogue::family("losses").unwrap().entries;
        let shown =
            losses.iter().filter_map(|loss| weights(&loss.name, &none, &settings).ok()).collect::<Vec<_>>();
        assert!(shown.len() >= 30, "{}", shown.len());
        for found in &shown {
            let all = || found.positive.iter().chain(&found.negative);
            assert!(all().all(|weight| weight.is_finite()), "{found:?}");
            let alone = found.loss["name"] == "multiple_negatives_ranking";
            assert!(all().any(|weight| *weight != 0.0) || alone, "{found:?}");
        }
        // The others are of a batch as a whole, of logits, or of scores.
        let known = ["manifold", "n_pairs", "angular", "histogram", "vicreg", "dynamic_soft_margin"];
        for loss in &losses {
            let config: LossConfig = serde_json::from_value(json!({ "name": loss.name })).unwrap();
            let wants = config.wants();
            let other = wants.logits || wants.targets.is_some() || wants.teacher.is_some();
            let drawn = shown.iter().any(|found| found.loss["name"] == loss.name.as_str());
            assert!(drawn || other || known.contains(&loss.name.as_str()), "{}", loss.name);
        }
    }

    #[test]
    fn the_picture_holds_both_curves() {
        let svg = weights("multi_similarity", &["alpha=3.0"], &WeightSettings::default()).unwrap().to_svg();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("multi_similarity: alpha 3.0") && svg.contains("drawn together"), "{svg}");
        let lines: Vec<&str> = svg.lines().filter(|line| line.contains("<polyline")).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.matches(',').count() == 21 && !line.contains("NaN")), "{svg}");
    }
}
