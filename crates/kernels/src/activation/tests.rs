use super::*;
use crate::oracle::{close, everywhere, numbers, wide};

/// (value, slope) in 64 bits.
fn exact(kind: Activation, x: f64) -> (f64, f64) {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};
    let logistic = |u: f64| 1.0 / (1.0 + (-u).exp());
    match kind {
        Activation::Gelu => {
            let below = 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2));
            (x * below, below + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt())
        }
        Activation::GeluTanh => {
            let root = (2.0 / PI).sqrt();
            let t = (root * (x + 0.044715 * x * x * x)).tanh();
            let slope = root * (1.0 + 3.0 * 0.044715 * x * x);
            (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope)
        }
        Activation::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
        Activation::Silu => (x * logistic(x), logistic(x) + x * logistic(x) * (1.0 - logistic(x))),
        Activation::Tanh => (x.tanh(), 1.0 - x.tanh() * x.tanh()),
    }
}

#[test]
fn values_and_slopes_everywhere() {
    let x: Vec<f32> = (0..60_001).map(|i| (i - 30_000) as f32 / 2000.0).collect();
    for kind in Activation::ALL {
        let want: (Vec<f64>, Vec<f64>) = x.iter().map(|&x| exact(kind, x.into())).unzip();
        everywhere(
            |isa| {
                let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                forward_on(isa, kind, &x, &mut y);
                backward_on(isa, kind, &x, &vec![1.0; x.len()], &mut dx);
                vec![y, dx]
            },
            |isa, found| {
                close(&format!("{kind:?} {isa}"), &found[0], &want.0, 2e-7);
                close(&format!("slope of {kind:?} {isa}"), &found[1], &want.1, 7e-7);
            },
        );
    }
}

#[test]
fn tanh_is_accurate_beside_zero() {
    let x: Vec<f32> = (1..2000).map(|i| i as f32 * 1e-3).collect();
    for isa in crate::isa::available() {
        let mut y = vec![0.0; x.len()];
        forward_on(isa, Activation::Tanh, &x, &mut y);
        for (x, y) in x.iter().zip(y) {
            let want = f64::from(*x).tanh();
            assert!((f64::from(y) / want - 1.0).abs() < 3e-7, "{isa}: tanh {x} = {y}");
        }
    }
}

#[test]
fn slopes_are_differences_of_values() {
    for kind in Activation::ALL {
        for x in [-3.1, -0.7, 0.01, 0.4, 2.3] {
            let step = 1e-5;
            let difference = (exact(kind, x + step).0 - exact(kind, x - step).0) / (2.0 * step);
            assert!((difference - exact(kind, x).1).abs() < 1e-8, "{kind:?} at {x}");
        }
    }
}

#[test]
fn a_value_does_not_depend_on_its_place() {
    let x = numbers(100, 1);
    for isa in crate::isa::available() {
        for kind in Activation::ALL {
            let mut whole = vec![0.0; x.len()];
            forward_on(isa, kind, &x, &mut whole);
            for length in [1usize, 3, 17, 31] {
                let from = 100 - length;
                let mut part = vec![0.0; length];
                forward_on(isa, kind, &x[from..], &mut part);
                assert_eq!(part, whole[from..], "{kind:?} {isa}");
            }
        }
    }
}

#[test]
fn limits() {
    let x = [f32::INFINITY, 1e30, 50.0, 0.0, -50.0, -1e30, f32::NEG_INFINITY, f32::NAN];
    for isa in crate::isa::available() {
        for kind in Activation::ALL {
            let (mut y, mut dx) = ([0.0; 8], [0.0; 8]);
            forward_on(isa, kind, &x, &mut y);
            backward_on(isa, kind, &x, &[1.0; 8], &mut dx);
            let top = if kind == Activation::Tanh { [1.0; 3] } else { [f32::INFINITY, 1e30, 50.0] };
            let floor = if kind == Activation::Tanh { -1.0 } else { 0.0 };
            assert_eq!(y[..4], [top[0], top[1], top[2], 0.0], "{kind:?} {isa}");
            assert!(y[4..7].iter().all(|y| (y - floor).abs() < 1e-12), "{kind:?} {isa}: {y:?}");
            let ends = if kind == Activation::Tanh { 0.0 } else { 1.0 };
            assert_eq!(dx[..3], [ends; 3], "{kind:?} {isa}");
            assert!(dx[4..7].iter().all(|dx| dx.abs() < 1e-12), "{kind:?} {isa}: {dx:?}");
            assert!(y[7].is_nan(), "{kind:?} {isa}");
            assert!(dx[7].is_nan() || kind == Activation::Relu, "{kind:?} {isa}");
        }
    }
}

#[test]
fn in_place_equals_out_of_place() {
    let x = numbers(77, 3);
    for kind in Activation::ALL {
        let (mut y, mut place) = (vec![0.0; 77], x.clone());
        forward(kind, &x, &mut y);
        forward_here(kind, &mut place);
        assert_eq!(y, place);
        let scalar: Vec<f64> = x.iter().map(|&x| kind.value(x).into()).collect();
        close("scalar", &y, &scalar, 2e-7);
    }
    forward(Activation::Gelu, &[], &mut []);
    backward(Activation::Gelu, &[], &[], &mut []);
    assert_eq!(wide(&[]), []);
}
