//! A loss of one's own, in one file: `cargo run --release -p parallax --example own_loss`.
//!
//! A pair loss is one anchor's row: its similarities to positives and negatives come in, its value and derivatives go
//! out. Tiles, threads, miners, reducers, the gradients of the embeddings, checkpoints and the report come with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parallax::OwnLoss;
use parallax::config::infer;
use parallax::metric::{Error, Real, Row, RowLoss, Slopes};
use parallax::run::{Event, TrainOptions, train};

/// For each anchor, `log(1 + Σ_p Σ_n e^(scale · (s_n − s_p)))`: a soft count of the pairs of pairs in the wrong order, which
/// is a product of two sums.
#[derive(Clone, Debug)]
struct WrongOrder {
    /// Factor of the differences.
    scale: f64,
}

impl RowLoss for WrongOrder {
    const NAME: &'static str = "wrong_order";

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() || row.negatives.is_empty() {
            return;
        }
        let scale = self.scale * row.sign().f64();
        let sum =
            |values: &[T], sign: f64| values.iter().map(|s| (sign * scale * s.f64()).exp()).sum::<f64>();
        let (positives, negatives) = (sum(row.positives, -1.0), sum(row.negatives, 1.0));
        let product = positives * negatives;
        let weight = slopes.element(0, T::of(product.ln_1p())).f64();
        // ∂/∂s of log(1 + P · N): each term's share of its sum, times P N / (1 + P N).
        let factor = weight * scale * product / (1.0 + product);
        for (slope, s) in slopes.positives.iter_mut().zip(row.positives) {
            *slope = T::of(-factor * (-scale * s.f64()).exp() / positives);
        }
        for (slope, s) in slopes.negatives.iter_mut().zip(row.negatives) {
            *slope = T::of(factor * (scale * s.f64()).exp() / negatives);
        }
    }
}

fn main() -> parallax::Result<()> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/support.csv");
    let mut config = infer(&[table], Default::default(), Some("starter"))?.config;
    config.train.epochs = 10;
    let out = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("runs/own_loss"), PathBuf::from);
    let options = TrainOptions {
        out: Some(out),
        objective: Some(Arc::new(OwnLoss::new(WrongOrder { scale: 10.0 }))),
        ..TrainOptions::default()
    };
    let outcome = train(config, options, &mut |event| match event {
        Event::Plan(plan) => println!("{plan}"),
        Event::Message(text) => println!("{text}"),
        _ => {}
    })?;
    println!("{}", outcome.table());
    Ok(())
}
