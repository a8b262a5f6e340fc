//! Every fused operation against the engine's own, forward and backward: two definitions that share nothing; and its
//! gradients against differences of the engine's own in 64 bits.

use burn::tensor::{DType, Tensor, TensorData};
use parallax_nn::layer::Activation;
use parallax_nn::ops::{
    Dropout, Finish, Packs, activate, attention, blocks, convolve, dropout, embedding, layer_norm, linear,
    normalize, plainly, pool, relu_pool, softmax,
};
use parallax_nn::pooling::Mode;
use parallax_nn::{Layout, Precision, cpu};
use parallax_random::Key;

fn values(n: usize, salt: u64) -> Vec<f32> {
    (0..n as u64).map(|i| Key::new(salt).normal(i) as f32).collect()
}

fn tensor<const D: usize>(shape: [usize; D], salt: u64) -> Tensor<D> {
    let n = shape.iter().product();
    Tensor::from_data(TensorData::new(values(n, salt), shape), &cpu())
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.without_autodiff().into_data().try_into_vec().unwrap()
}

/// A tensor of two dimensions as any of its shape.
type Inputs = Vec<Tensor<2>>;

/// Values and gradients (of a random weighting of the result) by every input, both ways.
fn compare<const D: usize>(what: &str, inputs: &Inputs, tolerance: f32, run: impl Fn(Inputs) -> Tensor<D>) {
    differences(what, inputs, tolerance, &run);
    let both = |track: bool| {
        let inputs: Inputs = inputs
            .iter()
            .map(|x| if track { x.clone().autodiff().require_grad() } else { x.clone() })
            .collect();
        let y = run(inputs.clone());
        let mut all = vec![floats(y.clone())];
        if track {
            let w = tensor(y.dims(), 77).autodiff();
            let mut gradients = (y * w).sum().backward();
            all.extend(inputs.iter().enumerate().map(|(at, x)| {
                floats(x.grad_remove(&mut gradients).unwrap_or_else(|| panic!("{what}: no gradient {at}")))
            }));
        }
        all
    };
    for track in [false, true] {
        let (ours, plain) = (both(track), plainly(|| both(track)));
        for (at, (a, b)) in ours.iter().zip(&plain).enumerate() {
            assert_eq!(a.len(), b.len(), "{what} {at}");
            let largest = b.iter().fold(1f32, |m, v| m.max(v.abs()));
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                assert!((a - b).abs() <= tolerance * largest, "{what} {at}[{i}]: {a} {b} of {largest}");
            }
        }
    }
}

/// Some gradients of a random weighting of the result, by every input, against central differences of the engine's own
/// operations in 64 bits.
fn differences<const D: usize>(
    what: &str,
    inputs: &Inputs,
    tolerance: f32,
    run: &impl Fn(Inputs) -> Tensor<D>,
) {
    const STEP: f64 = 1e-5;
    let tracked: Inputs = inputs.iter().map(|x| x.clone().autodiff().require_grad()).collect();
    let y = run(tracked.clone());
    let weights = values(y.dims().iter().product(), 78);
    let w = Tensor::<D>::from_data(TensorData::new(weights.clone(), y.dims()), &cpu()).autodiff();
    let mut found = (y * w).sum().backward();
    let wide: Vec<Vec<f64>> =
        inputs.iter().map(|x| floats(x.clone()).into_iter().map(f64::from).collect()).collect();
    let at = |moved: usize, place: usize, by: f64| -> f64 {
        let inputs: Inputs = (0..inputs.len())
            .map(|i| {
                let mut values = wide[i].clone();
                if i == moved {
                    values[place] += by;
                }
                let data = TensorData::new(values, inputs[i].dims());
                Tensor::from_data(data, (&cpu(), DType::F64))
            })
            .collect();
        let y: Vec<f64> = plainly(|| run(inputs)).into_data().try_into_vec().expect("64 bits");
        y.iter().zip(&weights).map(|(y, w)| y * f64::from(*w)).sum()
    };
    for (i, x) in tracked.iter().enumerate() {
        let gradient = floats(x.grad_remove(&mut found).unwrap_or_else(|| panic!("{what}: no gradient {i}")));
        let largest = gradient.iter().fold(1f32, |most, g| most.max(g.abs()));
        let places = (0..12).map(|k| Key::new(79).at(i as u64).below(k, gradient.len()));
        for place in places.chain([0, gradient.len() - 1]) {
            let want = ((at(i, place, STEP) - at(i, place, -STEP)) / (2.0 * STEP)) as f32;
            let got = gradient[place];
            assert!(
                (got - want).abs() <= tolerance * largest,
                "{what} {i}[{place}]: {got} {want} of {largest}"
            );
        }
    }
}

const KINDS: [Activation; 6] = [
    Activation::Identity,
    Activation::Tanh,
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
];

fn one(x: &Tensor<2>) -> Tensor<1> {
    x.clone().flatten(0, 1)
}

#[test]
fn linear_layers() {
    let inputs = vec![
        tensor([37, 24], 1),
        tensor([18, 24], 2),
        tensor([1, 18], 3),
        tensor([37, 18], 4),
        tensor([18, 24], 5),
        tensor([1, 18], 6),
        tensor([18, 24], 7),
        tensor([1, 18], 8),
    ];
    for (precision, tolerance) in [(None, 1e-5), (Some(Precision::F32), 1e-4), (Some(Precision::Bf16), 4e-2)]
    {
        for activation in KINDS {
            if activation == Activation::Relu && precision == Some(Precision::Bf16) {
                // A rounded product on the other side of 0 has another slope.
                continue;
            }
            compare(&format!("linear {activation:?} {precision:?}"), &inputs[..4].to_vec(), tolerance, |x| {
                let residual = Some(x[3].clone());
                let finish = Finish { activation, residual, precision, ..Finish::default() };
                linear(x[0].clone(), vec![(x[1].clone(), Some(one(&x[2])))], finish)
            });
        }
        compare(&format!("three layers {precision:?}"), &inputs, tolerance, |x| {
            let layers = [(1, 2), (4, 5), (6, 7)].map(|(w, b)| (x[w].clone(), Some(one(&x[b]))));
            let y = linear(x[0].clone(), layers.to_vec(), Finish { precision, ..Finish::default() });
            // The residual takes part, so that it has a gradient.
            Tensor::cat(vec![y, x[3].clone()], 1)
        });
        compare(&format!("no bias {precision:?}"), &inputs[..2].to_vec(), tolerance, |x| {
            linear(x[0].clone(), vec![(x[1].clone(), None)], Finish { precision, ..Finish::default() })
        });
    }
}

#[test]
fn norms_and_elementwise_functions() {
    let layout = Layout::packed(&[5, 9, 5, 1]);
    let inputs = vec![tensor([20, 33], 1), tensor([1, 33], 2), tensor([1, 33], 3), tensor([20, 33], 4)];
    compare("norm", &inputs[..3].to_vec(), 1e-4, |x| {
        layer_norm(x[0].clone(), None, (one(&x[1]), one(&x[2]), 1e-5))
    });
    for p in [0.0, 0.3] {
        compare("norm of a sum", &inputs, 1e-4, |x| {
            let drop = Dropout { layout: &layout, p, key: Some(Key::new(5)) };
            layer_norm(x[0].clone(), Some((x[3].clone(), drop)), (one(&x[1]), one(&x[2]), 1e-5))
        });
        compare("dropout", &inputs[..1].to_vec(), 1e-6, |x| {
            dropout(x[0].clone(), Dropout { layout: &layout, p, key: Some(Key::new(5)) })
        });
    }
    for kind in KINDS {
        compare(&format!("{kind:?}"), &inputs[..1].to_vec(), 1e-5, |x| activate(x[0].clone(), kind));
    }
    compare("softmax", &inputs[..1].to_vec(), 1e-5, |x| softmax(x[0].clone().reshape([2, 2, 5, 33])));
    compare("normalize", &inputs[..1].to_vec(), 1e-5, |x| normalize(x[0].clone()));
}

#[test]
fn blocks_map_the_first_rows() {
    for (b, rows) in [(1, 37), (4, 20), (24, 37), (6, 1), (4, usize::MAX)] {
        let inputs = vec![tensor([37, 24], 1), tensor([24, b], 2)];
        compare(&format!("blocks of {b}, {rows} rows"), &inputs, 1e-5, |x| {
            blocks(x[0].clone(), x[1].clone().reshape([24 / b, b, b]), rows)
        });
    }
}

#[test]
fn images_are_filtered_and_pooled() {
    // Two channels of 6 × 5 with filters of 3 × 3, and one channel of 4 × 4 with filters of 1 × 3.
    for (image, [filters, rows, columns]) in [([2, 6, 5], [4, 3, 3]), ([1, 4, 4], [9, 1, 3])] {
        let [channels, h, w] = image;
        let inputs =
            vec![tensor([7, channels * h * w], 11), tensor([filters, channels * rows * columns], 12)];
        let convolved = |x: &Inputs| {
            convolve(x[0].clone(), image, x[1].clone().reshape([filters, channels, rows, columns]))
        };
        compare("convolution", &inputs, 1e-5, |x| convolved(&x));
        compare("filters, cut off and pooled", &inputs, 1e-5, |x| relu_pool(convolved(&x), [filters, h, w]));
    }
}

#[test]
fn attention_over_texts() {
    for lengths in [vec![1], vec![7, 7], vec![13, 2, 40, 7, 7, 1]] {
        let layout = Layout::packed(&lengths);
        let (heads, size, n) = (3, 8, layout.tokens());
        let reach = lengths.iter().max().unwrap() + 2;
        let inputs = vec![tensor([n, 3 * heads * size], 1), tensor([heads, 2 * reach - 1], 2)];
        for dropout in [None, Some((0.25, Key::new(9)))] {
            compare(&format!("attention {lengths:?}"), &inputs[..1].to_vec(), 1e-4, |x| {
                attention(x[0].clone(), heads, &layout, None, dropout)
            });
            compare(&format!("biased attention {lengths:?}"), &inputs, 1e-4, |x| {
                attention(x[0].clone(), heads, &layout, Some(x[1].clone()), dropout)
            });
        }
    }
}

#[test]
fn padding_changes_nothing() {
    let lengths = [13, 2, 40, 7, 7, 1];
    let (packed, padded) = (Layout::packed(&lengths), Layout::new(&lengths));
    assert!(padded.offsets().is_none());
    let (heads, width) = (2, 12);
    let x = tensor::<2>([packed.tokens(), 3 * width], 1);
    let rows: Vec<Vec<f32>> = floats(x.clone()).chunks(3 * width).map(<[f32]>::to_vec).collect();
    let place = |layout: &Layout, want| layout.places().iter().position(|&place| place == want);
    let spread: Vec<f32> = padded
        .places()
        .into_iter()
        .flat_map(|want| place(&packed, want).map_or(vec![3.0; 3 * width], |at| rows[at].clone()))
        .collect();
    let spread = Tensor::from_data(TensorData::new(spread, [padded.tokens(), 3 * width]), &cpu());
    for mode in Mode::ALL {
        let of = |x: Tensor<2>, layout: &Layout| {
            let mixed = attention(x, heads, layout, None, Some((0.2, Key::new(3))));
            floats(pool(mixed, mode, layout, Some(&[2, 1, 0, 3, 0, 0])))
        };
        let (a, b) = (of(x.clone(), &packed), of(spread.clone(), &padded));
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-5, "{mode:?}: {a} {b}");
        }
    }
}

#[test]
fn embeddings_and_pooling() {
    let inputs = vec![
        tensor([11, 20], 1),
        tensor([6, 20], 2),
        tensor([2, 20], 3),
        tensor([1, 20], 4),
        tensor([1, 20], 5),
    ];
    let rows = |bound: u32, salt| -> Vec<u32> {
        // Every row at least once, so that none is without a gradient.
        (0..bound)
            .chain((bound..30).map(|i| Key::new(salt).below(u64::from(i), bound as usize) as u32))
            .collect()
    };
    let tables = |x: &Inputs| {
        vec![(x[0].clone(), rows(11, 1)), (x[1].clone(), rows(6, 2)), (x[2].clone(), rows(2, 3))]
    };
    compare("embeddings", &inputs[..3].to_vec(), 1e-5, |x| embedding(tables(&x), None));
    compare("embeddings with a norm", &inputs, 1e-4, |x| {
        embedding(tables(&x), Some((one(&x[3]), one(&x[4]), 1e-12)))
    });
    let layout = Layout::packed(&[5, 9, 5, 1]);
    for mode in Mode::ALL {
        for skipped in [None, Some([2, 0, 4, 0])] {
            compare(&format!("{mode:?}"), &vec![tensor([20, 16], 9)], 1e-5, |x| {
                pool(x[0].clone(), mode, &layout, skipped.as_ref().map(|s| &s[..]))
            });
        }
    }
}

#[test]
fn dropout_keeps_the_expectation_and_ignores_grouping() {
    let device = cpu();
    let layout = Layout::packed(&[3, 5, 2]);
    let drop = |layout, x| floats(dropout(x, Dropout { layout, p: 0.25, key: Some(Key::new(1)) }));
    let y = drop(&layout, Tensor::ones([layout.tokens(), 400], &device));
    let mean = y.iter().sum::<f32>() / y.len() as f32;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    assert!(y.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    // The same text alone in another layout, at the same place, drops the same units.
    let other = Layout::new(&[3, 60, 200]);
    let z = drop(&other, Tensor::ones([other.tokens(), 400], &device));
    let find = |layout: &Layout, row: usize, position: usize| {
        layout.places().iter().position(|&place| place == (row, position)).unwrap()
    };
    for position in 0..3 {
        let (a, b) = (find(&layout, 0, position), find(&other, 0, position));
        assert_eq!(y[a * 400..(a + 1) * 400], z[b * 400..(b + 1) * 400]);
    }
}

#[test]
fn packed_weights_are_made_again_when_the_weights_change() {
    let packs = Packs::default();
    let x = tensor([4, 16], 1);
    let run = |w: &Tensor<2>, packs| {
        let finish = Finish { precision: Some(Precision::F32), packs, ..Finish::default() };
        floats(linear(x.clone(), vec![(w.clone(), None)], finish))
    };
    let (first, second) = (tensor([16, 16], 2), tensor([16, 16], 3));
    for w in [&first, &first, &second, &first] {
        assert_eq!(run(w, Some(&packs)), run(w, None));
    }
    assert!(format!("{packs:?}").contains("Some"), "{packs:?}");
    assert!(format!("{:?}", packs.clone()).contains("None"));
}
