//! Cutting a stream of bytes into rows, and a row into fields.
//!
//! The rules are those of RFC 4180 as the `csv` crate and Python's `csv` module apply them: a quote opens a quoted field
//! only as its first byte; inside, two quotes are one; after the closing quote, text up to the delimiter is kept as it
//! stands; a row ends at `\n`, `\r\n` or a lone `\r`; blank lines are skipped. Two things differ from those readers and
//! are the reason for this file: every row comes with the byte and the line at which it starts, and a quote that never
//! closes is an error instead of one very long field.

mod array;

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::MAX_ROW_BYTES;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// How bytes become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Rows of delimited fields; quoted fields may hold line breaks if `quoted`.
    Delimited { delimiter: u8, quoted: bool },
    /// A row is a line, ended by `\n` or `\r\n`; blank lines are rows.
    Lines,
    /// A row is an element of a JSON array.
    Array,
}

/// Where a row starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Byte of the file, from 0.
    pub(crate) offset: u64,
    /// Line of the file, from 1; of a JSON array the number of the element, from 1.
    pub(crate) line: u64,
}

/// Why the next row cannot be had.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    OpenQuote {
        line: u64,
    },
    TooLong {
        line: u64,
    },
    /// The text is not JSON at this element.
    Json {
        line: u64,
        problem: String,
    },
    /// The JSON is not a list of rows.
    Layout {
        problem: String,
        hint: &'static str,
    },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

/// The rows of a stream, in order. A byte-order mark at the start is skipped.
pub(crate) struct Records<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    framing: Framing,
    offset: u64,
    line: u64,
    after_cr: bool,
    array: array::Position,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    QuoteInQuoted,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(mut input: R, framing: Framing) -> io::Result<Self> {
        let mut head = Vec::with_capacity(BOM.len());
        while head.len() < BOM.len() {
            let chunk = match input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len().min(BOM.len() - head.len());
            head.extend_from_slice(&chunk[..taken]);
            input.consume(taken);
        }
        let mut offset = 0;
        if head == BOM {
            head.clear();
            offset = BOM.len() as u64;
        }
        Ok(Records {
            input: Cursor::new(head).chain(input),
            framing,
            offset,
            line: 1,
            after_cr: false,
            array: array::Position::default(),
        })
    }

    /// Puts the bytes of the next row, without its line break, in `row`; `None` at the end of the stream.
    pub(crate) fn next(&mut self, row: &mut Vec<u8>) -> Result<Option<Start>, Fault> {
        row.clear();
        match self.framing {
            Framing::Lines => self.next_line(row),
            Framing::Delimited { delimiter, quoted } => self.next_delimited(row, delimiter, quoted),
            Framing::Array => self.next_element(row),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.offset += bytes as u64;
    }

    fn next_line(&mut self, row: &mut Vec<u8>) -> Result<Option<Start>, Fault> {
        let start = Start { offset: self.offset, line: self.line };
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            if chunk.is_empty() {
                // The last line may lack a break; without a byte it is no line.
                return Ok((self.offset > start.offset).then_some(start));
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(chunk.len());
            if row.len() + taken > MAX_ROW_BYTES {
                return Err(Fault::TooLong { line: start.line });
            }
            row.extend_from_slice(&chunk[..taken]);
            self.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                self.line += 1;
                if row.last() == Some(&b'\r') {
                    row.pop();
                }
                return Ok(Some(start));
            }
        }
    }

    fn next_delimited(
        &mut self,
        row: &mut Vec<u8>,
        delimiter: u8,
        quoted: bool,
    ) -> Result<Option<Start>, Fault> {
        let mut start: Option<Start> = None;
        let mut state = State::FieldStart;
        let mut opened_on = 0;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            if chunk.is_empty() {
                if state == State::Quoted {
                    return Err(Fault::OpenQuote { line: opened_on });
                }
                return Ok(start);
            }
            let mut used = 0;
            let mut ended = false;
            for &byte in chunk {
                used += 1;
                let newline = byte == b'\n';
                if newline && self.after_cr {
                    // The second half of a `\r\n` whose line was already counted.
                    self.after_cr = false;
                    if start.is_some() {
                        row.push(byte);
                    }
                    continue;
                }
                self.after_cr = byte == b'\r';
                let line_break = newline || byte == b'\r';
                if line_break && state != State::Quoted {
                    self.line += 1;
                    if start.is_some() {
                        ended = true;
                        break;
                    }
                    continue;
                }
                if start.is_none() {
                    start = Some(Start { offset: self.offset + used as u64 - 1, line: self.line });
                }
                self.line += u64::from(line_break);
                if row.len() == MAX_ROW_BYTES {
                    return Err(Fault::TooLong { line: start.map_or(self.line, |start| start.line) });
                }
                row.push(byte);
                state = match (state, byte) {
                    (State::FieldStart, b'"') if quoted => {
                        opened_on = self.line;
                        State::Quoted
                    }
                    (State::Quoted, b'"') => State::QuoteInQuoted,
                    (State::Quoted, _) => State::Quoted,
                    (State::QuoteInQuoted, b'"') => State::Quoted,
                    (_, byte) if byte == delimiter => State::FieldStart,
                    _ => State::Unquoted,
                };
            }
            self.consume(used);
            if ended {
                return Ok(start);
            }
        }
    }
}

/// The fields of one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, field: usize) -> &[u8] {
        let start = if field == 0 { 0 } else { self.ends[field - 1] };
        &self.bytes[start..self.ends[field]]
    }

    /// Cuts `row` into fields and takes the quotes off.
    pub(crate) fn split(&mut self, row: &[u8], delimiter: u8, quoted: bool) {
        self.bytes.clear();
        self.ends.clear();
        let mut state = State::FieldStart;
        for &byte in row {
            match (state, byte) {
                (State::FieldStart, b'"') if quoted => state = State::Quoted,
                (State::Quoted, b'"') => state = State::QuoteInQuoted,
                (State::QuoteInQuoted, b'"') => {
                    self.bytes.push(b'"');
                    state = State::Quoted;
                }
                (State::Quoted, _) => self.bytes.push(byte),
                (_, byte) if byte == delimiter => {
                    self.ends.push(self.bytes.len());
                    state = State::FieldStart;
                }
                _ => {
                    self.bytes.push(byte);
                    state = State::Unquoted;
                }
            }
        }
        self.ends.push(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::{Fault, Fields, Framing, Records, Start};

    fn rows(text: &[u8], framing: Framing) -> Result<Vec<(u64, u64, String)>, Fault> {
        // A buffer of three bytes puts a boundary at every place in turn.
        let input = BufReader::with_capacity(3, text);
        let mut records = Records::new(input, framing)?;
        let mut row = Vec::new();
        let mut found = Vec::new();
        while let Some(Start { offset, line }) = records.next(&mut row)? {
            found.push((offset, line, String::from_utf8(row.clone()).unwrap()));
        }
        Ok(found)
    }

    const CSV: Framing = Framing::Delimited { delimiter: b',', quoted: true };

    #[test]
    fn rows_know_their_byte_and_line() {
        let text = "\u{feff}a,b\r\n\r\n1,\"x\ny\r\nz\"\n\n2,3";
        let expected = [(3, 1, "a,b"), (10, 3, "1,\"x\ny\r\nz\""), (22, 7, "2,3")];
        let found = rows(text.as_bytes(), CSV).unwrap();
        assert_eq!(found, expected.map(|(offset, line, row)| (offset, line, row.to_owned())));
    }

    #[test]
    fn lone_carriage_returns_end_rows() {
        let found = rows(b"a\rb\r\rc\n", CSV).unwrap();
        let expected = [(0, 1, "a"), (2, 2, "b"), (5, 4, "c")];
        assert_eq!(found, expected.map(|(offset, line, row)| (offset, line, row.to_owned())));
    }

    #[test]
    fn an_open_quote_names_the_line_it_opens_on() {
        assert!(matches!(rows(b"a\n1,\n\"x\ny\n", CSV), Err(Fault::OpenQuote { line: 3 })));
        let plain = Framing::Delimited { delimiter: b',', quoted: false };
        assert_eq!(rows(b"\"x\ny\n", plain).unwrap().len(), 2);
    }

    #[test]
    fn lines_keep_blanks_and_need_no_last_break() {
        let found = rows(b"one\r\n\n three", Framing::Lines).unwrap();
        let expected = [(0, 1, "one"), (5, 2, ""), (6, 3, " three")];
        assert_eq!(found, expected.map(|(offset, line, row)| (offset, line, row.to_owned())));
        assert_eq!(rows(b"", Framing::Lines).unwrap(), []);
        assert_eq!(rows(b"\n", Framing::Lines).unwrap(), [(0, 1, String::new())]);
    }

    #[test]
    fn fields_lose_their_quotes() {
        let mut fields = Fields::default();
        fields.split(br#""a ""b""",c"d,"",,"e"f,"#, b',', true);
        let found: Vec<_> = (0..fields.len()).map(|i| std::str::from_utf8(fields.get(i)).unwrap()).collect();
        assert_eq!(found, [r#"a "b""#, r#"c"d"#, "", "", "ef", ""]);
    }

    proptest! {
        /// Where no quote is left open, rows and fields are those of the `csv` crate.
        #[test]
        fn rows_and_fields_agree_with_the_csv_crate(text in "[ab,\"\r\n]{0,40}") {
            let mut input = Records::new(BufReader::with_capacity(3, text.as_bytes()), CSV).unwrap();
            let (mut row, mut fields, mut found) = (Vec::new(), Fields::default(), Vec::new());
            let ended = loop {
                match input.next(&mut row) {
                    Ok(Some(start)) => {
                        prop_assert!(text.as_bytes()[start.offset as usize..].starts_with(&row));
                        fields.split(&row, b',', true);
                        found.push((0..fields.len()).map(|i| fields.get(i).to_vec()).collect::<Vec<_>>());
                    }
                    Ok(None) => break true,
                    Err(Fault::OpenQuote { .. }) => break false,
                    Err(fault) => prop_assert!(false, "{fault:?}"),
                }
            };
            let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<Vec<u8>>> = reader
                .into_byte_records()
                .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
                .collect();
            if ended {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert_eq!(&found[..], &expected[..expected.len() - 1]);
            }
        }
    }
}
