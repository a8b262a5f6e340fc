use parallax_linear::{Covariance, Error, pca};

use crate::world::{apart, covariance, gaussian, rotation, turned};

#[test]
fn a_cross_of_four_points() {
    // Along (3, 4)/5 the points stand at ±10, across it at ±5: variances 200/3 and 50/3.
    let points = [6.0, 8.0, -6.0, -8.0, 4.0, -3.0, -4.0, 3.0];
    let shifted: Vec<f32> = points.iter().enumerate().map(|(i, x)| x + [100.0, -7.0][i % 2]).collect();
    let found = pca(&shifted, 4, 2, 2, 0.0).unwrap();
    assert!(apart(&found.mean, &[100.0, -7.0]) < 1e-12);
    assert!(apart(&found.variances, &[200.0 / 3.0, 50.0 / 3.0]) < 1e-9);
    // The entry of largest size is positive in both.
    assert!(apart(&found.axes, &[0.6, 0.8, 0.8, -0.6]) < 1e-12, "{:?}", found.axes);
    assert!(apart(&found.explained(), &[0.8, 0.2]) < 1e-12);
    let mapped = found.map.apply(&shifted, 4).unwrap();
    let want = [10.0, 0.0, -10.0, 0.0, 0.0, 5.0, 0.0, -5.0];
    assert!(mapped.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{mapped:?}");

    let one = pca(&shifted, 4, 2, 1, 0.5).unwrap();
    assert_eq!((one.map.inputs, one.map.outputs), (2, 1));
    let root = (200.0f64 / 3.0).powf(-0.25);
    assert!((f64::from(one.map.weight[0]) - 0.6 * root).abs() < 1e-7);
    assert!(apart(&one.explained(), &[0.8]) < 1e-12);
}

#[test]
fn whitened_components_have_unit_covariance() {
    let world = gaussian(1, 1, 900, &[0.0; 6], &[1.0, 20.0, 0.1, 3.0, 0.5, 2.0]);
    let rows = turned(&world.vectors, &rotation(2, 6), 6);
    let found = pca(&rows, 900, 6, 6, 1.0).unwrap();
    let mapped = found.map.apply(&rows, 900).unwrap();
    let unit: Vec<f64> = (0..36).map(|i| f64::from(u8::from(i % 7 == 0))).collect();
    assert!(apart(&covariance(&mapped, 6), &unit) < 1e-4);
    assert!((found.explained().iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn fewer_rows_than_dimensions() {
    let world = gaussian(3, 1, 5, &[0.0; 12], &[1.0; 12]);
    let found = pca(&world.vectors, 5, 12, 12, 1.0).unwrap();
    assert!((found.explained()[..4].iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let mapped = found.map.apply(&world.vectors, 5).unwrap();
    for (i, value) in covariance(&mapped, 12).into_iter().enumerate() {
        let want = if i % 13 == 0 && i / 13 < 4 { 1.0 } else { 0.0 };
        assert!((value - want).abs() < 1e-5, "entry {i} is {value}");
    }
}

#[test]
fn pieces_and_threads_change_nothing() {
    let world = gaussian(4, 3, 700, &[2.0; 70], &[1.0; 70]);
    let whole = pca(&world.vectors, 2100, 70, 9, 0.5).unwrap();
    let mut pieces = Covariance::new(70);
    let mut rest = &world.vectors[..];
    for rows in [1, 511, 3, 1000].into_iter().cycle() {
        let (now, later) = rest.split_at(rest.len().min(rows * 70));
        pieces.add(now).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(pieces.components(9, 0.5).unwrap(), whole);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| pca(&world.vectors, 2100, 70, 9, 0.5)).unwrap(), whole);
    }
}

#[test]
fn a_large_mean_costs_no_digits() {
    let world = gaussian(5, 1, 2000, &[0.0; 3], &[1.0, 2.0, 3.0]);
    // Whole numbers, so that shifting them in 32 bits is exact.
    let rows: Vec<f32> = world.vectors.iter().map(|x| (x * 64.0).round()).collect();
    let far: Vec<f32> = rows.iter().map(|x| x + 8_000_000.0).collect();
    let (near, far) = (pca(&rows, 2000, 3, 3, 0.0).unwrap(), pca(&far, 2000, 3, 3, 0.0).unwrap());
    let relative: f64 =
        near.variances.iter().zip(&far.variances).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
    assert!(relative < 1e-12, "{relative}");
}

#[test]
fn what_cannot_be_decomposed() {
    let rows = [1.0, 2.0, 3.0, 4.0];
    for (components, whiten) in [(0, 0.0), (3, 0.0), (1, -0.1), (1, f64::NAN)] {
        assert!(matches!(pca(&rows, 2, 2, components, whiten), Err(Error::Parameter { .. })));
    }
    assert!(matches!(pca(&rows, 3, 2, 1, 0.0), Err(Error::Shape { .. })));
    assert!(matches!(pca(&rows, 0, 0, 1, 0.0), Err(Error::Shape { .. })));
    assert_eq!(pca(&rows[..2], 1, 2, 1, 0.0), Err(Error::FewRows { rows: 1 }));
    assert_eq!(pca(&[0.1; 3000], 1500, 2, 1, 0.0), Err(Error::NoVariance { rows: 1500 }));
    let mut pieces = Covariance::new(2);
    pieces.add(&rows).unwrap();
    let error = pieces.add(&[1.0, 2.0, 3.0, f32::NAN]).unwrap_err();
    assert_eq!(error.to_string(), "row 4 of the vectors, column 2, is NaN: vectors must be finite");
}
