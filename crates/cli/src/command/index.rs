use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use parallax::BATCH_TOKENS;
use parallax::index::{BuildOptions, Searcher, Source, build, store};

use crate::args::{Global, Index, IndexBuild, Search};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax index`
pub(crate) fn index(global: &Global, args: Index) -> anyhow::Result<()> {
    match args {
        Index::Build(args) => make(global, args),
        Index::Info { index } => {
            let info = store::Index::open(&index)?.info();
            output::result(global, &info, || described(&info))
        }
        Index::Delete { index, ids } => {
            let deleted = store::delete(&index, &ids)?;
            let unknown = match &deleted.unknown[..] {
                [] => String::new(),
                ids => format!("; not there: {}", ids.join(", ")),
            };
            output::line(&format!("{} rows deleted{unknown}", deleted.rows))
        }
        Index::Compact { index } => {
            let info = store::compact(&index)?;
            output::result(global, &info, || described(&info))
        }
    }
}

fn make(global: &Global, args: IndexBuild) -> anyhow::Result<()> {
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping; the index stays as it was");
    let npy = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
    let (vectors, table): (Vec<PathBuf>, Vec<PathBuf>) = args.source.into_iter().partition(npy);
    let name = match (&args.model, vectors.is_empty()) {
        (Some(model), _) => Some(model.clone()),
        (None, true) => Some(parallax::models::STARTER.to_owned()),
        (None, false) => None,
    };
    let model = match &name {
        Some(name) => {
            Some((name.as_str(), super::load(name.as_ref(), &args.load, global.precision, &progress)?))
        }
        None => None,
    };
    let source = Source { table, vectors: vectors.into_iter().next(), text: args.text, id: args.id };
    let options = BuildOptions {
        append: args.append,
        force: args.force,
        prompt: args.prompt.as_deref(),
        codes: args.codes.map(Into::into),
        batch_tokens: args.batch_tokens.unwrap_or(BATCH_TOKENS),
        stop: &stop,
    };
    let model = model.as_ref().map(|(name, model)| (*name, model));
    let begun = Instant::now();
    let info = build(&source, model, &args.output, &options, &mut |done, all| {
        progress.rows(done as u64, all as u64, "rows indexed", begun);
    })?;
    progress.clear();
    output::result(global, &info, || format!("{}: {}", args.output.display(), described(&info)))
}

fn described(info: &store::IndexInfo) -> String {
    let unit = if info.similarity == store::Similarity::Hamming { "bits" } else { "numbers" };
    let mut text = format!("{} rows of {} {unit}, {:.1} MB", info.rows, info.dim, info.bytes as f64 / 1e6);
    if let Some(model) = &info.model {
        let _ = write!(text, ", by {model}");
    }
    if info.deleted > 0 {
        let _ = write!(text, "; {} deleted rows still take room", info.deleted);
    }
    for attribute in &info.attributes {
        let _ = write!(text, "\n  {}  {}", attribute.name, attribute.kind);
    }
    text
}

/// `parallax search`
pub(crate) fn search(global: &Global, args: Search) -> anyhow::Result<()> {
    let searcher = Searcher::open(&args.index, args.model.as_deref(), global.precision)?;
    let found = searcher.search(&args.query, args.k, args.filter.as_deref(), args.prompt.as_deref())?;
    output::result(global, &found, || {
        let mut text = String::new();
        for (query, hits) in args.query.iter().zip(&found) {
            if args.query.len() > 1 {
                let _ = writeln!(text, "{query}");
            }
            if hits.is_empty() {
                let _ = writeln!(text, "nothing found");
            }
            for hit in hits {
                let attributes = hit.attributes();
                let known = attributes.iter().filter(|(_, value)| !value.is_null());
                let known: Vec<String> = known
                    .map(|(name, value)| match value.as_str() {
                        Some(value) => format!("{name}={value}"),
                        None => format!("{name}={value}"),
                    })
                    .collect();
                let _ = writeln!(
                    text,
                    "{:.4}  {}  {}  {}",
                    hit.score,
                    hit.id,
                    hit.text.unwrap_or(""),
                    known.join(" ")
                );
            }
        }
        text
    })
}
