use parallax::config::{Data, Evaluate, Files, parse_component};
use parallax::{Evaluation, evaluate};

use crate::args::{self, Eval, Global};
use crate::output;
use crate::progress::Progress;

/// `parallax eval`
pub(crate) fn eval(global: &Global, args: Eval) -> anyhow::Result<()> {
    let npy = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "npy");
    let mut data = Data {
        vectors: args.vectors,
        positives: args.positives,
        split: args.split.as_deref().map(|split| parse_component(split, "data.split")).transpose()?,
        ..args.columns.data(&[])?
    };
    match &args.data[..] {
        [labels] if npy(labels) => data.labels = Some(labels.clone()),
        _ => data.path = Files(args.data),
    }
    let usual = Evaluate::default();
    let evaluate_as = Evaluate {
        measures: if args.measures.is_empty() { usual.measures } else { args.measures },
        batch_tokens: args.batch_tokens.unwrap_or(usual.batch_tokens),
        resamples: args.resamples.unwrap_or(usual.resamples),
        codes: args.codes.map(Into::into),
    };
    let part = match (args.part, &data.split) {
        (None, None) | (Some(args::Part::All), _) => parallax::Part::All,
        (None, Some(_)) | (Some(args::Part::Test), _) => parallax::Part::Test,
        (Some(args::Part::Train), _) => parallax::Part::Train,
        (Some(args::Part::Validation), _) => parallax::Part::Validation,
    };
    let similarity = args.similarity.map(|similarity| match similarity {
        args::Similarity::Cosine => parallax::Similarity::Cosine,
        args::Similarity::Dot => parallax::Similarity::Dot,
        args::Similarity::Euclidean => parallax::Similarity::Euclidean,
    });
    let mut progress = Progress::new(global.quiet);
    let stored = npy(&args.what);
    let model =
        if stored { None } else { Some(super::load(&args.what, &args.load, global.precision, &progress)?) };
    if stored {
        data.vectors = Some(args.what);
    }
    let seed = global.seed.unwrap_or(0);
    let evaluation = Evaluation { data, evaluate: evaluate_as, part, seed, similarity, prompt: args.prompt };
    if args.dry_run {
        let plan = parallax::evaluate::plan(model.as_ref(), &evaluation)?;
        return output::result(global, &plan, || plan.to_string());
    }
    let report =
        evaluate(model.as_ref(), &evaluation, &mut |done| progress.step(done as u64, 0, "rows embedded"))?;
    progress.clear();
    output::result(global, &report, || report.to_string())
}
