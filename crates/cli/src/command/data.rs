use parallax::config::{Files, parse_component};
use parallax::inspect::{CheckSettings, check};

use crate::args::{Data, Global};
use crate::output;
use crate::progress::Progress;

/// `parallax data`
pub(crate) fn data(global: &Global, args: Data) -> anyhow::Result<()> {
    let Data::Check(args) = args;
    let progress = Progress::new(global.quiet);
    let mut data = args.columns.data(&args.set)?;
    data.path = Files(args.data);
    data.split = args.split.as_deref().map(|split| parse_component(split, "data.split")).transpose()?;
    let model = match &args.model {
        Some(model) => Some(super::load(model, &Default::default(), None, &progress)?),
        None => None,
    };
    let settings =
        CheckSettings { model: model.as_ref(), max_tokens: args.max_tokens, seed: global.seed.unwrap_or(0) };
    let report = check(&data, &settings)?;
    output::result(global, &report, || report.to_string())
}
