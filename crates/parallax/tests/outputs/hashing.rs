//! Binary codes: a head that learns them, measures by them, and an index that stores them.

use std::sync::atomic::AtomicBool;

use parallax::Model;
use parallax::config::Codes;
use parallax::index::{BuildOptions, Source, build, store};

use super::{config, train, value, world};

#[test]
fn codes_are_learned_measured_and_searched() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let files = world(folder.path(), &names, &[30; 6], 8, 0.9);
    let settings = "[head]\nname = \"hash\"\nbits = 20\n\
                    [train]\nepochs = 30\nbatch_size = 24\noptimizer = { name = \"adamw\", lr = 0.01 }\n\
                    validate_with = \"map\"\n\
                    [evaluate]\nmeasures = [\"map\", \"precision@1\"]\nresamples = 100\ncodes = \"binary\"\n\
                    [objective]\nloss = { name = \"snr_contrastive\", neg_margin = 1.5 }\n\
                    regularizer = { name = \"quantization\", weight = 0.5 }\n";
    let mut run = config(folder.path(), &files, settings);
    run.data.split = Some(parallax_data::Split::Stratified(parallax_data::split::StratifiedSplit {
        test: 0.5,
        ..Default::default()
    }));
    let (outcome, _) = train(run).unwrap();
    assert_eq!(outcome.dim, 20);
    assert!(outcome.mode.contains("numbers whose signs differ"), "{}", outcome.mode);
    let map = outcome.measures.iter().find(|measure| measure.name == "map").unwrap();
    assert!(map.after.unwrap() > map.before.unwrap() + 0.05, "{map:?}");
    assert!(value(&outcome, "precision@1") > 0.5);

    // The head is a module of sentence-transformers: a layer with tanh, whose outputs are near −1 and 1.
    let path = outcome.model.unwrap();
    let module = std::fs::read_to_string(path.join("0_Dense/config.json")).unwrap();
    assert!(module.contains("torch.nn.modules.activation.Tanh"), "{module}");
    let name = path.to_str().unwrap();
    let model = Model::load(name).unwrap();
    let stored = parallax_data::Vectors::open(&files.0).unwrap();
    let values: Vec<f32> = (0..stored.rows()).flat_map(|row| stored.row(row)).collect();
    let vectors = model.transform(&values).unwrap();
    let off = vectors.as_slice().iter().map(|v| f64::from(v.abs() - 1.0).powi(2)).sum::<f64>();
    assert!(off / (vectors.as_slice().len() as f64) < 0.3, "{off}");

    let index = folder.path().join("index");
    let source = Source { table: vec![files.1.clone()], vectors: Some(files.0.clone()), ..Source::default() };
    let stop = AtomicBool::new(false);
    let options = |append, codes| BuildOptions {
        append,
        force: false,
        prompt: None,
        codes,
        batch_tokens: 4096,
        stop: &stop,
    };
    let model = Some((name, &model));
    let info = build(&source, model, &index, &options(false, Some(Codes::Binary)), &mut |_, _| ()).unwrap();
    assert_eq!((info.rows, info.dim, info.similarity), (180, 20, store::Similarity::Hamming));
    let open = store::Index::open(&index).unwrap();
    let hits = &open.search(vectors.row(7), 180, None).unwrap()[0];
    for hit in hits {
        let differ = vectors
            .row(7)
            .iter()
            .zip(vectors.row(hit.row))
            .filter(|(x, y)| (**x >= 0.0) != (**y >= 0.0))
            .count();
        assert_eq!(hit.score, 0.0 - differ as f64);
    }
    assert_eq!(hits[0].score, 0.0);
    let filter = store::Filter::parse("shelf = 1").unwrap();
    assert_eq!(open.search(vectors.row(7), 180, Some(&filter)).unwrap()[0].len(), 90);

    // Codes are not added to vectors.
    let plain = folder.path().join("plain");
    build(&source, model, &plain, &options(false, None), &mut |_, _| ()).unwrap();
    let error =
        build(&source, model, &plain, &options(true, Some(Codes::Binary)), &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("holds vectors, and not binary codes"), "{error}");
}
