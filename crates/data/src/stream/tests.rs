use std::io::{Cursor, Read};
use std::path::Path;

use super::TextStream;
use crate::error::Result;
use crate::table::{Format, TableOptions};

fn texts(name: &str, bytes: &'static [u8], column: Option<&str>) -> Result<Vec<String>> {
    TextStream::read(Cursor::new(bytes), Path::new(name), column, &TableOptions::default())?.collect()
}

#[test]
fn every_format_gives_its_texts() {
    assert_eq!(texts("x.txt", b"\xef\xbb\xbfone\r\n\ntwo", None).unwrap(), ["one", "", "two"]);
    assert_eq!(texts("standard input", b"one\ntwo\n", None).unwrap(), ["one", "two"]);
    assert_eq!(texts("x.csv", b"id,text\n1,\"a\nb\"\n2,c\n", None).unwrap(), ["a\nb", "c"]);
    assert_eq!(texts("x.csv", b"id,text\n1,a\n2,c\n", Some("id")).unwrap(), ["1", "2"]);
    assert!(texts("x.tsv", b"only\na\tb\n", None).unwrap_err().to_string().contains("2 fields"));
    assert_eq!(texts("x.jsonl", b"{\"id\":1,\"text\":\"a\"}\n\n{\"text\":2}\n", None).unwrap(), ["a", "2"]);
    assert_eq!(texts("x.txt", b"", None).unwrap(), [""; 0]);
}

#[test]
fn standard_input_can_be_a_table() {
    let options = TableOptions { format: Some(Format::Jsonl), ..TableOptions::default() };
    let input = Cursor::new(&b"{\"q\":\"a\"}\n"[..]);
    let stream = TextStream::read(input, Path::new("standard input"), Some("q"), &options).unwrap();
    assert_eq!(stream.collect::<Result<Vec<_>>>().unwrap(), ["a"]);
}

#[test]
fn faults_come_once_and_are_named() {
    let faults: [(&str, &[u8], Option<&str>, &str); 8] = [
        ("x.txt", b"one\ncaf\xe9\n", None, "x.txt, row 2, field \"whole line\": not UTF-8 at byte 7"),
        ("x.txt", b"one\n", Some("text"), "data.text is \"text\""),
        ("x.csv", b"a,b\n1,2\n", None, "data.text"),
        ("x.csv", b"a,text\n1,2\n1\n", None, "x.csv, row 3: 1 fields"),
        ("x.csv", b"text\n\"x\n", None, "never closed"),
        ("x.csv", b"", None, "the file is empty"),
        ("x.jsonl", b"{\"text\":\"a\"}\n{\"t\":1}\n", None, "x.jsonl, row 2, field \"text\": missing"),
        ("x.jsonl", b"{\"text\":[\"a\"]}\n", None, "expected a text, found a list"),
    ];
    for (name, bytes, column, words) in faults {
        let error = texts(name, bytes, column).unwrap_err();
        let error = format!("{error}; {}", error.hint().unwrap_or_default());
        assert!(error.contains(words), "{error}\nlacks {words}");
    }
    let bytes = Cursor::new(&b"a\n\xff\nb\n"[..]);
    let stream = TextStream::read(bytes, Path::new("x.txt"), None, &TableOptions::default()).unwrap();
    assert_eq!(stream.map(|text| text.is_ok()).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn chunks_are_bounded() {
    let bytes = Cursor::new(&b"a\nb\nc\n"[..]);
    let mut stream = TextStream::read(bytes, Path::new("x.txt"), None, &TableOptions::default()).unwrap();
    assert_eq!(stream.chunk(2).unwrap().unwrap(), ["a", "b"]);
    assert_eq!(stream.chunk(2).unwrap().unwrap(), ["c"]);
    assert!(stream.chunk(2).is_none());
    assert!(TextStream::open("/no/such/file.txt", None, &TableOptions::default()).is_err());
}

/// Lines without end: reading some of them must not read the rest.
struct Endless;

impl Read for Endless {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        bytes.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&b"x\n"[..pair.len()]));
        Ok(bytes.len() / 2 * 2)
    }
}

#[test]
fn a_stream_need_not_end() {
    let mut stream = TextStream::read(Endless, Path::new("x.txt"), None, &TableOptions::default()).unwrap();
    for _ in 0..1000 {
        assert_eq!(stream.chunk(1000).unwrap().unwrap().len(), 1000);
    }
}

#[test]
fn tables_are_sniffed_as_when_opened() {
    let long = b"[{\"text\": \"a\", \"id\": 1},\n {\"text\": \"b\"}]";
    assert_eq!(texts("x.json", long, None).unwrap(), ["a", "b"]);
    assert_eq!(texts("x.json", b"{\"data\": [{\"t\": \"a\"}]}", Some("t")).unwrap(), ["a"]);
    assert_eq!(
        texts("x.csv", b"\xef\xbb\xbfid;text\n1;Hello, you\n2;a, b, c\n", None).unwrap(),
        ["Hello, you", "a, b, c"]
    );
    let error = texts("x.csv", b"a b,1.5\nc d,2.5\n", None).unwrap_err().to_string();
    assert!(error.contains("x.csv, row 1: the first row looks like data"), "{error}");
    let error = texts("x.csv", b"\xff\xfea\x00", None).unwrap_err();
    assert!(error.hint().unwrap().contains("UTF-8"), "{error}");
    let options = TableOptions { header: Some(Vec::new()), ..TableOptions::default() };
    let input = Cursor::new(&b"a b,1.5\nc d,2.5\n"[..]);
    let stream = TextStream::read(input, Path::new("x.csv"), Some("column_1"), &options).unwrap();
    assert_eq!(stream.collect::<Result<Vec<_>>>().unwrap(), ["a b", "c d"]);
}
