use parallax_linear::{
    Adapter, Error, Examples, LinearDiscriminant, Map, Procrustes, Ridge, Scatter, Whitening,
};

fn fit(adapter: &Adapter, vectors: &[f32], labels: &[u32], dim: usize) -> Result<Map, Error> {
    adapter.fit(&Examples::Labelled { vectors, labels, dim })?.map()
}

fn within() -> Adapter {
    Adapter::Whitening(Whitening { scatter: Scatter::Within, ..Default::default() })
}

fn discriminant() -> Adapter {
    Adapter::LinearDiscriminant(LinearDiscriminant::default())
}

#[test]
fn a_bad_value_is_named_by_row_and_column() {
    let error = fit(&within(), &[1.0, 2.0, 3.0, f32::INFINITY, 5.0, 6.0], &[0, 0, 1], 2).unwrap_err();
    assert_eq!(error.to_string(), "row 2 of the vectors, column 2, is inf: vectors must be finite");
    assert!(error.hint().is_some());
    let pairs = Examples::Pairs { anchors: &[1.0, 2.0], positives: &[1.0, f32::NAN], dim: 1 };
    let error = discriminant().fit(&pairs).unwrap_err();
    assert_eq!(error.to_string(), "row 2 of the positives, column 1, is NaN: vectors must be finite");
}

#[test]
fn shapes_that_do_not_fit() {
    let ridge = Adapter::Ridge(Ridge::default());
    assert!(matches!(
        fit(&ridge, &[1.0; 5], &[0, 1], 2),
        Err(Error::Shape { found: 5, rows: 2, dim: 2, .. })
    ));
    assert!(matches!(fit(&ridge, &[], &[], 0), Err(Error::Shape { .. })));
    assert_eq!(fit(&ridge, &[], &[], 3), Err(Error::FewRows { rows: 0 }));
    let pairs = Examples::Pairs { anchors: &[1.0; 4], positives: &[1.0; 6], dim: 2 };
    assert!(matches!(ridge.fit(&pairs), Err(Error::Shape { set: "positives", .. })));
    assert!(matches!(Map::identity(2).apply(&[1.0; 3], 2), Err(Error::Shape { .. })));
}

#[test]
fn labels_that_teach_nothing() {
    let rows = [1.0, 2.0, 3.0, 5.0, 0.0, 1.0];
    let error = fit(&discriminant(), &rows, &[4, 4, 4], 2).unwrap_err();
    assert_eq!(error.to_string(), "`linear_discriminant` compares classes, and all 3 rows are of one class");
    assert!(matches!(fit(&Adapter::Ridge(Ridge::default()), &rows, &[1; 3], 2), Err(Error::OneClass { .. })));
    assert!(matches!(fit(&within(), &rows, &[0, 1, 2], 2), Err(Error::NoWithin { .. })));
    // Rows of a class that are all equal.
    let twins = [1.0, 2.0, 1.0, 2.0, 0.0, 1.0, 0.0, 1.0];
    assert!(matches!(fit(&discriminant(), &twins, &[0, 0, 1, 1], 2), Err(Error::NoWithin { .. })));
    // Class means that are equal.
    let cross = [1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0];
    assert!(matches!(fit(&discriminant(), &cross, &[0, 0, 1, 1], 2), Err(Error::NoBetween { .. })));
    let error = fit(&Adapter::Procrustes(Procrustes::default()), &rows, &[0, 1, 0], 2).unwrap_err();
    assert!(matches!(error, Error::NeedsPairs { .. }) && error.hint().is_some());
    assert!(matches!(fit(&within(), &[2.0; 6], &[0, 0, 1], 2), Err(Error::NoVariance { rows: 3 })));
    // One class is enough to whiten.
    assert!(fit(&Adapter::Whitening(Whitening::default()), &rows, &[4, 4, 4], 2).is_ok());
}

#[test]
fn settings_out_of_range_are_named() {
    let rows = [1.0, 2.0, 3.0, 5.0, 0.0, 1.0];
    let cases = [
        (Adapter::Whitening(Whitening { power: 1.5, ..Default::default() }), "power"),
        (Adapter::Whitening(Whitening { floor: f64::NAN, ..Default::default() }), "floor"),
        (Adapter::Whitening(Whitening { components: 3, ..Default::default() }), "components"),
        (Adapter::Ridge(Ridge { lambda: 0.0, ..Default::default() }), "lambda"),
        (
            Adapter::LinearDiscriminant(LinearDiscriminant { within_shrinkage: -0.1, ..Default::default() }),
            "within_shrinkage",
        ),
        (
            Adapter::LinearDiscriminant(LinearDiscriminant { between_shrinkage: 2.0, ..Default::default() }),
            "between_shrinkage",
        ),
    ];
    for (adapter, field) in cases {
        match fit(&adapter, &rows, &[0, 0, 1], 2) {
            Err(Error::Parameter { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn extreme_scales() {
    // Squares of these leave 32 bits, and the weights of the map may too.
    for scale in [1e-25f32, 1e-10, 1e10, 1e25] {
        let rows: Vec<f32> = [1.0, 2.0, 3.0, 5.0, 0.0, 1.0, 2.5, -1.0].iter().map(|x| x * scale).collect();
        for adapter in [Adapter::Whitening(Whitening::default()), discriminant()] {
            match fit(&adapter, &rows, &[0, 0, 1, 1], 2) {
                Ok(map) => assert!(map.weight.iter().all(|w| w.is_finite())),
                Err(error) => {
                    assert!(matches!(error, Error::Range { .. } | Error::NoBetween { .. }), "{error}")
                }
            }
        }
    }
}

#[test]
fn settings_are_read_by_name() {
    let read = |text: &str| serde_json::from_str::<Adapter>(text);
    assert_eq!(
        read(r#"{"name": "whitening", "scatter": "within", "power": 0.5}"#).unwrap(),
        Adapter::Whitening(Whitening { scatter: Scatter::Within, power: 0.5, ..Default::default() })
    );
    assert_eq!(read(r#"{"name": "procrustes"}"#).unwrap(), Adapter::Procrustes(Procrustes::default()));
    assert!(read(r#"{"name": "ridge", "lamda": 2}"#).is_err());
    let adapter = discriminant();
    assert_eq!(read(&serde_json::to_string(&adapter).unwrap()).unwrap(), adapter);
}
