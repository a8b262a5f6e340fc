use super::{scale as scale_by, sum as vector_sum, *};

/// The error in units of the last place of the exact value.
fn units(found: f64, exact: f64, epsilon: f64, smallest: f64) -> f64 {
    (found - exact).abs() / (exact.abs().max(smallest) * epsilon)
}

#[test]
fn exponentials_to_a_few_units_in_the_last_place() {
    let mut out = [0.0f64];
    let mut single = [0.0f32];
    let (mut worst, mut worst_single) = (0.0f64, 0.0f64);
    for i in 0..200_000 {
        let x = -740.0 + 1449.0 * f64::from(i) / 200_000.0;
        exp_sum(&[x], 1.0, 0.0, 0.0, &mut out);
        worst = worst.max(units(out[0], x.exp(), f64::EPSILON, f64::MIN_POSITIVE));
        let x = -103.0 + 191.7 * i as f32 / 200_000.0;
        exp_sum(&[x], 1.0, 0.0, 0.0, &mut single);
        let exact = f64::from(x).exp();
        worst_single =
            worst_single.max(units(single[0].into(), exact, f32::EPSILON.into(), f32::MIN_POSITIVE.into()));
    }
    println!("exp: {worst:.2} units (f64), {worst_single:.2} units (f32)");
    assert!(worst < 3.0 && worst_single < 3.0, "{worst} {worst_single}");
}

#[test]
fn limits() {
    let mut out = [0.0f64; 5];
    exp_sum(&[0.0, -1e300, -750.0, 1e300, f64::NEG_INFINITY], 1.0, 0.0, 0.0, &mut out);
    assert_eq!(out, [1.0, 0.0, 0.0, f64::INFINITY, 0.0]);
    let mut out = [0.0f32; 5];
    exp_sum(&[0.0, -1e30, -110.0, 1e30, f32::NEG_INFINITY], 1.0, 0.0, 0.0, &mut out);
    assert_eq!(out, [1.0, 0.0, 0.0, f32::INFINITY, 0.0]);
    assert!(exp_sum(&[f64::NAN], 1.0, 0.0, 0.0, &mut [0.0]).is_nan());
    assert!(softplus_sum(&[f32::NAN], 1.0, 0.0, &mut [0.0]).is_nan());
    assert!(logistic_sum(&[f32::NAN], 1.0, 0.0, &mut [0.0]).is_nan());
    assert!(hinge_sum(&[f64::NAN], 1.0, 0.0, 1.0, &mut [0.0]).1.is_nan());
    assert_eq!(largest(&[1.0, f64::NAN, 3.0], 2.0), 3.0);
    assert_eq!(largest::<f32>(&[], -1.0), -1.0);
}

#[test]
fn sums_equal_plain_loops_for_any_length() {
    for n in [0usize, 1, 15, 16, 17, 100, 4095, 4096, 5000] {
        let s: Vec<f64> = (0..n).map(|i| ((i * 37) % 101) as f64 / 10.0 - 5.0).collect();
        let (scale, shift) = (1.7, 0.3);
        let u: Vec<f64> = s.iter().map(|s| scale * (s - shift)).collect();
        let close = |found: f64, want: f64| {
            assert!((found - want).abs() <= 1e-11 * want.abs().max(1.0), "{n}: {found} {want}");
        };
        let mut out = vec![0.0; n];
        close(exp_sum(&s, scale, shift, 2.0, &mut out), u.iter().map(|u| (u - 2.0).exp()).sum());
        let mut place = u.clone();
        close(exp_sum_in_place(&mut place, 2.0), u.iter().map(|u| (u - 2.0).exp()).sum());
        assert_eq!(out, place);
        close(softplus_sum(&s, scale, shift, &mut out), u.iter().map(|u| u.exp().ln_1p()).sum());
        let slopes: Vec<f64> = u.iter().map(|u| 1.0 / (1.0 + (-u).exp())).collect();
        out.iter().zip(&slopes).for_each(|(a, b)| close(*a, *b));
        close(logistic_sum(&s, scale, shift, &mut out), slopes.iter().sum());
        let mut to = vec![1.0; n];
        let (count, sum) = hinge_sum(&s, scale, shift, 0.5, &mut to);
        assert_eq!(count as usize, u.iter().filter(|u| **u > 0.0).count());
        close(sum, u.iter().filter(|u| **u > 0.0).sum());
        assert!(to.iter().zip(&u).all(|(to, u)| *to == if *u > 0.0 { 1.5 } else { 1.0 }));
        assert_eq!(smallest(&s, 9.0), s.iter().copied().fold(9.0, f64::min));
        assert_eq!(above(&s, 0.4) as usize, s.iter().filter(|s| **s > 0.4).count());
        close(vector_sum(&s), s.iter().sum());
        close(dot(&s, &u), s.iter().zip(&u).map(|(a, b)| a * b).sum());
        let (mut at_once, mut by_turns) = (vec![1.0; n], vec![1.0; n]);
        let shifts = [0.3, -1.0, 2.0, 0.0];
        let found = hinge_sums(&s, scale, shifts, 0.25, &mut at_once);
        assert_eq!(found, shifts.map(|shift| hinge_sum(&s, scale, shift, 0.25, &mut by_turns)));
        let factors = [0.5, -1.0, 2.0, 3.0];
        let found = add_scaled4(&mut at_once, factors, [&s, &u, &out, &s]);
        let turn = |factor, y: &[f64], to: &mut [f64]| add_scaled(to, factor, y);
        let want = [
            turn(0.5, &s, &mut by_turns),
            turn(-1.0, &u, &mut by_turns),
            turn(2.0, &out, &mut by_turns),
            turn(3.0, &s, &mut by_turns),
        ];
        assert_eq!((found, &at_once), (want, &by_turns));
        scale_by(&mut at_once, 3.0);
        assert!(at_once.iter().zip(&by_turns).all(|(a, b)| *a == 3.0 * b));
        let sum = step_sum(&s, scale, shift, &mut out);
        close(sum, slopes.iter().sum());
        out.iter().zip(&slopes).for_each(|(a, y)| close(*a, y * (1.0 - y)));
        let mut d = vec![2.0; n];
        close(divide_sum(&mut d, 3.0, &s), s.iter().filter(|s| **s > 0.0).map(|s| 6.0 / s).sum());
        assert!(d.iter().zip(&s).all(|(d, s)| *d == if *s > 0.0 { 6.0 / s } else { 0.0 }));
        let mut d = s.clone();
        close(scale_sum(&mut d, 0.5), s.iter().map(|s| 0.5 * s).sum());
        close(add_scaled(&mut d, 2.0, &s), s.iter().map(|s| 2.0 * s).sum());
        assert!(d.iter().zip(&s).all(|(d, s)| *d == 0.5 * s + 2.0 * s));
        let mut g = vec![1.0; n];
        let m: Vec<f64> = s.iter().map(|s| s.abs()).collect();
        let near = squared_distances(&mut g, 2.0, &m, 0.5);
        assert!(g.iter().zip(&m).all(|(g, m)| *g == 2.0 + m - 2.0));
        assert_eq!(near as usize, m.iter().filter(|m| **m < 0.5 * (2.0 + **m)).count());
        roots(&mut g);
        assert!(g.iter().zip(&m).all(|(g, m)| *g == (2.0 + m - 2.0).sqrt()));
        let narrow: Vec<f32> = s.iter().map(|&s| s as f32).collect();
        let mut out = vec![0.0f32; n];
        let found = softplus_sum(&narrow, 1.7, 0.3, &mut out);
        let want: f64 = u.iter().map(|u| u.exp().ln_1p()).sum();
        assert!((found - want).abs() <= 2e-6 * want.abs().max(1.0), "{n}: f32 {found} {want}");
    }
}
