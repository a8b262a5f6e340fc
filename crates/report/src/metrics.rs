//! `metrics.json`: the numbers of a report, without texts.

use serde_json::{Map, Value, json};

use crate::escape::{cut, visible};
use crate::evidence::{ConfusionPair, Neighbour, QueryCase};
use crate::{Evidence, Report};

impl Report {
    /// The numbers of the report as a JSON value; what is not finite is `null`.
    ///
    /// ```text
    /// { "schema": 1, "title", "seed", "main", "queries", "dropped", "interval_method",
    ///   "measures": { NAME: { "before", "before_interval": [low, high], "after", "after_interval",
    ///                         "change", "change_interval", "definition" } },
    ///   "figures": { NAME: { "value", "unit" } },
    ///   "evidence": { "similarity",
    ///     "maps": { "points", "rows", "classes", "all_classes", "kept_before", "kept_after" },
    ///     "confusion": { "queries", "wrong_before", "wrong_after", "all_pairs",
    ///                    "pairs": [{ "class", "retrieved", "queries", "before", "after" }] },
    ///     "cases": { "measure", "queries", "gained", "lost",
    ///                "most_gained" | "most_lost" | "worst": [{ "row", "class", "before", "after",
    ///                   "neighbours_before" | "neighbours_after": [{ "row", "class", "relevant", "score" }] }] } } }
    /// ```
    pub fn metrics(&self) -> Value {
        let measures: Map<String, Value> = self
            .unique_measures()
            .into_iter()
            .map(|m| {
                let value = json!({
                    "before": m.before,
                    "before_interval": m.before_interval,
                    "after": m.after,
                    "after_interval": m.after_interval,
                    "change": m.change,
                    "change_interval": m.change_interval,
                    "definition": m.definition,
                });
                (key_name(&m.name), value)
            })
            .collect();
        let figures: Map<String, Value> = self
            .unique_figures()
            .into_iter()
            .map(|figure| (key_name(&figure.name), json!({ "value": figure.value, "unit": figure.unit })))
            .collect();
        json!({
            "schema": 1,
            "title": self.title,
            "seed": self.seed,
            "main": self.main_measure().map(|measure| &measure.name),
            "queries": self.queries,
            "dropped": self.dropped,
            "interval_method": self.interval_method,
            "measures": measures,
            "figures": figures,
            "evidence": self.evidence.as_ref().map(evidence),
        })
    }

    /// [`metrics`](Report::metrics) as the text of `metrics.json`.
    pub fn metrics_json(&self) -> String {
        format!("{:#}\n", self.metrics())
    }
}

/// A name as a key: of bounded length, and without what cannot stand in the attribute of an element.
pub(crate) fn key_name(name: &str) -> String {
    visible(&cut(name, 120))
}

fn evidence(evidence: &Evidence) -> Value {
    let maps = evidence.maps.as_ref().map(|maps| {
        json!({
            "points": maps.drawn.points,
            "rows": maps.drawn.rows,
            "classes": maps.drawn.classes,
            "all_classes": maps.drawn.all_classes,
            "kept_before": maps.kept_before,
            "kept_after": maps.kept_after,
        })
    });
    let confusion = evidence.confusion.as_ref().map(|confusion| {
        json!({
            "queries": confusion.queries,
            "wrong_before": confusion.wrong_before,
            "wrong_after": confusion.wrong_after,
            "all_pairs": confusion.all_pairs,
            "pairs": confusion.pairs.iter().map(pair).collect::<Vec<_>>(),
        })
    });
    let cases = evidence.cases.as_ref().map(|cases| {
        let list = |cases: &[QueryCase]| cases.iter().map(case).collect::<Vec<_>>();
        json!({
            "measure": cases.measure,
            "queries": cases.queries,
            "gained": cases.gained,
            "lost": cases.lost,
            "most_gained": list(&cases.most_gained),
            "most_lost": list(&cases.most_lost),
            "worst": list(&cases.worst),
        })
    });
    json!({ "similarity": evidence.similarity, "maps": maps, "confusion": confusion, "cases": cases })
}

fn pair(pair: &ConfusionPair) -> Value {
    json!({
        "class": pair.class,
        "retrieved": pair.retrieved,
        "queries": pair.queries,
        "before": pair.before,
        "after": pair.after,
    })
}

fn case(case: &QueryCase) -> Value {
    let list = |found: &[Neighbour]| {
        let one = |n: &Neighbour| json!({ "row": n.row, "class": n.class, "relevant": n.relevant, "score": n.score });
        found.iter().map(one).collect::<Vec<_>>()
    };
    json!({
        "row": case.row,
        "class": case.class,
        "before": case.before,
        "after": case.after,
        "neighbours_before": case.neighbours_before.as_deref().map(list),
        "neighbours_after": list(&case.neighbours_after),
    })
}
