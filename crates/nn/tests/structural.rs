//! The head whose queries and documents differ: its formula, its gradients, its file.

use burn::tensor::{Tensor, TensorData};
use parallax_nn::head::{Head, StructuralSparseHead};
use parallax_nn::{Input, LoadOptions, Pass, Role, SentenceEncoder, cpu, folder, parameters};
use parallax_random::Key;

const X: [f32; 4] = [0.5, 0.5, 0.5, 0.5];
const Y: [f32; 4] = [0.8, 0.0, 0.6, 0.0];
/// W₁ and W₂.
const BLOCKS: [f32; 8] = [1.0, 0.2, -0.3, 1.0, 0.5, 0.0, 0.4, 1.5];

fn model(dim: usize, block: usize, sum: bool, symmetric: bool) -> SentenceEncoder {
    let head = Head::StructuralSparse(StructuralSparseHead { block, sum, symmetric });
    SentenceEncoder::over_vectors(dim, head.build(dim, Key::new(0), &cpu()).unwrap()).unwrap()
}

/// The model with these deviations of the blocks from the identity, and of the diagonal from ones.
fn with(model: SentenceEncoder, blocks: &[f32], diagonal: &[f32]) -> SentenceEncoder {
    model.map_network(|network| {
        parameters::write(network, |path, _| match path {
            "head.1.blocks" => Some(blocks.to_vec()),
            "head.1.diagonal" => Some(diagonal.to_vec()),
            other => panic!("{other}"),
        })
    })
}

/// Blocks less the identity.
fn less_one(w: &[f32], block: usize) -> Vec<f32> {
    let on = |at: usize| (at % (block * block)).is_multiple_of(block + 1);
    w.iter().enumerate().map(|(at, w)| w - if on(at) { 1.0 } else { 0.0 }).collect()
}

fn vectors(n: usize, dim: usize, salt: u64) -> Vec<Input> {
    let value = |at: usize| Key::new(salt).normal(at as u64) as f32;
    (0..n).map(|row| Input::Vector((0..dim).map(|k| value(row * dim + k)).collect())).collect()
}

fn embedded(model: &SentenceEncoder, role: Role, inputs: &[Input]) -> Vec<f32> {
    model.embed_as(role, inputs, 64, |_| ()).unwrap()
}

/// M(x, y).
fn similarity(model: &SentenceEncoder, x: &[f32], y: &[f32]) -> f64 {
    let q = embedded(model, Role::Query, &[Input::Vector(x.to_vec())]);
    let d = embedded(model, Role::Document, &[Input::Vector(y.to_vec())]);
    q.iter().zip(&d).map(|(q, d)| f64::from(*q) * f64::from(*d)).sum()
}

fn close(found: f64, want: f64) {
    assert!((found - want).abs() < 1e-6, "{found} is not {want}");
}

#[test]
fn the_numbers_of_the_formula() {
    close(similarity(&model(4, 2, false, false), &X, &Y), 0.7);
    let diagonal = with(model(4, 1, false, false), &[0.0, 1.0, -0.6, 0.0], &[]);
    close(similarity(&diagonal, &X, &Y), 0.52);
    let blocks = with(model(4, 2, false, false), &less_one(&BLOCKS, 2), &[]);
    close(similarity(&blocks, &X, &Y), 0.55);
    close(similarity(&blocks, &Y, &X), 0.63);
    let q = embedded(&blocks, Role::Query, &[Input::Vector(X.to_vec())]);
    q.iter().zip([0.35, 0.60, 0.45, 0.75]).for_each(|(q, want)| close(f64::from(*q), want));
    // The blocks beside a diagonal of their own.
    let sum = with(model(4, 2, true, false), &BLOCKS, &[0.0, 1.0, -0.6, 0.0]);
    close(similarity(&sum, &X, &Y), 1.07);
    // Both sides may be exchanged, and the value is the mean of both orders.
    let symmetric = with(model(4, 2, false, true), &less_one(&BLOCKS, 2), &[]);
    close(similarity(&symmetric, &X, &Y), 0.59);
    close(similarity(&symmetric, &Y, &X), 0.59);
    // Vectors are normalised first.
    close(similarity(&blocks, &X.map(|x| 3.0 * x), &Y.map(|y| 0.5 * y)), 0.55);
}

#[test]
fn it_starts_as_the_cosine_and_reduces_to_its_special_cases() {
    let (x, y) = (vectors(5, 8, 1), vectors(5, 8, 2));
    let raw = |input: &Input| match input {
        Input::Vector(v) => v.clone(),
        Input::Tokens { .. } => unreachable!(),
    };
    let cosine = |x: &[f32], y: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
    };
    for (block, sum, symmetric) in [(1, false, false), (4, false, false), (4, true, false), (8, false, true)]
    {
        let model = model(8, block, sum, symmetric);
        assert!(model.two_sided() && !model.normalized());
        assert_eq!(model.similarity(), folder::Similarity::Dot);
        for (x, y) in x.iter().zip(&y) {
            close(similarity(&model, &raw(x), &raw(y)), cosine(&raw(x), &raw(y)));
        }
    }
    // A diagonal, as blocks of one, as diagonal blocks, as a whole matrix, and beside blocks of 0.
    let w: Vec<f32> = (0..8).map(|i| Key::new(3).normal(i) as f32).collect();
    let spread = |block: usize| {
        let mut all = vec![0.0; 8 * block];
        (0..8).for_each(|i| all[i * block + i % block] = w[i]);
        all
    };
    let one = with(model(8, 1, false, false), &spread(1), &[]);
    for other in [
        with(model(8, 4, false, false), &spread(4), &[]),
        with(model(8, 8, false, false), &spread(8), &[]),
        with(model(8, 4, true, false), &[0.0; 32], &w),
    ] {
        let (a, b) = (embedded(&one, Role::Query, &x), embedded(&other, Role::Query, &x));
        a.iter().zip(&b).for_each(|(a, b)| close(f64::from(*a), f64::from(*b)));
    }
    // One block is the full bilinear form.
    let w: Vec<f32> = (0..16).map(|i| Key::new(4).normal(i) as f32).collect();
    let full = with(model(4, 4, false, false), &less_one(&w, 4), &[]);
    let want: f32 =
        (0..4).flat_map(|i| (0..4).map(move |j| (i, j))).map(|(i, j)| X[i] * w[i * 4 + j] * Y[j]).sum();
    close(similarity(&full, &X, &Y), f64::from(want));
}

#[test]
fn what_no_block_can_be() {
    let head = |block| Head::StructuralSparse(StructuralSparseHead { block, ..Default::default() });
    for (block, what) in
        [(3, "head.block = 3 does not divide the input dimension 8"), (0, "at least 1"), (16, "16")]
    {
        let error = head(block).build(8, Key::new(0), &cpu()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

/// Σ weights · forward over two queries and two documents, with its gradients by path.
fn weighed(
    model: &SentenceEncoder,
    inputs: &[Input],
    weights: &[f32],
) -> (f64, std::collections::BTreeMap<String, Vec<f32>>) {
    let model = model.clone().map_network(|network| parameters::prepare(network, |_| true));
    let inputs: Vec<&Input> = inputs.iter().collect();
    let x = model.forward(&inputs, &Pass::training(Key::new(1)).with_queries(2)).unwrap();
    let values: Vec<f32> = x.clone().without_autodiff().into_data().try_into_vec().unwrap();
    let value = values.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let weights = Tensor::<2>::from_data(TensorData::new(weights.to_vec(), x.dims()), &x.device());
    let mut found = (x * weights).sum().backward();
    (value, parameters::gradients(model.network(), &mut found))
}

#[test]
fn gradients_are_those_of_the_values_and_of_queries_alone() {
    let inputs = vectors(4, 8, 5);
    let weights: Vec<f32> = (0..32).map(|i| Key::new(6).normal(i) as f32).collect();
    for (block, sum, symmetric) in [(1, false, false), (4, false, false), (4, true, true), (8, true, false)] {
        let start: Vec<f32> = (0..8 * block as u64).map(|i| 0.3 * Key::new(7).normal(i) as f32).collect();
        let diagonal: Vec<f32> = (0..8).map(|i| 0.3 * Key::new(8).normal(i) as f32).collect();
        let model = model(8, block, sum, symmetric);
        let at = |blocks: &[f32], diagonal: &[f32]| {
            weighed(&with(model.clone(), blocks, diagonal), &inputs, &weights).0
        };
        let (_, found) = weighed(&with(model.clone(), &start, &diagonal), &inputs, &weights);
        assert_eq!(found.len(), if sum { 2 } else { 1 });
        let check = |path: &str, slope: &dyn Fn(usize) -> f64| {
            for (k, gradient) in found[path].iter().enumerate() {
                let want = slope(k);
                assert!((f64::from(*gradient) - want).abs() < 2e-3, "{path}[{k}]: {gradient} {want}");
            }
        };
        let moved = |values: &[f32], k: usize, by: f32| {
            let mut values = values.to_vec();
            values[k] += by;
            values
        };
        let slope = |k: usize| {
            (at(&moved(&start, k, 0.05), &diagonal) - at(&moved(&start, k, -0.05), &diagonal)) / 0.1
        };
        check("head.1.blocks", &slope);
        if sum {
            let slope = |k: usize| {
                (at(&start, &moved(&diagonal, k, 0.05)) - at(&start, &moved(&diagonal, k, -0.05))) / 0.1
            };
            check("head.1.diagonal", &slope);
        }
    }
    // What the documents are worth does not reach the matrix.
    let model = model(8, 4, false, false);
    let only_queries: Vec<f32> = weights[..16].iter().copied().chain([0.0; 16]).collect();
    let (a, b) = (weighed(&model, &inputs, &weights).1, weighed(&model, &inputs, &only_queries).1);
    assert_eq!(a["head.1.blocks"], b["head.1.blocks"]);
}

#[test]
fn blocks_do_not_see_each_other() {
    let start: Vec<f32> = (0..32).map(|i| Key::new(7).normal(i) as f32).collect();
    let model = with(model(8, 4, false, false), &start, &[]);
    let unit = |v: [f32; 8]| v.map(|v| v / 8f32.sqrt());
    let x = unit([1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0, -1.0]);
    // The derivative of M by x in block 0 is W₀ y₀: what y holds in block 1 is nothing to it.
    let of = |model: &SentenceEncoder, x: &[f32], y: &[f32]| similarity(model, x, y);
    let slope = |y: [f32; 8]| {
        // Signs alone change, so that the length of x stays 1.
        let mut other = x;
        other[2] = -other[2];
        of(&model, &x, &y) - of(&model, &other, &y)
    };
    let y = unit([1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let changed = unit([1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -1.0]);
    close(slope(y), slope(changed));
    assert!((of(&model, &x, &y) - of(&model, &x, &changed)).abs() > 1e-3);
    // The gradient of a pair in block 0 alone is exactly 0 in block 1.
    let inputs = vectors(4, 8, 5);
    let weights: Vec<f32> =
        (0..32).map(|i| if i % 8 < 4 { Key::new(6).normal(i) as f32 } else { 0.0 }).collect();
    let gradient = &weighed(&model, &inputs, &weights).1["head.1.blocks"];
    assert!(gradient[..16].iter().all(|g| *g != 0.0) && gradient[16..].iter().all(|g| *g == 0.0));
    // Exchanging the blocks of x, y and W leaves M as it is.
    let turned = |v: &[f32], half: usize| [&v[half..], &v[..half]].concat();
    let exchanged = with(self::model(8, 4, false, false), &turned(&start, 16), &[]);
    close(of(&exchanged, &turned(&x, 4), &turned(&y, 4)), of(&model, &x, &y));
}

#[test]
fn a_batch_in_parts_is_the_same_batch() {
    let start: Vec<f32> = (0..24 * 6).map(|i| Key::new(7).normal(i) as f32).collect();
    let model = with(model(24, 6, false, false), &start, &[]);
    let inputs = vectors(70, 24, 9);
    let all: Vec<&Input> = inputs.iter().collect();
    let values = |x: Tensor<2>| -> Vec<f32> { x.into_data().try_into_vec().unwrap() };
    let pass = Pass::inference().with_queries(33);
    let whole = values(model.forward(&all, &pass).unwrap());
    assert_eq!(whole[..33 * 24], embedded(&model, Role::Query, &inputs[..33])[..]);
    assert_eq!(whole[33 * 24..], embedded(&model, Role::Document, &inputs[33..])[..]);
    for size in [1, 20, 33, 50] {
        let parts: Vec<f32> = (0..70)
            .step_by(size)
            .flat_map(|from| {
                let part = &all[from..(from + size).min(70)];
                values(model.forward(part, &pass.from_row(from)).unwrap())
            })
            .collect();
        assert_eq!(whole, parts, "{size}");
    }
}

#[test]
fn its_folder_reads_back_and_is_no_module_of_others() {
    let temporary = tempfile::tempdir().unwrap();
    for (sum, symmetric) in [(false, false), (true, true)] {
        let start: Vec<f32> = (0..32).map(|i| Key::new(7).normal(i) as f32).collect();
        let model = with(model(8, 4, sum, symmetric), &start, &start[..8]);
        let to = temporary.path().join(format!("{sum}"));
        folder::save(&model, &to, "# card\n").unwrap();
        let again = SentenceEncoder::load(&to, &LoadOptions::default(), &cpu()).unwrap();
        let inputs = vectors(6, 8, 1);
        for role in [Role::Query, Role::Document] {
            assert_eq!(embedded(&model, role, &inputs), embedded(&again, role, &inputs));
        }
        assert!(again.two_sided());
        let modules = std::fs::read_to_string(to.join("modules.json")).unwrap();
        assert!(modules.contains("parallax.StructuralSparse"), "{modules}");
        let settings = std::fs::read_to_string(to.join("config_sentence_transformers.json")).unwrap();
        assert!(settings.contains("\"similarity_fn_name\": \"dot\""), "{settings}");
        // A block that does not fit is refused by name.
        let config = to.join("1_StructuralSparse/config.json");
        let text = std::fs::read_to_string(&config).unwrap().replace("\"block\": 4", "\"block\": 3");
        std::fs::write(&config, text).unwrap();
        let error = SentenceEncoder::load(&to, &LoadOptions::default(), &cpu()).err().unwrap().to_string();
        assert!(error.contains("block 3 does not divide"), "{error}");
    }
}
