//! Weights in files beside the model.
//!
//! A model may come from anybody, so that it may name only plain files in its own directory: no other path,
//! no link that leads out of it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::error::{OnnxError, quoted};
use super::limits::{FILE_BYTES_MAX, NAME_BYTES_MAX};
use super::wire::Message;

/// What a tensor says of where its elements are.
#[derive(Debug, Default)]
pub struct Location<'a> {
    path: Option<&'a str>,
    offset: Option<&'a str>,
    length: Option<&'a str>,
}

impl<'a> Location<'a> {
    /// Takes one entry of it, a key and a value.
    pub fn read(&mut self, entry: Message<'a>) -> Result<(), OnnxError> {
        let (mut key, mut value) = ("", "");
        for field in entry.fields() {
            let field = field?;
            match field.number {
                1 => key = field.name()?,
                2 => value = field.name()?,
                _ => {}
            }
        }
        match key {
            "location" => self.path = Some(value),
            "offset" => self.offset = Some(value),
            "length" => self.length = Some(value),
            // A checksum, of which the standard says that it need not be looked at.
            _ => {}
        }
        Ok(())
    }
}

/// The files beside a model.
pub struct External<'d> {
    /// The model's directory, where it has one.
    directory: Option<&'d Path>,
    /// What may still be read.
    bytes_left: u64,
    /// The file that was read last, with its length: most models have one.
    last: Option<(String, File, u64)>,
}

impl<'d> External<'d> {
    /// `bytes` are in the model's file itself.
    pub fn new(directory: Option<&'d Path>, bytes: u64) -> Self {
        Self { directory, bytes_left: FILE_BYTES_MAX.saturating_sub(bytes), last: None }
    }

    /// The bytes that a tensor's location names.
    pub fn read(&mut self, location: &Location<'_>) -> Result<Vec<u8>, OnnxError> {
        let path =
            location.path.ok_or("its elements are said to be in another file, and no location is given")?;
        self.open(path)
            .map_err(|error| error.within(format_args!("its elements are in {}", quoted(path))))?;
        let Some((_, file, file_bytes)) = &mut self.last else {
            return Err("its elements cannot be read".into());
        };
        let offset = number(location.offset, "offset")?.unwrap_or(0);
        let rest = file_bytes.checked_sub(offset);
        let length = number(location.length, "length")?.or(rest);
        let (Some(rest), Some(length)) = (rest, length) else {
            return Err(beyond(path, offset, "the rest", *file_bytes));
        };
        if length > rest {
            return Err(beyond(path, offset, &length.to_string(), *file_bytes));
        }
        self.bytes_left = self.bytes_left.checked_sub(length).ok_or_else(|| {
            format!("with its elements the model has more than {FILE_BYTES_MAX} bytes (file_bytes_max)")
        })?;
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(length).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 == length => Ok(bytes),
            Ok(read) => Err(format!("{} gave {read} bytes of {length}", quoted(path)).into()),
            Err(error) => Err(format!("cannot read {}: {error}", quoted(path)).into()),
        }
    }

    fn open(&mut self, path: &str) -> Result<(), OnnxError> {
        if self.last.as_ref().is_some_and(|(last, ..)| last == path) {
            return Ok(());
        }
        let directory = self
            .directory
            .ok_or("this model came without its directory, so that it must hold all its weights itself")?;
        let found = inside(directory, path)?;
        let opened = File::open(&found).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("that is no plain file".into());
        }
        self.last = Some((path.to_owned(), file, metadata.len()));
        Ok(())
    }
}

/// The file `path` in `directory`, if it is one that is really there.
fn inside(directory: &Path, path: &str) -> Result<PathBuf, OnnxError> {
    debug_assert!(path.len() <= NAME_BYTES_MAX);
    let is_plain = !path.is_empty()
        && !path.contains(['\\', '\0', ':'])
        && Path::new(path)
            .components()
            .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    if !is_plain {
        return Err("that is no plain file's name; expected a file in the model's own directory".into());
    }
    // The directory of a file that was named without one.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let root = directory.canonicalize().map_err(|error| error.to_string())?;
    let found = root.join(path).canonicalize().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file in the model's directory: put it there, or save the model with all its weights in one file".to_owned(),
        _ => error.to_string(),
    })?;
    if !found.starts_with(&root) {
        return Err("that leads out of the model's own directory".into());
    }
    // Before it is opened: to open a pipe waits for somebody to write.
    if !found.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("that is no plain file".into());
    }
    Ok(found)
}

fn beyond(path: &str, offset: u64, length: &str, bytes: u64) -> OnnxError {
    format!("its elements are {length} bytes from byte {offset} of {}, which has {bytes}", quoted(path))
        .into()
}

fn number(text: Option<&str>, what: &str) -> Result<Option<u64>, OnnxError> {
    text.map(|text| {
        text.parse().map_err(|_| format!("its {what} is {}, expected a number of bytes", quoted(text)).into())
    })
    .transpose()
}
