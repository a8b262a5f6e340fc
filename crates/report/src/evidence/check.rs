//! Whether the inputs fit together.

use super::{Embeddings, QueryValues, Rows, Subject};
use crate::Error;

/// Checks shapes, labels and values, so that nothing after it can go out of bounds.
pub(super) fn check(subject: &Subject) -> Result<(), Error> {
    let n = rows("queries", &subject.queries, subject.classes)?;
    if let Some(gallery) = &subject.gallery {
        rows("gallery", gallery, subject.classes)?;
        let queries = &subject.queries;
        if gallery.before.is_some() != queries.before.is_some() {
            return Err(Error::OneSided { what: "vectors from before" });
        }
        if gallery.labels.is_some() != queries.labels.is_some() {
            return Err(Error::OneSided { what: "labels" });
        }
        let sides =
            [("after", Some(queries.after), Some(gallery.after)), ("before", queries.before, gallery.before)];
        for (side, a, b) in sides {
            if let (Some(a), Some(b)) = (a, b)
                && a.dim != b.dim
            {
                return Err(Error::Dimension { side, queries: a.dim, gallery: b.dim });
            }
        }
    }
    match &subject.values {
        Some(given) => values(given, n, subject.queries.before.is_some()),
        None => Ok(()),
    }
}

fn rows(set: &'static str, rows: &Rows, classes: &[String]) -> Result<usize, Error> {
    let Embeddings { values, dim } = rows.after;
    if dim == 0 || values.is_empty() {
        return Err(Error::Empty { set });
    }
    let n = values.len() / dim;
    for (side, embeddings) in [("after", Some(rows.after)), ("before", rows.before)] {
        let Some(Embeddings { values, dim }) = embeddings else { continue };
        if dim == 0 || values.len() != n * dim {
            return Err(Error::Shape { set, side, values: values.len(), rows: n, dim });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                set,
                side,
                row: at / dim + 1,
                column: at % dim + 1,
                value: values[at],
            });
        }
    }
    if let Some(labels) = rows.labels {
        if labels.len() != n {
            return Err(Error::Labels { set, rows: n, labels: labels.len() });
        }
        let unnamed = |&label: &u32| label as usize >= classes.len();
        if !classes.is_empty()
            && let Some(row) = labels.iter().position(unnamed)
        {
            return Err(Error::Class { set, row: row + 1, label: labels[row], classes: classes.len() });
        }
    }
    Ok(n)
}

fn values(given: &QueryValues, n: usize, has_before: bool) -> Result<(), Error> {
    let QueryValues { rows, before, after, .. } = given;
    let problem = if after.len() != rows.len() {
        format!("{} rows and {} values after", rows.len(), after.len())
    } else if before.len() != if has_before { rows.len() } else { 0 } {
        format!("{} rows and {} values before", rows.len(), before.len())
    } else if let Some(row) = rows.iter().find(|&&row| row >= n) {
        format!("row {row} (counted from 0) of {n}")
    } else if before.iter().chain(*after).any(|value| !value.is_finite()) {
        "a value is not finite".into()
    } else {
        return Ok(());
    };
    Err(Error::Values { problem })
}
