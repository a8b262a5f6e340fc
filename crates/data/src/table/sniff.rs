//! What the first rows of a file tell: its format, the character between fields, whether the first row names the columns.
//!
//! A guess is made only where nothing was set, and it is said. The delimiter is the character that cuts every row looked at
//! into the same number of fields, at least two; a comma (in .tsv files a tab) has the first right. A file whose header
//! holds none of the characters has one column.

use std::collections::{HashMap, HashSet};
use std::io::BufReader;
use std::path::Path;

use super::{Fields, Format, Framing, Records, TableOptions};
use crate::error::{Error, Place, Result};
use crate::roles::is_conventional;

/// How much of a file is looked at.
pub(crate) const HEAD_BYTES: u64 = 1 << 17;

/// How many rows are looked at.
const ROWS: usize = 200;

/// How a file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) framing: Framing,
    /// What was found out, where the name of the file did not say it.
    pub(crate) note: Option<String>,
}

impl TableOptions {
    /// How the file `path` is cut into rows. `head` is its beginning, and `whole` says whether that is all of it.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`]; [`Error::Option`] for an option that does not fit; [`Error::NoHeader`].
    pub(crate) fn layout(&self, path: &Path, head: &[u8], whole: bool) -> Result<Layout> {
        let format = match (self.format, extension(path).as_str()) {
            (Some(format), _) => format,
            (None, "csv") => Format::Csv,
            (None, "tsv" | "tab") => Format::Tsv,
            (None, "jsonl" | "ndjson") => Format::Jsonl,
            (None, "json") => Format::Json,
            (None, _) if self.delimiter.is_some() => Format::Csv,
            _ => return Err(Error::UnknownFormat(path.to_owned())),
        };
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        if matches!(format, Format::Jsonl | Format::Json) {
            if self.delimiter.is_some() || self.header.is_some() {
                let name = if format == Format::Jsonl { "JSONL" } else { "JSON" };
                let problem = format!("is for CSV and TSV files, and {} is {name}", path.display());
                let option = if self.header.is_some() { "data.header" } else { "data.delimiter" };
                return Err(Error::option(option, problem));
            }
            return Ok(json(format, head));
        }
        if let Some(delimiter) = self.delimiter
            && (!delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r'))
        {
            let problem =
                format!("is {delimiter:?}; it must be one ASCII character, not a quote or line break");
            return Err(Error::option("data.delimiter", problem));
        }
        let usual = if format == Format::Tsv { b'\t' } else { b',' };
        let delimiter = match self.delimiter {
            Some(delimiter) => delimiter as u8,
            None => delimiter(head, whole, usual, self.quoted),
        };
        let note = (self.delimiter.is_none() && delimiter != usual)
            .then(|| format!("fields are separated by {}, as the first rows show", spelled(delimiter)));
        if self.header.is_none() {
            let rows = records(head, whole, delimiter, self.quoted);
            if let Some((first, below)) = rows.split_first()
                && let Some(why) = no_header(first, below)
            {
                let line = head_line(head, delimiter, self.quoted);
                let place = Place::new(path, line);
                return Err(Error::NoHeader { place, why, columns: first.len() });
            }
        }
        Ok(Layout { framing: Framing::Delimited { delimiter, quoted: self.quoted }, note })
    }
}

/// The extension in lower case, without a `.gz` after it.
fn extension(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("").to_owned()
}

fn spelled(delimiter: u8) -> &'static str {
    match delimiter {
        b';' => "semicolons",
        b'\t' => "tabs",
        b'|' => "pipes",
        _ => "commas",
    }
}

/// Lists and lines of objects are told apart by their bytes: either is often given the other's extension.
fn json(format: Format, head: &[u8]) -> Layout {
    let text = head.trim_ascii_start();
    let lines = match text.first() {
        Some(b'[') => false,
        Some(b'{') => match text.iter().position(|&byte| byte == b'\n') {
            // Lines of objects: the first is whole, and another object follows.
            Some(end) => {
                let next = text[end..].trim_ascii_start();
                let object = serde_json::from_slice::<serde::de::IgnoredAny>(&text[..end]).is_ok();
                object && next.starts_with(b"{") || format == Format::Jsonl
            }
            None => format == Format::Jsonl,
        },
        _ => format == Format::Jsonl,
    };
    let note = match (format, lines) {
        (Format::Json, true) => Some("one JSON object a line (JSONL)".to_owned()),
        (Format::Jsonl, false) => Some("a JSON array of objects, not one object a line".to_owned()),
        _ => None,
    };
    Layout { framing: if lines { Framing::Lines } else { Framing::Array }, note }
}

/// The rows of the head that are surely whole.
fn records(head: &[u8], whole: bool, delimiter: u8, quoted: bool) -> Vec<Vec<String>> {
    let framing = Framing::Delimited { delimiter, quoted };
    let Ok(mut input) = Records::new(BufReader::new(head), framing) else { return Vec::new() };
    let (mut row, mut fields, mut found) = (Vec::new(), Fields::default(), Vec::new());
    while found.len() <= ROWS {
        match input.next(&mut row) {
            Ok(Some(_)) => {
                fields.split(&row, delimiter, quoted);
                let fields = (0..fields.len()).map(|i| String::from_utf8_lossy(fields.get(i)).into_owned());
                found.push(fields.collect());
            }
            Ok(None) => {
                if !whole {
                    found.pop();
                }
                return found;
            }
            Err(_) => return found,
        }
    }
    found
}

/// How many fields the first row has.
pub(crate) fn first_width(head: &[u8], delimiter: u8, quoted: bool) -> usize {
    records(head, true, delimiter, quoted).first().map_or(1, Vec::len)
}

/// The line of the first row: blank lines may stand before it.
fn head_line(head: &[u8], delimiter: u8, quoted: bool) -> u64 {
    let mut row = Vec::new();
    let records = Records::new(BufReader::new(head), Framing::Delimited { delimiter, quoted });
    records.ok().and_then(|mut records| records.next(&mut row).ok().flatten()).map_or(1, |start| start.line)
}

/// The character between fields.
fn delimiter(head: &[u8], whole: bool, usual: u8, quoted: bool) -> u8 {
    let candidates = [usual, b',', b';', b'\t', b'|'];
    let mut in_header = Vec::new();
    let mut steady = Vec::new();
    for (place, &candidate) in candidates.iter().enumerate() {
        if candidates[..place].contains(&candidate) {
            continue;
        }
        let rows = records(head, whole, candidate, quoted);
        let width = rows.first().map_or(0, Vec::len);
        if width < 2 {
            continue;
        }
        in_header.push(candidate);
        if rows.iter().all(|row| row.len() == width) {
            // A character that always stands before a space belongs to sentences.
            let prose = rows.iter().all(|row| row[1..].iter().all(|field| field.starts_with(' ')));
            steady.push((candidate, prose && candidate != b'\t'));
        }
    }
    let best = steady.iter().find(|(_, prose)| !prose).or(steady.first());
    match (best, &in_header[..]) {
        (Some(&(candidate, _)), _) => candidate,
        // No character cuts evenly: the one in the header gives the better message.
        (None, &[only]) => only,
        _ => usual,
    }
}

/// Why the first row is not a header, if it is not.
///
/// A value that stands again below it in the same column, or a number above numbers, is data. One conventional name, or
/// the whole row repeated below (files put together), is a header all the same.
fn no_header(first: &[String], below: &[Vec<String>]) -> Option<String> {
    let below: Vec<&Vec<String>> = below.iter().filter(|row| row.len() == first.len()).collect();
    if below.is_empty() || first.iter().any(|name| is_conventional(name)) || below.contains(&&first.to_vec())
    {
        return None;
    }
    for (column, field) in first.iter().enumerate() {
        let field = field.trim();
        let values = || below.iter().map(|row| row[column].trim()).filter(|value| !value.is_empty());
        let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        if is_number(field) {
            let year = field.parse::<u32>().is_ok_and(|year| (1900..2100).contains(&year));
            if !year && values().count() > 0 && values().all(is_number) {
                return Some(format!("field {} is {field:?}, a number above numbers", column + 1));
            }
            continue;
        }
        // Repeated once is chance in a column of free text; a column of classes repeats them all the time.
        let again = values().filter(|value| *value == field).count();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        values().for_each(|value| *counts.entry(value).or_default() += 1);
        let repeated = counts.values().filter(|&&count| count > 1).sum::<usize>();
        if !field.is_empty() && again > 0 && (2 * repeated >= values().count() || again > 2) {
            return Some(format!("field {} is {field:?}, which stands again below it", column + 1));
        }
    }
    // A name twice is no header; two equal values are common.
    let mut seen = HashSet::new();
    let twice = first.iter().find(|field| !seen.insert(field.as_str()));
    twice
        .filter(|field| field.split_whitespace().count() > 2)
        .map(|field| format!("{field:?} stands in it twice"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{Layout, TableOptions, delimiter};
    use crate::error::Result;
    use crate::table::Framing;

    fn layout(name: &str, text: &str) -> Result<Layout> {
        TableOptions::default().layout(Path::new(name), text.as_bytes(), true)
    }

    #[test]
    fn the_delimiter_cuts_evenly() {
        let found = |text: &str| delimiter(text.as_bytes(), true, b',', true) as char;
        assert_eq!(found("a,b\n1,2\n"), ',');
        assert_eq!(found("a;b\nHello, world;1\nOne, two, three;2\n"), ';');
        assert_eq!(found("a\tb\nx, y\tz\n"), '\t');
        assert_eq!(found("a|b|c\n1;|2|3\n"), '|');
        assert_eq!(found("text\nno; delimiter, in the header\n"), ',');
        assert_eq!(found("Name, first;age\nMeier, Hans;3\nKurz, Ute;4\n"), ';');
        assert_eq!(found("a;b;c\n\"1;2\";3;4\n"), ';');
        assert_eq!(found("a;b\n1;2\n3\n"), ';');
        assert_eq!(found("a,b;c\n1,2\n3\n"), ',');
        assert_eq!(found("a,b;c\n1,2;3\n3,4;5\n"), ',');
        assert_eq!(found(""), ',');
        // A row cut off at the end of what was looked at does not count.
        assert_eq!(delimiter(b"a;b\n1;2\n3", false, b',', true), b';');
    }

    #[test]
    fn json_is_told_apart_by_its_bytes() {
        for (name, text, framing, note) in [
            ("a.json", " [{}]", Framing::Array, false),
            ("a.json", "{\"data\": [{\"a\": 1}]}", Framing::Array, false),
            ("a.json", "{\n  \"data\": [\n", Framing::Array, false),
            ("a.json", "{\"a\": 1}\n\n{\"a\": 2}\n", Framing::Lines, true),
            ("a.json", "{\"a\": 1}", Framing::Array, false),
            ("a.jsonl", "{\"a\": 1}", Framing::Lines, false),
            ("a.jsonl.gz", "{\n\"a\": 1}", Framing::Lines, false),
            ("a.jsonl", "[{\"a\": 1}]", Framing::Array, true),
        ] {
            let layout = layout(name, text).unwrap();
            assert_eq!((layout.framing, layout.note.is_some()), (framing, note), "{name} {text}");
        }
    }

    #[test]
    fn a_first_row_of_values_is_noticed() {
        for text in [
            "A plane.,An aeroplane.,5.0\nA man.,A dog.,0.4\n",
            "where is my card,arrival\nlost it,lost\nstill waiting,arrival\nmy card is gone,lost\n",
            "One man is here.,One man is here.\nTwo,Two men\n",
            "1,2\n3,4\n",
        ] {
            let error = layout("x.csv", text).unwrap_err();
            assert!(error.to_string().contains("x.csv, row 1: the first row looks like data"), "{error}");
            assert!(error.hint().unwrap().contains("data.header = false"));
        }
        for text in [
            "text,label\ntext,1\n",
            "2023,2024\n1,2\n",
            "question,intent\nintent,intent\nx,intent\n",
            "a,b\na,b\n1,2\n",
            "a,b\n",
            "Name,What do you think of us?\nAda,all good\nBob,all good\n",
            "a,b\na,x\nb,y\nc,z\nd,w\n",
            "a,a\n1,2\n",
        ] {
            assert!(layout("x.csv", text).is_ok(), "{text}");
        }
    }

    proptest! {
        /// Names and values without any delimiter in them, whatever stands between: it is found.
        #[test]
        fn a_plain_table_is_cut_where_it_was_joined(
            rows in (2usize..6).prop_flat_map(|width| {
                proptest::collection::vec(proptest::collection::vec("[a-zA-Z .!?']{1,9}", width), 1..20)
            }),
            joined in proptest::sample::select(&b",;\t|"[..]),
        ) {
            let lines: Vec<String> = rows.iter().map(|row| row.join(&(joined as char).to_string())).collect();
            prop_assert_eq!(delimiter(lines.join("\n").as_bytes(), true, b',', true), joined);
        }

        #[test]
        fn hostile_heads_never_panic(
            bytes in proptest::collection::vec(
                prop_oneof![4 => proptest::sample::select(&b",;\t|\"\n\r ab1{}[]:"[..]), 1 => any::<u8>()],
                0..80,
            ),
            whole in any::<bool>(),
        ) {
            for name in ["x.csv", "x.tsv", "x.json", "x.jsonl", "x"] {
                let _ = TableOptions::default().layout(Path::new(name), &bytes, whole);
            }
        }
    }
}
