//! Encoders, poolings, heads and gradients against sentence-transformers, on tiny random models.
//! `tests/reference/README.md` says where the values come from.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use parallax_nn::folder::Folder;
use parallax_nn::head::{Head, LinearHead, Mlp, MultiHead, Residual};
use parallax_nn::pooling::{Mode, Pooling};
use parallax_nn::{
    Error, Input, Layout, LoadOptions, Pass, Precision, SentenceEncoder, cpu, encoder, parameters,
};
use parallax_random::Key;
use serde_json::Value;

const FAMILIES: [&str; 5] = ["bert", "roberta", "xlm_roberta", "distilbert", "mpnet"];
const TOLERANCE: f32 = 1e-4;

/// The reference values are those of 32 bits.
fn exact() -> LoadOptions {
    LoadOptions { precision: Precision::F32, ..LoadOptions::default() }
}

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(family)
}

fn reference(family: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder(family).join("reference.json")).unwrap()).unwrap()
}

fn load(family: &str) -> SentenceEncoder {
    SentenceEncoder::load(&folder(family), &exact(), &cpu()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(list) => list.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn token_ids_and_embeddings_equal_sentence_transformers() {
    for family in FAMILIES {
        let (model, reference) = (load(family), reference(family));
        let texts = strings(&reference["texts"]);
        let inputs = model.tokenize(&texts, None).unwrap();
        for ((input, want), text) in inputs.iter().zip(reference["input_ids"].as_array().unwrap()).zip(&texts)
        {
            let Input::Tokens { ids, .. } = input else { panic!("tokens") };
            let want: Vec<u32> =
                want.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(*ids, want, "{family}: {text:?}");
        }
        let want = floats(&reference["embeddings"]);
        for budget in [1, 200, 100_000] {
            let got = model.embed(&inputs, budget, |_| ()).unwrap();
            let error = difference(&got, &want);
            assert!(error <= TOLERANCE, "{family} with batches of {budget} tokens: {error}");
        }
        for (prompt, want) in reference["embeddings_with_prompt"].as_object().unwrap() {
            let inputs = model.tokenize(&texts, Some(prompt)).unwrap();
            let error = difference(&model.embed(&inputs, 4096, |_| ()).unwrap(), &floats(want));
            assert!(error <= TOLERANCE, "{family} with prompt {prompt}: {error}");
        }
    }
}

#[test]
fn every_pooling_mode_equals_sentence_transformers() {
    let (model, reference) = (load("bert"), reference("bert"));
    let cases = &reference["pooling_modes"];
    let texts = strings(&reference["texts"]);
    let chosen: Vec<String> = cases["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| texts[at.as_u64().unwrap() as usize].clone())
        .collect();
    let inputs = model.tokenize(&chosen, Some("query")).unwrap();
    let (ids, prompts): (Vec<&[u32]>, Vec<usize>) = inputs
        .iter()
        .map(|input| match input {
            Input::Tokens { ids, prompt_tokens } => (ids.as_slice(), *prompt_tokens),
            Input::Vector(_) => panic!("tokens"),
        })
        .unzip();
    let layout = Layout::new(&ids.iter().map(|ids| ids.len()).collect::<Vec<_>>());
    let states = model.network().encoder.as_ref().unwrap().transformer().unwrap().forward(
        &ids,
        &layout,
        &Pass::inference(),
    );
    for case in cases["rows"].as_array().unwrap() {
        let modes = match &case["pooling_mode"] {
            Value::String(one) => vec![one.clone()],
            list => strings(list),
        };
        let modes = modes.iter().map(|name| Mode::from_name(name).unwrap()).collect();
        let pooling = Pooling { modes, include_prompt: case["include_prompt"].as_bool().unwrap() };
        let got = pooling.forward(states.clone(), &layout, &prompts).into_data();
        let error = difference(got.as_slice::<f32>().unwrap(), &floats(&case["values"]));
        assert!(error <= TOLERANCE, "{pooling:?}: {error}");
    }
}

/// L = Σ embedding · w, without dropout: values and gradients by the checkpoint's tensor names.
#[test]
fn gradients_equal_pytorch() {
    for family in FAMILIES {
        let reference = reference(family);
        let check = &reference["gradient_check"];
        let device = cpu().autodiff();
        let model = load(family);
        let kind = model.network().encoder.as_ref().unwrap().transformer().unwrap().config().family;
        let model = model.map_network(|network| parameters::prepare(network, |_| true));
        let inputs = model.tokenize(&strings(&reference["texts"]), None).unwrap();
        let x = model.forward(&inputs.iter().collect::<Vec<_>>(), &Pass::inference()).unwrap();
        let w = Tensor::<2>::from_data(TensorData::new(floats(&check["w"]), x.dims()), &device);
        let loss = (x * w).sum();
        let value = floats_of(loss.clone())[0];
        let want = check["loss"].as_f64().unwrap() as f32;
        assert!((value - want).abs() <= 1e-3 * want.abs().max(1.0), "{family}: {value} {want}");
        let mut gradients = loss.backward();
        let mut wanted = check["gradients"].as_object().unwrap().clone();
        for (path, gradient) in parameters::gradients(model.network(), &mut gradients) {
            let name = match path.strip_prefix("encoder.") {
                Some(path) => encoder::names::in_checkpoint(kind, path),
                None => format!("2_Dense/{}", path.trim_start_matches("head.0.")),
            };
            let Some(want) = wanted.remove(&name) else { continue };
            let norm = want["norm"].as_f64().unwrap();
            let found: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            assert!((norm - found).abs() <= 1e-4 * norm, "{family} {name}: norm {found} {norm}");
            let values = floats(&want["values"]);
            let got: Vec<f32> = match want["rows"].as_array() {
                None => gradient.to_vec(),
                Some(rows) => {
                    let width = values.len() / rows.len();
                    rows.iter()
                        .flat_map(|row| gradient[row.as_u64().unwrap() as usize * width..][..width].to_vec())
                        .collect()
                }
            };
            let largest = values.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let error = difference(&got, &values);
            assert!(error <= TOLERANCE * largest, "{family} {name}: {error} of {largest}");
        }
        assert!(wanted.is_empty(), "{family}: no parameter for {:?}", wanted.keys());
    }
}

fn floats_of<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.without_autodiff().into_data().try_into_vec().unwrap()
}

/// One plain gradient step must move every parameter of every encoder and head.
#[test]
fn every_parameter_moves_in_one_step() {
    let heads = [
        Head::Linear(LinearHead { dim: None, bias: true }),
        Head::Linear(LinearHead { dim: Some(7), bias: false }),
        Head::Mlp(Mlp::default()),
        Head::Residual(Residual::default()),
        Head::MultiHead(MultiHead { heads: 2, dim: None }),
    ];
    for family in FAMILIES {
        for head in &heads {
            let device = cpu().autodiff();
            let model = load(family);
            let stages = head.build(model.dim(), Key::new(3), &cpu()).unwrap();
            let model = model.with_head(stages).unwrap();
            let mut model = model.map_network(|network| parameters::prepare(network, |_| true));
            let texts = strings(&reference(family)["texts"]);
            let inputs = model.tokenize(&texts, None).unwrap();
            let x = model.forward(&inputs.iter().collect::<Vec<_>>(), &Pass::training(Key::new(1))).unwrap();
            let [rows, dim] = x.dims();
            let w: Vec<f32> = (0..rows * dim).map(|i| Key::new(9).normal(i as u64) as f32).collect();
            let w = Tensor::<2>::from_data(TensorData::new(w, [rows, dim]), &device);
            let mut gradients = (x * w).sum().backward();
            let gradients = parameters::gradients(model.network(), &mut gradients);
            model.update_network(|network| {
                parameters::update(network, |path, values| {
                    let gradient = gradients
                        .get(path)
                        .unwrap_or_else(|| panic!("{family} {head:?}: {path} has no gradient"));
                    let before = values.to_vec();
                    let largest = gradient.iter().fold(0f32, |m, g| m.max(g.abs()));
                    values.iter_mut().zip(gradient).for_each(|(v, g)| *v -= g / largest.max(1e-30));
                    assert_ne!(before, values, "{family} {head:?}: {path} stood still");
                })
            });
        }
    }
}

#[test]
fn a_saved_folder_loads_to_the_same_vectors() {
    let temporary = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        for head in [
            None,
            Some(Head::Linear(LinearHead { dim: Some(9), bias: true })),
            Some(Head::Residual(Residual::default())),
            Some(Head::Residual(Residual { activation: parallax_nn::layer::Activation::Identity })),
            Some(Head::MultiHead(MultiHead::default())),
            Some(Head::Mlp(Mlp::default())),
        ] {
            let mut model = load(family);
            if let Some(head) = &head {
                let stages = head.build(model.dim(), Key::new(5), &cpu()).unwrap();
                model = model.with_head(stages).unwrap();
            }
            // Other weights than those of the source folder.
            let mut n = 0;
            model.update_network(|network| {
                parameters::write(network, |_, shape| {
                    n += 1;
                    let len: usize = shape.iter().product();
                    Some((0..len as u64).map(|i| 0.2 * Key::new(n).normal(i) as f32).collect())
                })
            });
            let to = temporary.path().join(format!("{family}-{}", head.is_some()));
            parallax_nn::folder::save(&model, &to, "# card\n").unwrap();
            let again = SentenceEncoder::load(&to, &exact(), &cpu()).unwrap();
            let texts = strings(&reference(family)["texts"]);
            let embed =
                |m: &SentenceEncoder| m.embed(&m.tokenize(&texts, None).unwrap(), 4096, |_| ()).unwrap();
            let error = difference(&embed(&model), &embed(&again));
            assert!(error <= 1e-6, "{family} {head:?}: {error}");
            let names = |path: &Path| parallax_nn::folder::weights::Weights::open(path).unwrap().names();
            assert_eq!(names(&folder(family)), names(&to), "{family}: tensors lost or added");
        }
    }
}

fn copy(family: &str, to: &Path) {
    for entry in walk(&folder(family)) {
        let target = to.join(entry.strip_prefix(folder(family)).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(entry, target).unwrap();
    }
}

fn walk(path: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(path)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path) } else { vec![path] }
        })
        .collect()
}

fn edited(file: &str, edit: impl Fn(String) -> String) -> (tempfile::TempDir, Error) {
    let to = tempfile::tempdir().unwrap();
    copy("distilbert", to.path());
    let path = to.path().join(file);
    std::fs::write(&path, edit(std::fs::read_to_string(&path).unwrap())).unwrap();
    let error = SentenceEncoder::load(to.path(), &exact(), &cpu()).err().expect("must be refused");
    (to, error)
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let (_keep, error) = edited("modules.json", |text| text.replace("models.Dense", "models.WordWeights"));
    assert!(error.to_string().contains("sentence_transformers.models.WordWeights"), "{error}");
    let (_keep, error) = edited("modules.json", |text| text.replace("\"1_Pooling\"", "\"../1_Pooling\""));
    assert!(error.to_string().contains("leaves the folder"), "{error}");
    let (_keep, error) = edited("config.json", |text| text.replace("\"distilbert\"", "\"t5\""));
    assert!(error.to_string().contains("t5"), "{error}");
    let (_keep, error) = edited("2_Dense/config.json", |text| text.replace("Tanh", "Softsign"));
    assert!(error.to_string().contains("Softsign"), "{error}");
    let (_keep, error) = edited("config.json", |text| text.replace("\"dim\": 32", "\"dim\": 64"));
    assert!(matches!(error, Error::Shape { .. } | Error::Dimension { .. }), "{error}");
}

#[test]
fn a_dense_module_without_an_activation_uses_tanh() {
    let to = tempfile::tempdir().unwrap();
    copy("distilbert", to.path());
    let path = to.path().join("2_Dense/config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("activation_function");
    std::fs::write(&path, config.to_string()).unwrap();
    let model = SentenceEncoder::load(to.path(), &exact(), &cpu()).unwrap();
    let reference = reference("distilbert");
    let inputs = model.tokenize(&strings(&reference["texts"]), None).unwrap();
    let got = model.embed(&inputs, 4096, |_| ()).unwrap();
    assert!(difference(&got, &floats(&reference["embeddings"])) <= TOLERANCE);
}

#[test]
fn a_truncated_weight_file_is_an_error_and_not_a_panic() {
    let to = tempfile::tempdir().unwrap();
    copy("bert", to.path());
    let path = to.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 4, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let error = SentenceEncoder::load(to.path(), &exact(), &cpu()).err().expect("must be refused");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}

#[test]
fn a_bare_checkpoint_needs_a_pooling() {
    let to = tempfile::tempdir().unwrap();
    copy("bert", to.path());
    std::fs::remove_file(to.path().join("modules.json")).unwrap();
    let error = Folder::open(to.path(), None).unwrap_err();
    assert!(error.to_string().contains("pooling"), "{error}");
    let options = LoadOptions { pooling: Some(Mode::Cls), ..exact() };
    assert_eq!(SentenceEncoder::load(to.path(), &options, &cpu()).unwrap().dim(), 32);
}

/// All of `minilm.json`: the published all-MiniLM-L6-v2 in full precision.
#[test]
fn minilm_equals_sentence_transformers() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let golden = std::env::var("PARALLAX_GOLDEN").map_or(workspace.join("../shared/golden"), PathBuf::from);
    let models = std::env::var("PARALLAX_MODELS").map_or(workspace.join("models"), PathBuf::from);
    let (golden, model) = (golden.join("minilm.json"), models.join("all-MiniLM-L6-v2"));
    if !golden.exists() || !model.exists() {
        eprintln!("skipped: needs {} and {}", golden.display(), model.display());
        return;
    }
    let reference: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let model = SentenceEncoder::load(&model, &exact(), &cpu()).unwrap();
    let texts = strings(&reference["texts"]);
    let inputs = model.tokenize(&texts, None).unwrap();
    let want = floats(&reference["embeddings"]);
    let got = model.embed(&inputs, 4096, |_| ()).unwrap();
    let error = difference(&got, &want);
    println!("all-MiniLM-L6-v2: {} texts, largest difference {error:e}", texts.len());
    assert!(error <= TOLERANCE, "{error}");
    // The engine's own operations give the same.
    let plain = parallax_nn::ops::plainly(|| model.embed(&inputs, 4096, |_| ()).unwrap());
    assert!(difference(&plain, &want) <= TOLERANCE, "{}", difference(&plain, &want));
    let rounded = model.with_precision(Precision::Bf16).unwrap().embed(&inputs, 4096, |_| ()).unwrap();
    let cosine = lowest_cosine(&rounded, &want, 384);
    println!("bf16: lowest cosine {cosine}");
    assert!(cosine >= 0.9995, "{cosine}");
}

/// The lowest cosine of rows of the same place; all have length 1.
fn lowest_cosine(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    a.chunks_exact(dim)
        .zip(b.chunks_exact(dim))
        .map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
        .fold(1.0, f64::min)
}

/// Products of 8-bit integers: close to the reference, after a way through the folder, and refused without a calibration.
#[test]
fn a_calibrated_folder_embeds_in_8_bits() {
    let to = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let reference = reference(family);
        let mut model = load(family);
        let inputs = model.tokenize(&strings(&reference["texts"]), None).unwrap();
        let refused = model.clone().with_precision(Precision::Int8).err().expect("must be refused");
        assert!(refused.hint().unwrap().contains("convert quantize"), "{refused}");
        model.calibrate(&inputs, |_| ()).unwrap();
        let folder = to.path().join(family);
        parallax_nn::folder::save(&model, &folder, "# card\n").unwrap();
        let options = LoadOptions { precision: Precision::Int8, ..LoadOptions::default() };
        let again = SentenceEncoder::load(&folder, &options, &cpu()).unwrap();
        assert_eq!(again.calibration(), model.calibration());
        let got = again.embed(&inputs, 4096, |_| ()).unwrap();
        let exact = model.embed(&inputs, 4096, |_| ()).unwrap();
        assert_ne!(got, exact, "{family}");
        let cosine = lowest_cosine(&got, &exact, model.dim());
        println!("{family}: lowest cosine in 8 bits {cosine}");
        assert!(cosine >= 0.99, "{family}: {cosine}");
        // Other weights make the calibration void.
        assert!(again.map_network(|network| network).calibration().is_none());
    }
}

/// A text's vector is the same to the last bit in any batch and for any number of threads.
#[test]
fn vectors_do_not_depend_on_the_batch() {
    for family in FAMILIES {
        let texts = strings(&reference(family)["texts"]);
        let mut model = load(family);
        let all = model.tokenize(&texts, None).unwrap();
        model.calibrate(&all, |_| ()).unwrap();
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let model = model.clone().with_precision(precision).unwrap();
            let dim = model.dim();
            let alone: Vec<Vec<f32>> = all
                .iter()
                .map(|input| model.embed(std::slice::from_ref(input), 1, |_| ()).unwrap())
                .collect();
            for trial in 0..6u64 {
                let key = Key::new(trial);
                let chosen: Vec<usize> =
                    (0..1 + key.below(0, 70)).map(|i| key.below(1 + i as u64, all.len())).collect();
                let inputs: Vec<Input> = chosen.iter().map(|&i| all[i].clone()).collect();
                let threads = 1 + trial as usize % 3;
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let budget = [40, 500, 100_000][trial as usize % 3];
                let got = pool.install(|| model.embed(&inputs, budget, |_| ()).unwrap());
                for (&i, row) in chosen.iter().zip(got.chunks_exact(dim)) {
                    assert_eq!(row, alone[i], "{family} {precision}: text {i} of trial {trial}");
                }
            }
        }
    }
}
