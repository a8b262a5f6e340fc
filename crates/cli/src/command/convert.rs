use parallax::convert::{Progress as Told, StaticDistillation, distill};

use crate::args::{Convert, Global};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax convert`
pub(crate) fn convert(global: &Global, args: Convert) -> anyhow::Result<()> {
    let Convert::Distill(args) = args;
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping; nothing will be written");
    let teacher = super::load(&args.model, &args.load, &progress)?;
    let settings = StaticDistillation { dim: args.dim, sif: args.sif, int8: args.int8 };
    let texts = args.texts.as_deref().map(|path| (path, args.column.as_deref()));
    let name = args.model.to_string_lossy();
    let written = distill(&teacher, &name, texts, &settings, &args.output, &stop, &mut |told| match told {
        Told::Counted(texts) => progress.step(texts as u64, 0, "texts counted"),
        Told::Embedded(done, all) => progress.step(done as u64, all as u64, "tokens through the teacher"),
    })?;
    progress.clear();
    output::result(global, &written, || {
        let d = &written.distilled;
        format!(
            "{}: {} tokens of {} dimensions ({:.1} % of the variance), {:.1} MB",
            written.model.display(),
            d.tokens,
            d.dim,
            100.0 * d.explained,
            written.bytes as f64 / 1e6
        )
    })
}
