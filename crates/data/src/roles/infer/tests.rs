//! Tables as people have them: each gives the right roles, or a question that says what to type.

use proptest::prelude::*;

use crate::error::Result;
use crate::labels::{LabelColumn, MultiLabel};
use crate::roles::{Columns, Roles, Shape};
use crate::table::{Table, TableOptions};

const ASKED: [&str; 6] = [
    "Where is the card I ordered last week?",
    "My card has not arrived yet",
    "How do I top up my account?",
    "The top up failed again this morning",
    "I was charged a fee for a transfer",
    "Why is there a fee on this payment",
];

const ANSWERED: [&str; 6] = [
    "Cards take up to ten days to arrive",
    "Please look at the tracking page first",
    "Open the app and choose top up",
    "Try another card, or call the bank",
    "Transfers abroad have a small fee",
    "The fee is listed with the payment",
];

fn open(name: &str, bytes: impl AsRef<[u8]>) -> Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    Table::open(&[&path], &TableOptions::default())
}

/// A CSV file with these columns, each value in quotes.
fn table(header: &str, columns: &[&[&str]]) -> Table {
    let rows = (0..columns[0].len()).map(|row| {
        let fields: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column[row])).collect();
        fields.join(",") + "\n"
    });
    open("x.csv", format!("{header}\n{}", rows.collect::<String>())).unwrap()
}

fn of(table: &Table) -> Result<Roles> {
    Roles::of(table, &Columns::default())
}

fn question(table: &Table, set: &Columns) -> String {
    let error = Roles::of(table, set).unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.contains("--") && hint.contains("data."), "names a flag and a setting: {hint}");
    format!("{error}\n{hint}")
}

fn reason<'a>(roles: &'a Roles, role: &str) -> &'a str {
    &roles.bindings.iter().find(|binding| binding.role == role).unwrap().reason
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn semicolons_with_a_byte_order_mark() {
    let rows: String = (0..6)
        .map(|i| {
            format!(
                "{i};{};{}\r\n",
                ASKED[i].replace(" I ", ", I; ").replace(';', ","),
                ["karte", "geld"][i / 3]
            )
        })
        .collect();
    let table = open("export.csv", format!("\u{feff}Nr;Anfrage;Thema\r\n{rows}")).unwrap();
    let roles = of(&table).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 1, label: 2 });
    assert!(
        reason(&roles, "text").starts_with("the only column of texts of 7 words on average, all different"),
        "{roles}"
    );
    assert_eq!(reason(&roles, "label"), "the only column with values that recur: 2 values in 6 rows");
    assert_eq!(roles.passed_over[0].reason, "whole numbers from 0 to 5, all different");
    assert!(roles.notes[0].contains("fields are separated by semicolons"), "{roles}");
    let shown = roles.to_string();
    assert!(
        shown.contains("  text      <- Anfrage  (the only") && shown.contains("not used:    Nr  (whole"),
        "{shown}"
    );
}

#[test]
fn a_json_array_in_an_object() {
    let rows: Vec<String> = (0..6)
        .map(|i| format!("{{\"body_raw\": \"{}\", \"lang\": \"en\", \"queue\": \"q{}\", \"at\": \"2024-01-0{} 10:00\"}}", ASKED[i], i % 2, i + 1))
        .collect();
    let table =
        open("tickets.json", format!("{{\"version\": 3, \"data\": [\n{}\n]}}", rows.join(",\n"))).unwrap();
    assert_eq!((table.len(), table.place(5).row), (6, 6));
    let roles = of(&table).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 0, label: 2 });
    let passed: Vec<&str> = roles.passed_over.iter().map(|p| p.reason.as_str()).collect();
    assert_eq!(passed, ["the same value in every row: \"en\"", "dates or times"]);
    let error = open("x.json", "[{\"a\": 1},\n{\"a\": }]").unwrap_err().to_string();
    assert!(error.contains("x.json, row 2: not valid JSON"), "{error}");
    let error = open("x.json", "{\"text\": {\"0\": \"a\"}}").unwrap_err();
    assert!(error.hint().unwrap().contains("orient=\"records\""), "{error}");
}

#[test]
fn folders_of_texts() {
    let folder = tempfile::tempdir().unwrap();
    for (i, text) in ASKED.iter().enumerate() {
        let class = folder.path().join(["cards", "money"][i / 3]);
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join(format!("{i}.txt")), text).unwrap();
    }
    let table = Table::open(&[folder.path()], &TableOptions::default()).unwrap();
    let roles = of(&table).unwrap();
    assert_eq!((roles.shape.clone(), roles.id), (Shape::Labelled { text: 0, label: 1 }, Some(2)));
    let labels = LabelColumn::read(&table, 1, None).unwrap().labels;
    assert_eq!(
        (labels.names, labels.ids),
        (vec!["cards".to_owned(), "money".to_owned()], vec![0, 0, 0, 1, 1, 1])
    );
    assert!(roles.notes[0].contains("the folder of a file is its label"), "{roles}");
}

#[test]
fn float_labels() {
    // Whole: classes, and said so.
    let whole = table("text,label", &[&ASKED, &["1.0", "2.0", "1.0", "2.0", "1", "2"]]);
    let roles = of(&whole).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 0, label: 1 });
    assert!(roles.notes[0].contains("1.0 and 1 are read as the same class"), "{roles}");
    let unnamed = table("remark,stars", &[&ASKED, &["1.0", "2.0", "1.0", "2.0", "1", "2"]]);
    assert_eq!(of(&unnamed).unwrap().shape, Shape::Labelled { text: 0, label: 1 });
    // Not whole: a question, whatever the name of the column.
    for header in ["text,label", "remark,label", "remark,rating", "text,score"] {
        let asked = question(
            &table(header, &[&ASKED, &["0.5", "0.25", "1", "0.75", "0.5", "0.1"]]),
            &Columns::default(),
        );
        assert!(
            asked.contains("numbers from 0.1 to 1, not all whole") && asked.contains("bins"),
            "{header}: {asked}"
        );
        assert!(asked.contains("--score"), "{asked}");
    }
    // Unless the user insists.
    let real = table("text,label", &[&ASKED, &["0.5", "0.25", "1", "0.75", "0.5", "0.1"]]);
    let set = Columns { label: some("label"), ..Columns::default() };
    assert_eq!(Roles::of(&real, &set).unwrap().shape, Shape::Labelled { text: 0, label: 1 });
}

#[test]
fn cells_with_several_labels() {
    for (cells, first) in [
        (["card|post", "post", "money|card", "money", "fee|money", "fee"], "post"),
        (["card; post", "post", "money; card", "money", "fee; money", "fee"], "post"),
        (["card,post", "post", "money,card", "money", "fee,money", "fee"], "post"),
        (
            ["['card', 'post']", "['post']", "['money', 'card']", "['money']", "['fee', 'money']", "['fee']"],
            "post",
        ),
    ] {
        let table = table("remark,tags", &[&ASKED, &cells]);
        let roles = of(&table).unwrap();
        assert_eq!(roles.shape, Shape::Labelled { text: 0, label: 1 }, "{cells:?}");
        let error = LabelColumn::read(&table, 1, None).unwrap_err();
        assert!(
            error.to_string().contains("row 2, field \"tags\"") && error.to_string().contains("3 of 6 rows"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("multi_label"), "{error}");
        let found = LabelColumn::read(&table, 1, Some(MultiLabel::First)).unwrap();
        assert_eq!(found.several, 3);
        assert_eq!(found.labels.names[found.labels.ids[1] as usize], first);
        assert_eq!(found.labels.classes(), 4);
        assert_eq!(LabelColumn::read(&table, 1, Some(MultiLabel::Set)).unwrap().labels.classes(), 6);
    }
}

#[test]
fn two_columns_of_texts_are_pairs() {
    let roles = of(&table("faq,reply_text", &[&ASKED, &ANSWERED])).unwrap();
    assert_eq!(roles.shape, Shape::Pairs { anchor: 0, positive: 1 });
    assert!(reason(&roles, "anchor").starts_with("one of two columns of texts"), "{roles}");
    assert!(reason(&roles, "positive").starts_with("\"reply\" in its name"), "{roles}");
    let roles = of(&table("botAnswer,userQuestion", &[&ANSWERED, &ASKED])).unwrap();
    assert_eq!(roles.shape, Shape::Pairs { anchor: 1, positive: 0 });
    let scores = ["0.5", "4.25", "1", "5", "3.2", "0"];
    let roles = of(&table("a,b,c", &[&ASKED, &ANSWERED, &scores])).unwrap();
    assert_eq!(roles.shape, Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 });
    assert!(
        reason(&roles, "score").starts_with("numbers from 0 to 5, not all whole beside two texts"),
        "{roles}"
    );
    // The name says label, the content that it is a similarity.
    let roles = of(&table("premise,hypothesis,label", &[&ASKED, &ANSWERED, &scores])).unwrap();
    assert_eq!(roles.shape, Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 });
    // 0 and 1 could be either.
    for header in ["premise,hypothesis,label", "a,b,c"] {
        let asked = question(
            &table(header, &[&ASKED, &ANSWERED, &["0", "1", "0", "1", "1", "0"]]),
            &Columns::default(),
        );
        assert!(
            asked.contains("similarity") && asked.contains("--text") && asked.contains("--score"),
            "{asked}"
        );
    }
    // Prices are no similarity.
    let roles =
        of(&table("a,b,price", &[&ASKED, &ANSWERED, &["99.5", "1200", "3.5", "10", "7.25", "80"]])).unwrap();
    assert_eq!(roles.shape, Shape::Pairs { anchor: 0, positive: 1 });
    assert_eq!(roles.passed_over[0].reason, "numbers from 3.5 to 1200, not all whole");
}

#[test]
fn three_columns_of_texts_are_triplets_by_name_only() {
    let columns: [&[&str]; 3] = [
        &ASKED,
        &ANSWERED,
        &[
            "one more text here",
            "and yet another one",
            "a third one of these",
            "texts without a point",
            "nothing to see in here",
            "the last of them all",
        ],
    ];
    let roles = of(&table("user_query,pos_doc,hard_neg", &columns)).unwrap();
    assert_eq!(roles.shape, Shape::Triplets { anchor: 0, positive: 1, negatives: vec![2], scores: vec![] });
    assert!(reason(&roles, "negative").starts_with("\"neg\" in its name"), "{roles}");
    let asked = question(&table("a,b,c", &columns), &Columns::default());
    assert!(asked.contains("for triplets: --anchor a --positive b with data.negatives = [\"c\"]"), "{asked}");
}

#[test]
fn what_is_set_is_kept_and_the_rest_is_found() {
    let labels = ["card", "card", "top up", "top up", "fee", "fee"];
    let two = table("a,b,c", &[&ASKED, &ANSWERED, &labels]);
    let asked = question(&two, &Columns::default());
    assert!(asked.contains("--text a --label c") && asked.contains("--anchor a --positive b"), "{asked}");
    let set = Columns { text: some("b"), ..Columns::default() };
    assert_eq!(Roles::of(&two, &set).unwrap().shape, Shape::Labelled { text: 1, label: 2 });
    let set = Columns { label: some("c"), ..Columns::default() };
    let asked = question(&two, &set);
    assert!(asked.contains("--text a --label c") && asked.contains("--text b --label c"), "{asked}");
    let set = Columns { positive: some("a"), ..Columns::default() };
    assert_eq!(Roles::of(&two, &set).unwrap().shape, Shape::Pairs { anchor: 1, positive: 0 });
    let set = Columns { score: Some(vec!["c".into()]), ..Columns::default() };
    assert_eq!(Roles::of(&two, &set).unwrap().shape, Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 });
}

#[test]
fn several_classes_are_asked_about_unless_they_are_the_same() {
    let (kinds, moods) =
        (["card", "card", "top", "top", "fee", "fee"], ["glad", "sad", "glad", "sad", "glad", "sad"]);
    let asked = question(&table("remark,kind,mood", &[&ASKED, &kinds, &moods]), &Columns::default());
    assert!(asked.contains("--text remark --label kind") && asked.contains("--label mood"), "{asked}");
    let numbers = ["0", "0", "1", "1", "2", "2"];
    let roles = of(&table("remark,code,kind", &[&ASKED, &numbers, &kinds])).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 0, label: 2 });
    assert!(reason(&roles, "label").contains("\"code\" divides the rows in the same way"), "{roles}");
    let roles = of(&table("text,label,label_text", &[&ASKED, &numbers, &kinds])).unwrap();
    assert!(roles.passed_over[0].reason.contains("the same classes as \"label\""), "{roles}");
    // Two names of labels, one of them no class.
    let same = ["x"; 6];
    let roles = of(&table("text,category,topic", &[&ASKED, &same, &kinds])).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 0, label: 2 });
    let asked = question(&table("remark,n", &[&ASKED, &["1", "2", "3", "4", "5", "6"]]), &Columns::default());
    assert!(asked.contains("no column holds values that recur"), "{asked}");
    let asked = question(&table("text,label", &[&[""; 6], &kinds]), &Columns::default());
    assert!(asked.contains("\"text\", the text, is empty in every row"), "{asked}");
}

#[test]
fn the_text_to_embed_is_found_by_content() {
    let codes = ["a1", "a2", "a3", "a4", "a5", "a6"];
    let found = Columns::default().text_of(&table("sku,description", &[&codes, &ASKED])).unwrap();
    assert_eq!(found.0, 1);
    assert!(found.1.starts_with("the only column of texts of"), "{}", found.1);
    assert!(Columns::default().text_of(&table("a,b", &[&ANSWERED, &ASKED])).is_err());
}

#[test]
fn no_header_is_noticed_and_may_be_said() {
    let rows = "Where is it now,card\nIt is not there,card\nWhat does it cost,fee\nThat is too much,fee\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, rows).unwrap();
    let error = Table::open(&[&path], &TableOptions::default()).unwrap_err();
    assert!(error.hint().unwrap().contains("--set data.header=false"), "{error}");
    let options: TableOptions = toml::from_str("header = false").unwrap();
    let table = Table::open(&[&path], &options).unwrap();
    assert_eq!((table.columns(), table.len()), (&["column_1".to_owned(), "column_2".to_owned()][..], 4));
    assert_eq!(of(&table).unwrap().shape, Shape::Labelled { text: 0, label: 1 });
    let again: TableOptions = toml::from_str(&toml::to_string(&options).unwrap()).unwrap();
    assert_eq!(again, options);
    assert_eq!(toml::from_str::<TableOptions>("header = true").unwrap(), TableOptions::default());
}

#[test]
fn utf16_and_gzip_are_unpacked() {
    let text = "text;label\nWo ist die Karte geblieben?;Größe\nWas kostet die Überweisung?;Geld\n";
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    for (name, bytes, words) in
        [("x.csv", utf16, "in UTF-16"), ("x.csv.gz", gzip.finish().unwrap(), "compressed with gzip")]
    {
        let table = open(name, bytes).unwrap();
        assert_eq!(table.cell(0, 1).unwrap(), "Größe");
        assert_eq!(table.place(1).row, 3);
        assert!(table.notes()[0].contains(words), "{:?}", table.notes());
    }
    let error = open("x.csv", b"text,label\ncaf\xe9,a\n").unwrap_err();
    assert!(error.to_string().contains("row 2, field \"text\": not UTF-8"), "{error}");
    assert!(error.hint().unwrap().contains("WINDOWS-1252"), "{error}");
}

/// Reads real files where they are present: 77 classes, found by content once the names are hidden.
#[test]
fn banking77_without_names() {
    let Some(folder) = crate::real_data::folder("banking77") else { return };
    let text = std::fs::read_to_string(folder.join("train.csv")).unwrap().replacen("text,category", "a,b", 1);
    let table = open("x.csv", text).unwrap();
    let roles = of(&table).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 0, label: 1 });
    assert_eq!(reason(&roles, "label"), "the only column with values that recur: 77 values in 10003 rows");
}

/// Reads a real file without a header where it is present.
#[test]
fn stsb_without_names() {
    let Some(folder) = crate::real_data::folder("stsb") else { return };
    for language in ["en", "de", "fr", "zh"] {
        let path = folder.join(format!("{language}-train.csv"));
        let error = Table::open(&[&path], &TableOptions::default()).unwrap_err();
        assert!(error.to_string().contains("field 3 is \"5.0\", a number above numbers"), "{error}");
        let options = TableOptions { header: Some(Vec::new()), ..TableOptions::default() };
        let roles = of(&Table::open(&[&path], &options).unwrap()).unwrap();
        assert_eq!(
            roles.shape,
            Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 },
            "{language}: {roles}"
        );
    }
}

/// Reads a real file where it is present: two long texts whose names say that one is preferred.
#[test]
fn hh_rlhf_is_a_question() {
    let Some(folder) = crate::real_data::folder("hh-rlhf") else { return };
    let table = Table::open(&[folder.join("harmless-base-test.jsonl.gz")], &TableOptions::default()).unwrap();
    assert_eq!(table.columns(), ["chosen", "rejected"]);
    assert!(question(&table, &Columns::default()).contains("--anchor"));
}

proptest! {
    /// Whatever a table holds, it gives roles or an error, never a panic.
    #[test]
    fn any_table_is_answered(
        rows in (1usize..5).prop_flat_map(|width| proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    Just(String::new()), "[ab] [cd] [ef] [gh]{1,4}", "[0-3](\\.[05])?", "a|b", "[\\[\\]a,'\"]{0,6}", any::<String>(),
                ],
                width,
            ),
            1..12,
        )),
        names in proptest::sample::subsequence(vec!["text", "label", "score", "neg", "question", "answer", "x", "y"], 5).prop_shuffle(),
    ) {
        let width = rows[0].len();
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(&names[..width]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        if let Ok(table) = open("x.csv", writer.into_inner().unwrap()) {
            match of(&table) {
                Ok(roles) => {
                    if let Shape::Labelled { label, .. } = roles.shape {
                        for option in [None, Some(MultiLabel::First), Some(MultiLabel::Set), Some(MultiLabel::Whole)] {
                            let _ = LabelColumn::read(&table, label, option);
                        }
                    }
                    let _ = roles.to_string();
                }
                Err(error) => prop_assert!(error.hint().is_some()),
            }
            let _ = Columns::default().text_of(&table);
        }
    }

    #[test]
    fn hostile_json_never_panics(text in "[\\[\\]{}\",:a1\\\\ \n]{0,60}") {
        if let Ok(table) = open("x.json", text) {
            let _ = of(&table);
        }
    }
}
