//! Reads PyTorch checkpoints without PyTorch, and without ever running what is in them.
//!
//! ```text
//!  bytes ─┬─ zip archive ──▶ data.pkl ─┐
//!         └─ legacy stream ────────────┴─▶ pickle machine ──▶ arena of inert values ──▶ sets of tensors ──▶ copies
//! ```
//! A pickle is a program that may call anything. Here it builds plain values in an arena: a
//! class or a function is only its name, and a call is only a note that it was asked for.
//! What looks like a rebuilt tensor is then read as numbers. Sharing costs nothing, because
//! values refer to each other by index; nothing here recurses as deep as its input asks.

mod archive;
mod choice;
#[cfg(test)]
mod hostile;
mod legacy;
mod limits;
mod pickle;
mod state_dict;
mod value;
mod view;

pub use self::limits::Limits;
use self::limits::Over;
pub use self::pickle::PROTO;

use super::foreign;
use super::tensors::RawTensor;

/// Why a checkpoint gives no tensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum CheckpointError {
    /// Neither of PyTorch's two formats.
    #[error("expected a PyTorch file (a zip archive, or the format before 1.6), found {found}")]
    Unrecognised { found: String },
    /// A bound was reached; a file that reaches one is not worth the memory or the time.
    #[error("{what} exceeds {bound} = {max}")]
    Limit {
        /// What was too much, with its amount where it is known.
        what: String,
        /// The name of the bound, a field of [`Limits`].
        bound: &'static str,
        max: u64,
    },
    /// The zip archive is damaged, or is none of PyTorch's.
    #[error("zip archive: {0}")]
    Archive(String),
    /// The pickled object is not well formed.
    #[error("pickle, byte {at}: {problem}")]
    Pickle { at: usize, problem: String },
    /// A pickle protocol that PyTorch has not written for a decade, or does not write yet.
    #[error(
        "pickle protocol {found} is not supported, expected 2 to 5: save the file again with a current PyTorch"
    )]
    Protocol { found: String },
    /// The storages after a file of the format before 1.6 are damaged.
    #[error("legacy format: {0}")]
    Legacy(String),
    /// Written by a big-endian machine.
    #[error("the file's numbers are big-endian: save it again on a little-endian machine")]
    BigEndian,
    /// A tensor's description or storage cannot be used.
    #[error("tensor {name}: {problem}")]
    Tensor { name: String, problem: String },
    /// Nothing in the file is a tensor.
    #[error(
        "no tensors found: the file holds {found}; expected a state dict, a checkpoint with one, or a module"
    )]
    NoTensors { found: String },
    /// Several sets of tensors, and no telling which one is meant.
    #[error("the file holds more than one set of tensors: {}; choose one with its key (--key KEY of `nearfar convert` or `inspect`), or join some (--key KEY --key KEY)", sets.join(", "))]
    Ambiguous { sets: Vec<String> },
    /// One key was asked for twice.
    #[error("--key {key} stands there twice: name each set once")]
    KeyTwice { key: String },
    /// No set of tensors has the key that was asked for.
    #[error("no set of tensors at key {key:?}: the file holds {}", sets.join(", "))]
    NoSuchKey { key: String, sets: Vec<String> },
}

impl From<Over> for CheckpointError {
    fn from(over: Over) -> Self {
        Self::Limit { what: over.what, bound: over.bound, max: over.max }
    }
}

/// What a checkpoint gave.
#[derive(Debug)]
pub struct Checkpoint {
    /// In the order of the model.
    pub tensors: Vec<RawTensor>,
    /// The file's format and the place of the tensors in it, in words.
    pub format: String,
    /// Whether the file is a TorchScript archive, whose network is code.
    pub is_script: bool,
}

/// Reads the tensors of `file`; of the set at the key where the file holds more than one. With several `keys`
/// the sets are joined, each under its key as a prefix.
///
/// # Errors
/// [`CheckpointError`]; never a panic, whatever the bytes.
pub fn read(file: &[u8], keys: &[String], limits: &Limits) -> Result<Checkpoint, CheckpointError> {
    limits.check("the file", "file_bytes_max", file.len() as u64, limits.file_bytes_max)?;
    match file {
        [b'P', b'K', 3, 4, ..] => archive::read(file, keys, limits),
        [pickle::PROTO, ..] => legacy::read(file, keys, limits),
        _ if file.starts_with(legacy::MAGIC_IN_TEXT) => {
            Err(CheckpointError::Protocol { found: "0 or 1".to_owned() })
        }
        _ => {
            let first =
                || file.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            let found = foreign::name(file).unwrap_or_else(|| format!("bytes {} at its start", first()));
            Err(CheckpointError::Unrecognised { found })
        }
    }
}
