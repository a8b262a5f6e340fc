use parallax::{BATCH_TOKENS, EmbedOptions};

use crate::args::{Embed, Global};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax embed`
pub(crate) fn embed(global: &Global, args: Embed) -> anyhow::Result<()> {
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping; nothing will be written");
    let model = super::load(&args.model, &args.load, &progress)?;
    let options = EmbedOptions {
        column: args.column.as_deref(),
        prompt: args.prompt.as_deref(),
        batch_tokens: args.batch_tokens.unwrap_or(BATCH_TOKENS),
        stop: &stop,
        ..EmbedOptions::default()
    };
    let written = parallax::embed(&model, &args.input, &args.output, &options, &mut |rows| {
        progress.step(rows as u64, 0, "rows embedded");
    })?;
    progress.clear();
    output::result(global, &written, || {
        format!("{}: {} rows of {} numbers", written.output.display(), written.rows, written.dim)
    })
}
