use std::process::ExitCode;

use parallax::parity::TEXTS;
use parallax::{BATCH_TOKENS, EmbedOptions, ParityOptions, Precision};

use crate::args::{Doctor, Global, Parity};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax doctor`
pub(crate) fn doctor(global: &Global, args: Option<Doctor>) -> anyhow::Result<ExitCode> {
    match args {
        None => {
            let machine = parallax::doctor::machine();
            output::result(global, &machine, || machine.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Doctor::Texts) => {
            output::result(global, &TEXTS, || TEXTS.join("\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Doctor::Parity(args)) => parity(global, args),
    }
}

fn parity(global: &Global, args: Parity) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping");
    // Another program's vectors are compared with the most exact of ours where nothing else is asked for.
    let precision = global.precision.or(Some(Precision::F32));
    let model = super::load(&args.model, &args.load, precision, &progress)?;
    let options = ParityOptions {
        texts: args.texts.as_deref(),
        min_cosine: args.min_cosine,
        worst: args.worst,
        embed: EmbedOptions {
            column: args.column.as_deref(),
            prompt: args.prompt.as_deref(),
            batch_tokens: args.batch_tokens.unwrap_or(BATCH_TOKENS),
            stop: &stop,
            ..EmbedOptions::default()
        },
    };
    let report = parallax::parity(&model, &args.against, &options, &mut |rows| {
        progress.step(rows as u64, 0, "rows embedded");
    })?;
    progress.clear();
    output::result(global, &report, || report.to_string())?;
    Ok(if report.same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
