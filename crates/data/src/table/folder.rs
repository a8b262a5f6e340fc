//! A folder of text files as a table: a row for each `.txt` file, its folder the label.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{MAX_ROW_BYTES, RowPlace, plain};
use crate::error::{Error, Place, Result};

/// Names of folders that are parts of a data set and not classes.
const PARTS: &[&str] = &["train", "training", "validation", "valid", "val", "dev", "test"];

/// Class names shown in the note.
const SHOWN: usize = 4;

/// What the folders between the root and the files say.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Depth {
    /// `x.txt`
    Flat,
    /// `CLASS/x.txt`
    Classes,
    /// `PART/CLASS/x.txt`
    Parts,
}

/// The text files of a folder, in the order of their paths. In memory are their paths.
#[derive(Debug)]
pub(super) struct Folder {
    depth: Depth,
    /// Paths in the folder, with `/` between names, one after the other.
    names: String,
    ends: Vec<usize>,
}

impl Folder {
    /// Lists and checks the files under `root`; returns what was found out.
    pub(super) fn open(root: &Path, rows: &mut Vec<RowPlace>) -> Result<(Folder, String)> {
        let mut files = Vec::new();
        let mut others = 0;
        list(root, "", 0, &mut files, &mut others)?;
        files.sort_unstable();
        let refuse = |problem: String, hint: &str| Error::Folder {
            path: root.to_owned(),
            problem,
            hint: hint.to_owned(),
        };
        const LAYOUT: &str = "use FOLDER/x.txt for texts, FOLDER/CLASS/x.txt for texts with labels, or \
             FOLDER/train/CLASS/x.txt and FOLDER/test/CLASS/x.txt";
        let depth_of = |file: &String| file.matches('/').count();
        let Some(first) = files.first() else {
            return Err(refuse("the folder holds no .txt file".to_owned(), LAYOUT));
        };
        if let Some(other) = files.iter().find(|file| depth_of(file) != depth_of(first)) {
            let problem =
                format!("{first} and {other} lie at different depths, so folders cannot be classes");
            return Err(refuse(problem, LAYOUT));
        }
        let tops: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
        let is_part = |name: &&str| PARTS.contains(&name.to_ascii_lowercase().as_str());
        let depth = match depth_of(first) {
            0 => Depth::Flat,
            1 => Depth::Classes,
            2 if tops.iter().all(is_part) => Depth::Parts,
            _ => {
                let problem = format!("{first}: which of its folders is the class is not clear");
                return Err(refuse(problem, LAYOUT));
            }
        };
        let mut folder = Folder { depth, names: String::new(), ends: Vec::new() };
        for file in &files {
            folder.names.push_str(file);
            folder.ends.push(folder.names.len());
        }
        if folder.len() + rows.len() > u32::MAX as usize {
            return Err(Error::TooManyRows(root.to_owned()));
        }
        for file in 0..folder.len() {
            folder.text(root, file)?;
            rows.push(RowPlace { offset: 0, length: 0, line: 1 });
        }
        let count = files.len();
        let mut note = match depth {
            Depth::Flat => format!("{count} text files, without folders that could be labels"),
            Depth::Classes | Depth::Parts => {
                let classes: BTreeSet<&str> = (0..count).map(|i| folder.class(i)).collect();
                let names: Vec<&str> = classes.iter().take(SHOWN).copied().collect();
                let more = if classes.len() > SHOWN { ", ..." } else { "" };
                let parts = if depth == Depth::Parts { "; the folder above it is the split" } else { "" };
                format!(
                    "{count} text files; the folder of a file is its label ({} labels: {}{more}){parts}",
                    classes.len(),
                    names.join(", ")
                )
            }
        };
        match others {
            0 => {}
            1 => note.push_str("; one other file is not read"),
            others => note.push_str(&format!("; {others} other files are not read")),
        }
        Ok((folder, note))
    }

    pub(super) fn columns(&self) -> Vec<String> {
        let names: &[&str] = match self.depth {
            Depth::Flat => &["text", "id"],
            Depth::Classes => &["text", "label", "id"],
            Depth::Parts => &["text", "label", "split", "id"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn name(&self, file: usize) -> &str {
        let start = if file == 0 { 0 } else { self.ends[file - 1] };
        &self.names[start..self.ends[file]]
    }

    /// The folder of a file; nothing for one that lies at the top.
    fn class(&self, file: usize) -> &str {
        self.name(file).rsplit('/').nth(1).unwrap_or("")
    }

    pub(super) fn file(&self, root: &Path, file: usize) -> PathBuf {
        root.join(self.name(file))
    }

    /// The fields of a row, in the order of [`columns`](Self::columns).
    pub(super) fn read(&self, root: &Path, file: usize) -> Result<Vec<String>> {
        let (text, id) = (self.text(root, file)?, self.name(file).to_owned());
        Ok(match self.depth {
            Depth::Flat => vec![text, id],
            Depth::Classes => vec![text, self.class(file).to_owned(), id],
            Depth::Parts => {
                let part = id.split('/').next().unwrap_or("").to_ascii_lowercase();
                vec![text, self.class(file).to_owned(), part, id]
            }
        })
    }

    fn text(&self, root: &Path, file: usize) -> Result<String> {
        let path = self.file(root, file);
        let length = fs::metadata(&path).map_err(Error::io(&path, "open"))?.len();
        if length > MAX_ROW_BYTES as u64 {
            return Err(Error::RowTooLong { place: Place::new(path, 1), limit: MAX_ROW_BYTES });
        }
        let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
        // The line that holds the byte, as an editor shows it.
        plain::text(bytes).map_err(|byte| {
            let field = "text".to_owned();
            Error::NotUtf8 { place: Place::new(path, 1), field, byte }
        })
    }
}

/// Paths of the `.txt` files under `root/inside`. Names that start with a dot are passed over.
fn list(root: &Path, inside: &str, depth: usize, files: &mut Vec<String>, others: &mut usize) -> Result<()> {
    // Deeper than any layout known: also where a link leads back up.
    const DEEPEST: usize = 3;
    let folder = root.join(inside);
    for entry in fs::read_dir(&folder).map_err(Error::io(&folder, "open"))? {
        let entry = entry.map_err(Error::io(&folder, "read"))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let problem = format!("the name of {:?} is not UTF-8", entry.path());
            return Err(Error::Folder { path: root.to_owned(), problem, hint: "rename it".to_owned() });
        };
        if name.starts_with('.') {
            continue;
        }
        let path = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
        let kind = fs::metadata(entry.path()).map_err(Error::io(&entry.path(), "open"))?;
        if kind.is_dir() {
            if depth < DEEPEST {
                list(root, &path, depth + 1, files, others)?;
            }
        } else if kind.is_file() && name.to_ascii_lowercase().ends_with(".txt") {
            files.push(path);
        } else {
            *others += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::error::Result;
    use crate::table::{Table, TableOptions};

    fn put(root: &Path, files: &[(&str, &[u8])]) {
        for (name, bytes) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    fn open(root: &Path) -> Result<Table> {
        Table::open(&[root], &TableOptions::default())
    }

    #[test]
    fn folders_are_labels() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let bom = b"\xef\xbb\xbftwo\nlines\n".as_slice();
        put(root, &[("b/2.txt", b"x"), ("a/1.TXT", bom), ("b/.hidden.txt", b"\xff"), ("b/10.txt", b"")]);
        put(root, &[("a/utf16.txt", b"\xff\xfeh\x00i\x00"), ("readme.md", b"")]);
        let table = open(root).unwrap();
        assert_eq!(table.columns(), ["text", "label", "id"]);
        let rows: Vec<Vec<String>> =
            (0..table.len()).map(|row| (0..3).map(|c| table.cell(row, c).unwrap()).collect()).collect();
        let expected = [
            ["two\nlines\n", "a", "a/1.TXT"],
            ["hi", "a", "a/utf16.txt"],
            ["", "b", "b/10.txt"],
            ["x", "b", "b/2.txt"],
        ];
        assert_eq!(rows, expected);
        assert_eq!(table.place(3).file, root.join("b/2.txt"));
        assert_eq!(table.files().collect::<Vec<_>>(), [root]);
        assert_eq!(table.read_files().nth(1).unwrap(), root.join("a/utf16.txt"));
        let note = &table.notes()[0];
        assert!(note.contains("4 text files") && note.contains("2 labels: a, b"), "{note}");
        assert!(note.contains("one other file"), "{note}");
        fs::remove_file(root.join("a/1.TXT")).unwrap();
        assert!(table.cell(0, 0).unwrap_err().to_string().contains("1.TXT: cannot open"));
    }

    #[test]
    fn flat_folders_parts_and_what_is_unclear() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(root, &[("flat/2.txt", b"y"), ("flat/1.txt", b"x")]);
        assert_eq!(open(&root.join("flat")).unwrap().columns(), ["text", "id"]);
        put(root, &[("parts/train/pos/1.txt", b"x"), ("parts/test/neg/1.txt", b"y")]);
        let table = open(&root.join("parts")).unwrap();
        assert_eq!(table.columns(), ["text", "label", "split", "id"]);
        assert_eq!(table.row(0).unwrap().text(2).unwrap(), "test");
        put(root, &[("deep/x/pos/1.txt", b"x"), ("mixed/a/1.txt", b"x"), ("mixed/1.txt", b"x")]);
        put(root, &[("none/1.md", b"x"), ("latin/a/1.txt", b"caf\xe9")]);
        for (name, words) in [
            ("deep", "which of its folders"),
            ("mixed", "different depths"),
            ("none", "no .txt file"),
            ("latin", "1.txt, row 1, field \"text\": not UTF-8 at byte 3"),
        ] {
            let error = open(&root.join(name)).unwrap_err();
            assert!(error.to_string().contains(words) && error.hint().is_some(), "{error}");
        }
    }
}
