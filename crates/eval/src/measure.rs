use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Ranking};

/// How far down the ranking a measure looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cutoff {
    /// The whole ranking.
    All,
    /// The `k` nearest items, `k ≥ 1`.
    At(usize),
    /// As many items as the evaluated query with the most relevant items has: the smallest `k` for which no query is
    /// cut short of its `R`. Written `max_bin_count`, as in pytorch-metric-learning.
    MaxBinCount,
}

impl Cutoff {
    fn rank(self, most_relevant: usize) -> usize {
        match self {
            Cutoff::All => usize::MAX,
            Cutoff::At(k) => k,
            Cutoff::MaxBinCount => most_relevant,
        }
    }
}

impl fmt::Display for Cutoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cutoff::All => Ok(()),
            Cutoff::At(k) => write!(f, "@{k}"),
            Cutoff::MaxBinCount => write!(f, "@max_bin_count"),
        }
    }
}

/// A retrieval measure of one query, averaged over queries.
///
/// With `rel_i ∈ {0, 1}` the relevance of the item at rank `i`, `R` the number of relevant items in the whole gallery
/// and `P(i) = (1/i) Σ_{j≤i} rel_j`. In a config and on a command line a measure is written as text, for example
/// `recall@8`; [`Measure::NAMES`] lists the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Measure {
    /// `precision@k` = (1/k) Σ_{i≤k} rel_i. The denominator stays `k` when fewer than `k` items are relevant or exist.
    Precision(usize),
    /// `r_precision` = (1/R) Σ_{i≤R} rel_i (Musgrave et al., *A metric learning reality check*, 2020).
    RPrecision,
    /// `map@r` = (1/R) Σ_{i≤R} P(i)·rel_i (Musgrave et al., 2020).
    MapAtR,
    /// `map` and `map@k` = (1/R) Σ_{i≤k} P(i)·rel_i, as `trec_eval` divides: by `R`, not by min(k, R).
    Map(Cutoff),
    /// `mrr` and `mrr@k` = 1/rank of the first relevant item, 0 where it stands below `k`.
    Mrr(Cutoff),
    /// `recall@k` of metric learning: 1 if a relevant item stands among the `k` nearest, else 0 (Song et al., 2016).
    Recall(usize),
    /// `ir_recall@k` of information retrieval = (1/R) Σ_{i≤k} rel_i.
    IrRecall(usize),
}

impl Measure {
    /// The written forms; `K` is a whole number from 1.
    pub const NAMES: &'static str = "precision@K, r_precision, map@r, map, map@K, map@max_bin_count, mrr, mrr@K, \
                                     mrr@max_bin_count, recall@K, ir_recall@K (K is a whole number from 1)";

    /// The declared definition: formula with its denominator, tie rule, self-match rule, and what becomes of queries
    /// without a relevant item.
    pub fn definition(self) -> String {
        let formula = match self {
            Measure::Precision(k) => format!("relevant items among the {k} nearest, divided by {k}"),
            Measure::RPrecision => "relevant items among the R nearest, divided by R".into(),
            Measure::MapAtR => "sum over ranks i <= R of P(i) * rel_i, divided by R".into(),
            Measure::Map(Cutoff::All) => "sum over all ranks i of P(i) * rel_i, divided by R".into(),
            Measure::Map(Cutoff::At(k)) => {
                format!("sum over ranks i <= {k} of P(i) * rel_i, divided by R (not by min({k}, R))")
            }
            Measure::Map(Cutoff::MaxBinCount) => {
                "sum over ranks i <= k of P(i) * rel_i, divided by R, with k the largest R of any query"
                    .into()
            }
            Measure::Mrr(Cutoff::All) => "1 / rank of the first relevant item in the whole ranking".into(),
            Measure::Mrr(Cutoff::At(k)) => {
                format!("1 / rank of the first relevant item, 0 if none is among the {k} nearest")
            }
            Measure::Mrr(Cutoff::MaxBinCount) => {
                "1 / rank of the first relevant item, 0 if none is among the k \
                                                  nearest, with k the largest R of any query"
                    .into()
            }
            Measure::Recall(k) => {
                format!(
                    "1 if at least one relevant item is among the {k} nearest, else 0 (metric-learning recall)"
                )
            }
            Measure::IrRecall(k) => {
                format!("relevant items among the {k} nearest, divided by R (information-retrieval recall)")
            }
        };
        format!(
            "{formula}; mean over queries. R: items of the query's label in the whole gallery, the query's own row not \
             counted. P(i): precision of the first i ranks. Ties: exact expected value under a uniformly random order \
             of items with equal scores. Self-match: where the queries are part of the gallery, each query's own row \
             is removed by its index, and other rows with the same vector stay. Queries with R = 0 are dropped and \
             counted."
        )
    }

    /// The last rank at which this measure looks for a query with `relevant` relevant items, where the query with the
    /// most has `most_relevant`; `usize::MAX` for the whole ranking.
    pub(crate) fn horizon(self, relevant: usize, most_relevant: usize) -> usize {
        match self {
            Measure::Precision(k) | Measure::Recall(k) | Measure::IrRecall(k) => k,
            Measure::RPrecision | Measure::MapAtR => relevant,
            Measure::Map(cutoff) | Measure::Mrr(cutoff) => cutoff.rank(most_relevant),
        }
    }

    /// Whether relevant items after the first (and what ties with it) can be ignored.
    pub(crate) fn needs_first_only(self) -> bool {
        matches!(self, Measure::Mrr(_) | Measure::Recall(_))
    }

    /// The expected value for one query over all orders of tied items.
    ///
    /// `most_relevant` is the largest `R` over the evaluated queries and only [`Cutoff::MaxBinCount`] reads it.
    pub fn expected(self, ranking: &Ranking, most_relevant: usize) -> f64 {
        let relevant = ranking.relevant();
        let k = self.horizon(relevant, most_relevant);
        match self {
            Measure::Precision(k) => ranking.expected_hits(k) / k as f64,
            Measure::RPrecision | Measure::IrRecall(_) => ranking.expected_hits(k) / relevant as f64,
            Measure::MapAtR | Measure::Map(_) => ranking.expected_precision_sum(k) / relevant as f64,
            Measure::Mrr(_) => ranking.expected_reciprocal_rank(k),
            Measure::Recall(k) => ranking.probability_of_hit(k),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Precision(k) => write!(f, "precision@{k}"),
            Measure::RPrecision => write!(f, "r_precision"),
            Measure::MapAtR => write!(f, "map@r"),
            Measure::Map(cutoff) => write!(f, "map{cutoff}"),
            Measure::Mrr(cutoff) => write!(f, "mrr{cutoff}"),
            Measure::Recall(k) => write!(f, "recall@{k}"),
            Measure::IrRecall(k) => write!(f, "ir_recall@{k}"),
        }
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Measure { given: text.to_string(), valid: Measure::NAMES };
        let (name, at) = match text.split_once('@') {
            Some((name, at)) => (name, Some(at)),
            None => (text, None),
        };
        let whole = |at: &str| {
            let digits = !at.is_empty() && at.bytes().all(|b| b.is_ascii_digit());
            at.parse::<usize>().ok().filter(|&k| digits && k > 0).ok_or_else(unknown)
        };
        let cutoff = || match at {
            None => Ok(Cutoff::All),
            Some("max_bin_count") => Ok(Cutoff::MaxBinCount),
            Some(at) => whole(at).map(Cutoff::At),
        };
        let k = || at.ok_or_else(unknown).and_then(whole);
        match (name, at) {
            ("r_precision", None) => Ok(Measure::RPrecision),
            ("map", Some("r")) => Ok(Measure::MapAtR),
            ("map", _) => Ok(Measure::Map(cutoff()?)),
            ("mrr", _) => Ok(Measure::Mrr(cutoff()?)),
            ("precision", _) => Ok(Measure::Precision(k()?)),
            ("recall", _) => Ok(Measure::Recall(k()?)),
            ("ir_recall", _) => Ok(Measure::IrRecall(k()?)),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Measure {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> String {
        measure.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "precision@1",
            "precision@10",
            "r_precision",
            "map@r",
            "map",
            "map@7",
            "map@max_bin_count",
            "mrr",
            "mrr@10",
            "mrr@max_bin_count",
            "recall@8",
            "ir_recall@100",
        ] {
            assert_eq!(name.parse::<Measure>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn unknown_names_are_told_the_valid_ones() {
        for name in [
            "",
            "recall",
            "recall@0",
            "recall@-1",
            "recall@1.5",
            "recall@+3",
            "recall@max",
            "map@",
            "MAP",
            "r_precision@3",
            "ndcg@10",
            "recall@99999999999999999999999",
        ] {
            let message = name.parse::<Measure>().unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")) && message.contains("ir_recall@K"), "{message}");
        }
    }

    #[test]
    fn definitions_name_denominator_ties_and_dropped_queries() {
        for name in ["precision@3", "r_precision", "map@r", "map", "map@5", "mrr", "recall@2", "ir_recall@2"]
        {
            let text = name.parse::<Measure>().unwrap().definition();
            for part in ["Ties:", "Self-match:", "R = 0", "mean over queries"] {
                assert!(text.contains(part), "{name}: {text}");
            }
        }
    }
}
