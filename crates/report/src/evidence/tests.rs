use super::*;

/// Eight rows on a circle at these angles (degrees), classes 0 0 0 1 1 1 2 2.
const LABELS: [u32; 8] = [0, 0, 0, 1, 1, 1, 2, 2];

fn circle(angles: [f64; 8]) -> Vec<f32> {
    angles.iter().flat_map(|a| [a.to_radians().cos() as f32, a.to_radians().sin() as f32]).collect()
}

/// The same angles in three dimensions, so that before and after differ in size.
fn deep(angles: [f64; 8]) -> Vec<f32> {
    circle(angles).chunks(2).flat_map(|p| [0.0, 2.0 * p[0], 2.0 * p[1]]).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn gather(before: Option<&[f32]>, after: &[f32], classes: &[String]) -> Evidence {
    let text = |row: usize| format!("text  {row}");
    let subject = Subject {
        queries: Rows {
            before: before.map(|values| Embeddings { values, dim: 3 }),
            after: Embeddings { values: after, dim: 2 },
            labels: Some(&LABELS),
            text: &text,
        },
        gallery: None,
        classes,
        similarity: Similarity::Cosine,
        values: None,
    };
    Evidence::gather(&EvidenceConfig::default(), &subject, Key::new(1)).unwrap()
}

#[test]
fn confusions_and_cases_by_hand() {
    // Before: row 2 (class a) stands among class b. After: row 7 (class c) stands next to class a, row 2 is home.
    let before = deep([0.0, 5.0, 61.0, 60.0, 66.0, 70.0, 150.0, 153.0]);
    let after = circle([0.0, 5.0, 9.0, 60.0, 65.0, 71.0, 150.0, 340.0]);
    let evidence = gather(Some(&before), &after, &names(&["a", "b", "c"]));

    let confusion = evidence.confusion.unwrap();
    // Before: 2 → 3 and 3 → 2. After: 7 → 0 (20 degrees) and 6 → 5 (79 degrees).
    assert_eq!((confusion.queries, confusion.wrong_before, confusion.wrong_after), (8, Some(2), 2));
    let found: Vec<(&str, &str, usize, Option<usize>, usize)> = confusion
        .pairs
        .iter()
        .map(|p| (p.class.as_str(), p.retrieved.as_str(), p.queries, p.before, p.after))
        .collect();
    assert_eq!(
        found,
        [
            ("a", "b", 3, Some(1), 0),
            ("b", "a", 3, Some(1), 0),
            ("c", "a", 2, Some(0), 1),
            ("c", "b", 2, Some(0), 1)
        ]
    );
    let example = |at: usize| {
        let example = &confusion.pairs[at].example;
        (example.after, example.query.as_str(), example.item.as_str())
    };
    assert_eq!(example(0), (false, "text 2", "text 3"));
    assert_eq!(example(2), (true, "text 7", "text 0"));

    let cases = evidence.cases.unwrap();
    assert_eq!((cases.measure.as_str(), cases.queries), ("map@r", 8));
    // MAP@R of row 2: R = 2; before, both nearest are of class b, so 0; after 1.
    let gained = &cases.most_gained[0];
    assert_eq!((gained.row, gained.before, gained.after), (2, Some(0.0), 1.0));
    let before = gained.neighbours_before.as_ref().unwrap();
    let rows: Vec<usize> = before.iter().map(|n| n.row).collect();
    assert_eq!(rows, [3, 4, 5, 1, 0]);
    assert!((before[0].score - 1f64.to_radians().cos()).abs() < 1e-6);
    assert_eq!((before[0].relevant, before[0].class.as_deref()), (false, Some("b")));
    assert!(gained.neighbours_after[0].relevant && gained.neighbours_after[0].row == 1);
    // Rows 6 and 7 lose all they had: R = 1.
    let lost: Vec<(usize, Option<f64>, f64)> =
        cases.most_lost.iter().map(|q| (q.row, q.before, q.after)).collect();
    assert_eq!(lost, [(6, Some(1.0), 0.0), (7, Some(1.0), 0.0)]);
    assert_eq!(cases.lost, Some(2));
    assert_eq!(cases.worst.iter().take(2).map(|q| q.row).collect::<Vec<_>>(), [6, 7]);
    let maps = evidence.maps.unwrap();
    assert_eq!((maps.drawn.points, maps.drawn.rows, maps.drawn.classes), (8, 8, 3));
    assert_eq!(maps.points[7].class, Some(2));
}

#[test]
fn values_given_and_values_computed_agree() {
    let before = deep([0.0, 5.0, 61.0, 60.0, 66.0, 70.0, 150.0, 153.0]);
    let after = circle([0.0, 5.0, 9.0, 60.0, 65.0, 71.0, 150.0, 340.0]);
    let text = |_: usize| String::new();
    let rows: Vec<usize> = (0..8).collect();
    let column = |values: &[f32], dim: usize| {
        let vectors = Vectors { values, dim, labels: &LABELS };
        let result =
            parallax_eval::retrieval(&RetrievalConfig::default(), vectors, Gallery::LeaveOneOut).unwrap();
        result.column(Measure::MapAtR).unwrap().to_vec()
    };
    let (a, b) = (column(&before, 3), column(&after, 2));
    let given = QueryValues { measure: "map@r", rows: &rows, before: &a, after: &b };
    let subject = |values| Subject {
        queries: Rows {
            before: Some(Embeddings { values: &before, dim: 3 }),
            after: Embeddings { values: &after, dim: 2 },
            labels: Some(&LABELS),
            text: &text,
        },
        gallery: None,
        classes: &[],
        similarity: Similarity::Cosine,
        values,
    };
    let config = EvidenceConfig::default();
    let with = Evidence::gather(&config, &subject(Some(given)), Key::new(1)).unwrap();
    assert_eq!(with, Evidence::gather(&config, &subject(None), Key::new(1)).unwrap());
    assert!(with.confusion.is_none(), "labels without names are not classes");
    // Fewer queries than rows: the gallery still holds every row.
    let few = EvidenceConfig { queries: 3, ..config };
    let cases = Evidence::gather(&few, &subject(None), Key::new(1)).unwrap().cases.unwrap();
    assert_eq!(cases.queries, 3);
    for case in &cases.worst {
        assert_eq!((case.before, case.after), (Some(a[case.row]), b[case.row]), "row {}", case.row);
    }
}

#[test]
fn a_gallery_of_its_own_finds_the_partner() {
    let queries = circle([0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0]);
    let gallery = circle([1.0, 21.0, 41.0, 61.0, 81.0, 101.0, 139.0, 125.0]);
    let labels: Vec<u32> = (0..8).collect();
    let (query_text, item_text) = (|row: usize| format!("q{row}"), |row: usize| format!("g{row}"));
    let side = |values, text| Rows {
        before: None,
        after: Embeddings { values, dim: 2 },
        labels: Some(&labels[..]),
        text,
    };
    let subject = Subject {
        queries: side(&queries, &query_text),
        gallery: Some(side(&gallery, &item_text)),
        classes: &[],
        similarity: Similarity::Dot,
        values: None,
    };
    let evidence = Evidence::gather(&EvidenceConfig::default(), &subject, Key::new(1)).unwrap();
    let cases = evidence.cases.unwrap();
    assert!(cases.most_gained.is_empty() && cases.gained.is_none());
    let worst: Vec<(usize, f64, &str)> =
        cases.worst.iter().map(|q| (q.row, q.after, q.neighbours_after[0].text.as_str())).collect();
    // Query 6 at 120 finds item 7 at 125 before its own at 139; query 7 at 140 finds item 6 at 139 before its own.
    assert_eq!(worst[..2], [(6, 0.0, "g7"), (7, 0.0, "g6")]);
    assert_eq!(worst[2].1, 1.0);
    assert!(cases.worst[2].neighbours_before.is_none());
}

#[test]
fn parts_that_cannot_be_made_are_left_out() {
    let after = circle([0.0, 5.0, 9.0, 60.0, 65.0, 71.0, 150.0, 340.0]);
    let text = |_: usize| String::new();
    let mut subject = Subject {
        queries: Rows {
            before: None,
            after: Embeddings { values: &after, dim: 2 },
            labels: None,
            text: &text,
        },
        gallery: None,
        classes: &[],
        similarity: Similarity::Euclidean,
        values: None,
    };
    let evidence = Evidence::gather(&EvidenceConfig::default(), &subject, Key::new(1)).unwrap();
    assert!(evidence.maps.is_some() && evidence.cases.is_none() && evidence.confusion.is_none());
    let alone: Vec<u32> = (0..8).collect();
    subject.queries.labels = Some(&alone);
    let evidence = Evidence::gather(&EvidenceConfig::default(), &subject, Key::new(1)).unwrap();
    assert!(evidence.cases.is_none(), "no query has anything to find");
}

#[test]
fn what_does_not_fit_is_refused() {
    // The closures below may hand anything to any subject, so that it must live for ever.
    let good: &'static [f32] = circle([0.0, 5.0, 9.0, 60.0, 65.0, 71.0, 150.0, 340.0]).leak();
    let text = |_: usize| String::new();
    let classes: &'static [String] = names(&["a", "b", "c"]).leak();
    let refuse = |change: &dyn Fn(&mut Subject)| {
        let mut subject = Subject {
            queries: Rows {
                before: None,
                after: Embeddings { values: good, dim: 2 },
                labels: Some(&LABELS),
                text: &text,
            },
            gallery: None,
            classes,
            similarity: Similarity::Cosine,
            values: None,
        };
        change(&mut subject);
        Evidence::gather(&EvidenceConfig::default(), &subject, Key::new(1)).unwrap_err().to_string()
    };
    let mut broken = good.to_vec();
    broken[5] = f32::NAN;
    let broken: &'static [f32] = broken.leak();
    let says = |message: String, part: &str| assert!(message.contains(part), "{message}");
    says(refuse(&|s| s.queries.after.values = &[]), "queries are empty");
    says(refuse(&|s| s.queries.after.values = &good[..15]), "15 numbers, which is not 7 rows of 2");
    says(refuse(&|s| s.queries.labels = Some(&LABELS[..7])), "8 rows but 7 labels");
    says(refuse(&|s| s.classes = &classes[..2]), "row 7 of the queries (counted from 1) has label 2");
    says(refuse(&|s| s.queries.after.values = broken), "row 3 of the queries after, column 2, is NaN");
    let before = Embeddings { values: &[1.0; 16], dim: 2 };
    says(
        refuse(&|s| s.gallery = Some(Rows { before: Some(before), ..s.queries })),
        "only one of queries and gallery",
    );
    let wide = Embeddings { values: &[1.0; 24], dim: 3 };
    says(
        refuse(&|s| s.gallery = Some(Rows { after: wide, ..s.queries })),
        "2 columns after and the gallery has 3",
    );
    let values = |rows, before, after| Some(QueryValues { measure: "m", rows, before, after });
    says(refuse(&|s| s.values = values(&[0, 8], &[], &[1.0, 1.0])), "row 8 (counted from 0) of 8");
    says(refuse(&|s| s.values = values(&[0], &[1.0], &[1.0])), "1 rows and 1 values before");
    says(refuse(&|s| s.values = values(&[0], &[], &[f64::NAN])), "not finite");
}
