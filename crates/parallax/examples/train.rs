//! Training from Rust: a table in, a better model out, with the measures before and after.
//!
//! ```sh
//! cargo run --release -p parallax --example train -- examples/support.csv
//! ```

use std::path::PathBuf;

use parallax::config::{Data, infer};
use parallax::run::{self, Event, TrainOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let table = PathBuf::from(std::env::args().nth(1).ok_or("which table? train TABLE.csv")?);
    let folder = tempfile::tempdir()?;

    // What the data say about how to learn from them; any of it can be changed.
    let mut config = infer(&[table], Data::default(), None)?.config;
    config.train.epochs = 3;
    println!("{}", config.to_toml()?);

    let options = TrainOptions { out: Some(folder.path().join("run")), ..TrainOptions::default() };
    let outcome = run::train(config, options, &mut |event| {
        if let Event::Validation { step, measure, value, .. } = event {
            println!("step {step}: {measure} {value:.4}");
        }
    })?;
    for measure in &outcome.measures {
        println!("{}: {:.4?} -> {:.4?}", measure.name, measure.before, measure.after);
    }

    let model = parallax::Model::load(folder.path().join("run/model"))?;
    let vectors = model.encode(["my bike will not unlock", "the lock of my bike is stuck"])?;
    println!("similarity {:.3}", vectors.cosine(0, 1));
    Ok(())
}
