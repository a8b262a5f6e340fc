use std::path::Path;

use parallax::runs::{self, Details, Difference};

use crate::args::{Global, Runs};
use crate::output;

/// The folder of runs where none is given: that of run files.
const DIR: &str = "runs";

/// `parallax runs`
pub(crate) fn runs(global: &Global, args: Runs) -> anyhow::Result<()> {
    match args {
        Runs::List { dir } => {
            let there = dir.as_deref().unwrap_or(Path::new(DIR));
            let found = match dir.is_none() && !there.exists() {
                true => Vec::new(),
                false => runs::list(there)?,
            };
            output::result(global, &found, || match found.is_empty() {
                true => format!(
                    "there are no runs in {}; \"parallax train\" makes one, and \"parallax runs list DIR\" looks elsewhere",
                    there.display()
                ),
                false => runs::table(&found),
            })
        }
        Runs::Show { run, dir } => {
            let details = Details::of(runs::find(&run, &dir)?)?;
            output::result(global, &details, || details.to_string())
        }
        Runs::Diff { a, b, dir } => {
            let difference = Difference::of(&runs::find(&a, &dir)?, &runs::find(&b, &dir)?);
            output::result(global, &difference, || difference.to_string())
        }
    }
}
