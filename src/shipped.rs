//! The shipped detector, which the program carries with it, so that it works in any directory.

use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::model::{Detector, LoadError};

const FILES: [(&str, &[u8]); 2] = [
    ("config.json", include_bytes!("../models/anomaly_detector/config.json")),
    ("model.safetensors", include_bytes!("../models/anomaly_detector/model.safetensors")),
];

/// Why there is no detector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShippedError {
    /// The model at the path cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is nowhere to put the shipped detector's files, through which it is read.
    #[error("no temporary directory for the shipped detector: {0}")]
    NoDirectory(io::Error),
    /// There is no room for them.
    #[error("the shipped detector: {0}")]
    Write(io::Error),
}

impl Detector {
    /// The detector that the crate carries with it: of failing rolling bearings, from
    /// the 32 [`features`](crate::features) of 0.1 s of vibration. It needs no file of
    /// the caller's, in no directory.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    ///
    /// ```
    /// use nearfar::{Detector, Node, deployment};
    ///
    /// let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
    /// assert_eq!(node.deployment("edge").unwrap().model().name, "anomaly_detector");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shipped() -> Result<Self, ShippedError> {
        // Through the same reader and the same checks as any other model.
        Ok(Self::load(files()?.path())?)
    }
}

/// The model at `path`, or the shipped one.
///
/// # Errors
/// When the model cannot be loaded, or there is no room for temporary files.
pub fn detector(path: Option<&Path>) -> Result<Detector, ShippedError> {
    path.map_or_else(Detector::shipped, |path| Ok(Detector::load(path)?))
}

/// The shipped model as a directory, which is gone when the value is dropped.
///
/// # Errors
/// When there is no room for temporary files.
pub fn files() -> Result<TempDir, ShippedError> {
    let directory = tempfile::tempdir().map_err(ShippedError::NoDirectory)?;
    for (name, content) in FILES {
        std::fs::write(directory.path().join(name), content).map_err(ShippedError::Write)?;
    }
    Ok(directory)
}
