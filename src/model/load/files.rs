//! The files that a path means, and how they are read: whole, and within a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::file_access;
use crate::model::config::{CONFIG_BYTES_MAX, CONFIG_FILE, Config};
use crate::model::{LoadError, advice, foreign};
use crate::text;

/// The file that makes a directory a model of TensorFlow's.
const SAVED_MODEL: &str = "saved_model.pb";

/// The files that make a model.
pub struct Files {
    /// The file with the weights.
    pub weights: PathBuf,
    /// The configuration that names them, and where it is.
    pub config: Option<(PathBuf, Config)>,
}

/// Finds the weights and the configuration that `path` means.
pub fn find(path: &Path) -> Result<Files, LoadError> {
    let metadata = fs::metadata(path).map_err(|error| read_error(path, error))?;
    if !metadata.is_dir() {
        return Ok(Files { weights: path.to_owned(), config: config_beside(path)? });
    }
    let config_path = path.join(CONFIG_FILE);
    if config_path.exists() {
        let text = read_text(&config_path)?;
        let config = Config::parse(&text, &config_path)?;
        return Ok(Files { weights: path.join(&config.weights.file), config: Some((config_path, config)) });
    }
    let weights = only_weights_in(path)?;
    refuse_directory_of_models(path)?;
    Ok(Files { weights, config: None })
}

/// Refuses a directory without a `config.json` that has directories with one: weights that lie beside those
/// are most likely not what was meant, and without a description nothing of how they want their inputs is
/// known.
fn refuse_directory_of_models(directory: &Path) -> Result<(), LoadError> {
    let mut models = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| read_error(directory, error))? {
        let path = entry.map_err(|error| read_error(directory, error))?.path();
        if path.join(CONFIG_FILE).is_file() {
            models.push(path.display().to_string());
        }
    }
    models.sort();
    if models.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "found no {CONFIG_FILE} in this directory, and one in {}: name the model that is meant, or the file of weights",
        models.join(", ")
    );
    Err(LoadError::NotAModel { path: directory.to_owned(), problem })
}

/// The `config.json` beside a file of weights, when it names that file.
pub fn config_beside(weights: &Path) -> Result<Option<(PathBuf, Config)>, LoadError> {
    let config_path = weights.with_file_name(CONFIG_FILE);
    if !config_path.is_file() {
        return Ok(None);
    }
    let text = read_text(&config_path)?;
    // Another program's config.json may stand here; ours says so by naming the file.
    let loose: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let named = loose.as_ref().and_then(|config| config.pointer("/weights/file")?.as_str());
    if loose.is_some() && named.map(Path::new) != weights.file_name().map(Path::new) {
        return Ok(None);
    }
    let config = Config::parse(&text, &config_path)?;
    Ok(Some((config_path, config)))
}

fn only_weights_in(directory: &Path) -> Result<PathBuf, LoadError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| read_error(directory, error))? {
        let path = entry.map_err(|error| read_error(directory, error))?.path();
        if matches!(extension(&path).as_str(), "safetensors" | "pt" | "pth" | "onnx") {
            found.push(path);
        }
    }
    found.sort();
    if let [only] = found.as_slice() {
        return Ok(only.clone());
    }
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let problem = if directory.join(SAVED_MODEL).is_file() {
        format!("it is a SavedModel of TensorFlow, which is not read: {}", advice::KERAS)
    } else if names.is_empty() {
        format!(
            "expected {CONFIG_FILE} and weights (.safetensors, .pt, .pth or .onnx) in this directory, found neither"
        )
    } else {
        format!(
            "found no {CONFIG_FILE} and more than one file of weights ({}): name one of them",
            names.join(", ")
        )
    };
    Err(LoadError::NotAModel { path: directory.to_owned(), problem })
}

/// The weights that `path` means, whatever its `config.json` says.
pub fn find_weights(path: &Path) -> Result<PathBuf, LoadError> {
    if path.is_dir() { only_weights_in(path) } else { Ok(path.to_owned()) }
}

/// Reads a whole file, unless it is larger than `bytes_max`, the bound called `bound`.
pub fn read_bounded(path: &Path, bytes_max: u64, bound: &'static str) -> Result<Vec<u8>, LoadError> {
    let file = File::open(path).map_err(|error| read_error(path, error))?;
    let metadata = file.metadata().map_err(|error| read_error(path, error))?;
    if !metadata.is_file() {
        let problem = "expected a file".to_owned();
        return Err(LoadError::NotAModel { path: path.to_owned(), problem });
    }
    let too_large = |bytes| LoadError::TooLarge { path: path.to_owned(), bytes, bytes_max, bound };
    if metadata.len() > bytes_max {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The file may grow while it is read.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| read_error(path, error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

fn read_text(path: &Path) -> Result<String, LoadError> {
    let bytes = read_bounded(path, CONFIG_BYTES_MAX, "config_bytes_max")?;
    let text = text::decode(&bytes).map_err(|error| read_error(path, error.into()))?;
    if !text.trim_start().starts_with('{')
        && let Some(found) = foreign::text(&bytes)
    {
        let problem = format!("expected a description in JSON, found {found}");
        return Err(LoadError::NotAModel { path: path.to_owned(), problem });
    }
    Ok(text.to_owned())
}

fn read_error(path: &Path, error: io::Error) -> LoadError {
    let error = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), file_access::unreadable(path, &error))
        }
        _ => error,
    };
    LoadError::Read { path: path.to_owned(), error }
}

/// How a file's name ends, in lower case.
pub fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
