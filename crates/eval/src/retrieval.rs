use std::collections::BTreeMap;

use parallax_kernels::scan::Waiting;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::score::Rows;
use crate::significance::{bootstrap_columns, mean};
use crate::stream::{Classes, Stream, block_rows, mutual, ready_bytes, room, scratch_bytes};
use crate::{Cutoff, Error, Measure, Ranking, Similarity};

/// Labelled vectors: `values` is row-major `[n, dim]`, and `labels[i]` is the class of row `i`.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// Row-major values, `[n, dim]`.
    pub values: &'a [f32],
    /// Row length.
    pub dim: usize,
    /// One class a row; rows of one class are relevant for each other.
    pub labels: &'a [u32],
}

/// What the queries are searched in.
#[derive(Clone, Copy, Debug)]
pub enum Gallery<'a> {
    /// The queries themselves; each is removed from its own ranking by its index.
    LeaveOneOut,
    /// A separate set; nothing is removed.
    Reference(Vectors<'a>),
    /// A set whose first rows are the queries, in order; row `i` is removed from the ranking of query `i`.
    QueriesFirst(Vectors<'a>),
}

/// How a retrieval evaluation is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrievalConfig {
    /// Measures, for example `map@r` or `recall@8`.
    pub measures: Vec<Measure>,
    /// What makes one vector near another.
    pub similarity: Similarity,
    /// Resamples of the 95 % interval of each measure; 0 leaves the intervals out.
    pub resamples: usize,
    /// Seed of the resamples.
    pub seed: u64,
    /// The most queries in one tile; speed and memory only, no effect on any value.
    pub query_tile: usize,
    /// Gallery rows in one tile; speed and memory only, no effect on any value.
    pub gallery_tile: usize,
}

impl Default for RetrievalConfig {
    /// `precision@1`, `r_precision`, `map@r` and `mrr` by cosine, 1,000 resamples, tiles of 512 × 1,024.
    fn default() -> Self {
        RetrievalConfig {
            measures: vec![
                Measure::Precision(1),
                Measure::RPrecision,
                Measure::MapAtR,
                Measure::Mrr(Cutoff::All),
            ],
            similarity: Similarity::Cosine,
            resamples: 1000,
            seed: 0,
            query_tile: 512,
            gallery_tile: 1024,
        }
    }
}

/// One measure of a whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeasureResult {
    /// The measure's name, as in the configuration.
    pub name: String,
    /// Mean over evaluated queries.
    pub value: f64,
    /// Bootstrap 95 % interval of `value` over queries; absent without resamples.
    pub interval: Option<[f64; 2]>,
    /// Mean over classes of the mean over each class's queries, so that small classes count as much as large ones.
    pub class_mean: f64,
    /// Queries for which this measure would depend on the order of tied items; they got its expected value.
    pub tied_queries: usize,
    /// The declared definition.
    pub definition: String,
}

/// The value of each measure for each evaluated query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PerQuery {
    /// Row of each evaluated query in the query set, counted from 0, ascending.
    pub query: Vec<usize>,
    /// One column a measure, in the order of [`Retrieval::measures`].
    pub columns: Vec<Vec<f64>>,
}

/// The result of a retrieval evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retrieval {
    /// The measures, in the order they were asked for.
    pub measures: Vec<MeasureResult>,
    /// `leave_one_out`, `reference` or `queries_first`; `ranked` where rankings and not vectors were given.
    pub mode: String,
    /// What the ranking is by, as a formula.
    pub similarity: String,
    /// Queries that were evaluated.
    pub queries: usize,
    /// Queries that were dropped because nothing in the gallery is relevant for them.
    pub dropped: usize,
    /// Rows of the gallery.
    pub gallery: usize,
    /// The largest number of relevant items of an evaluated query.
    pub most_relevant: usize,
    /// Pairs of one relevant and one other item with equal scores in groups whose order could change a measure.
    pub ties: u64,
    /// How the intervals were made; empty without.
    pub interval_method: String,
    /// Resamples of the intervals.
    pub resamples: usize,
    /// The value of each query; left out of the serialised form when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_query: Option<PerQuery>,
}

impl Retrieval {
    /// The result of one measure.
    pub fn measure(&self, measure: Measure) -> Option<&MeasureResult> {
        let name = measure.to_string();
        self.measures.iter().find(|result| result.name == name)
    }

    /// The mean of one measure over queries.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        self.measure(measure).map(|result| result.value)
    }

    /// The values of one measure for each query of [`PerQuery::query`], for a paired comparison.
    pub fn column(&self, measure: Measure) -> Option<&[f64]> {
        let name = measure.to_string();
        let place = self.measures.iter().position(|result| result.name == name)?;
        self.per_query.as_ref()?.columns.get(place).map(Vec::as_slice)
    }

    /// The result without the values of single queries.
    pub fn without_per_query(mut self) -> Self {
        self.per_query = None;
        self
    }
}

/// What one query contributes.
struct Row {
    values: Vec<f64>,
    tied: Vec<bool>,
    pairs: u64,
}

impl Row {
    fn new(measures: &[Measure], ranking: &Ranking, most_relevant: usize) -> Self {
        let values = measures.iter().map(|measure| measure.expected(ranking, most_relevant)).collect();
        let mut tied = vec![false; measures.len()];
        let mut pairs = 0;
        for group in ranking.groups() {
            let mut any = false;
            for (tied, &measure) in tied.iter_mut().zip(measures) {
                let matters = ranking.order_matters(group, measure, most_relevant);
                *tied |= matters;
                any |= matters;
            }
            if any {
                pairs += group.relevant as u64 * (group.size - group.relevant) as u64;
            }
        }
        Row { values, tied, pairs }
    }
}

/// Evaluates retrieval of labelled vectors.
///
/// Every measure is exact at any depth, with the neighbours it needs found automatically; nothing of size
/// queries × gallery is held ([`memory_bytes`]). Values of single queries are the same to the last bit for every order
/// of gallery and queries, every tile size and every number of threads. Runs on the current rayon pool.
///
/// # Errors
/// For empty or ragged input, different row lengths, labels that do not match the rows, values that are not finite
/// (with row and column), references that do not begin with the queries where they should, no query with a relevant
/// item, no measure, or an empty tile.
pub fn retrieval(config: &RetrievalConfig, queries: Vectors, gallery: Gallery) -> Result<Retrieval, Error> {
    let rows = queries.labels.len();
    evaluate(config, queries, gallery, mutual::allowance(rows))
}

/// [`retrieval`], where all queries may hold `mutual_bytes` at once.
pub(crate) fn evaluate(
    config: &RetrievalConfig,
    queries: Vectors,
    gallery: Gallery,
    mutual_bytes: usize,
) -> Result<Retrieval, Error> {
    check_config(config)?;
    queries.check("queries")?;
    let (set, mode, queries_first) = match gallery {
        Gallery::LeaveOneOut => (None, "leave_one_out", true),
        Gallery::Reference(set) => (Some(set), "reference", false),
        Gallery::QueriesFirst(set) => (Some(set), "queries_first", true),
    };
    if let Some(set) = set {
        set.check("references")?;
        if set.dim != queries.dim {
            return Err(Error::Dimension { queries: queries.dim, references: set.dim });
        }
        if queries_first {
            queries.check_first_of(&set)?;
        }
    }
    let query_rows = Rows::new(queries.values, queries.dim, config.similarity);
    let set_rows = set.map(|set| Rows::new(set.values, set.dim, config.similarity));
    let gallery_rows = set_rows.as_ref().unwrap_or(&query_rows);
    let gallery_labels = set.map_or(queries.labels, |set| set.labels);

    let classes = Classes::new(gallery_labels);
    let mut stream = Stream {
        similarity: config.similarity,
        queries: &query_rows,
        gallery: gallery_rows,
        query_labels: queries.labels,
        gallery_labels,
        classes: &classes,
        queries_first,
        measures: &config.measures,
        most_relevant: 0,
        query_tile: config.query_tile,
        gallery_tile: config.gallery_tile,
        mutual_bytes,
    };
    let own = usize::from(queries_first);
    let relevant = |query: usize| classes.of(queries.labels[query]).len() - own;
    let kept: Vec<usize> = (0..query_rows.len()).filter(|&query| relevant(query) > 0).collect();
    stream.most_relevant = kept.iter().map(|&query| relevant(query)).max().unwrap_or(0);
    let rows = stream.rankings(&kept, |ranking| Row::new(&config.measures, &ranking, stream.most_relevant));
    let labels: Vec<u32> = kept.iter().map(|&query| queries.labels[query]).collect();
    let mut result = summarise(config, rows, kept, &labels, query_rows.len())?;
    result.mode = mode.to_string();
    result.similarity = config.similarity.definition().to_string();
    result.gallery = gallery_rows.len();
    result.most_relevant = stream.most_relevant;
    Ok(result)
}

/// Evaluates rankings made elsewhere: by another search, or with relevance that is not a label.
///
/// `classes[i]` groups queries for [`MeasureResult::class_mean`]. Rankings with `R = 0` are dropped and counted.
///
/// # Errors
/// [`Error::Labels`] unless there is one class a ranking, [`Error::Ranking`] if one shows more relevant items than
/// its `R`, and [`Error::NothingRelevant`], [`Error::Empty`] as for vectors.
pub fn ranked(config: &RetrievalConfig, rankings: &[Ranking], classes: &[u32]) -> Result<Retrieval, Error> {
    check_config(config)?;
    if rankings.is_empty() {
        return Err(Error::Empty { set: "queries" });
    }
    if rankings.len() != classes.len() {
        return Err(Error::Labels { set: "queries", rows: rankings.len(), labels: classes.len() });
    }
    for (i, ranking) in rankings.iter().enumerate() {
        let found = ranking.groups().iter().map(|group| group.relevant).sum();
        if found > ranking.relevant() {
            return Err(Error::Ranking { ranking: i + 1, found, relevant: ranking.relevant() });
        }
    }
    let kept: Vec<usize> = (0..rankings.len()).filter(|&i| rankings[i].relevant() > 0).collect();
    let most_relevant = rankings.iter().map(Ranking::relevant).max().unwrap_or(0);
    let rows = kept.iter().map(|&i| Row::new(&config.measures, &rankings[i], most_relevant)).collect();
    let labels: Vec<u32> = kept.iter().map(|&i| classes[i]).collect();
    let mut result = summarise(config, rows, kept, &labels, rankings.len())?;
    result.mode = "ranked".to_string();
    result.most_relevant = most_relevant;
    Ok(result)
}

fn summarise(
    config: &RetrievalConfig,
    rows: Vec<Row>,
    kept: Vec<usize>,
    labels: &[u32],
    queries: usize,
) -> Result<Retrieval, Error> {
    if kept.is_empty() {
        return Err(Error::NothingRelevant { queries });
    }
    let columns: Vec<Vec<f64>> =
        (0..config.measures.len()).map(|m| rows.iter().map(|row| row.values[m]).collect()).collect();
    let intervals = if config.resamples > 0 {
        let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        Some(bootstrap_columns(&slices, config.resamples, Key::new(config.seed).named("retrieval interval"))?)
    } else {
        None
    };
    let measures = config.measures.iter().enumerate().map(|(m, measure)| {
        let mut by_class: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        labels
            .iter()
            .zip(&columns[m])
            .for_each(|(&label, &value)| by_class.entry(label).or_default().push(value));
        MeasureResult {
            name: measure.to_string(),
            value: mean(columns[m].clone()),
            interval: intervals.as_ref().map(|intervals| [intervals[m].low, intervals[m].high]),
            class_mean: mean(by_class.into_values().map(mean).collect()),
            tied_queries: rows.iter().filter(|row| row.tied[m]).count(),
            definition: measure.definition(),
        }
    });
    Ok(Retrieval {
        measures: measures.collect(),
        mode: String::new(),
        similarity: String::new(),
        queries: kept.len(),
        dropped: queries - kept.len(),
        gallery: 0,
        most_relevant: 0,
        ties: rows.iter().map(|row| row.pairs).sum(),
        interval_method: if config.resamples > 0 {
            crate::significance::METHOD.to_string()
        } else {
            String::new()
        },
        resamples: config.resamples,
        per_query: Some(PerQuery { query: kept, columns }),
    })
}

/// An upper bound on what [`retrieval`] allocates beside its input and the fixed packing buffers of a 32-bit matrix
/// product (a few MB a thread); no term has queries × gallery in it.
///
/// With `T` threads, blocks of `A` queries (at most the query tile, 4 MB of thresholds and waiting items, and a quarter of
/// a thread's share), lists of `W` waiting items a query (1.5 times the deepest rank that a measure looks at and 32 more, or
/// 64 where that is deeper than 1,024), a gallery tile of `G` rows, `d` columns, `m` measures, `b` resamples and `R` the
/// most relevant items of one query, for `q` queries and `g` separate references (0 for leave-one-out), `n` of them in the
/// gallery:
///
/// ```text
/// T · (A · (16·d + 36·R + 12·W + 300) + 64·R) query block as it is and rounded, thresholds with their counts, one ranking
/// + T · (6·d·G + 64·W + 100,000)              a tile in two parts, hits, the pairs of a query that are scored again
/// + n · (2·d + 8)                             the gallery in bf16, each row filled up to 64 bytes
/// + (q + g) · (4·d·[cosine] + 8) + 68·n       normalised rows and norms; label order and classes of the gallery rows
/// + q · (33·m + 240)                          values of each query, and sorted for the intervals and means
/// + b · (24·m + 40)                           resampled means
/// ```
///
/// That is with tile registers. Without, the gallery is not rounded, and a thread has some 4 MB of values and hits. Where
/// the queries are the gallery they may then all be held at once, if that takes no more than `L` = q²/2 bytes, at least
/// 4 MB and at most 48 MB; in the place of the first three lines there is
///
/// ```text
/// q · (24·R + 12·W + 400), at most L, + 100·q thresholds, what waits for each query, and rows made ready
/// + T · (2,100 · d + 64·(R + W) + 2,000,000)  queries laid out for products, and hits
/// ```
pub fn memory_bytes(
    config: &RetrievalConfig,
    queries: usize,
    references: usize,
    dim: usize,
    most_relevant: usize,
    threads: usize,
) -> usize {
    let measures = config.measures.len();
    let gallery = if references == 0 { queries } else { references };
    let gallery_tile = config.gallery_tile.min(gallery);
    let room = room(&config.measures, most_relevant);
    let block = block_rows(config.query_tile, queries, most_relevant, room, threads).min(queries);
    let (tiles, ready) = ready_bytes(gallery, gallery_tile, block, dim);
    let one_way = threads
        * (block * (4 * dim + 36 * most_relevant + 200)
            + Waiting::memory_bytes(block, room)
            + ready
            + scratch_bytes(gallery_tile, room, dim)
            + 64 * most_relevant)
        + tiles;
    let own = references == 0 || references == queries;
    let together = match own {
        true => mutual::memory_bytes(config, queries, most_relevant, dim, threads),
        false => 0,
    };
    let copy = if config.similarity == Similarity::Cosine { 4 * dim } else { 0 };
    one_way.max(together)
        + (queries + references) * (copy + 8)
        + gallery * 68
        + queries * (33 * measures + 240)
        + config.resamples * (24 * measures + 40)
}

fn check_config(config: &RetrievalConfig) -> Result<(), Error> {
    if config.measures.is_empty() {
        return Err(Error::Empty { set: "measures" });
    }
    for measure in &config.measures {
        if let Measure::Precision(0)
        | Measure::Recall(0)
        | Measure::IrRecall(0)
        | Measure::Map(Cutoff::At(0))
        | Measure::Mrr(Cutoff::At(0)) = measure
        {
            return Err(Error::Measure { given: measure.to_string(), valid: Measure::NAMES });
        }
    }
    match (config.query_tile, config.gallery_tile) {
        (0, _) => Err(Error::Tile { field: "query_tile" }),
        (_, 0) => Err(Error::Tile { field: "gallery_tile" }),
        _ => Ok(()),
    }
}

impl Vectors<'_> {
    fn check(&self, set: &'static str) -> Result<(), Error> {
        if self.dim == 0 || self.values.is_empty() {
            return Err(Error::Empty { set });
        }
        if !self.values.len().is_multiple_of(self.dim) {
            return Err(Error::Ragged { set, values: self.values.len(), dim: self.dim });
        }
        let rows = self.values.len() / self.dim;
        if rows != self.labels.len() {
            return Err(Error::Labels { set, rows, labels: self.labels.len() });
        }
        if let Some(at) = self.values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (at / self.dim + 1, at % self.dim + 1);
            return Err(Error::NotFinite { set, row, column, value: self.values[at] });
        }
        Ok(())
    }

    /// Whether these are the first rows of `set`, which has the same row length.
    fn check_first_of(&self, set: &Vectors) -> Result<(), Error> {
        for (row, values) in self.values.chunks_exact(self.dim).enumerate() {
            let same = set.labels.get(row) == Some(&self.labels[row])
                && set.values.get(row * self.dim..(row + 1) * self.dim) == Some(values);
            if !same {
                return Err(Error::NotFirst { row: row + 1 });
            }
        }
        Ok(())
    }
}
