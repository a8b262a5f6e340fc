use std::process::ExitCode;

use parallax::tune::{Progress as Told, TuneOptions};

use super::train;
use crate::args::{Global, Tune};
use crate::progress::{Progress, duration};
use crate::{interrupt, output};

/// `parallax tune`
pub(crate) fn tune(global: &Global, args: Tune) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(global.quiet);
    let mut config =
        train::config_of(&args.what, &args.columns, args.model.as_deref(), &args.set, &mut progress)?;
    // Data without a run file may have been given a closed-form map, which has no settings to search.
    config.adapter = None;
    if let Some(seed) = global.seed {
        config.seed = seed;
    }
    train::round(&mut config, global.precision);
    let mut tuning = config.tune.take().unwrap_or_default();
    for text in &args.search {
        let (key, dimension) = parallax::tune::dimension(text)?;
        tuning.space.0.insert(key, dimension);
    }
    tuning.trials =
        args.trials.unwrap_or(if args.minutes.is_some() { usize::MAX >> 32 } else { tuning.trials });
    tuning.minutes = args.minutes.or(tuning.minutes);
    config.tune = Some(tuning);
    let out = args.out.unwrap_or_else(|| config.output.dir.join(format!("{}-tune", config.name)));
    let stop = interrupt::flag("stopping after this trial; --resume goes on");
    let options = TuneOptions { out, resume: args.resume, force: args.force, seeds: args.seeds, stop };
    let report = parallax::tune::tune(&config, &options, &mut |told| match told {
        Told::Message(text) => progress.line(&text),
        Told::Measured { done, total, text, left } => {
            progress.step(done, total, &format!("{text}, {} left", duration(left)));
        }
    })?;
    progress.clear();
    output::result(global, &report, || report.table())?;
    Ok(ExitCode::SUCCESS)
}
