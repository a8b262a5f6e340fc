//! Strings one after another: their bytes, zeros up to a multiple of 8, then `count + 1` offsets (u64).

use std::path::PathBuf;

use super::sealed::{FileRecord, Kind, Mapped, Sealed};
use crate::error::Result;

/// Strings being written to a file, or to the end of one.
pub(crate) struct StringsWriter {
    file: Sealed,
    start: u64,
    offsets: Vec<u64>,
}

impl StringsWriter {
    pub(crate) fn create(path: PathBuf, kind: Kind) -> Result<Self> {
        Ok(StringsWriter::after(Sealed::create(path, kind)?))
    }

    /// Strings after what a file holds already; offsets count from here.
    pub(crate) fn after(file: Sealed) -> Self {
        StringsWriter { start: file.bytes(), file, offsets: vec![0] }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<()> {
        self.file.write(text.as_bytes())?;
        self.offsets.push(self.file.bytes() - self.start);
        Ok(())
    }

    /// Whether anything but empty strings was written.
    pub(crate) fn is_blank(&self) -> bool {
        self.file.bytes() == self.start
    }

    pub(crate) fn finish(mut self) -> Result<FileRecord> {
        self.file.pad()?;
        self.file.write(bytemuck::cast_slice(&self.offsets))?;
        self.file.finish()
    }

    pub(crate) fn discard(self) {
        self.file.discard();
    }
}

/// Strings in a memory map.
#[derive(Debug)]
pub(crate) struct Strings {
    file: Mapped,
    start: usize,
    offsets_at: usize,
    count: usize,
}

impl Strings {
    /// The `count` strings that stand from byte `start` (a multiple of 8) to the end of `file`, checked: offsets ascend
    /// and lie inside, and every string is UTF-8.
    pub(crate) fn open(file: Mapped, start: usize, count: usize) -> Result<Self> {
        let table = count.checked_add(1).and_then(|n| n.checked_mul(8));
        let offsets_at = table
            .and_then(|table| file.body().len().checked_sub(table))
            .filter(|at| *at >= start && at.is_multiple_of(8))
            .ok_or_else(|| file.damaged("it is shorter than its rows need"))?;
        let offsets: &[u64] = file.numbers(offsets_at, count + 1)?;
        let end = offsets[count];
        let room = (offsets_at - start) as u64;
        if offsets[0] != 0 || !offsets.is_sorted() || end > room || room - end >= 8 {
            return Err(file.damaged("the places of its texts are out of order"));
        }
        let text = std::str::from_utf8(&file.body()[start..start + end as usize])
            .map_err(|e| file.damaged(format!("not UTF-8 at byte {}", start + e.valid_up_to())))?;
        if !offsets.iter().all(|&at| text.is_char_boundary(at as usize)) {
            return Err(file.damaged("a text ends inside a character"));
        }
        Ok(Strings { file, start, offsets_at, count })
    }

    pub(crate) fn file(&self) -> &Mapped {
        &self.file
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// String `at`; empty beyond the end.
    pub(crate) fn get(&self, at: usize) -> &str {
        let offsets: &[u64] = self.file.checked(self.offsets_at, self.count + 1);
        let Some(&[from, to]) = offsets.get(at..at + 2) else { return "" };
        let range = self.start + from as usize..self.start + to as usize;
        std::str::from_utf8(self.file.body().get(range).unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.count).map(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sealed::seal;
    use super::*;

    #[test]
    fn strings_come_back_after_what_stands_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let texts = ["", "a", "grün", "", "日本"];
        let mut file = Sealed::create(path.clone(), Kind::Column).unwrap();
        file.write(&[7; 16]).unwrap();
        let mut writer = StringsWriter::after(file);
        assert!(writer.is_blank());
        texts.iter().for_each(|t| writer.push(t).unwrap());
        let record = writer.finish().unwrap();
        let open = |count| Strings::open(Mapped::open(path.clone(), Kind::Column, record)?, 16, count);
        let strings = open(5).unwrap();
        assert_eq!(strings.iter().collect::<Vec<_>>(), texts);
        assert_eq!((strings.get(5), strings.get(usize::MAX - 1)), ("", ""));
        for count in [0, 4, 6, 7, 100, usize::MAX] {
            assert!(open(count).is_err(), "{count} strings");
        }
    }

    #[test]
    fn hostile_tables_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let open = |text: &[u8], offsets: &[u64]| -> Result<Vec<String>> {
            let body = [text, bytemuck::cast_slice(offsets)].concat();
            let file = seal(&body, Kind::Texts);
            std::fs::write(&path, &file).unwrap();
            let crc32 = u32::from_le_bytes(file[body.len() + 8..body.len() + 12].try_into().unwrap());
            let record = FileRecord { bytes: body.len() as u64, crc32 };
            let file = Mapped::open(path.clone(), Kind::Texts, record)?;
            let strings = Strings::open(file, 0, offsets.len() - 1)?;
            Ok(strings.iter().map(str::to_owned).collect())
        };
        assert_eq!(open(b"ab\xc3\xa9\0\0\0\0", &[0, 1, 4]).unwrap(), ["a", "bé"]);
        for (text, offsets) in [
            (b"ab\xc3\xa9\0\0\0\0", vec![0, 3, 4]),
            (b"ab\xc3\xa9\0\0\0\0", vec![0, 2, 1]),
            (b"ab\xc3\xa9\0\0\0\0", vec![1, 2, 4]),
            (b"ab\xc3\xa9\0\0\0\0", vec![0, 1, u64::MAX]),
            (b"ab\xc3\xff\0\0\0\0", vec![0, 1, 4]),
            (b"ab\xc3\xa9\0\0\0\0", vec![0, 0, 0]),
        ] {
            assert!(open(text, &offsets).is_err(), "{text:?} {offsets:?}");
        }
    }
}
