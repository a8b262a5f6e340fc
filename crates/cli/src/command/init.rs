use std::path::PathBuf;

use parallax::config::infer;

use crate::args::{Global, Init};
use crate::output;
use crate::progress::Progress;

/// `parallax init`
pub(crate) fn init(global: &Global, args: Init) -> anyhow::Result<()> {
    let progress = Progress::new(global.quiet);
    let data = args.columns.data(&args.set)?;
    let mut inferred = infer(&args.data, data, args.model.as_deref())?.with_sets(&args.set)?;
    if let Some(seed) = global.seed {
        inferred.config.seed = seed;
    }
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.toml", inferred.config.name)));
    inferred.write(&path, args.force)?;
    inferred.reasons.iter().for_each(|line| progress.line(line));
    output::result(global, &inferred.config, || {
        format!("{}: edit it, then: parallax train {}", path.display(), path.display())
    })
}
