use std::process::ExitCode;

use parallax::quickstart::{Options, quickstart as run};

use crate::args::{Global, Quickstart};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax quickstart`
pub(crate) fn quickstart(global: &Global, args: Quickstart) -> anyhow::Result<ExitCode> {
    let options = Options {
        folder: args.output,
        splits: args.splits,
        seed: global.seed.unwrap_or(0),
        force: args.force,
        stop: interrupt::flag("stopping"),
    };
    let mut progress = Progress::new(global.quiet);
    let made = run(&options, &mut |event| super::train::show(&mut progress, event))?;
    progress.clear();
    output::result(global, &made, || made.summary())?;
    Ok(ExitCode::SUCCESS)
}
