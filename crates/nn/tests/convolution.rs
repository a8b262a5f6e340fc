//! The head over images: its formula, its file, and what it refuses.

use parallax_nn::head::{ConvolutionHead, Head};
use parallax_nn::{Input, LoadOptions, SentenceEncoder, cpu, folder, ops, parameters};
use parallax_random::Key;

const IMAGE: [usize; 3] = [2, 6, 5];

fn model(image: [usize; 3], filters: usize, blocks: usize, dim: Option<usize>) -> SentenceEncoder {
    let head = Head::Convolution(ConvolutionHead { image: Some(image), filters, blocks, dim });
    let input = image.iter().product();
    let model =
        SentenceEncoder::over_vectors(input, head.build(input, Key::new(3), &cpu()).unwrap()).unwrap();
    // Scales and shifts that are not those of the start.
    model.map_network(|network| {
        parameters::write(network, |path, shape| {
            let moved = path.ends_with("scale") || path.ends_with("shift");
            moved.then(|| (0..shape[0]).map(|at| 0.3 + Key::new(5).normal(at as u64) as f32).collect())
        })
    })
}

fn images(n: usize, image: [usize; 3]) -> Vec<Vec<f32>> {
    let dim: usize = image.iter().product();
    (0..n).map(|row| (0..dim).map(|k| Key::new(8).normal((row * dim + k) as u64) as f32).collect()).collect()
}

fn embedded(model: &SentenceEncoder, images: &[Vec<f32>]) -> Vec<f32> {
    let inputs: Vec<Input> = images.iter().map(|image| Input::Vector(image.clone())).collect();
    model.embed(&inputs, 64, |_| ()).unwrap()
}

/// One block by its definition, in 64 bits: channels of `(height, width)` pixels.
fn block(x: &[f64], [channels, h, w]: [usize; 3], weight: &[f32], scale: &[f32], shift: &[f32]) -> Vec<f64> {
    let filters = scale.len();
    let pixel = |c: usize, i: isize, j: isize| {
        let inside = (0..h as isize).contains(&i) && (0..w as isize).contains(&j);
        if inside { x[(c * h + i as usize) * w + j as usize] } else { 0.0 }
    };
    let mut y = vec![0.0; filters * h * w];
    for (at, y) in y.iter_mut().enumerate() {
        let (f, i, j) = (at / (h * w), at / w % h, at % w);
        for (c, u, v) in (0..channels).flat_map(|c| (0..9).map(move |k| (c, k / 3, k % 3))) {
            let weight = f64::from(weight[(f * channels + c) * 9 + u * 3 + v]);
            *y += weight * pixel(c, (i + u) as isize - 1, (j + v) as isize - 1);
        }
    }
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let variance = y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
    for (at, y) in y.iter_mut().enumerate() {
        let f = at / (h * w);
        *y = (*y - mean) / (variance + 1e-5).sqrt() * f64::from(scale[f]) + f64::from(shift[f]);
    }
    let (rows, columns) = (h / 2, w / 2);
    (0..filters * rows * columns)
        .map(|at| {
            let (f, i, j) = (at / (rows * columns), at / columns % rows, at % columns);
            let four = [(0, 0), (0, 1), (1, 0), (1, 1)];
            four.iter().map(|(a, b)| y[(f * h + 2 * i + a) * w + 2 * j + b]).fold(0.0, f64::max)
        })
        .collect()
}

#[test]
fn blocks_by_their_definition() {
    let model = model(IMAGE, 10, 2, Some(3));
    let mut values = std::collections::BTreeMap::new();
    parameters::read(model.network(), |path, _, v| drop(values.insert(path.to_owned(), v.to_vec())));
    let images = images(4, IMAGE);
    let found = embedded(&model, &images);
    for (image, found) in images.iter().zip(found.chunks(3)) {
        let mut x: Vec<f64> = image.iter().map(|&x| f64::from(x)).collect();
        for (at, size) in [IMAGE, [10, 3, 2]].into_iter().enumerate() {
            let of = |name: &str| &values[&format!("head.0.blocks.{at}.{name}")][..];
            x = block(&x, size, of("weight"), of("scale"), of("shift"));
        }
        assert_eq!(x.len(), 10);
        let (w, b) = (&values["head.1.linear.weight"], &values["head.1.linear.bias"]);
        let y: Vec<f64> = (0..3)
            .map(|o| f64::from(b[o]) + (0..10).map(|i| f64::from(w[o * 10 + i]) * x[i]).sum::<f64>())
            .collect();
        let norm = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        for (found, y) in found.iter().zip(&y) {
            assert!((f64::from(*found) - y / norm).abs() < 1e-5, "{found} {}", y / norm);
        }
    }
}

#[test]
fn an_image_does_not_depend_on_its_batch_and_the_engine_agrees() {
    let model = model([1, 9, 9], 12, 3, None);
    assert_eq!(model.dim(), 12);
    let images = images(21, [1, 9, 9]);
    let all = embedded(&model, &images);
    let each: Vec<f32> =
        images.iter().flat_map(|image| embedded(&model, std::slice::from_ref(image))).collect();
    assert_eq!(all, each);
    let plain = ops::plainly(|| embedded(&model, &images));
    all.iter().zip(&plain).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
}

#[test]
fn a_folder_gives_the_same_bytes_and_refuses_what_does_not_fit() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("model");
    let model = model(IMAGE, 5, 2, Some(4));
    folder::save(&model, &path, "card").unwrap();
    let open = || SentenceEncoder::load(&path, &LoadOptions::default(), &cpu());
    let images = images(3, IMAGE);
    assert_eq!(embedded(&open().unwrap(), &images), embedded(&model, &images));
    let config = path.join("0_Convolution/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, what) in [
        ("\"filters\": 5", "\"filters\": 6", "weight"),
        ("\"blocks\": 2", "\"blocks\": 9", "to nothing"),
        ("\"filters\": 5", "\"filters\": 1000000", "too large"),
        ("\"image\"", "\"size\"", "\"image\" is not channels, rows and columns"),
    ] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let error = open().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(what) && error.contains("0_Convolution"), "{to}: {error}");
    }
}

#[test]
fn what_no_image_can_be() {
    let build = |image, filters, blocks, input: usize| {
        let head = Head::Convolution(ConvolutionHead { image, filters, blocks, dim: None });
        head.build(input, Key::new(0), &cpu()).map(|_| ()).unwrap_err().to_string()
    };
    assert!(build(None, 8, 1, 12).contains("12 numbers are no square"));
    assert!(build(Some([1, 3, 5]), 8, 1, 16).contains("[1, 3, 5] is not an image of 16 numbers"));
    assert!(build(None, 8, 3, 16).contains("3 blocks halve an image of 4 x 4 to nothing"));
    assert!(build(None, 0, 1, 16).contains("at least 1"));
    assert!(build(Some([1, usize::MAX, 2]), 8, 1, 16).contains("too large"));
}
