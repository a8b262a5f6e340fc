use std::ffi::OsString;

use parallax::BATCH_TOKENS;
use parallax::bench::{BenchOptions, Part, Program, encode};

use crate::args::{Bench, BenchEncode, BenchPart, Global};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax bench`
pub(crate) fn bench(global: &Global, args: Bench) -> anyhow::Result<()> {
    let Bench::Encode(args) = args;
    let progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping");
    let model = super::load(&args.model, &args.load, global.precision, &progress)?;
    let chosen: Vec<Part> = args
        .parts
        .iter()
        .map(|part| match part {
            BenchPart::Batch => Part::Batch,
            BenchPart::One => Part::One,
            BenchPart::Start => Part::Start,
            BenchPart::Shapes => Part::Shapes,
        })
        .collect();
    let options = BenchOptions {
        texts: args.texts.as_deref(),
        column: args.column.as_deref(),
        prompt: args.prompt.as_deref(),
        batch_tokens: args.batch_tokens.unwrap_or(BATCH_TOKENS),
        runs: args.runs,
        parts: if chosen.is_empty() { &Part::ALL } else { &chosen },
        program: Some(Program { path: std::env::current_exe()?, arguments: embedding(global, &args) }),
        stop: &stop,
    };
    let name = args.model.to_string_lossy();
    let measured = encode(&model, &name, &options, &mut |what| progress.line(&format!("measuring {what}")))?;
    output::result(global, &measured, || measured.to_string())
}

/// The arguments of this program that embed a file with the same model and settings.
fn embedding(global: &Global, args: &BenchEncode) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["embed", "--quiet"].map(OsString::from).to_vec();
    let mut flag = |name: &str, value: Option<OsString>| {
        arguments.extend(value.map(|value| [OsString::from(name), value]).into_iter().flatten());
    };
    flag("--threads", Some(global.threads.to_string().into()));
    flag("--precision", global.precision.map(|precision| precision.to_string().into()));
    flag("--prompt", args.prompt.clone().map(OsString::from));
    flag("--max-tokens", args.load.max_tokens.map(|n| n.to_string().into()));
    flag("--pooling", args.load.pooling.clone().map(OsString::from));
    arguments.push(args.model.clone().into());
    arguments
}
