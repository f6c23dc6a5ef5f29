//! A file that grows while something runs: whatever happens, an error names it, and
//! what was written before is kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is not complete has this behind its name, so that half a file never looks like a whole one.
pub const UNFINISHED: &str = "unfinished";

/// The name that the file at `path` has until it is complete.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{UNFINISHED}"));
    name.into()
}

/// A file under its name or, until it is complete, another one.
#[derive(Debug)]
pub struct GrowingFile {
    file: File,
    /// Where it is while it grows.
    path: PathBuf,
    /// Where it is once it is complete, if that is elsewhere.
    complete: Option<PathBuf>,
    written: u64,
    /// It is a text, of which half a line can be told.
    has_lines: bool,
    /// Up to the end of the last line.
    whole: u64,
    /// A write has failed. No further one is tried, because buffers above would write
    /// the same again when they are dropped.
    has_failed: bool,
}

impl GrowingFile {
    /// Begins a file that is of use while it grows, and the directory that it is in. What had the name is
    /// replaced.
    ///
    /// # Errors
    /// When it cannot be made; the error names it.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::begin(path.to_owned(), None)
    }

    /// Begins a file that has its name only once it is [complete](Self::complete).
    ///
    /// # Errors
    /// When it cannot be made; the error names it.
    pub fn create_unfinished(path: &Path) -> io::Result<Self> {
        // A pipe or a device is written to where it is, and must not be replaced.
        if fs::metadata(path).is_ok_and(|known| !known.is_file()) {
            return Self::create(path);
        }
        Self::begin(unfinished(path), Some(path.to_owned()))
    }

    fn begin(path: PathBuf, complete: Option<PathBuf>) -> io::Result<Self> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let file = directory.map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&path));
        let file = file.map_err(|cause| named(&path, "cannot be written", &cause, ""))?;
        Ok(Self { file, path, complete, written: 0, has_lines: true, whole: 0, has_failed: false })
    }

    /// For what is no text, and has no half of a line to lose: where a write fails, everything before it
    /// stays.
    pub fn without_lines(self) -> Self {
        Self { has_lines: false, ..self }
    }

    /// Where it is while it grows.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing more comes: gives the file its name.
    ///
    /// # Errors
    /// When it cannot be brought to the disk or cannot have its name; what is there is kept.
    pub fn complete(self) -> io::Result<()> {
        let failed = |cause: io::Error| named(&self.path, "cannot be completed", &cause, KEPT);
        match self.file.sync_all() {
            // What is no file has no disk.
            Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced.map_err(failed)?,
        }
        self.complete.as_ref().map_or(Ok(()), |complete| fs::rename(&self.path, complete)).map_err(failed)
    }

    /// Takes the file away, where it has not its name yet: half of it is of use to nobody.
    pub fn discard(self) {
        if self.complete.is_some() {
            // The error that led here is the one to be told.
            fs::remove_file(&self.path).ok();
        }
    }
}

const KEPT: &str = "; what was written before is kept in it";

fn named(path: &Path, what: &str, cause: &io::Error, then: &str) -> io::Error {
    io::Error::new(cause.kind(), format!("{}: {what}: {cause}{then}", path.display()))
}

impl Write for GrowingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(io::Error::other(format!("{}: an earlier write has failed", self.path.display())));
        }
        match self.file.write(bytes) {
            Ok(count) => {
                if let Some(end) = bytes[..count].iter().rposition(|byte| *byte == b'\n') {
                    self.whole = self.written + end as u64 + 1;
                }
                self.written += count as u64;
                Ok(count)
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Err(cause),
            Err(cause) => {
                self.has_failed = true;
                // Half a line would spoil a table. What has no lines, or no length, stays as it is.
                if self.has_lines && self.whole > 0 {
                    self.file.set_len(self.whole).ok();
                }
                Err(named(&self.path, "cannot be written", &cause, KEPT))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file, or none.
///
/// # Errors
/// When it cannot be written; the error names it, and what had the name before still has it.
pub fn write_whole(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = GrowingFile::create_unfinished(path)?;
    match file.file.write_all(content.as_ref()) {
        Ok(()) => file.complete(),
        Err(cause) => {
            file.discard();
            Err(named(path, "cannot be written", &cause, ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_device_is_named_once_and_not_replaced() {
        let full = Path::new("/dev/full");
        let mut file = GrowingFile::create_unfinished(full).unwrap();
        let first = file.write(b"a,b\n").unwrap_err().to_string();
        assert!(first.starts_with("/dev/full: cannot be written: No space left"), "{first}");
        assert!(file.write(b"a,b\n").unwrap_err().to_string().contains("earlier write"));
        assert!(write_whole(full, "x").unwrap_err().to_string().starts_with("/dev/full: cannot be written"));
        assert!(!fs::metadata(full).unwrap().is_file());
    }

    #[test]
    fn a_file_has_its_name_once_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        let names = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut file = GrowingFile::create_unfinished(&path).unwrap();
        file.write_all(b"a\n").unwrap();
        assert_eq!(names(), ["a.csv.unfinished"]);
        file.complete().unwrap();
        assert_eq!(names(), ["a.csv"]);
        write_whole(&path, "b").unwrap();
        assert_eq!((names(), fs::read_to_string(&path).unwrap()), (vec!["a.csv".to_owned()], "b".to_owned()));
    }
}
