//! What the vectors show beyond the measures: a map, confused classes and single queries.

mod cases;
mod check;
mod confusion;
mod neighbours;
mod sample;

use parallax_eval::{Gallery, Measure, RetrievalConfig, Similarity, Vectors};
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::escape::shorten;
use crate::map::{self, MapMethod};
use crate::{Error, escape};
use neighbours::Prepared;
pub(crate) use neighbours::unit;

/// How much evidence is gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceConfig {
    /// How the maps are drawn.
    pub map: MapMethod,
    /// Points on each map, at most 2,000; drawn by class, small classes in full.
    pub map_points: usize,
    /// Classes on each map; where there are more, that many are drawn at random.
    pub map_classes: usize,
    /// Queries that are searched for confusions; where there are more, that many are drawn by class.
    pub queries: usize,
    /// Pairs of confused classes that are listed.
    pub confusions: usize,
    /// Queries listed as gained, lost and worst, each.
    pub cases: usize,
    /// Neighbours shown for a listed query.
    pub neighbours: usize,
    /// Characters of a text that are kept.
    pub text_length: usize,
}

impl Default for EvidenceConfig {
    /// t-SNE of 1,500 points in 100 classes, 20,000 queries, 12 confusions, 5 cases of 5 neighbours, 160 characters.
    fn default() -> Self {
        EvidenceConfig {
            map: MapMethod::default(),
            map_points: 1500,
            map_classes: 100,
            queries: 20_000,
            confusions: 12,
            cases: 5,
            neighbours: 5,
            text_length: 160,
        }
    }
}

/// Row-major vectors `[n, dim]`.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    /// Values, `n · dim` of them.
    pub values: &'a [f32],
    /// Row length.
    pub dim: usize,
}

/// Rows with their vectors, labels and texts.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Vectors before; `None` where there is no before. Their dimension may differ from that after.
    pub before: Option<Embeddings<'a>>,
    /// Vectors after.
    pub after: Embeddings<'a>,
    /// One label a row: rows of one label are relevant for each other. `None`: only the map is made.
    pub labels: Option<&'a [u32]>,
    /// The text of a row, counted from 0. It is asked for the few rows that are shown, on the calling thread.
    pub text: &'a (dyn Fn(usize) -> String + Sync),
}

/// What evidence is gathered from.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The queries.
    pub queries: Rows<'a>,
    /// What is searched; `None`: the queries themselves, each without itself.
    pub gallery: Option<Rows<'a>>,
    /// Names of the labels. Empty where labels are not classes but only say what belongs together, as for pairs; then
    /// nothing is coloured and no confusions are listed.
    pub classes: &'a [String],
    /// What makes one vector near another.
    pub similarity: Similarity,
    /// Values of single queries; computed where `None`.
    pub values: Option<QueryValues<'a>>,
}

/// The value of one measure for single queries, before and after.
#[derive(Clone, Copy, Debug)]
pub struct QueryValues<'a> {
    /// The measure's name.
    pub measure: &'a str,
    /// Row of each query, counted from 0.
    pub rows: &'a [usize],
    /// Value of each query before; as long as `rows`, or empty where there is no before.
    pub before: &'a [f64],
    /// Value of each query after; as long as `rows`.
    pub after: &'a [f64],
}

/// What the vectors show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// How scores are made, as a formula.
    pub similarity: String,
    /// The maps before and after.
    pub maps: Option<Maps>,
    /// Classes that queries retrieve instead of their own.
    pub confusion: Option<Confusion>,
    /// Queries that gained, lost, and are worst.
    pub cases: Option<QueryCases>,
}

/// Two maps of the same rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maps {
    /// How they were drawn, in words.
    pub method: String,
    /// Names of the classes that are drawn; empty where rows have no class.
    pub classes: Vec<String>,
    /// The points.
    pub points: Vec<MapPoint>,
    /// What was drawn of what there is.
    pub drawn: Drawn,
    /// Mean share of a row's ten nearest drawn rows that are among its ten nearest on the map before.
    pub kept_before: Option<f64>,
    /// The same after.
    pub kept_after: Option<f64>,
}

/// How much of the data a map shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drawn {
    /// Points drawn.
    pub points: usize,
    /// Rows there are.
    pub rows: usize,
    /// Classes drawn; 0 without classes.
    pub classes: usize,
    /// Classes there are.
    pub all_classes: usize,
}

/// One row on both maps. Coordinates are centred and lie in [−1, 1]; both maps have the same scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MapPoint {
    /// The row, counted from 0.
    pub row: usize,
    /// Place of its class in [`Maps::classes`].
    pub class: Option<usize>,
    /// Its text, shortened.
    pub text: String,
    /// Where it lies before.
    pub before: Option<[f32; 2]>,
    /// Where it lies after.
    pub after: [f32; 2],
}

/// Classes that queries retrieve instead of their own: the class of the nearest item of each query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confusion {
    /// Queries looked at: those for which something is relevant, or as many as the settings allow.
    pub queries: usize,
    /// Queries whose nearest item is of another class, before.
    pub wrong_before: Option<usize>,
    /// The same after.
    pub wrong_after: usize,
    /// Pairs of classes between which anything is confused, in all.
    pub all_pairs: usize,
    /// The pairs with the highest counts (the larger of before and after).
    pub pairs: Vec<ConfusionPair>,
}

/// Queries of one class whose nearest item is of another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfusionPair {
    /// Class of the queries.
    pub class: String,
    /// Class of their nearest items.
    pub retrieved: String,
    /// Queries of the class that were looked at.
    pub queries: usize,
    /// How many, before.
    pub before: Option<usize>,
    /// How many, after.
    pub after: usize,
    /// One of them: after if there is one, else before.
    pub example: ConfusionExample,
}

/// A query and the item of another class that is nearest to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfusionExample {
    /// Whether it is so after, or only before.
    pub after: bool,
    /// The query's text.
    pub query: String,
    /// The item's text.
    pub item: String,
}

/// Single queries, chosen by what happened to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryCases {
    /// The measure by which they were chosen.
    pub measure: String,
    /// Queries that were looked at.
    pub queries: usize,
    /// Queries whose value rose; `None` without a before.
    pub gained: Option<usize>,
    /// Queries whose value fell; `None` without a before.
    pub lost: Option<usize>,
    /// The largest gains.
    pub most_gained: Vec<QueryCase>,
    /// The largest losses.
    pub most_lost: Vec<QueryCase>,
    /// The lowest values after.
    pub worst: Vec<QueryCase>,
}

/// A query and what it finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryCase {
    /// The row, counted from 0.
    pub row: usize,
    /// Its text, shortened.
    pub text: String,
    /// Its class, where there are classes.
    pub class: Option<String>,
    /// Its value before.
    pub before: Option<f64>,
    /// Its value after.
    pub after: f64,
    /// Its nearest items before, nearest first; `None` without a before.
    pub neighbours_before: Option<Vec<Neighbour>>,
    /// Its nearest items after, nearest first.
    pub neighbours_after: Vec<Neighbour>,
}

/// An item near a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Neighbour {
    /// Row in what is searched, counted from 0.
    pub row: usize,
    /// Its text, shortened.
    pub text: String,
    /// Its class, where there are classes.
    pub class: Option<String>,
    /// Whether it is relevant for the query.
    pub relevant: bool,
    /// Its score.
    pub score: f64,
}

/// One side, before or after, ready for scoring.
struct Side<'a> {
    queries: Prepared<'a>,
    gallery: Option<Prepared<'a>>,
}

impl<'a> Side<'a> {
    fn new(queries: Embeddings<'a>, gallery: Option<Embeddings<'a>>, similarity: Similarity) -> Self {
        Side {
            queries: Prepared::new(queries, similarity),
            gallery: gallery.map(|gallery| Prepared::new(gallery, similarity)),
        }
    }

    /// The `k` nearest items of each of `rows`.
    fn nearest(&self, rows: &[usize], k: usize) -> Vec<Vec<neighbours::Found>> {
        let gallery = self.gallery.as_ref().unwrap_or(&self.queries);
        neighbours::nearest(&self.queries, rows, gallery, self.gallery.is_none(), k)
    }
}

/// Labels with names and counts.
struct Classes<'a> {
    queries: &'a [u32],
    gallery: &'a [u32],
    own: bool,
    names: &'a [String],
    /// Rows of each label in what is searched, sorted by label.
    counts: Vec<(u32, usize)>,
}

impl Classes<'_> {
    fn relevant(&self, query: usize) -> usize {
        let label = self.queries[query];
        let found = self.counts.binary_search_by_key(&label, |&(label, _)| label);
        found.map_or(0, |at| self.counts[at].1) - usize::from(self.own)
    }

    fn name(&self, label: u32) -> Option<String> {
        self.names.get(label as usize).map(|name| class_name(name))
    }
}

/// A class name as it is shown.
pub(crate) fn class_name(name: &str) -> String {
    let name = shorten(name, 60);
    if name.is_empty() { "(no name)".into() } else { name }
}

impl Evidence {
    /// Looks at the vectors before and after.
    ///
    /// Neighbours are exact: tiles of scores in 32 bits choose candidates, and every candidate within the rounding error
    /// of the last place is scored again in 64 bits; equal scores are ordered by row. Nothing of size rows × rows is
    /// held. The work is two or four matrix products of queries × gallery (see [`EvidenceConfig::queries`]) on the
    /// current rayon pool, and the maps, which take seconds. Same key, same bytes, with any number of threads.
    ///
    /// # Errors
    /// If shapes, labels, names or values of single queries do not fit together, or a value is not finite.
    pub fn gather(config: &EvidenceConfig, subject: &Subject, key: Key) -> Result<Evidence, Error> {
        check::check(subject)?;
        let Subject { queries, gallery, classes, similarity, .. } = *subject;
        let n = queries.after.values.len() / queries.after.dim;
        let length = config.text_length.clamp(1, 2000);
        let text = |rows: &Rows, row: usize| escape::visible(&shorten(&(rows.text)(row), length));
        let named = if classes.is_empty() { None } else { queries.labels };

        let drawn =
            sample::by_class(named, n, config.map_classes, config.map_points.min(2000), key.named("map"));
        let maps =
            map::maps(&config.map, &queries, similarity, &drawn, key.named("map layout")).map(|layout| {
                let mut maps = layout.into_maps(named, classes, &drawn, &|row| text(&queries, row));
                maps.drawn.rows = n;
                maps.drawn.all_classes = named.map_or(0, sample::distinct);
                maps
            });

        let mut evidence =
            Evidence { similarity: similarity.definition().to_string(), maps, confusion: None, cases: None };
        let Some(query_labels) = queries.labels else { return Ok(evidence) };
        let gallery_labels = gallery.and_then(|gallery| gallery.labels).unwrap_or(query_labels);
        let labels = Classes {
            queries: query_labels,
            gallery: gallery_labels,
            own: gallery.is_none(),
            names: classes,
            counts: sample::counts(gallery_labels),
        };
        let evaluable: Vec<usize> = (0..n).filter(|&query| labels.relevant(query) > 0).collect();
        if evaluable.is_empty() {
            return Ok(evidence);
        }
        let picked = sample::queries(&evaluable, query_labels, config.queries.max(1), key.named("queries"));

        let computed;
        let values = match subject.values {
            Some(values) => values,
            None => {
                computed = query_values(subject, &picked, query_labels, gallery_labels)?;
                QueryValues { measure: "map@r", rows: &picked, before: &computed.0, after: &computed.1 }
            }
        };
        let chosen = cases::choose(config.cases, &values, &labels);

        let k = config.neighbours.clamp(1, 50);
        let look = |queries: Embeddings, gallery: Option<Embeddings>| {
            let side = Side::new(queries, gallery, similarity);
            let nearest = if classes.is_empty() { Vec::new() } else { side.nearest(&picked, 1) };
            (nearest, side.nearest(&chosen.rows, k))
        };
        let before = queries.before.map(|before| look(before, gallery.and_then(|gallery| gallery.before)));
        let after = look(queries.after, gallery.map(|gallery| gallery.after));

        let searched = gallery.unwrap_or(queries);
        let query_text = |row| text(&queries, row);
        let item_text = |row| text(&searched, row);
        if !classes.is_empty() {
            evidence.confusion = Some(confusion::confusion(
                config.confusions,
                &labels,
                &picked,
                before.as_ref().map(|b| b.0.as_slice()),
                &after.0,
                &query_text,
                &item_text,
            ));
        }
        evidence.cases =
            Some(chosen.into_cases(&values, &labels, before.map(|b| b.1), after.1, &query_text, &item_text));
        Ok(evidence)
    }
}

/// MAP@R of single queries before and after.
fn query_values(
    subject: &Subject,
    picked: &[usize],
    query_labels: &[u32],
    gallery_labels: &[u32],
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let config = RetrievalConfig {
        measures: vec![Measure::MapAtR],
        similarity: subject.similarity,
        resamples: 0,
        ..Default::default()
    };
    let side = |queries: Embeddings, gallery: Option<Embeddings>| -> Result<Vec<f64>, Error> {
        let dim = queries.dim;
        let n = query_labels.len();
        let labels: Vec<u32> = picked.iter().map(|&row| query_labels[row]).collect();
        let take = |rows: &[usize]| -> Vec<f32> {
            rows.iter().flat_map(|&row| &queries.values[row * dim..(row + 1) * dim]).copied().collect()
        };
        let values = take(picked);
        let chosen = Vectors { values: &values, dim, labels: &labels };
        let result = match gallery {
            Some(gallery) => {
                let set = Vectors { values: gallery.values, dim: gallery.dim, labels: gallery_labels };
                parallax_eval::retrieval(&config, chosen, Gallery::Reference(set))?
            }
            None => {
                let mut rest: Vec<usize> = (0..n).collect();
                rest.retain(|row| picked.binary_search(row).is_err());
                let mut all = values.clone();
                all.extend(take(&rest));
                let mut all_labels = labels.clone();
                all_labels.extend(rest.iter().map(|&row| query_labels[row]));
                let set = Vectors { values: &all, dim, labels: &all_labels };
                parallax_eval::retrieval(&config, chosen, Gallery::QueriesFirst(set))?
            }
        };
        Ok(result.column(Measure::MapAtR).unwrap_or_default().to_vec())
    };
    let (queries, gallery) = (subject.queries, subject.gallery);
    let before = match queries.before {
        Some(before) => side(before, gallery.and_then(|gallery| gallery.before))?,
        None => Vec::new(),
    };
    Ok((before, side(queries.after, gallery.map(|gallery| gallery.after))?))
}

#[cfg(test)]
mod tests;
