use std::path::PathBuf;

use parallax_random::Key;
use proptest::prelude::*;

use super::scan::normalised;
use super::{Beside, CheckOptions, Finding, Kind, Report, Severity};
use crate::labels::{LabelColumn, MultiLabel};
use crate::roles::{Columns, Roles};
use crate::split::{Parts, Split, StratifiedSplit};
use crate::table::{Table, TableOptions};
use crate::text::Tokenizer;

struct Case {
    _folder: tempfile::TempDir,
    path: PathBuf,
    table: Table,
    roles: Roles,
}

fn case(name: &str, text: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let table = Table::open(&[&path], &TableOptions::default()).unwrap();
    let roles = Roles::of(&table, &Columns::default()).unwrap();
    Case { _folder: folder, path, table, roles }
}

impl Case {
    fn report(&self, parts: Option<&Parts>, options: &CheckOptions) -> Report {
        Report::of(&self.table, &self.roles, Beside { parts, ..Beside::default() }, options).unwrap()
    }

    fn check(&self) -> Report {
        self.report(None, &CheckOptions::default())
    }

    fn at(&self, row: u64) -> String {
        format!("{}:{row}", self.path.display())
    }
}

fn find(report: &Report, kind: Kind) -> &Finding {
    report
        .findings
        .iter()
        .find(|finding| finding.kind == kind)
        .unwrap_or_else(|| panic!("no {kind:?}\n{report}"))
}

fn kinds(report: &Report) -> Vec<(Kind, usize)> {
    report.findings.iter().map(|finding| (finding.kind, finding.count)).collect()
}

const TABLE: &str = "text,label,lang\n\
    Where is my card,card,en\n\
    where is  my CARD ,card,en\n\
    Where is my card,card,en\n\
    How do I pay,pay,en\n\
    how do i pay,Pay,en\n\
    \" \",card,en\n\
    What is this,,en\n\
    Lost it,lost,en\n";

#[test]
fn a_small_table_with_everything_wrong() {
    let case = case("x.csv", TABLE);
    let report = case.check();
    // Worst first, and in a fixed order among equals.
    assert_eq!(
        kinds(&report),
        [
            (Kind::EmptyTexts, 1),
            (Kind::ConflictingLabels, 2),
            (Kind::MissingLabels, 1),
            (Kind::LabelSpelling, 2),
            (Kind::ExactDuplicates, 1),
            (Kind::NormalisedDuplicates, 1),
            (Kind::SingletonClasses, 3),
        ]
    );
    let example = &find(&report, Kind::ConflictingLabels).examples[0];
    assert_eq!(example.rows, [case.at(5), case.at(6)]);
    assert_eq!(example.shown, "\"How do I pay\" (\"pay\" and \"Pay\")");
    assert_eq!(find(&report, Kind::ExactDuplicates).examples[0].rows, [case.at(2), case.at(4)]);
    assert_eq!(find(&report, Kind::NormalisedDuplicates).examples[0].rows, [case.at(2), case.at(3)]);
    assert_eq!(find(&report, Kind::EmptyTexts).examples[0].rows, [case.at(7)]);
    assert_eq!(find(&report, Kind::MissingLabels).examples[0].rows, [case.at(8)]);
    let spelling = find(&report, Kind::LabelSpelling);
    assert_eq!(spelling.examples[0].shown, "\"pay\" (1 row) and \"Pay\" (1 row)");
    let balance = report.balance.as_ref().unwrap();
    assert_eq!((balance.classes, balance.smallest, balance.median, balance.largest), (4, 1, 1, 4));
    assert_eq!(report.worst(), Some(Severity::Error));
    assert!(report.findings.iter().all(|finding| !finding.hint.is_empty() && finding.examples.len() <= 5));
    let shown = report.to_string();
    assert!(
        shown.contains(
            ": 8 rows (labelled rows)\n4 classes; rows of a class: smallest 1, median 1, largest 4\n"
        ),
        "{shown}"
    );
    assert!(
        shown.contains("    1 rows      3 classes  ########################################\n"),
        "{shown}"
    );
    assert!(shown.contains("\nerror: 2 rows of 1 text with different labels"), "{shown}");
    assert!(shown.ends_with("\n4 errors, 3 warnings, 0 notes"), "{shown}");
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"kind\":\"conflicting_labels\",\"severity\":\"error\",\"count\":2"), "{json}");
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn a_clean_table_has_no_finding() {
    let report = case("x.csv", "text,label\na,x\nb,x\nc,y\nd,y\n").check();
    assert_eq!((report.findings.len(), report.worst()), (0, None));
    assert!(report.to_string().ends_with("nothing found"));
}

#[test]
fn leaks_between_parts() {
    let case = case("x.csv", "text,label\na b,x\nA  b,x\na b,y\nc,y\nd,x\nd,x\n");
    let parts = Parts { train: vec![0, 3], validation: vec![4], test: vec![1, 2, 5] };
    let report = case.report(Some(&parts), &CheckOptions::default());
    let exact = find(&report, Kind::LeakedTexts);
    assert_eq!((exact.count, exact.severity), (2, Severity::Error));
    assert_eq!(exact.examples[0].rows, [case.at(2), case.at(4)]);
    assert_eq!(exact.examples[1].shown, "\"d\" (validation and test)");
    let normalised = find(&report, Kind::LeakedNormalisedTexts);
    assert_eq!((normalised.count, &normalised.examples[0].rows), (1, &vec![case.at(2), case.at(3)]));
    let disjoint = |disjoint| CheckOptions { disjoint_classes: Some(disjoint), ..CheckOptions::default() };
    let report = case.report(Some(&parts), &disjoint(true));
    let shared = find(&report, Kind::SharedClasses);
    assert_eq!(
        (shared.count, shared.examples[0].shown.as_str()),
        (2, "\"x\" (training and validation and test)")
    );
    assert!(
        !kinds(&case.report(Some(&parts), &disjoint(false)))
            .iter()
            .any(|(kind, _)| *kind == Kind::UnseenClasses)
    );
    let parts = Parts { train: vec![3], validation: vec![], test: vec![4] };
    let report = case.report(Some(&parts), &disjoint(false));
    assert_eq!(find(&report, Kind::UnseenClasses).examples[0].rows, [case.at(6)]);
    let parts = Parts { train: vec![99], ..Parts::default() };
    let beside = Beside { parts: Some(&parts), ..Beside::default() };
    assert!(Report::of(&case.table, &case.roles, beside, &CheckOptions::default()).is_err());
}

#[test]
fn pairs_are_compared_as_pairs() {
    let case = case("x.csv", "question,answer\na,b\nb,a\na,b\na,c\nz,Z\n");
    let report = case.check();
    assert_eq!(kinds(&report), [(Kind::ExactDuplicates, 1), (Kind::SameSides, 1)]);
    assert_eq!(find(&report, Kind::ExactDuplicates).examples[0].rows, [case.at(2), case.at(4)]);
    let parts = Parts { train: vec![0, 1], validation: vec![], test: vec![2, 3, 4] };
    let report = case.report(Some(&parts), &CheckOptions::default());
    assert_eq!((find(&report, Kind::LeakedTexts).count, find(&report, Kind::LeakedAnchors).count), (1, 1));
    assert_eq!(find(&report, Kind::LeakedAnchors).examples[0].rows, [case.at(2), case.at(5)]);
    let scored = self::case("x.csv", "s1,s2,score\na,b,0.5\na,b,0.25\nc,d,\n").check();
    assert_eq!(kinds(&scored), [(Kind::ConflictingLabels, 2), (Kind::MissingLabels, 1)]);
    assert!(scored.balance.is_none());
}

#[test]
fn numbers_lists_and_columns_that_do_not_vary() {
    let whole = case("x.csv", "text,label\na,1.0\na,1\nb,2.0\nc,2\n").check();
    assert_eq!(kinds(&whole), [(Kind::ExactDuplicates, 1)]);
    let rows: String = (0..30).map(|i| format!("text {i},{},en,{i}\n", i % 2)).collect();
    let constant = case("x.csv", &format!("text,label,lang,n\n{rows}")).check();
    assert!(find(&constant, Kind::ConstantColumn).message.ends_with("of \"lang\" (100.0 %)"), "{constant}");
    let one = case("x.csv", "text,label\na,x\nb,x\n").check();
    assert_eq!(kinds(&one), [(Kind::OneClass, 1)]);
    let case = case(
        "x.jsonl",
        "{\"text\":[\"a\"],\"label\":[\"x\"]}\n{\"text\":\"b\",\"label\":[\"x\",\"y\"]}\n{\"text\":\"c\",\"label\":\"x\"}\n",
    );
    let report = case.check();
    assert_eq!(kinds(&report)[0], (Kind::NotText, 1));
    let labels = LabelColumn::read(&case.table, 1, Some(MultiLabel::First)).unwrap().labels;
    let beside = Beside { labels: Some(&labels), ..Beside::default() };
    let report = Report::of(&case.table, &case.roles, beside, &CheckOptions::default()).unwrap();
    assert_eq!(report.balance.unwrap().classes, 1);
    let short = LabelColumn::read(&self::case("x.csv", "text,label\na,x\n").table, 1, None).unwrap().labels;
    let beside = Beside { labels: Some(&short), ..Beside::default() };
    assert!(Report::of(&case.table, &case.roles, beside, &CheckOptions::default()).is_err());
}

#[test]
fn long_texts_in_characters_and_tokens() {
    let case = case(
        "x.csv",
        &format!("text,label\n{},x\né{},x\n{},x\n", "a".repeat(11), "b".repeat(9), "c ".repeat(300)),
    );
    let options = CheckOptions { max_characters: 10, ..CheckOptions::default() };
    let report = case.report(None, &options);
    let long = find(&report, Kind::LongTexts);
    assert_eq!((long.count, long.severity), (2, Severity::Note));
    assert!(long.message.contains("more than 10 characters; the longest has 600"), "{}", long.message);
    let folder = tempfile::tempdir().unwrap();
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "c"];
    std::fs::write(folder.path().join("vocab.txt"), words.join("\n")).unwrap();
    std::fs::write(
        folder.path().join("tokenizer_config.json"),
        "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": true}",
    )
    .unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path(), 64).unwrap();
    let beside = Beside { tokenizer: Some(&tokenizer), ..Beside::default() };
    let report = Report::of(&case.table, &case.roles, beside, &CheckOptions::default()).unwrap();
    let long = find(&report, Kind::LongTexts);
    assert_eq!((long.count, long.severity), (1, Severity::Warning));
    assert!(long.message.contains("more than 64 tokens; the longest has 302"), "{}", long.message);
}

/// One thread or two, the same report.
#[test]
fn threads_do_not_change_the_report() {
    let key = Key::new(7);
    let rows: String = (0..9000)
        .map(|i| {
            format!(
                "word{} {},{}\n",
                key.below(2 * i, 3000),
                ["a", "A", "b "][i as usize % 3],
                key.below(2 * i + 1, 40)
            )
        })
        .collect();
    let case = case("x.csv", &format!("text,label\n{rows}"));
    let labels = LabelColumn::read(&case.table, 1, None).unwrap().labels;
    let split = Split::Stratified(StratifiedSplit::default());
    let parts = split.assign(9000, Some(&labels), None, key).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.report(Some(&parts), &CheckOptions::default()))
    };
    let report = on(1);
    assert_eq!(report, on(2));
    assert!(
        find(&report, Kind::ConflictingLabels).count > 5000 && find(&report, Kind::LeakedTexts).count > 100
    );
}

/// Reads a real file where it is present.
#[test]
fn banking77() {
    let Some(folder) = crate::real_data::folder("banking77") else { return };
    let paths = ["train.csv", "test.csv"].map(|name| folder.join(name));
    let table = Table::open(&paths, &TableOptions::default()).unwrap();
    let roles = Roles::of(&table, &Columns::default()).unwrap();
    let parts = Parts { train: (0..10_003).collect(), validation: vec![], test: (10_003..13_083).collect() };
    let beside = Beside { parts: Some(&parts), ..Beside::default() };
    let options = CheckOptions { disjoint_classes: Some(false), ..CheckOptions::default() };
    let report = Report::of(&table, &roles, beside, &options).unwrap();
    println!("{report}");
    let balance = report.balance.as_ref().unwrap();
    assert_eq!((report.rows, balance.classes), (13_083, 77));
    // The table is known to hold a few questions twice, and none of them empty.
    assert!(report.findings.iter().all(|finding| finding.kind != Kind::EmptyTexts));
    // Recounted plainly.
    let texts = table.texts(0).unwrap();
    let train: std::collections::HashSet<&String> = texts[..10_003].iter().collect();
    let leaked = texts[10_003..].iter().filter(|text| train.contains(text)).count();
    let found =
        report.findings.iter().find(|finding| finding.kind == Kind::LeakedTexts).map_or(0, |f| f.count);
    assert_eq!(found, leaked);
}

proptest! {
    /// Counts agree with a plain recount.
    #[test]
    fn duplicates_and_conflicts_are_counted_right(
        rows in proptest::collection::vec(("[aA] ?[bB]{0,1}", 0..3u32), 1..40),
    ) {
        let lines: String = rows.iter().map(|(text, label)| format!("\"{text}\",c{label}\n")).collect();
        let report = case("x.csv", &format!("text,label\nsome text,c0\n{lines}")).check();
        let count = |kind| report.findings.iter().find(|f: &&Finding| f.kind == kind).map_or(0, |f| f.count);
        let (mut exact, mut normal, mut conflicts) = (0, 0, 0);
        for (i, (text, label)) in rows.iter().enumerate() {
            let same = |other: &(String, u32)| normalised(&other.0) == normalised(text);
            let earlier = || rows[..i].iter().filter(|other| same(other) && other.1 == *label);
            if earlier().any(|other| other.0 == *text) {
                exact += 1;
            } else if earlier().next().is_some() {
                normal += 1;
            }
            conflicts += usize::from(rows.iter().any(|other| same(other) && other.1 != *label));
        }
        prop_assert_eq!(count(Kind::ExactDuplicates), exact);
        prop_assert_eq!(count(Kind::NormalisedDuplicates), normal);
        prop_assert_eq!(count(Kind::ConflictingLabels), conflicts);
    }

    #[test]
    fn any_table_is_checked(
        rows in proptest::collection::vec((any::<String>(), "[a-c| ]{0,3}"), 1..20),
        train in proptest::collection::vec(any::<bool>(), 20),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["text", "label"]).unwrap();
        for (text, label) in &rows {
            writer.write_record([text, label]).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, writer.into_inner().unwrap()).unwrap();
        if let Ok(table) = Table::open(&[&path], &TableOptions::default())
            && let Ok(roles) = Roles::of(&table, &Columns::default())
        {
            let side = |part: bool| (0..table.len() as u32).filter(|&row| train[row as usize] == part).collect();
            let parts = Parts { train: side(true), validation: vec![], test: side(false) };
            let beside = Beside { parts: Some(&parts), ..Beside::default() };
            let report = Report::of(&table, &roles, beside, &CheckOptions::default()).unwrap();
            let _ = report.to_string();
        }
    }
}
