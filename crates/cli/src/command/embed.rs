use std::time::Instant;

use parallax::{BATCH_TOKENS, EmbedOptions, Role};

use crate::args::{Embed, Global, Side};
use crate::guess::quoted;
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax embed`
pub(crate) fn embed(global: &Global, args: Embed) -> anyhow::Result<()> {
    let typed = args.input.to_string_lossy();
    if typed.contains(char::is_whitespace) && !args.input.exists() {
        let what = format!("{typed}: there is no such file, and embed reads texts from a file");
        let hint = format!(
            "for one text: echo {} | parallax embed {} - -o {}",
            quoted(&typed),
            quoted(&args.model.to_string_lossy()),
            quoted(&args.output.to_string_lossy())
        );
        return Err(parallax::Error::setting_with(what, hint).into());
    }
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping; nothing will be written");
    let model = super::load(&args.model, &args.load, global.precision, &progress)?;
    let options = EmbedOptions {
        column: args.column.as_deref(),
        prompt: args.prompt.as_deref(),
        role: match args.side {
            Side::Query => Role::Query,
            Side::Document => Role::Document,
        },
        batch_tokens: args.batch_tokens.unwrap_or(BATCH_TOKENS),
        stop: &stop,
        ..EmbedOptions::default()
    };
    if args.dry_run {
        let plan = parallax::embed::plan(&model, &args.input, &args.output, &options)?;
        return output::result(global, &plan, || plan.to_string());
    }
    let total = parallax::embed::rows(&args.input, &options).unwrap_or(0) as u64;
    let begun = Instant::now();
    let written = parallax::embed(&model, &args.input, &args.output, &options, &mut |rows| {
        progress.rows(rows as u64, total, "rows embedded", begun);
    })?;
    progress.clear();
    output::result(global, &written, || {
        format!("{}: {} rows of {} numbers", written.output.display(), written.rows, written.dim)
    })
}
