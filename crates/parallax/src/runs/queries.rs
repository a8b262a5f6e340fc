//! The values of single queries after training, by which two runs are compared query by query.

use std::path::Path;

use parallax_data::{NpyWriter, Vectors};
use parallax_eval::Retrieval;

use super::Run;
use crate::Result;

/// The file with them: a float32 matrix `[queries, measures]`, the measures in the order of `metrics.json`, the queries by the
/// number of their rows. Runs that were measured on the same rows have the same queries in the same order.
pub(crate) const QUERIES: &str = "queries.npy";

/// Writes the values of a measurement of these rows; nothing where there are none, as for correlations.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_queries(folder: &Path, rows: &[u32], measured: &Retrieval) -> Result<()> {
    let Some(single) = measured.per_query.as_ref().filter(|single| !single.columns.is_empty()) else {
        return Ok(());
    };
    let mut file = NpyWriter::create(folder.join(QUERIES), single.columns.len())?;
    let mut order: Vec<usize> = (0..single.query.len()).collect();
    order.sort_by_key(|&at| rows[single.query[at]]);
    for query in order {
        let values: Vec<f32> = single.columns.iter().map(|column| column[query] as f32).collect();
        file.push_rows(&values)?;
    }
    Ok(file.finish()?)
}

/// The values of one measure for every query of a run, where they were kept.
pub(super) fn values(run: &Run, measure: &str) -> Option<Vec<f64>> {
    let outcome = run.outcome.as_ref()?;
    let column = outcome.measures.iter().position(|m| m.name == measure)?;
    let table = Vectors::open(run.folder.join(QUERIES)).ok()?;
    if table.dim() != outcome.measures.len() || table.rows() != outcome.queries {
        return None;
    }
    Some((0..table.rows()).map(|query| f64::from(table.row(query)[column])).collect())
}
