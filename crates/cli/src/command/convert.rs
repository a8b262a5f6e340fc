use parallax::convert::{self, Progress as Told, StaticDistillation};

use crate::args::{Convert, Distill, Global, Quantize};
use crate::progress::Progress;
use crate::{interrupt, output};

/// `parallax convert`
pub(crate) fn convert(global: &Global, args: Convert) -> anyhow::Result<()> {
    match args {
        Convert::Distill(args) => distill(global, args),
        Convert::Quantize(args) => quantize(global, args),
    }
}

fn distill(global: &Global, args: Distill) -> anyhow::Result<()> {
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping; nothing will be written");
    let teacher = super::load(&args.model, &args.load, global.precision, &progress)?;
    let settings = StaticDistillation { dim: args.dim, sif: args.sif, int8: args.int8 };
    let texts = args.texts.as_deref().map(|path| (path, args.column.as_deref()));
    let name = args.model.to_string_lossy();
    let told = &mut |told| match told {
        Told::Counted(texts) => progress.step(texts as u64, 0, "texts counted"),
        Told::Embedded(done, all) => progress.step(done as u64, all as u64, "tokens through the teacher"),
    };
    let written = convert::distill(&teacher, &name, texts, &settings, &args.output, &stop, told)?;
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

fn quantize(global: &Global, args: Quantize) -> anyhow::Result<()> {
    let mut progress = Progress::new(global.quiet);
    let stop = interrupt::flag("stopping; nothing will be written");
    let model = super::load(&args.model, &args.load, global.precision, &progress)?;
    let (texts, column) = (args.texts.as_path(), args.column.as_deref());
    let written = convert::quantize(&model, texts, column, &args.output, &stop, &mut |done| {
        progress.step(done as u64, 0, "texts looked at");
    })?;
    progress.clear();
    output::result(global, &written, || {
        format!(
            "{}: calibrated on {} texts; cosine of vectors in 8 bits to those in 32: {:.5} on average, {:.5} at least",
            written.model.display(),
            written.texts,
            written.mean_cosine,
            written.lowest_cosine
        )
    })
}
