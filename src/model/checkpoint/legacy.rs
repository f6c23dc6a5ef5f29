//! The format before PyTorch 1.6: five pickles in a row, then the storages' bytes,
//! each after its count of elements.

use std::borrow::Cow;
use std::collections::HashMap;

use super::value::{Id, Shortened, Value};
use super::{Checkpoint, CheckpointError, Limits, choice, pickle, view};
use crate::model::foreign;
use crate::model::tensors::Dtype;

/// The number 0x1950a86a20f9469cfc6c, which says what the file is, in the little-endian bytes of its pickle.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The magic number as protocols 0 and 1 write it, in digits.
pub const MAGIC_IN_TEXT: &[u8] = b"L119547037146038801333356L";
/// The only version there ever was.
const VERSION: i64 = 1001;

/// Reads the tensors of a file of the legacy format.
pub fn read(file: &[u8], keys: &[String], limits: &Limits) -> Result<Checkpoint, CheckpointError> {
    let mut at = 0;
    let mut next = || -> Result<pickle::Pickle<'_>, CheckpointError> {
        let pickle = pickle::read(&file[at..], limits).map_err(|error| shifted(error, at))?;
        at += pickle.end;
        Ok(pickle)
    };
    // Pickles of other tools have arrays behind and among their opcodes, and cannot always be read.
    let magic = match next() {
        Err(CheckpointError::Pickle { .. }) if !begins_with_magic(file) => {
            return Err(CheckpointError::Unrecognised {
                found: foreign::pickle(file, "which cannot be read as one"),
            });
        }
        magic => magic?,
    };
    if !matches!(magic.arena.get(magic.root), Value::BigInt(bytes) if *bytes == MAGIC) {
        let found = foreign::pickle(file, &magic.arena.describe(magic.root));
        return Err(CheckpointError::Unrecognised { found });
    }
    let version = next()?;
    if version.arena.int(version.root) != Some(VERSION) {
        let found = version.arena.describe(version.root);
        return Err(CheckpointError::Legacy(format!("expected version {VERSION}, found {found}")));
    }
    let system = next()?;
    let little_endian = system.arena.entry(system.root, "little_endian");
    if little_endian.is_some_and(|little| matches!(system.arena.get(little), Value::Bool(false))) {
        return Err(CheckpointError::BigEndian);
    }
    let object = next()?;
    let listed = next()?;
    let storages = storages(file, at, &object, &listed)?;
    let chosen = choice::find(&object, keys, limits)?;
    let format = format!("PyTorch file of the format before 1.6, {}", chosen.place);
    view::copy_all(chosen.tensors, format, file.len() as u64, limits, |key| match storages.get(key) {
        Some(bytes) => Ok(Cow::Borrowed(*bytes)),
        None => Err(CheckpointError::Legacy(format!("there is no storage {}", Shortened(key)))),
    })
}

/// Whether the magic number stands where it is written: behind PROTO, perhaps FRAME,
/// and LONG1 with its length.
fn begins_with_magic(file: &[u8]) -> bool {
    const WITHIN_BYTES: usize = 32;
    file[..file.len().min(WITHIN_BYTES)].windows(MAGIC.len()).any(|window| window == MAGIC)
}

fn shifted(error: CheckpointError, by: usize) -> CheckpointError {
    match error {
        CheckpointError::Pickle { at, problem } => CheckpointError::Pickle { at: at + by, problem },
        other => other,
    }
}

/// The bytes of each storage, by its key: they follow each other in the order of `keys`.
fn storages<'a>(
    file: &'a [u8],
    mut at: usize,
    object: &pickle::Pickle<'a>,
    keys: &pickle::Pickle<'a>,
) -> Result<HashMap<&'a str, &'a [u8]>, CheckpointError> {
    let dtypes = dtypes(object);
    let listed: &[Id] = keys.arena.elements(keys.root).unwrap_or_default();
    let mut storages = HashMap::with_capacity(listed.len());
    for &key in listed {
        let refuse = |problem: &str| {
            let key = keys.arena.str(key).map_or("?".to_owned(), |key| Shortened(key).to_string());
            CheckpointError::Legacy(format!("storage {key}: {problem}"))
        };
        let name = keys.arena.str(key).ok_or_else(|| refuse("its key is no text"))?;
        let dtype =
            dtypes.get(name).ok_or_else(|| refuse("no tensor uses it in a dtype that is supported"))?;
        let rest = &file[at..];
        let (count, rest) = rest.split_first_chunk::<8>().ok_or_else(|| refuse("the file ends before it"))?;
        let bytes = usize::try_from(i64::from_le_bytes(*count))
            .ok()
            .and_then(|elements| elements.checked_mul(dtype.bytes()))
            .ok_or_else(|| refuse("its count of elements is impossible"))?;
        let content = rest.get(..bytes).ok_or_else(|| refuse("it goes beyond the end of the file"))?;
        storages.insert(name, content);
        at += 8 + bytes;
    }
    Ok(storages)
}

/// The dtype of every storage that the object names.
fn dtypes<'a>(object: &pickle::Pickle<'a>) -> HashMap<&'a str, Dtype> {
    let ids = object.arena.ids().filter_map(|id| view::storage_id(&object.arena, id));
    ids.filter_map(|storage| Some((storage.key, view::dtype_of_storage(storage.class)?))).collect()
}
