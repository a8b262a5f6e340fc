use std::collections::{BTreeMap, BTreeSet, HashSet};

use parallax_random::Key;
use proptest::prelude::*;

use super::{PerClassSampler, Rows, Sampler, SequentialSampler, ShuffledSampler, text_hash};

fn per_class(per_class: usize) -> Sampler {
    Sampler::PerClass(PerClassSampler { per_class })
}

fn shuffled(drop_last: bool, no_duplicates: bool) -> Sampler {
    Sampler::Shuffled(ShuffledSampler { drop_last, no_duplicates })
}

fn labelled(labels: &[u32]) -> Rows<'_> {
    Rows { n: labels.len(), labels: Some(labels), texts: &[] }
}

fn plain(n: usize) -> Rows<'static> {
    Rows { n, ..Rows::default() }
}

#[test]
fn an_epoch_is_frozen() {
    // A changed sampler would silently change every seeded run.
    let labels = [0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2];
    let batches = per_class(2).build(4, labelled(&labels), Key::new(7)).unwrap();
    assert_eq!(batches.batches(0), FROZEN_PER_CLASS);
    let batches = shuffled(false, true).build(4, plain(6), Key::new(7)).unwrap();
    assert_eq!(batches.batches(3), FROZEN_SHUFFLED);
}

#[test]
fn sequential_is_the_order_of_the_data() {
    let sampler = Sampler::Sequential(SequentialSampler::default());
    let batches = sampler.build(2, plain(5), Key::new(0)).unwrap();
    assert_eq!(batches.batches(9), [vec![0, 1], vec![2, 3], vec![4]]);
    assert_eq!(batches.batches_per_epoch(), 3);
    let dropping = Sampler::Sequential(SequentialSampler { drop_last: true });
    assert_eq!(dropping.build(2, plain(5), Key::new(0)).unwrap().batches_per_epoch(), 2);
}

#[test]
fn a_lone_batch_is_kept_though_it_is_not_full() {
    let batches = shuffled(true, true).build(8, plain(5), Key::new(0)).unwrap();
    assert_eq!(batches.batches_per_epoch(), 1);
    assert_eq!(batches.batches(0)[0].len(), 5);
}

#[test]
fn short_classes_repeat_as_little_as_they_must() {
    // Class 0 has one row, class 1 three, class 2 four.
    let labels = [0, 1, 1, 1, 2, 2, 2, 2];
    let batches = per_class(4).build(12, labelled(&labels), Key::new(0)).unwrap();
    assert_eq!((batches.short_classes(), batches.batches_per_epoch()), (2, 1));
    let mut counts = [0; 8];
    batches.batches(0)[0].iter().for_each(|&row| counts[row as usize] += 1);
    assert_eq!(counts[0], 4);
    let mut class_1 = counts[1..4].to_vec();
    class_1.sort_unstable();
    assert_eq!(class_1, [1, 1, 2]);
    assert_eq!(counts[4..], [1, 1, 1, 1]);
}

#[test]
fn values_that_do_not_fit_come_with_values_that_do() {
    let labels: Vec<u32> = (0..40).map(|i| i % 5).collect();
    let error = |m, batch| per_class(m).build(batch, labelled(&labels), Key::new(0)).unwrap_err().to_string();
    assert!(error(4, 30).contains("not a multiple of sampler.per_class = 4; 28 or 32 would do"));
    assert!(error(4, 3).contains("; 4 would do"));
    let few = error(4, 32);
    assert!(few.contains("needs 8 classes and the training part has 5"), "{few}");
    assert!(few.contains("batch_size = 20 or sampler.per_class = 8 would do"), "{few}");
    assert!(per_class(8).build(32, labelled(&labels), Key::new(0)).is_ok());
    assert!(per_class(4).build(20, labelled(&labels), Key::new(0)).is_ok());
    assert!(error(0, 4).contains("per_class is 0"));
    assert!(error(4, 0).contains("batch_size is 0"));
    assert!(per_class(4).build(4, plain(8), Key::new(0)).unwrap_err().hint().unwrap().contains("data.label"));
    assert!(per_class(4).build(4, plain(0), Key::new(0)).is_err());
    let wrong = Rows { n: 3, labels: Some(&[0, 1]), texts: &[] };
    assert!(per_class(1).build(1, wrong, Key::new(0)).is_err());
}

#[test]
fn every_class_is_drawn_equally_often() {
    // Class 0 has 90 rows and class 1 to 9 have 2 each: classes are uniform, not rows.
    let labels: Vec<u32> = (0..108).map(|i| if i < 90 { 0 } else { (i - 90) / 2 + 1 }).collect();
    let batches = per_class(2).build(4, labelled(&labels), Key::new(1)).unwrap();
    let mut counts = [0usize; 10];
    for epoch in 0..200 {
        for batch in batches.batches(epoch) {
            batch.iter().for_each(|&row| counts[labels[row as usize] as usize] += 1);
        }
    }
    // 200 epochs of 27 batches of 2 classes of 10: 1,080 times 2 rows each, standard deviation about 60.
    assert!(counts.iter().all(|count| (1900..2420).contains(count)), "{counts:?}");
}

#[test]
fn shared_texts_are_kept_apart_until_nothing_else_is_left() {
    let hash = |text: &str| text_hash(text);
    // Five rows share one anchor; the tenth row's positive is the first row's anchor.
    let anchors: Vec<u64> =
        (0..10).map(|i| if i < 5 { hash("same") } else { hash(&format!("anchor {i}")) }).collect();
    let mut positives: Vec<u64> = (0..10).map(|i| hash(&format!("positive {i}"))).collect();
    positives[9] = hash("same");
    let rows = Rows { n: 10, labels: None, texts: &[&anchors, &positives] };
    // Six rows hold the text: in five batches of two, one batch must hold two of them.
    let batches = shuffled(true, true).build(2, rows, Key::new(0)).unwrap();
    for epoch in 0..20 {
        assert_eq!(batches.duplicates(epoch), 1);
        assert_eq!(batches.batches(epoch).concat().into_iter().collect::<BTreeSet<_>>().len(), 10);
    }
}

#[test]
fn one_text_in_most_rows_is_no_catastrophe() {
    let anchors: Vec<u64> = (0..30_000).map(|i| if i % 3 == 0 { i } else { u64::MAX }).collect();
    let rows = Rows { n: anchors.len(), labels: None, texts: &[&anchors] };
    let batches = shuffled(false, true).build(64, rows, Key::new(0)).unwrap();
    let mut all = batches.batches(0).concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..30_000));
}

#[test]
fn samplers_are_read_from_toml() {
    let sampler: Sampler = toml::from_str("name = \"per_class\"\nper_class = 2").unwrap();
    assert_eq!(sampler, per_class(2));
    assert_eq!(toml::from_str::<Sampler>("name = \"shuffled\"").unwrap(), Sampler::default());
    assert!(toml::from_str::<Sampler>("name = \"shuffled\"\ndrop = true").is_err());
}

proptest! {
    #[test]
    fn per_class_batches_are_distinct_classes_of_m_rows(
        labels in proptest::collection::vec(0u32..12, 1..120),
        m in 1usize..5,
        classes in 1usize..6,
        seed in any::<u64>(),
        epoch in any::<u64>(),
    ) {
        let present: BTreeMap<u32, usize> =
            labels.iter().fold(BTreeMap::new(), |mut counts, &l| { *counts.entry(l).or_insert(0) += 1; counts });
        let built = per_class(m).build(m * classes, labelled(&labels), Key::new(seed));
        if present.len() < classes {
            prop_assert!(built.is_err());
            return Ok(());
        }
        let batches = built.unwrap();
        let epoch_batches = batches.batches(epoch);
        prop_assert_eq!(epoch_batches.len(), batches.batches_per_epoch());
        prop_assert_eq!(epoch_batches.len(), (labels.len() / (m * classes)).max(1));
        prop_assert_eq!(&epoch_batches, &batches.batches(epoch));
        for batch in &epoch_batches {
            prop_assert_eq!(batch.len(), m * classes);
            let groups: BTreeSet<u32> = batch.iter().map(|&row| labels[row as usize]).collect();
            prop_assert_eq!(groups.len(), classes);
            for group in batch.chunks(m) {
                let class = labels[group[0] as usize];
                prop_assert!(group.iter().all(|&row| labels[row as usize] == class));
                let distinct = group.iter().collect::<HashSet<_>>().len();
                prop_assert_eq!(distinct, m.min(present[&class]));
            }
        }
    }

    #[test]
    fn shuffled_batches_are_a_permutation(
        n in 2usize..100,
        batch_size in 1usize..20,
        texts in proptest::collection::vec(0u64..40, 100),
        seed in any::<u64>(),
    ) {
        let rows = Rows { n, labels: None, texts: &[&texts[..n]] };
        let batches = shuffled(false, true).build(batch_size, rows, Key::new(seed)).unwrap();
        let order = batches.batches(0);
        prop_assert_eq!(order.len(), n.div_ceil(batch_size));
        prop_assert!(order[..order.len() - 1].iter().all(|batch| batch.len() == batch_size));
        let mut all = order.concat();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..n as u32));
        prop_assert_eq!(&order, &batches.batches(0));
        if n > 20 {
            prop_assert_ne!(&order, &batches.batches(1));
        }
    }

    #[test]
    fn texts_that_are_rare_never_meet(groups in 20usize..40, seed in any::<u64>()) {
        // Every text twice, batches of a tenth of the rows at most: what the greedy pass leaves, an exchange mends.
        let texts: Vec<u64> = (0..2 * groups as u64).map(|row| row / 2).collect();
        let rows = Rows { n: texts.len(), labels: None, texts: &[&texts] };
        let batches = shuffled(true, true).build(4, rows, Key::new(seed)).unwrap();
        prop_assert_eq!(batches.duplicates(0), 0);
    }
}

const FROZEN_PER_CLASS: [[u32; 4]; 3] = [[7, 3, 1, 0], [7, 2, 6, 9], [5, 8, 9, 0]];
const FROZEN_SHUFFLED: [&[u32]; 2] = [&[4, 1, 5, 3], &[2, 0]];
