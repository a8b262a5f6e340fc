use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Cell, Format, INDEX_BYTES_PER_ROW, RowPlace, Table, TableOptions};
use crate::error::Result;

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn open(path: &Path) -> Result<Table> {
    Table::open(&[path], &TableOptions::default())
}

fn rows(table: &Table) -> Vec<Vec<String>> {
    (0..table.len())
        .map(|row| (0..table.columns().len()).map(|c| table.cell(row, c).unwrap()).collect())
        .collect()
}

#[test]
fn the_index_is_small() {
    assert_eq!(size_of::<RowPlace>(), 16);
    const { assert!(INDEX_BYTES_PER_ROW <= 32) };
}

#[test]
fn csv_with_everything_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}text, label\r\n\"one, \"\"two\"\"\r\nthree\",a\r\n\r\nplain \"quoted\",\r\né日,c";
    let table = open(&write(folder.path(), "x.csv", text)).unwrap();
    assert_eq!(table.columns(), ["text", "label"]);
    assert_eq!(rows(&table), [["one, \"two\"\r\nthree", "a"], ["plain \"quoted\"", ""], ["é日", "c"]]);
    assert_eq!((0..3).map(|row| table.place(row).row).collect::<Vec<_>>(), [2, 5, 6]);
    assert_eq!(table.texts(1).unwrap(), ["a", "", "c"]);
}

#[test]
fn the_extension_or_the_options_give_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tsv = open(&write(folder, "x.TSV", "a\tb,c\n1\t2\n")).unwrap();
    assert_eq!(tsv.columns(), ["a", "b,c"]);
    let path = write(folder, "x.txt", "a;b\n1;2\n");
    assert!(open(&path).unwrap_err().to_string().contains("data.format"));
    let with = |options| Table::open(&[&path], &options);
    let semicolon = TableOptions { delimiter: Some(';'), ..TableOptions::default() };
    assert_eq!(rows(&with(semicolon).unwrap()), [["1", "2"]]);
    let header = Some(vec!["p".to_owned(), "q".to_owned()]);
    let no_header = TableOptions { delimiter: Some(';'), header, ..TableOptions::default() };
    let table = with(no_header).unwrap();
    assert_eq!(table.columns(), ["p", "q"]);
    assert_eq!(rows(&table), [["a", "b"], ["1", "2"]]);
    assert_eq!(table.place(0).row, 1);
    let wide = TableOptions { delimiter: Some('é'), ..TableOptions::default() };
    assert!(with(wide).unwrap_err().to_string().contains("data.delimiter"));
    let json = TableOptions { format: Some(Format::Jsonl), delimiter: Some(';'), ..TableOptions::default() };
    assert!(with(json).unwrap_err().to_string().contains("JSONL"));
    let plain = TableOptions { quoted: false, ..TableOptions::default() };
    let table = Table::open(&[write(folder, "q.csv", "a\n\"x\n")], &plain).unwrap();
    assert_eq!(rows(&table), [["\"x"]]);
}

#[test]
fn jsonl_with_everything_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}{\"q\": \"a\\nb\", \"n\": [\"x\", \"y\"], \"s\": 0.50}\r\n  \n{\"s\": true, \"more\": 1e3, \"q\": null}";
    let table = open(&write(folder.path(), "x.jsonl", text)).unwrap();
    assert_eq!(table.columns(), ["q", "n", "s", "more"]);
    assert_eq!(table.len(), 2);
    let first = table.row(0).unwrap();
    assert_eq!(first.text(0).unwrap(), "a\nb");
    assert_eq!(first.list(1).unwrap(), ["x", "y"]);
    assert_eq!(first.list(0).unwrap(), ["a\nb"]);
    assert_eq!((first.text(2).unwrap(), first.number(2).unwrap()), ("0.50", 0.5));
    let second = table.row(1).unwrap();
    assert_eq!(second.cells()[..2], [Cell::Missing, Cell::Missing]);
    assert_eq!((second.number(2).unwrap(), second.number(3).unwrap()), (1.0, 1000.0));
    assert!(second.list(1).unwrap().is_empty());
    let error = second.text(0).unwrap_err().to_string();
    assert!(error.ends_with("x.jsonl, row 3, field \"q\": missing"), "{error}");
    let error = first.text(1).unwrap_err().to_string();
    assert!(error.ends_with("x.jsonl, row 1, field \"n\": expected a text, found a list"), "{error}");
    let error = table.numbers(0).unwrap_err().to_string();
    assert!(error.contains("row 1, field \"q\": expected a number, found \"a\\nb\""), "{error}");
}

#[test]
fn several_files_are_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let a = write(folder, "a.csv", "text,label\nx,1\ny,2\n");
    let b = write(folder, "b.tsv", "label\ttext\n3\tz\n");
    let c = write(folder, "c.jsonl", "{\"label\":4,\"text\":\"w\"}\n");
    let table = Table::open(&[&a, &b, &c], &TableOptions::default()).unwrap();
    assert_eq!(rows(&table), [["x", "1"], ["y", "2"], ["z", "3"], ["w", "4"]]);
    assert_eq!(table.place(2).to_string(), format!("{}, row 2", b.display()));
    assert_eq!(table.files().collect::<Vec<_>>(), [&a, &b, &c]);
    for other in ["text,class\nx,1\n", "text\nx\n", "text,label,more\nx,1,2\n"] {
        let other = write(folder, "other.csv", other);
        let error = Table::open(&[&a, &other], &TableOptions::default()).unwrap_err().to_string();
        assert!(error.contains("a.csv and") && error.contains("other.csv have different columns"), "{error}");
    }
    assert!(Table::open::<&Path>(&[], &TableOptions::default()).is_err());
}

#[test]
fn faults_name_file_row_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let faults: &[(&str, &[u8], &str)] = &[
        ("x.csv", b"a,b\n1,2\n\"x\ny\",2\n3\n", ", row 5: 1 fields, where the header has 2"),
        ("x.csv", b"a,b\n1,2,3\n", ", row 2: 3 fields, where the header has 2"),
        ("x.csv", b"", ": the file is empty"),
        ("x.csv", b"\n\r\n", ": the file is empty"),
        ("x.csv", b"a,b\n\n", ": the file has a header and no rows"),
        ("x.csv", b"a,b\n1,2\n3,\"x\n", ", row 3: a quote opened in this row is never closed"),
        ("x.csv", b"a,b\nxy,caf\xe9\n", ", row 2, field \"b\": not UTF-8 at byte 10 of the file"),
        ("x.csv", b"a,caf\xe9\n1,2\n", ", row 1, field \"2 of the header\": not UTF-8 at byte 5"),
        ("x.csv", b"a,b,a\n1,2,3\n", ", row 1: the column \"a\" appears twice"),
        ("x.jsonl", b"", ": the file is empty"),
        (
            "x.jsonl",
            b"{\"a\":1}\n[1]\n",
            ", row 2: not valid JSON: invalid type: sequence, expected an object",
        ),
        ("x.jsonl", b"{\"a\":1}\n\n{\"a\":\n", ", row 3: not valid JSON: EOF while parsing"),
        ("x.jsonl", b"{\"a\":1} x\n", ", row 1: not valid JSON: trailing characters at column 9"),
        ("x.jsonl", b"{\"a\":1,\"b\":2,\"a\":3}\n", ", row 1: the column \"a\" appears twice"),
        ("x.jsonl", b"{\"a\":\"\\ud800\"}\n", ", row 1: not valid JSON: field \"a\""),
        ("x.jsonl", b"{\"a\":\"caf\xe9\"}\n", ", row 1, field \"whole line\": not UTF-8 at byte 9"),
        ("x.jsonl", b"{}\n", "no row has a field"),
    ];
    for (name, bytes, words) in faults {
        let path = write(folder, name, bytes);
        let error = open(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()) && error.contains(words), "{error}\nlacks {words}");
    }
    assert!(open(&folder.join("absent.csv")).unwrap_err().to_string().contains("absent.csv: cannot open"));
    std::fs::create_dir(folder.join("folder.csv")).unwrap();
    assert!(open(&folder.join("folder.csv")).unwrap_err().to_string().contains("folder.csv"));
}

#[test]
fn a_missing_column_lists_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(&write(folder.path(), "x.csv", "text,category\nx,1\n")).unwrap();
    assert_eq!(table.column("category").unwrap(), 1);
    let error = table.column("Categories").unwrap_err().to_string();
    let expected = "there is no column \"Categories\"; the columns are \"text\", \"category\"; did you mean \"category\"?";
    assert_eq!(error, expected);
    assert!(table.column("zzz").unwrap_err().to_string().ends_with("\"text\", \"category\""));
}

#[test]
fn a_file_that_changes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", "a,b\n1,2\n3,4\n");
    let table = open(&path).unwrap();
    std::fs::write(&path, "a,b\n1,2\n").unwrap();
    assert!(table.cell(0, 0).is_ok());
    assert!(table.cell(1, 0).unwrap_err().to_string().contains("changed while it was in use"));
    std::fs::write(&path, "a,b\n1-2\n3,4\n").unwrap();
    assert!(table.cell(0, 0).unwrap_err().to_string().contains("changed while it was in use"));
}

#[test]
fn threads_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..2000).map(|i| format!("row {i},{}\n", i * i)).collect();
    let table = open(&write(folder.path(), "x.csv", format!("text,square\n{text}"))).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let table = &table;
            scope.spawn(move || {
                for i in 0..2000 {
                    let i = (i * 7 + thread * 501) % 2000;
                    let row = table.row(i).unwrap();
                    assert_eq!(row.text(0).unwrap(), format!("row {i}"));
                    assert_eq!(row.number(1).unwrap(), (i * i) as f64);
                }
            });
        }
    });
}

#[test]
fn options_are_read_from_toml() {
    let options: TableOptions =
        toml::from_str("format = \"tsv\"\ndelimiter = \"|\"\nheader = [\"a\"]").unwrap();
    assert_eq!((options.format, options.delimiter, options.quoted), (Some(Format::Tsv), Some('|'), true));
    assert!(toml::from_str::<TableOptions>("delimeter = \"|\"").is_err());
}

/// Reads a real file where it is present: 10,003 questions in 77 classes.
#[test]
fn banking77() {
    let Some(folder) = crate::real_data::folder("banking77") else { return };
    let table =
        Table::open(&[folder.join("train.csv"), folder.join("test.csv")], &TableOptions::default()).unwrap();
    assert_eq!(table.len(), 13_083);
    let labels = crate::Labels::from_table(&table, table.column("category").unwrap()).unwrap();
    assert_eq!(labels.classes(), 77);
    assert_eq!(labels.names[1], "activate_my_card");
    // The 39 alphabetically last classes hold 6,468 texts, as the published comparison counts them.
    assert_eq!(labels.counts()[77 - 39..].iter().sum::<usize>(), 6_468);
    let by_csv: Vec<String> = csv::Reader::from_path(folder.join("train.csv"))
        .unwrap()
        .records()
        .map(|record| record.unwrap()[0].to_owned())
        .collect();
    assert_eq!(by_csv.len(), 10_003);
    assert_eq!(table.texts(0).unwrap()[..10_003], by_csv);
}

/// Reads a real file without a header where it is present: the 1,379 test pairs of STS-B with scores from 0 to 5.
#[test]
fn stsb() {
    let Some(folder) = crate::real_data::folder("stsb") else { return };
    let header = ["sentence1", "sentence2", "score"].map(str::to_owned).to_vec();
    let options = TableOptions { header: Some(header), ..TableOptions::default() };
    for language in ["en", "de", "fr", "zh"] {
        let table = Table::open(&[folder.join(format!("{language}-test.csv"))], &options).unwrap();
        assert_eq!(table.len(), 1379);
        let roles = crate::Columns::default().resolve(table.columns()).unwrap();
        assert_eq!(roles.shape, crate::Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 });
        let scores = table.numbers(2).unwrap();
        assert!(scores.iter().all(|score| (0.0..=5.0).contains(score)));
        assert_eq!(scores[0], 2.5);
    }
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ab,;\"\t\r\n é日]{0,6}", 1 => any::<String>()]
}

proptest! {
    #[test]
    fn what_a_csv_writer_writes_is_read(
        fields in (1usize..5).prop_flat_map(|width| {
            proptest::collection::vec(proptest::collection::vec(field(), width), 1..12)
        }),
        delimiter in prop_oneof![Just(','), Just('\t'), Just(';')],
        crlf in any::<bool>(),
    ) {
        let header: Vec<String> = (0..fields[0].len()).map(|i| format!("column {i}")).collect();
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer =
            csv::WriterBuilder::new().delimiter(delimiter as u8).terminator(terminator).from_writer(Vec::new());
        writer.write_record(&header).unwrap();
        for row in &fields {
            writer.write_record(row).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "x.csv", writer.into_inner().unwrap());
        let options = TableOptions { delimiter: Some(delimiter), ..TableOptions::default() };
        let table = Table::open(&[&path], &options).unwrap();
        prop_assert_eq!(table.columns(), header);
        prop_assert_eq!(rows(&table), fields);
    }

    #[test]
    fn what_a_json_writer_writes_is_read(
        objects in proptest::collection::vec(
            (any::<String>(), any::<f64>(), any::<i64>(), any::<bool>(), proptest::collection::vec(any::<String>(), 0..4)),
            1..12,
        ),
    ) {
        let mut text = String::new();
        for (string, float, integer, truth, list) in &objects {
            let mut object = Map::new();
            object.insert("string".to_owned(), json!(string));
            object.insert("float".to_owned(), json!(float));
            object.insert("integer".to_owned(), json!(integer));
            object.insert("truth".to_owned(), json!(truth));
            object.insert("list".to_owned(), json!(list));
            text.push_str(&Value::Object(object).to_string());
            text.push('\n');
        }
        let folder = tempfile::tempdir().unwrap();
        let table = open(&write(folder.path(), "x.jsonl", text)).unwrap();
        for (number, (string, float, integer, truth, list)) in objects.iter().enumerate() {
            let row = table.row(number).unwrap();
            prop_assert_eq!(row.text(0).unwrap(), string);
            if float.is_finite() {
                prop_assert_eq!(row.number(1).unwrap(), *float);
            }
            prop_assert_eq!(row.text(2).unwrap(), integer.to_string());
            prop_assert_eq!(row.number(3).unwrap(), f64::from(u8::from(*truth)));
            prop_assert_eq!(row.list(4).unwrap(), list);
        }
    }

    #[test]
    fn hostile_files_never_panic(
        bytes in proptest::collection::vec(
            prop_oneof![3 => proptest::sample::select(&b"{}[]\":,ab\\u0\r\n\xef\xbb\xbf"[..]), 1 => any::<u8>()],
            0..120,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.csv", "x.jsonl"] {
            if let Ok(table) = open(&write(folder.path(), name, &bytes)) {
                for row in 0..table.len() {
                    let row = table.row(row).unwrap();
                    for column in 0..table.columns().len() {
                        let _ = (row.text(column), row.list(column), row.number(column));
                    }
                }
            }
        }
    }
}
