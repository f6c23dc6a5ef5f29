//! Where the files that a scenario names are: beside it, or else where the command was started.

use std::path::{Path, PathBuf};

use super::error::NotFound;
use crate::shipped;
use crate::text;

/// How a scenario's paths are found.
pub struct Paths {
    beside: PathBuf,
}

/// A model that was found.
pub struct FoundModel {
    /// The one the program carries, where there is none.
    pub path: Option<PathBuf>,
    /// How it is not the one that was named, in words.
    pub note: Option<String>,
}

/// The shipped model as the scenarios of the repository name it.
const SHIPPED: &str = "models/anomaly_detector";
/// What stands in for a model in ONNX that is not there: a directory of that name, or weights.
const INSTEAD_OF_ONNX: [&str; 3] = ["", "safetensors", "pt"];

impl Paths {
    pub fn of(scenario: &Path) -> Self {
        Self { beside: scenario.parent().map(Path::to_owned).unwrap_or_default() }
    }

    /// The file or directory that `path` means, if it is there.
    pub fn find(&self, path: &Path) -> Option<PathBuf> {
        let beside = self.beside.join(path);
        [beside, path.to_owned()].into_iter().find(|path| path.exists())
    }

    /// The file or directory that `path` means, or an error that says where it was looked for.
    pub fn found(&self, path: &Path) -> Result<PathBuf, NotFound> {
        self.find(path).ok_or_else(|| {
            let beside = if self.beside.as_os_str().is_empty() { Path::new(".") } else { &self.beside };
            NotFound { file: path.to_owned(), beside: beside.to_owned() }
        })
    }

    /// The text of a file that a network names.
    pub fn read(&self, name: &str) -> Result<Option<String>, String> {
        let path = self.found(Path::new(name)).map_err(|error| error.to_string())?;
        text::read_file(&path, text::TEXT_BYTES_MAX)
            .map(Some)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The model that `path` means.
    pub fn model(&self, path: &Path) -> Result<FoundModel, NotFound> {
        if let Some(found) = self.find(path) {
            return Ok(FoundModel { path: Some(found), note: None });
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
            let instead = INSTEAD_OF_ONNX.iter().find_map(|end| self.find(&path.with_extension(end)));
            if let Some(found) = instead {
                let note = format!("{} is not there, {} is taken", path.display(), found.display());
                return Ok(FoundModel { path: Some(found), note: Some(note) });
            }
        }
        if shipped::is_meant_by(path) {
            return Ok(FoundModel { path: None, note: None });
        }
        if path.with_extension("") == Path::new(SHIPPED) {
            let note = format!("{} is not there: the shipped model is taken", path.display());
            return Ok(FoundModel { path: None, note: Some(note) });
        }
        self.found(path).map(|found| FoundModel { path: Some(found), note: None })
    }
}
