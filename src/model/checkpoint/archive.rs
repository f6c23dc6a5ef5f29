//! The zip archive that PyTorch writes since 1.6, and that TorchScript always was:
//! `NAME/data.pkl` and `NAME/data/KEY`.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::value::Shortened;
use super::{Checkpoint, CheckpointError, Limits, choice, pickle, view};
use crate::model::foreign;

/// What every entry of a zip archive's directory begins with.
const DIRECTORY_SIGNATURE: [u8; 4] = *b"PK\x01\x02";

/// How many names tell what another program's archive is.
const NAMES_LOOKED_AT_MAX: usize = 64;

/// Reads the tensors of a zip archive.
pub fn read(file: &[u8], keys: &[String], limits: &Limits) -> Result<Checkpoint, CheckpointError> {
    // Counted before the directory is read: its entries take several times their size in memory.
    let entries = file.windows(4).filter(|window| *window == DIRECTORY_SIGNATURE).count() as u64;
    limits.check("the number of entries", "entries_max", entries, limits.entries_max)?;
    let zip = ZipArchive::new(Cursor::new(file))
        .map_err(|error| CheckpointError::Archive(format!("{error}: the file is damaged or incomplete")))?;
    let mut archive = Archive { zip, file_bytes: file.len() as u64, limits };
    let prefix = archive.prefix()?;
    if let Some(order) = archive.find(&format!("{prefix}byteorder"), 16)?
        && order.starts_with(b"big")
    {
        return Err(CheckpointError::BigEndian);
    }
    let pickled = archive.get(&format!("{prefix}data.pkl"), limits.pickle_bytes_max)?;
    let pickle = pickle::read(&pickled, limits)?;
    let is_script = archive.zip.index_for_name(&format!("{prefix}constants.pkl")).is_some();
    let chosen = choice::find(&pickle, keys, limits)?;
    let kind = if is_script { "TorchScript archive" } else { "PyTorch zip archive" };
    let format = format!("{kind}, {}", chosen.place);
    let largest = limits.tensor_bytes_max;
    let read = view::copy_all(chosen.tensors, format, file.len() as u64, limits, |storage| {
        archive.get(&format!("{prefix}data/{storage}"), largest).map(Cow::Owned)
    })?;
    Ok(Checkpoint { is_script, ..read })
}

struct Archive<'a, 'l> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    file_bytes: u64,
    limits: &'l Limits,
}

impl Archive<'_, '_> {
    /// The folder of `data.pkl`, with its slash: PyTorch names it after the file.
    fn prefix(&self) -> Result<String, CheckpointError> {
        // Names that are no text are none of PyTorch's.
        let names = || self.zip.file_names().filter_map(Result::ok);
        let folders = names().filter_map(|name| name.strip_suffix("data.pkl").map(str::to_owned));
        let outermost = |folder: &String| folder.is_empty() || folder.find('/') == Some(folder.len() - 1);
        let listed =
            || names().take(4).map(|name| Shortened(&name).to_string()).collect::<Vec<_>>().join(", ");
        folders.into_iter().find(outermost).ok_or_else(|| {
            let all: Vec<_> = names().take(NAMES_LOOKED_AT_MAX).map(Cow::into_owned).collect();
            match foreign::zip(&all) {
                Some(found) => CheckpointError::Unrecognised { found },
                None => CheckpointError::Archive(format!("it has no data.pkl, it holds {}", listed())),
            }
        })
    }

    fn get(&mut self, name: &str, bytes_max: u64) -> Result<Vec<u8>, CheckpointError> {
        let missing = || CheckpointError::Archive(format!("it has no entry {}", Shortened(name)));
        self.find(name, bytes_max)?.ok_or_else(missing)
    }

    /// The content of an entry, its checksum verified; `None` when there is no such entry.
    fn find(&mut self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, CheckpointError> {
        let Some(index) = self.zip.index_for_name(name) else { return Ok(None) };
        let damaged =
            |problem: String| CheckpointError::Archive(format!("entry {}: {problem}", Shortened(name)));
        let entry = self.zip.by_index(index).map_err(|error| damaged(error.to_string()))?;
        let bound = if name.ends_with(".pkl") { "pickle_bytes_max" } else { "tensor_bytes_max" };
        self.limits.check("an entry", bound, entry.size(), bytes_max)?;
        // The size that the directory states is not to be trusted with memory that the file
        // does not have itself.
        let expected = entry.size().min(self.file_bytes);
        let mut content = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        entry.take(bytes_max + 1).read_to_end(&mut content).map_err(|error| damaged(unreadable(&error)))?;
        self.limits.check("an entry", bound, content.len() as u64, bytes_max)?;
        Ok(Some(content))
    }
}

fn unreadable(error: &std::io::Error) -> String {
    let hint = if error.to_string().contains("checksum") {
        ": the file is damaged, or was saved without checksums (torch.serialization.set_crc32_options)"
    } else {
        ""
    };
    format!("{error}{hint}")
}
