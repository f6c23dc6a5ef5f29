//! The shipped detector, which the program carries with it, so that it works in any directory.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

use crate::model::Detector;

const FILES: [(&str, &[u8]); 2] = [
    ("config.json", include_bytes!("../models/anomaly_detector/config.json")),
    ("model.safetensors", include_bytes!("../models/anomaly_detector/model.safetensors")),
];

/// The model at `path`, or the shipped one.
///
/// # Errors
/// When the model cannot be loaded, or there is no room for temporary files.
pub fn detector(path: Option<&Path>) -> anyhow::Result<Detector> {
    if let Some(path) = path {
        return Ok(Detector::load(path)?);
    }
    // Through the same reader and the same checks as any other model.
    Ok(Detector::load(files()?.path())?)
}

/// The shipped model as a directory, which is gone when the value is dropped.
///
/// # Errors
/// When there is no room for temporary files.
pub fn files() -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir().context("no temporary directory for the shipped detector")?;
    for (name, content) in FILES {
        std::fs::write(directory.path().join(name), content).context("the shipped detector")?;
    }
    Ok(directory)
}
