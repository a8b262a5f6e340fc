//! Outputs that appear whole or not at all.
//!
//! The bytes go to a temporary file in the folder of the output, are flushed to the disk, and the file is renamed over
//! the output. A reader sees the old file or the new one. When writing fails or the value is dropped before
//! [`AtomicFile::commit`], the temporary file is removed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Result};

const BUFFER_BYTES: usize = 1 << 18;

/// A file that takes its name only when it is complete.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts a new content for `path`. Its folder must exist; the old file, if any, stays until [`commit`](Self::commit).
    /// A symbolic link is followed, so that the file it names is replaced and not the link.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written to, or if `path` is there and is not a regular file.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let target = match fs::canonicalize(path) {
            Ok(target) if target.is_file() => target,
            Ok(_) => {
                let source =
                    io::Error::new(io::ErrorKind::InvalidInput, "it is there and is not a regular file");
                return Err(Error::Io { path: path.to_owned(), action: "replace", source });
            }
            Err(_) => path.to_owned(),
        };
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = Builder::new();
        builder.prefix(".partial-");
        #[cfg(unix)]
        {
            // The mode of an ordinary new file (the umask applies); temporary files are private otherwise.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(Error::io(path, "create"))?;
        Ok(AtomicFile { path: target, file: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    /// The name that the file will take.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file on the disk under its name.
    ///
    /// # Errors
    /// If the last bytes cannot be written or the file cannot be renamed; the output is then as it was before.
    pub fn commit(self) -> Result<()> {
        let AtomicFile { path, file } = self;
        let file = file.into_inner().map_err(|e| Error::io(&path, "write")(e.into_error()))?;
        file.as_file().sync_all().map_err(Error::io(&path, "write"))?;
        file.persist(&path).map_err(|e| Error::io(&path, "rename the finished file to")(e.error))?;
        // The rename itself lasts only once the folder is on the disk. Not every system can do this; the file is
        // whole in any case.
        #[cfg(unix)]
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Writes `path` as a whole: `write` fills it, and it takes its name when `write` returns `Ok`.
///
/// ```
/// # use std::io::Write;
/// let folder = std::env::temp_dir();
/// parallax_data::atomic_write(folder.join("parallax-doc.json"), |file| file.write_all(b"{}"))?;
/// # std::fs::remove_file(folder.join("parallax-doc.json"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`AtomicFile`], and what `write` returns; nothing is left behind then.
pub fn atomic_write<T>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut AtomicFile) -> io::Result<T>,
) -> Result<T> {
    let mut file = AtomicFile::create(path)?;
    let value = write(&mut file).map_err(Error::io(&file.path, "write"))?;
    file.commit()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Write};

    use super::{AtomicFile, atomic_write};

    fn names(folder: &std::path::Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        atomic_write(&path, |file| file.write_all(b"first")).unwrap();
        let failed = atomic_write(&path, |file| {
            file.write_all(&vec![b'x'; 1 << 20])?;
            Err::<(), _>(io::Error::other("no"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["out.txt"]);

        drop(AtomicFile::create(folder.path().join("other")).unwrap());
        assert_eq!(names(folder.path()), ["out.txt"]);
        atomic_write(&path, |file| file.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
    }

    #[test]
    fn a_folder_is_not_replaced_and_a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = AtomicFile::create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        assert!(AtomicFile::create(folder.path().join("no/such/file")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_the_mode_is_that_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        let ordinary = fs::metadata(&real).unwrap().permissions().mode();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        atomic_write(&link, |file| file.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode(), ordinary);
    }
}
