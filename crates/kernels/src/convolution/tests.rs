use super::*;
use crate::oracle::{differences, everywhere, numbers, wide};

const PLAIN: Convolution = Convolution {
    batch: 2,
    channels: 3,
    size: [9, 11],
    filters: 5,
    kernel: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
    groups: 1,
};

fn cases() -> Vec<Convolution> {
    vec![
        PLAIN,
        Convolution { padding: [0, 0], kernel: [1, 1], ..PLAIN },
        Convolution { stride: [2, 3], padding: [2, 1], ..PLAIN },
        Convolution { dilation: [2, 3], padding: [3, 4], kernel: [3, 2], ..PLAIN },
        Convolution { channels: 4, filters: 6, groups: 2, stride: [2, 1], ..PLAIN },
        // More than one tile of pixels, and rows that end within one.
        Convolution { batch: 1, size: [30, 37], filters: 40, channels: 2, ..PLAIN },
        // Every channel with filters of its own, one and two.
        Convolution { channels: 4, filters: 4, groups: 4, ..PLAIN },
        Convolution { channels: 3, filters: 6, groups: 3, stride: [2, 2], dilation: [1, 2], ..PLAIN },
        // One channel with many filters.
        Convolution { channels: 1, filters: 17, ..PLAIN },
        Convolution { channels: 2, filters: 18, groups: 2, ..PLAIN },
        // Padding beyond the reach of the filter, one pixel, no image.
        Convolution { size: [1, 1], padding: [2, 2], kernel: [2, 2], ..PLAIN },
        Convolution { size: [3, 3], kernel: [3, 3], padding: [0, 0], ..PLAIN },
        Convolution { batch: 0, ..PLAIN },
        // More images than sums that are kept apart.
        Convolution { batch: 35, size: [4, 4], channels: 2, filters: 3, ..PLAIN },
    ]
}

/// The definition, in 64 bits.
fn naive(c: &Convolution, x: &[f64], w: &[f64], bias: &[f64]) -> Vec<f64> {
    let [height, width] = c.output().unwrap();
    let (inputs, outputs) = (c.channels / c.groups, c.filters / c.groups);
    let pixel = |image: usize, channel: usize, i: isize, j: isize| {
        let inside = (0..c.size[0] as isize).contains(&i) && (0..c.size[1] as isize).contains(&j);
        let at = (image * c.channels + channel) * c.size[0] * c.size[1];
        if inside { x[at + i as usize * c.size[1] + j as usize] } else { 0.0 }
    };
    let mut y = Vec::new();
    for (image, f) in (0..c.batch).flat_map(|image| (0..c.filters).map(move |f| (image, f))) {
        for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
            let mut sum = bias[f];
            for input in 0..inputs {
                for (u, v) in (0..c.kernel[0]).flat_map(|u| (0..c.kernel[1]).map(move |v| (u, v))) {
                    let row = (i * c.stride[0] + u * c.dilation[0]) as isize - c.padding[0] as isize;
                    let column = (j * c.stride[1] + v * c.dilation[1]) as isize - c.padding[1] as isize;
                    sum += pixel(image, f / outputs * inputs + input, row, column)
                        * w[((f * inputs + input) * c.kernel[0] + u) * c.kernel[1] + v];
                }
            }
            y.push(sum);
        }
    }
    y
}

/// What a precision may be off, for a sum of magnitudes of 1.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-6,
        Precision::Split => 4e-5,
        Precision::Bf16 => 2f64.powi(-7),
        Precision::Int8 => 2f64.powi(-6),
    }
}

#[track_caller]
fn near(what: &str, found: &[f32], want: &[f64], size: &[f64], tolerance: f64) {
    assert_eq!(found.len(), want.len(), "{what}");
    for at in 0..found.len() {
        let error = (f64::from(found[at]) - want[at]).abs();
        assert!(error <= tolerance * size[at] + 1e-9, "{what} [{at}]: {} for {}", found[at], want[at]);
    }
}

fn magnitudes(v: &[f64]) -> Vec<f64> {
    v.iter().map(|v| v.abs()).collect()
}

#[test]
fn forward_equals_the_definition() {
    for c in cases() {
        let s = c.sizes();
        let (x, w, bias) = (numbers(s.x(), 1), numbers(s.w(), 2), numbers(c.filters, 3));
        let [wide_x, wide_w, wide_bias] = [&x, &w, &bias].map(|v| wide(v));
        let want = naive(&c, &wide_x, &wide_w, &wide_bias);
        let size = naive(&c, &magnitudes(&wide_x), &magnitudes(&wide_w), &magnitudes(&wide_bias));
        for precision in [Precision::F32, Precision::Split, Precision::Bf16] {
            let work = |isa| {
                let mut y = vec![f32::NAN; s.y()];
                c.forward_on(isa, &x, &w, Some(&bias), precision, &mut y);
                vec![y]
            };
            everywhere(work, |isa, y| {
                near(&format!("{isa} {precision:?} {c:?}"), &y[0], &want, &size, tolerance(precision));
            });
        }
    }
}

#[test]
fn gradients_equal_the_transposed_definition() {
    // The convolution is linear in x and in w, so each gradient is read off at unit vectors.
    for c in cases() {
        let s = c.sizes();
        if s.y() * s.x() > 2_000_000 {
            continue;
        }
        let (x, w, dy) = (numbers(s.x(), 1), numbers(s.w(), 2), numbers(s.y(), 3));
        let [wide_x, wide_w, wide_dy] = [&x, &w, &dy].map(|v| wide(v));
        let none = vec![0.0; c.filters];
        let read = |count: usize, apply: &dyn Fn(&[f64]) -> Vec<f64>, dy: &[f64]| -> Vec<f64> {
            (0..count)
                .map(|at| {
                    let mut unit = vec![0.0; count];
                    unit[at] = 1.0;
                    apply(&unit).iter().zip(dy).map(|(y, dy)| y * dy).sum()
                })
                .collect()
        };
        let dx = read(s.x(), &|x| naive(&c, x, &wide_w, &none), &wide_dy);
        let dw = read(s.w(), &|w| naive(&c, &wide_x, w, &none), &wide_dy);
        let dx_size = read(s.x(), &|x| naive(&c, x, &magnitudes(&wide_w), &none), &magnitudes(&wide_dy));
        let dw_size = read(s.w(), &|w| naive(&c, &magnitudes(&wide_x), w, &none), &magnitudes(&wide_dy));
        for precision in [Precision::F32, Precision::Split, Precision::Bf16] {
            let work = |isa| {
                let (mut dx, mut dw) = (vec![f32::NAN; s.x()], vec![f32::NAN; s.w()]);
                c.input_gradient_on(isa, &dy, &w, precision, &mut dx);
                c.weight_gradient_on(isa, &dy, &x, precision, &mut dw);
                vec![dx, dw]
            };
            everywhere(work, |isa, found| {
                let what = format!("{isa} {precision:?} {c:?}");
                near(&format!("by x: {what}"), &found[0], &dx, &dx_size, tolerance(precision));
                near(&format!("by w: {what}"), &found[1], &dw, &dw_size, tolerance(precision));
            });
        }
        let mut db = vec![f32::NAN; c.filters];
        c.bias_gradient(&dy, &mut db);
        for (f, db) in db.into_iter().enumerate() {
            let pixels = (0..s.y()).filter(|at| at / s.pixels.max(1) % c.filters == f);
            let want: f64 = pixels.map(|at| wide_dy[at]).sum();
            assert!((f64::from(db) - want).abs() < 1e-4, "{c:?} bias {f}");
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let c = Convolution { batch: 1, size: [5, 4], channels: 2, filters: 3, stride: [2, 1], ..PLAIN };
    let s = c.sizes();
    let (x, w, dy) = (numbers(s.x(), 4), numbers(s.w(), 5), numbers(s.y(), 6));
    let [wide_x, wide_w, wide_dy] = [&x, &w, &dy].map(|v| wide(v));
    let none = vec![0.0; c.filters];
    let value = |x: &[f64], w: &[f64]| -> f64 {
        // Squared, so that the differences are not those of a linear function.
        naive(&c, x, w, &none).iter().zip(&wide_dy).map(|(y, dy)| 0.5 * dy * y * y).sum()
    };
    let mut y = vec![0.0; s.y()];
    c.forward(&x, &w, None, Precision::F32, &mut y);
    let slopes: Vec<f32> = y.iter().zip(&dy).map(|(y, dy)| y * dy).collect();
    let (mut dx, mut dw) = (vec![0.0; s.x()], vec![0.0; s.w()]);
    c.input_gradient(&slopes, &w, Precision::F32, &mut dx);
    c.weight_gradient(&slopes, &x, Precision::F32, &mut dw);
    crate::oracle::close("by x", &dx, &differences(&wide_x, |x| value(x, &wide_w)), 1e-5);
    crate::oracle::close("by w", &dw, &differences(&wide_w, |w| value(&wide_x, w)), 1e-5);
}

#[test]
fn sizes_without_an_output_are_told() {
    assert_eq!(PLAIN.output(), Some([9, 11]));
    assert_eq!(Convolution { stride: [2, 3], padding: [0, 0], ..PLAIN }.output(), Some([4, 3]));
    assert_eq!(Convolution { kernel: [12, 3], ..PLAIN }.output(), None);
    assert_eq!(Convolution { kernel: [0, 3], ..PLAIN }.output(), None);
    assert_eq!(Convolution { stride: [0, 1], ..PLAIN }.output(), None);
    assert_eq!(Convolution { dilation: [1, 0], ..PLAIN }.output(), None);
    assert_eq!(Convolution { groups: 2, ..PLAIN }.output(), None);
    assert_eq!(Convolution { groups: 0, ..PLAIN }.output(), None);
    assert_eq!(Convolution { padding: [usize::MAX, 1], ..PLAIN }.output(), None);
}
