use std::path::PathBuf;
use std::process::ExitCode;

use parallax::run::{Event, TrainOptions};
use parallax::{Precision, RunConfig};

use crate::args::{Columns, Global, Train};
use crate::progress::{Progress, duration};
use crate::{INTERRUPTED, interrupt, output};

/// `parallax train`
pub(crate) fn train(global: &Global, args: Train) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(global.quiet);
    let mut config = config_of(&args.what, &args.columns, args.model.as_deref(), &args.set, &mut progress)?;
    if let Some(seed) = global.seed {
        config.seed = seed;
    }
    config.output.tensorboard |= args.tensorboard;
    round(&mut config, global.precision);
    if args.dry_run {
        let options = TrainOptions { resume: args.resume, out: args.out, ..TrainOptions::default() };
        let mut progress = Progress::new(global.quiet);
        let plan = parallax::run::plan(config, options, &mut |event| show(&mut progress, event))?;
        return output::result(global, &plan, || plan.to_string()).map(|()| ExitCode::SUCCESS);
    }
    let stop = interrupt::flag("stopping after this step, with a checkpoint");
    let options = TrainOptions { resume: args.resume, out: args.out, stop, ..TrainOptions::default() };
    let outcome = parallax::run::train(config, options, &mut |event| show(&mut progress, event))?;
    progress.clear();
    output::result(global, &outcome, || outcome.table())?;
    Ok(if outcome.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Sets how products are rounded, where it was asked for.
pub(crate) fn round(config: &mut RunConfig, precision: Option<Precision>) {
    let Some(precision) = precision else { return };
    if let Some(start) = &mut config.model {
        start.precision = precision;
    }
    // 8 bits have no gradients: such a run is measured in them, and trained as it would be anyway.
    if precision != Precision::Int8 {
        config.train.precision = precision;
    }
}

/// The run of a run file, or one made for data.
pub(crate) fn config_of(
    what: &[PathBuf],
    columns: &Columns,
    model: Option<&str>,
    set: &[String],
    progress: &mut Progress,
) -> anyhow::Result<RunConfig> {
    let is_run = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if let [path] = what
        && is_run(path)
    {
        // Named columns and a named model are settings like any other.
        let mut sets = columns.sets();
        sets.extend(model.iter().map(|model| format!("model.path={model}")));
        sets.extend(set.iter().cloned());
        return Ok(RunConfig::load(path, &sets)?);
    }
    if let Some(run) = what.iter().find(|path| is_run(path)) {
        let what = format!("{} is a run file, and it stands beside other files", run.display());
        let hint = "give one run file, or data alone";
        return Err(parallax::Error::Setting { what, hint: Some(hint.into()) }.into());
    }
    let data = columns.data(set)?;
    let inferred = parallax::config::infer(what, data, model)?;
    inferred.reasons.iter().for_each(|line| progress.line(line));
    Ok(inferred.with_sets(set)?.config)
}

pub(crate) fn show(progress: &mut Progress, event: &Event) {
    match event {
        Event::Plan(plan) => progress.line(&plan.to_string()),
        Event::Message(text) => progress.line(text),
        Event::Step { step, steps, epoch, loss, lr, rate, left } => {
            let left = duration(*left);
            let text =
                format!("steps, epoch {epoch}, loss {loss:.4}, lr {lr:.2e}, {rate:.0} rows/s, {left} left");
            progress.step(*step, *steps, &text);
        }
        Event::Progress { what, done, total, left } => {
            progress.step(*done, *total, &format!("{what}, {} left", duration(*left)));
        }
        Event::Validation { step, measure, value, best } => {
            let best = if *best { " (best so far)" } else { "" };
            progress.line(&format!("step {step}: {measure} {value:.4}{best}"));
        }
    }
}
