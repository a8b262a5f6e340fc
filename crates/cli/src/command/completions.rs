use std::io::Write;

use clap::CommandFactory;

use crate::args::{Cli, Completions};

/// `parallax completions`
pub(crate) fn completions(args: Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "parallax", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}
