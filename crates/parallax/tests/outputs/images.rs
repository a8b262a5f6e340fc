//! Images: shapes that stand anywhere are told apart by filters, and not by their pixels.

use std::path::{Path, PathBuf};

use parallax::Model;
use parallax_data::NpyWriter;
use parallax_nn::Input;
use parallax_random::Key;

use super::{config, train};

/// Pixels a side.
const SIDE: usize = 12;

/// One of eight shapes of 4 × 4 pixels, by turns, anywhere in an image with some noise.
fn world(folder: &Path) -> (PathBuf, PathBuf) {
    let (vectors, table) = (folder.join("images.npy"), folder.join("images.csv"));
    let mut file = NpyWriter::create(&vectors, SIDE * SIDE).unwrap();
    let mut text = String::from("label\n");
    for row in 0..480u64 {
        let (key, class) = (Key::new(3).at(row), row % 8);
        let place = |axis: u64| key.named("place").below(axis, SIDE - 3);
        let (top, left) = (place(0), place(1));
        let mut image: Vec<f32> =
            (0..(SIDE * SIDE) as u64).map(|at| 0.1 * key.named("noise").normal(at) as f32).collect();
        for at in 0..16 {
            let ink = Key::new(9).at(class).normal(at as u64) as f32;
            image[(top + at / 4) * SIDE + left + at % 4] += ink.signum();
        }
        file.push_rows(&image).unwrap();
        text.push_str(&format!("shape {class}\n"));
    }
    file.finish().unwrap();
    std::fs::write(&table, text).unwrap();
    (vectors, table)
}

const SETTINGS: &str = "[head]\nname = \"convolution\"\nfilters = 32\nblocks = 3\ndim = 16\n\
                        [train]\nepochs = 25\nbatch_size = 64\nsampler = { name = \"per_class\", per_class = 8 }\n\
                        optimizer = { name = \"adamw\", lr = 0.005 }\n\
                        [evaluate]\nresamples = 0\nmeasures = [\"recall@1\", \"map@r\"]\n";

#[test]
fn shapes_are_learned_wherever_they_stand_and_a_run_is_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let files = world(folder.path());
    let run = |out: &str, threads: usize, more: &str| {
        let mut config = config(&folder.path().join(out), &files, &format!("{SETTINGS}{more}"));
        config.data.split = Some(parallax_data::Split::Random(Default::default()));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(config)).unwrap().0
    };
    let outcome = run("one", 1, "");
    let measure = &outcome.measures[0];
    let (before, after) = (measure.before.unwrap(), measure.after.unwrap());
    assert!(before < 0.7 && after > 0.9, "{before} to {after}");

    let weights = |model: Option<PathBuf>| {
        let path = model.unwrap().join("0_Convolution/model.safetensors");
        std::fs::read(path).unwrap()
    };
    assert_eq!(weights(run("two", 2, "").model), weights(outcome.model.clone()));

    // The folder embeds images as they come.
    let model = Model::load(outcome.model.unwrap()).unwrap();
    let image = |len: usize| [Input::Vector(vec![0.5; len])];
    assert_eq!(model.encoder().embed(&image(SIDE * SIDE), 8, |_| ()).unwrap().len(), 16);
    let error = model.encoder().embed(&image(SIDE), 8, |_| ()).unwrap_err().to_string();
    assert!(error.contains("144") && error.contains("12"), "{error}");
}
