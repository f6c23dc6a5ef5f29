//! Turns a model file, usually a PyTorch checkpoint, into safetensors.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::config::{CONFIG_FILE, Config};
use super::load::{config_beside, read_weights, sha256};
use super::selection::{Rename, listed, select};
use super::tensors::{Dtype, RawTensor, TensorInfo};
use super::{LoadError, fit, safetensors_file};

/// As many as a SHA-256 has.
const SHA256_DIGITS: usize = 64;

/// How a model file is to be converted.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The dtype of every floating point tensor in the result; each keeps its own when
    /// absent. Integers stay integers.
    pub dtype: Option<Dtype>,
    /// The key of the set of tensors that is meant, in a checkpoint that holds more than one; of several the
    /// sets are joined, each under its key as a prefix.
    pub keys: Vec<String>,
    /// Patterns, in which `*` stands for any text, of tensors that are left out.
    pub drop: Vec<String>,
    /// Other names; the first that matches a tensor counts.
    pub renames: Vec<Rename>,
    /// Leaves out what the layers of the `config.json` beside the target do not use.
    pub allow_unused: bool,
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
    /// What the layers do not use, and was left out.
    pub unused: Vec<TensorInfo>,
    /// What to do where these tensors do not tell the model, in words.
    pub advice: Option<&'static str>,
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
    /// A pattern that matches nothing, or one name for two tensors.
    #[error("{}: {problem}", path.display())]
    Selection { path: PathBuf, problem: String },
    /// The layers have no use for some tensors.
    #[error("{}: its layers do not use {unused} of {}: describe their layers, name them in \"ignore\", or leave them out (--allow-unused, or --drop)", config.display(), path.display())]
    Unused { path: PathBuf, config: PathBuf, unused: String },
    /// Nothing says what is used.
    #[error("--allow-unused leaves out what the layers of a {CONFIG_FILE} do not use, and none beside {} names that file: leave tensors out by their names (--drop)", .0.display())]
    NothingUses(PathBuf),
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
    let mut weights = read_weights(source, &options.keys)?;
    select(&mut weights.tensors, &options.drop, &options.renames)
        .map_err(|problem| ConvertError::Selection { path: source.to_owned(), problem })?;
    let unused = unused(&mut weights.tensors, source, target, options)?;
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
        unused,
        advice: weights.advice,
    })
}

/// Takes out of `tensors` what the layers of the `config.json` beside `target` do not use, if that is
/// allowed.
fn unused(
    tensors: &mut Vec<RawTensor>,
    source: &Path,
    target: &Path,
    options: &ConvertOptions,
) -> Result<Vec<TensorInfo>, ConvertError> {
    let (config_path, config) = match described(target) {
        Ok(Some(described)) => described,
        Ok(None) if options.allow_unused => return Err(ConvertError::NothingUses(target.to_owned())),
        Err(error) if options.allow_unused => return Err(error.into()),
        // A description that is not finished is no reason to write no weights.
        Ok(None) | Err(_) => return Ok(Vec::new()),
    };
    let unused: Vec<_> = fit::unused(&config.layers, &config.ignore, tensors).into_iter().cloned().collect();
    if unused.is_empty() || options.allow_unused {
        tensors.retain(|tensor| !unused.contains(&tensor.info));
        return Ok(unused);
    }
    let names: Vec<_> = unused.iter().map(|info| info.name.as_str()).collect();
    let (path, unused) = (source.to_owned(), listed(&names));
    Err(ConvertError::Unused { path, config: config_path, unused })
}

/// The `config.json` beside `target` that names it. Its hash cannot be known before there is a file: any text
/// may stand there.
fn described(target: &Path) -> Result<Option<(PathBuf, Config)>, LoadError> {
    let error = match config_beside(target) {
        Err(error @ LoadError::Config(_)) => error,
        other => return other,
    };
    let config_path = target.with_file_name(CONFIG_FILE);
    let text = fs::read_to_string(&config_path).unwrap_or_default();
    let mut loose: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let Some(sha256) = loose.pointer_mut("/weights/sha256") else { return Err(error) };
    *sha256 = "0".repeat(SHA256_DIGITS).into();
    match Config::parse(&loose.to_string(), &config_path) {
        Ok(config) => Ok(Some((config_path, config))),
        // The error of the text as it stands has the right line.
        Err(_) => Err(error),
    }
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

/// Writes a file that appears whole or not at all.
pub fn write_atomically(target: &Path, bytes: &[u8]) -> io::Result<()> {
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
