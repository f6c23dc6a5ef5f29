//! Writes a model's directory, if what is written would load.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::{CONFIG_FILE, Config};
use super::convert::write_atomically;
use super::load::{Files, Weights, build, sha256};
use super::tensors::{Dtype, RawTensor, TensorInfo};
use super::{ConvertError, LoadError, safetensors_file};

/// The file of weights in a directory that is written.
const WEIGHTS_FILE: &str = "model.safetensors";

/// Numbers with a name, for a model that is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name, as the model's description has it.
    pub name: String,
    /// How many numbers there are along each axis.
    pub shape: Vec<usize>,
    /// The numbers, the last axis fastest.
    pub values: Vec<f32>,
}

/// Writes `config`, whose file of weights becomes one with `tensors`, to `directory`, which is made where
/// there is none. Returns the paths of weights and description.
///
/// Nothing is written of a model that would not load. Each of the two files appears whole or not at all.
///
/// # Errors
/// [`ConvertError`].
pub fn save(
    directory: &Path,
    config: &mut Config,
    tensors: Vec<Tensor>,
) -> Result<[PathBuf; 2], ConvertError> {
    let raw = |tensor: Tensor| RawTensor {
        info: TensorInfo { name: tensor.name, dtype: Dtype::F32, shape: tensor.shape },
        bytes: tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    save_raw(directory, config, &tensors.into_iter().map(raw).collect::<Vec<_>>())
}

/// The same with tensors of any kind.
pub(crate) fn save_raw(
    directory: &Path,
    config: &mut Config,
    tensors: &[RawTensor],
) -> Result<[PathBuf; 2], ConvertError> {
    let bytes = safetensors_file::serialise(tensors);
    config.weights.file = WEIGHTS_FILE.to_owned();
    config.weights.sha256 = sha256(&bytes);
    let files = [directory.join(WEIGHTS_FILE), directory.join(CONFIG_FILE)];
    try_it(config, &files, &bytes)?;
    write(&files[0], &bytes)?;
    write(&files[1], config.to_json().as_bytes())?;
    Ok(files)
}

/// Reads what is about to be written, as whoever loads it will.
fn try_it(config: &Config, files: &[PathBuf; 2], bytes: &[u8]) -> Result<(), ConvertError> {
    let [weights_path, config_path] = files;
    let config = Config::parse(&config.to_json(), config_path).map_err(LoadError::from)?;
    let tensors = safetensors_file::parse(bytes)
        .map_err(|problem| LoadError::Safetensors { path: weights_path.clone(), problem })?;
    let weights = Weights {
        tensors,
        sha256: config.weights.sha256.clone(),
        format: "safetensors".to_owned(),
        advice: None,
        graph: None,
    };
    build(Files { weights: weights_path.clone(), config: Some((config_path.clone(), config)) }, weights)?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ConvertError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .map_err(|error| ConvertError::Write { path: path.to_owned(), error })?;
    }
    write_atomically(path, bytes).map_err(|error| ConvertError::Write { path: path.to_owned(), error })
}
