use parallax_random::Key;
use proptest::prelude::*;

use super::{
    ClassDisjointSplit, ClassOrder, ColumnSplit, Parts, RandomSplit, Share, Split, StratifiedSplit,
    check_trainable,
};
use crate::labels::Labels;
use crate::table::{Table, TableOptions};

fn labels(names: &str) -> Labels {
    Labels::from_names(&names.chars().map(String::from).collect::<Vec<_>>())
}

fn sorted_union(parts: &Parts) -> Vec<u32> {
    let mut all = [&parts.train[..], &parts.validation, &parts.test].concat();
    all.sort_unstable();
    all
}

#[test]
fn a_random_split_has_the_asked_sizes_and_depends_on_the_key() {
    let split = Split::Random(RandomSplit { validation: 0.1, test: 0.25, seed: None });
    let parts = split.assign(100, None, None, Key::new(1)).unwrap();
    assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (65, 10, 25));
    assert_eq!(sorted_union(&parts), (0..100).collect::<Vec<u32>>());
    assert!(parts.train.is_sorted() && parts.validation.is_sorted() && parts.test.is_sorted());
    assert_eq!(split.assign(100, None, None, Key::new(1)).unwrap(), parts);
    assert_ne!(split.assign(100, None, None, Key::new(2)).unwrap(), parts);
    // With a seed of its own it is that of a run with this seed, under every seed.
    let own = Split::Random(RandomSplit { validation: 0.1, test: 0.25, seed: Some(1) });
    assert_eq!(own.assign(100, None, None, Key::new(2)).unwrap(), parts);
    let tiny = split.assign(3, None, None, Key::new(1)).unwrap();
    assert_eq!((tiny.train.len(), tiny.validation.len(), tiny.test.len()), (1, 1, 1));
    assert!(split.assign(2, None, None, Key::new(1)).unwrap_err().to_string().contains("none of 2 rows"));
}

#[test]
fn a_stratified_split_keeps_the_mix() {
    // 8 a, 4 b, 1 c and a test of a quarter: 2 of a, 1 of b, and c stays in training.
    let labels = labels("aaaaabaabbabc");
    let split = Split::Stratified(StratifiedSplit { validation: 0.0, test: 0.25, seed: None });
    for seed in 0..20 {
        let parts = split.assign(13, Some(&labels), None, Key::new(seed)).unwrap();
        let counts = labels.counts_among(parts.test.iter().map(|&row| row as usize));
        assert_eq!(counts, [2, 1, 0]);
        assert_eq!(sorted_union(&parts), (0..13).collect::<Vec<u32>>());
    }
    let own = Split::Stratified(StratifiedSplit { validation: 0.0, test: 0.25, seed: Some(4) });
    let by = |key| own.assign(13, Some(&labels), None, Key::new(key)).unwrap();
    assert_eq!(by(1), by(2));
    assert_eq!(by(1), split.assign(13, Some(&labels), None, Key::new(4)).unwrap());
}

#[test]
fn small_classes_do_not_all_round_down() {
    // 10 classes of 2: a fifth is 4 rows in all, though a fifth of each class rounds to 0.
    let labels = labels("aabbccddeeffgghhiijj");
    let parts =
        Split::Stratified(StratifiedSplit::default()).assign(20, Some(&labels), None, Key::new(0)).unwrap();
    assert_eq!(parts.test.len(), 4);
    assert!(labels.counts_among(parts.train.iter().map(|&r| r as usize)).iter().all(|&count| count >= 1));
}

#[test]
fn classes_are_seen_or_not() {
    let labels = labels("dcbaabcdee");
    let split = |seen, validation, order| {
        Split::ClassDisjoint(ClassDisjointSplit { seen, validation, order }).assign(
            10,
            Some(&labels),
            None,
            Key::new(3),
        )
    };
    let parts = split(Share::Count(3), Share::Count(1), ClassOrder::Alphabetical).unwrap();
    assert_eq!(parts.train, [2, 3, 4, 5]); // a, b
    assert_eq!(parts.validation, [1, 6]); // c
    assert_eq!(parts.test, [0, 7, 8, 9]); // d, e
    let half = split(Share::Fraction(0.4), Share::Fraction(0.0), ClassOrder::Alphabetical).unwrap();
    assert_eq!((half.train.len(), half.test.len()), (4, 6));
    let random = split(Share::Count(3), Share::Count(0), ClassOrder::Random).unwrap();
    assert!(
        random
            .test
            .iter()
            .all(|t| !random.train.iter().any(|r| labels.ids[*t as usize] == labels.ids[*r as usize]))
    );
    for (seen, words) in [
        (Share::Count(5), "split.seen makes 5 of 5"),
        (Share::Count(6), "only 5 classes"),
        (Share::Fraction(0.0), "makes 0 of 5"),
        (Share::Fraction(1.5), "from 0 to 1"),
        (Share::Fraction(f64::NAN), "from 0 to 1"),
    ] {
        let error = split(seen, Share::Count(0), ClassOrder::Alphabetical).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let all = split(Share::Count(2), Share::Count(2), ClassOrder::Alphabetical).unwrap_err().to_string();
    assert!(all.contains("none of 10 rows for training"), "{all}");
}

#[test]
fn a_column_gives_the_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, "split,text\ntrain,a\ndev,b\n test,c\nvalidation,d\n").unwrap();
    let table = Table::open(&[&path], &TableOptions::default()).unwrap();
    let split = Split::Column(ColumnSplit::default());
    let parts = split.assign(4, None, Some(&table), Key::new(0)).unwrap();
    assert_eq!(parts, Parts { train: vec![0], validation: vec![1, 3], test: vec![2] });
    assert!(split.assign(4, None, None, Key::new(0)).is_err());
    assert!(split.assign(5, None, Some(&table), Key::new(0)).unwrap_err().to_string().contains("5 rows"));
    std::fs::write(&path, "split,text\ntrain,a\nholdout,b\n").unwrap();
    let table = Table::open(&[&path], &TableOptions::default()).unwrap();
    let error = split.assign(2, None, Some(&table), Key::new(0)).unwrap_err().to_string();
    assert!(
        error.contains("x.csv, row 3, field \"split\": expected the name of a part, found \"holdout\""),
        "{error}"
    );
    let named: Split = toml::from_str("name = \"column\"\ntest = [\"holdout\"]\ntrain = \"train\"").unwrap();
    assert_eq!(named.assign(2, None, Some(&table), Key::new(0)).unwrap().test, [1]);
}

#[test]
fn shares_are_read_from_toml() {
    let split: Split = toml::from_str("name = \"class_disjoint\"\nseen = 38\nvalidation = 0.25").unwrap();
    let expected = ClassDisjointSplit {
        seen: Share::Count(38),
        validation: Share::Fraction(0.25),
        order: ClassOrder::Alphabetical,
    };
    assert_eq!(split, Split::ClassDisjoint(expected));
    assert!(toml::from_str::<Split>("name = \"random\"\nvalid = 0.1").is_err());
}

#[test]
fn bad_fractions_and_absent_labels() {
    let refused = |split: Split| split.assign(10, None, None, Key::new(0)).unwrap_err().to_string();
    let random = |validation, test| Split::Random(RandomSplit { validation, test, seed: None });
    assert!(refused(random(0.0, 1.0)).contains("split.test is 1"));
    assert!(refused(random(-0.1, 0.1)).contains("split.validation is -0.1"));
    assert!(refused(random(0.5, 0.5)).contains("leaves none"));
    assert!(refused(random(f64::NAN, 0.5)).contains("NaN"));
    assert!(refused(Split::Stratified(StratifiedSplit::default())).contains("no labels"));
    let five = labels("abcde");
    let wrong =
        Split::ClassDisjoint(ClassDisjointSplit::default()).assign(10, Some(&five), None, Key::new(0));
    assert!(wrong.unwrap_err().to_string().contains("the label column has 5"));
}

#[test]
fn what_can_be_learned_from() {
    let labels = labels("aabcb");
    let warning = check_trainable(&labels, &[0, 1, 2, 3, 4]).unwrap().unwrap();
    assert_eq!((warning.classes.as_slice(), warning.of), (&["c".to_owned()][..], 3));
    assert!(warning.to_string().starts_with("1 of 3 training classes have one row"));
    assert_eq!(check_trainable(&labels, &[0, 1, 2, 4]).unwrap(), None);
    let error = |rows: &[u32]| check_trainable(&labels, rows).unwrap_err().to_string();
    assert!(error(&[0, 1]).contains("all 2 training rows have the label \"a\""));
    assert!(error(&[0, 2, 3]).contains("each of the 3 training classes has one row"));
    assert!(error(&[]).contains("no row"));
}

proptest! {
    #[test]
    fn every_row_is_in_one_part(
        ids in proptest::collection::vec(0u8..8, 1..80),
        validation in 0.0f64..0.5,
        test in 0.0f64..0.5,
        seed in any::<u64>(),
        seen in 0.0f64..1.0,
    ) {
        let labels = Labels::from_names(&ids.iter().map(|id| id.to_string()).collect::<Vec<_>>());
        let splits = [
            Split::Random(RandomSplit { validation, test, seed: None }),
            Split::Stratified(StratifiedSplit { validation, test, seed: None }),
            Split::ClassDisjoint(ClassDisjointSplit {
                seen: Share::Fraction(seen),
                validation: Share::Fraction(validation),
                order: ClassOrder::Random,
            }),
        ];
        for split in splits {
            if let Ok(parts) = split.assign(ids.len(), Some(&labels), None, Key::new(seed)) {
                prop_assert!(!parts.train.is_empty());
                prop_assert_eq!(sorted_union(&parts), (0..ids.len() as u32).collect::<Vec<_>>());
                if matches!(split, Split::Stratified(_)) {
                    let kept = labels.counts_among(parts.train.iter().map(|&row| row as usize));
                    prop_assert!(kept.iter().all(|&count| count > 0));
                }
            }
        }
    }
}
