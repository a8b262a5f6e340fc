//! The elements of a JSON array, one after the other, without holding the array.
//!
//! The array is the whole file, or the one member of an object that is a list of objects, as in `{"data": [...]}`. An
//! element is cut out by counting brackets outside of strings; whether it is valid JSON is for its reader to say. What
//! stands beside the rows in an object is passed over the same way.

use std::io::{BufRead, ErrorKind};

use super::{Fault, Records, Start};
use crate::table::MAX_ROW_BYTES;

/// How far the array has been read.
#[derive(Debug, Default)]
pub(super) struct Position {
    stage: Stage,
    /// Elements read.
    elements: u64,
    /// Whether an object is around the array.
    wrapped: bool,
    /// The member that holds the rows, and the keys of the others.
    member: Option<String>,
    others: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// Before the first byte.
    #[default]
    Start,
    /// In an object, before a key or the end.
    Members,
    /// In the array, before an element or the end.
    Elements,
    /// After the end.
    End,
}

const RECORDS: &str = "write a list of objects, [{\"text\": \"...\", \"label\": \"...\"}, ...] (pandas: to_json(orient=\"records\"))";
const ONE_LIST: &str =
    "keep one list of objects in the file, [{\"text\": \"...\"}, ...] or {\"data\": [{...}, ...]}";

/// Keys of other members named in a message.
const SHOWN: usize = 8;

impl<R: BufRead> Records<R> {
    /// Puts the bytes of the next element in `row`.
    pub(super) fn next_element(&mut self, row: &mut Vec<u8>) -> Result<Option<Start>, Fault> {
        if self.array.stage == Stage::Start {
            match self.skip_space()? {
                None => {
                    self.array.stage = Stage::End;
                }
                Some(b'[') => {
                    self.consume(1);
                    self.array.stage = Stage::Elements;
                }
                Some(b'{') => {
                    self.consume(1);
                    self.array.wrapped = true;
                    self.array.stage = Stage::Members;
                }
                Some(_) => {
                    let problem = "the file holds neither a list of objects nor an object".to_owned();
                    return Err(Fault::Layout { problem, hint: RECORDS });
                }
            }
        }
        if self.array.stage == Stage::Members {
            self.members()?;
        }
        if self.array.stage == Stage::End {
            return Ok(None);
        }
        let line = self.array.elements + 1;
        let mut next = self.skip_space()?;
        if self.array.elements > 0 && next == Some(b',') {
            self.consume(1);
            next = self.skip_space()?;
            if next == Some(b']') {
                return Err(json(line, "a comma before the end of the list"));
            }
        } else if self.array.elements > 0 && next != Some(b']') && next.is_some() {
            return Err(json(line, "expected a comma or the end of the list"));
        }
        match next {
            None => Err(json(line, "the file ends inside the list")),
            Some(b']') => {
                self.consume(1);
                if self.array.wrapped {
                    self.array.stage = Stage::Members;
                    self.members()?;
                } else {
                    self.end()?;
                }
                Ok(None)
            }
            Some(_) => {
                let start = Start { offset: self.offset, line };
                self.array.elements = line;
                self.value(Some(row))?;
                Ok(Some(start))
            }
        }
    }

    /// Passes over members until the list of rows, or to the end of the object.
    fn members(&mut self) -> Result<(), Fault> {
        let line = self.array.elements + 1;
        let mut first = self.array.member.is_none() && self.array.others.is_empty();
        loop {
            match self.skip_space()? {
                None => return Err(json(line, "the file ends inside the object")),
                Some(b'}') => {
                    self.consume(1);
                    self.end()?;
                    if self.array.member.is_some() {
                        return Ok(());
                    }
                    let keys = if self.array.others.is_empty() {
                        "nothing".to_owned()
                    } else {
                        format!("\"{}\"", self.array.others.join("\", \""))
                    };
                    let problem = format!(
                        "the file is one object, and no member of it is a list of objects; it holds {keys}"
                    );
                    return Err(Fault::Layout { problem, hint: RECORDS });
                }
                Some(b',') if !first => {
                    self.consume(1);
                    self.skip_space()?;
                }
                Some(b'"') if first => {}
                Some(_) => return Err(json(line, "expected a key, a comma or the end of the object")),
            }
            first = false;
            let mut key = Vec::new();
            self.value(Some(&mut key))?;
            let Ok(key) = serde_json::from_slice::<String>(&key) else {
                return Err(json(line, "expected a key in quotes"));
            };
            if self.skip_space()? != Some(b':') {
                return Err(json(line, "expected a colon after a key"));
            }
            self.consume(1);
            if self.skip_space()? == Some(b'[') {
                self.consume(1);
                if self.skip_space()? == Some(b'{') {
                    if let Some(rows) = &self.array.member {
                        let problem =
                            format!("the file holds two lists of objects, \"{rows}\" and \"{key}\"");
                        return Err(Fault::Layout { problem, hint: ONE_LIST });
                    }
                    self.array.member = Some(key);
                    self.array.stage = Stage::Elements;
                    return Ok(());
                }
                while self.skip_space()? != Some(b']') {
                    self.value(None)?;
                    match self.skip_space()? {
                        Some(b',') => self.consume(1),
                        Some(b']') => {}
                        _ => return Err(json(line, "expected a comma or the end of a list")),
                    }
                }
                self.consume(1);
            } else {
                self.value(None)?;
            }
            if self.array.others.len() < SHOWN {
                self.array.others.push(key.chars().take(40).collect());
            }
        }
    }

    /// Checks that nothing follows.
    fn end(&mut self) -> Result<(), Fault> {
        self.array.stage = Stage::End;
        match self.skip_space()? {
            None => Ok(()),
            Some(_) => Err(json(self.array.elements, "more text after the end of the list")),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            match self.input.fill_buf() {
                Ok(chunk) => return Ok(chunk.first().copied()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The next byte that is not white space; it is not consumed.
    fn skip_space(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.consume(1),
                other => return Ok(other),
            }
        }
    }

    /// Reads one value to its end, into `row` if there is one.
    fn value(&mut self, mut row: Option<&mut Vec<u8>>) -> Result<(), Fault> {
        let line = self.array.elements.max(1);
        let (mut depth, mut string, mut escaped, mut bytes) = (0usize, false, false, 0usize);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            if chunk.is_empty() {
                return Err(json(line, "the file ends inside a value"));
            }
            let (mut used, mut ended) = (0, false);
            for &byte in chunk {
                if string {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => {
                            string = false;
                            ended = depth == 0;
                        }
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => string = true,
                        b'{' | b'[' => depth += 1,
                        // A number or a word ends where something else begins.
                        b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => {
                            ended = true;
                            break;
                        }
                        b'}' | b']' => {
                            depth -= 1;
                            ended = depth == 0;
                        }
                        _ => {}
                    }
                }
                used += 1;
                if ended {
                    break;
                }
            }
            bytes += used;
            if let Some(row) = &mut row {
                if bytes > MAX_ROW_BYTES {
                    return Err(Fault::TooLong { line });
                }
                row.extend_from_slice(&chunk[..used]);
            }
            self.consume(used);
            match (ended, bytes) {
                (true, 0) => return Err(json(line, "expected a value")),
                (true, _) => return Ok(()),
                (false, _) => {}
            }
        }
    }
}

fn json(line: u64, problem: &str) -> Fault {
    Fault::Json { line: line.max(1), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{Fault, Framing, Records, Start};

    fn elements(text: &str) -> Result<Vec<String>, Fault> {
        let mut records = Records::new(BufReader::with_capacity(3, text.as_bytes()), Framing::Array).unwrap();
        let (mut row, mut found) = (Vec::new(), Vec::new());
        while let Some(Start { offset, line }) = records.next(&mut row)? {
            assert!(text.as_bytes()[offset as usize..].starts_with(&row));
            assert_eq!(line, found.len() as u64 + 1);
            found.push(String::from_utf8(row.clone()).unwrap());
        }
        Ok(found)
    }

    fn problem(text: &str) -> String {
        match elements(text) {
            Err(Fault::Json { line, problem }) => format!("{line}: {problem}"),
            Err(Fault::Layout { problem, .. }) => problem,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn elements_of_an_array_or_of_the_one_member() {
        let two = ["{\"a\": \"]}\\\"\"}", "{\n}"];
        assert_eq!(elements("\u{feff} [ {\"a\": \"]}\\\"\"} ,\n{\n} ] \n").unwrap(), two);
        let wrapped =
            "{\"v\": 1, \"x\": [1, [2]], \"rows\": [{\"a\": \"]}\\\"\"},{\n}], \"z\": {\"q\": [{}]}}";
        assert_eq!(elements(wrapped).unwrap(), two);
        assert_eq!(elements("[]").unwrap(), [""; 0]);
        assert_eq!(elements("").unwrap(), [""; 0]);
        assert_eq!(elements("[1,\"x\" ]").unwrap(), ["1", "\"x\""]);
    }

    #[test]
    fn what_is_not_a_list_of_rows_is_said() {
        assert!(problem("{\"text\": {\"0\": \"a\"}, \"label\": {\"0\": 1}}").contains("\"text\", \"label\""));
        assert!(problem("{\"a\": [{}], \"b\": [{}]}").contains("two lists of objects, \"a\" and \"b\""));
        assert!(problem("3").contains("neither a list"));
        assert_eq!(problem("[{}, ]"), "2: a comma before the end of the list");
        assert_eq!(problem("[{} {}]"), "2: expected a comma or the end of the list");
        assert_eq!(problem("[{}"), "2: the file ends inside the list");
        assert_eq!(problem("[{},{\"a\": 1"), "2: the file ends inside a value");
        assert_eq!(problem("[{}] x"), "1: more text after the end of the list");
        assert_eq!(problem("[{},,{}]"), "2: expected a value");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec((any::<String>(), any::<f64>(), any::<Option<bool>>()), 0..8),
            pretty in any::<bool>(),
            wrapped in any::<bool>(),
        ) {
            let rows: Vec<Value> = rows.iter().map(|(a, b, c)| json!({"a": a, "b": [b], "c": {"d": c}})).collect();
            let value = if wrapped { json!({"note": [1, "["], "rows": rows, "n": null}) } else { json!(rows) };
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            match elements(&text.unwrap()) {
                Ok(found) => {
                    let found: Vec<Value> = found.iter().map(|e| serde_json::from_str(e).unwrap()).collect();
                    prop_assert_eq!(found, rows);
                }
                Err(_) => prop_assert!(wrapped && rows.is_empty()),
            }
        }

        #[test]
        fn hostile_text_never_panics(text in "[\\[\\]{}\",:a1\\\\ \n]{0,40}") {
            let _ = elements(&text);
        }
    }
}
