use parallax::inspect::{WeightSettings, weights};

use crate::args::{Global, Inspect};
use crate::output;

/// `parallax inspect`
pub(crate) fn inspect(global: &Global, args: Inspect) -> anyhow::Result<()> {
    let Inspect::Weights(args) = args;
    let defaults = WeightSettings::default();
    let or = |given: Vec<f64>, default| if given.is_empty() { default } else { given };
    let settings = WeightSettings {
        positives: or(args.positives, defaults.positives),
        negatives: or(args.negatives, defaults.negatives),
        points: args.points,
    };
    let found = weights(&args.loss, &args.set, &settings)?;
    if let Some(path) = &args.output {
        parallax::inspect::write_picture(&found, path)?;
    }
    output::result(global, &found, || found.to_string())
}
