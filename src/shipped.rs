//! The shipped detector, which the program carries with it, so that it works in any directory.

use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::model::{Detector, LoadError, Origin};

const CONFIG: &str = include_str!("../models/anomaly_detector/config.json");
const WEIGHTS: &[u8] = include_bytes!("../models/anomaly_detector/model.safetensors");

/// What it is called where the path of a model may stand.
const NAME: &str = "shipped";

impl Detector {
    /// The detector that the crate carries with it: of failing rolling bearings, from
    /// the 32 [`features`](crate::features) of 0.1 s of vibration. It needs no file.
    ///
    /// # Errors
    /// None that its tests have not met: it goes through the same checks as any other model.
    ///
    /// ```
    /// use nearfar::{Detector, Node, deployment};
    ///
    /// let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
    /// assert_eq!(node.deployment("edge").unwrap().model().name, "anomaly_detector");
    /// # Ok::<(), nearfar::node::NodeError>(())
    /// ```
    pub fn shipped() -> Result<Self, LoadError> {
        let (mut info, model) = Self::from_bytes(CONFIG, WEIGHTS)?.into_parts();
        info.origin = Origin::Shipped;
        Ok(Self::from_parts(info, model))
    }
}

/// Whether `path` is the word for the shipped detector. A file of that name is what it is.
pub fn is_meant_by(path: &Path) -> bool {
    path == Path::new(NAME) && !path.exists()
}

/// The model at `path`, or the shipped one.
///
/// # Errors
/// When the model cannot be loaded.
pub fn detector(path: Option<&Path>) -> Result<Detector, LoadError> {
    match path {
        Some(path) if !is_meant_by(path) => Detector::load(path),
        _ => Detector::shipped(),
    }
}

/// The shipped model as a directory, which is gone when the value is dropped: for whoever can be given
/// nothing but a path.
///
/// # Errors
/// When there is no room for temporary files.
pub fn files() -> io::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for (name, content) in [("config.json", CONFIG.as_bytes()), ("model.safetensors", WEIGHTS)] {
        std::fs::write(directory.path().join(name), content)?;
    }
    Ok(directory)
}
