//! Turns a model file, usually a PyTorch checkpoint, into safetensors.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::load::{read_weights, sha256};
use super::tensors::{Dtype, RawTensor, TensorInfo};
use super::{LoadError, safetensors_file};

/// How a model file is to be converted.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The dtype of every floating point tensor in the result; each keeps its own when
    /// absent. Integers stay integers.
    pub dtype: Option<Dtype>,
    /// The key of the set of tensors that is meant, in a checkpoint that holds more than one.
    pub key: Option<String>,
}

/// What a conversion has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// In the order of the model.
    pub tensors: Vec<TensorInfo>,
    /// Of the file that was written, lower-case hexadecimal.
    pub sha256: String,
    /// What the source was, in words.
    pub format: String,
    /// The size of the file that was written.
    pub bytes: u64,
}

/// Why nothing was converted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ConvertError {
    /// The source cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The target is the source.
    #[error("{} is the source itself: it would be overwritten", .0.display())]
    SameFile(PathBuf),
    /// The target's name does not say what it would hold.
    #[error("{}: expected a name that ends in .safetensors", .0.display())]
    TargetName(PathBuf),
    /// A dtype that is not for weights, or cannot hold a value.
    #[error("tensor {name}: {problem}")]
    Dtype { name: String, problem: String },
    /// The file system refused.
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// Reads the tensors of `source` and writes them to `target` as safetensors.
///
/// The target appears whole or not at all: it is written beside its place, flushed to the disk, and renamed.
///
/// # Errors
/// [`ConvertError`]; the target is then as it was.
pub fn convert(source: &Path, target: &Path, options: &ConvertOptions) -> Result<Converted, ConvertError> {
    let kind = target.extension().unwrap_or_default();
    if !kind.eq_ignore_ascii_case("safetensors") {
        return Err(ConvertError::TargetName(target.to_owned()));
    }
    if same_file(source, target) {
        return Err(ConvertError::SameFile(target.to_owned()));
    }
    let weights = read_weights(source, options.key.as_deref())?;
    let tensors = match options.dtype {
        Some(dtype) => {
            weights.tensors.into_iter().map(|tensor| cast(tensor, dtype)).collect::<Result<_, _>>()?
        }
        None => weights.tensors,
    };
    let file = safetensors_file::serialise(&tensors);
    write_atomically(target, &file)
        .map_err(|error| ConvertError::Write { path: target.to_owned(), error })?;
    Ok(Converted {
        tensors: tensors.into_iter().map(|tensor| tensor.info).collect(),
        sha256: sha256(&file),
        format: weights.format,
        bytes: file.len() as u64,
    })
}

/// Whether both paths lead to one file, through links too. A target that does not exist yet is another one.
fn same_file(source: &Path, target: &Path) -> bool {
    match (fs::canonicalize(source), fs::canonicalize(target)) {
        (Ok(source), Ok(target)) => source == target,
        _ => false,
    }
}

fn cast(tensor: RawTensor, dtype: Dtype) -> Result<RawTensor, ConvertError> {
    if !tensor.info.dtype.is_float() || tensor.info.dtype == dtype {
        return Ok(tensor);
    }
    let refuse = |problem: String| ConvertError::Dtype { name: tensor.info.name.clone(), problem };
    if dtype != Dtype::F32 {
        return Err(refuse(format!("cannot be converted to {dtype}, only to F32")));
    }
    let values = tensor.to_f32();
    if tensor.info.dtype == Dtype::F64
        && let Some(at) = tensor.first_overflow(&values)
    {
        return Err(refuse(format!("element {at} is beyond the range of F32")));
    }
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(RawTensor { info: TensorInfo { dtype, ..tensor.info }, bytes })
}

fn write_atomically(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let mut file = NamedTempFile::with_prefix_in(".nearfar-", directory)?;
    file.write_all(bytes)?;
    readable_by_others(&file)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The rename is on the disk once its directory is; where directories cannot be
    // opened there is nothing to flush.
    if let Ok(directory) = fs::File::open(directory) {
        directory.sync_all()?;
    }
    Ok(())
}

/// Temporary files are their owner's alone; a model is a file as any other.
#[cfg(unix)]
fn readable_by_others(file: &NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_others(_: &NamedTempFile) -> io::Result<()> {
    Ok(())
}
