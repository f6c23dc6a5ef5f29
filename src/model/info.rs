//! What is known about a model.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::Config;
use super::layers::Role;

/// What is known about a model: its description, whose members are read as if they were its own, and where
/// that comes from.
///
/// ```
/// use nearfar::model::ModelInfo;
///
/// let mut info = ModelInfo::new("mean", 2);
/// info.threshold = 0.8;
/// assert_eq!((info.name.as_str(), info.inputs), ("mean", 2));
/// assert_eq!(info.label(0.9), "anomaly");
/// ```
#[derive(Clone, PartialEq)]
pub struct ModelInfo {
    /// What its `config.json` says, or would say.
    pub config: Arc<Config>,
    /// Where that comes from.
    pub origin: Origin,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A program has made it.
    Program,
    /// From bytes that a program had, and the description that came with them.
    Memory,
    /// The crate carries it with it.
    Shipped,
    /// From this file of weights, which a `config.json` describes.
    Described(PathBuf),
    /// From this file of weights, from whose names the layers were guessed for want of a `config.json`.
    Inferred(PathBuf),
}

impl ModelInfo {
    /// Facts about a model of your own or a test double: `inputs` features, everything else at its default.
    pub fn new(name: impl Into<String>, inputs: usize) -> Self {
        Self { config: Arc::new(Config::new(name, inputs)), origin: Origin::Program }
    }

    /// Whether `prediction` is at or above the threshold.
    pub fn is_anomaly(&self, prediction: f32) -> bool {
        prediction >= self.threshold
    }

    /// The word for `prediction`.
    pub fn label(&self, prediction: f32) -> &str {
        &self.labels[usize::from(self.is_anomaly(prediction))]
    }

    /// Whether its layers were guessed from the names of its weights, for want of a description. A graph says
    /// itself what it is.
    pub fn is_guessed(&self) -> bool {
        self.origin.is_inferred() && !self.layers.is_empty()
    }

    /// The names of its inputs in order; `features[3]` where nobody has named them.
    pub fn feature_names(&self) -> Vec<String> {
        let name = |at: usize| self.features.get(at).map_or(format!("features[{at}]"), |it| it.name.clone());
        (0..self.inputs).map(name).collect()
    }

    /// How many numbers were trained, of a chain of layers.
    pub fn parameters(&self) -> usize {
        let tensors = self.layers.iter().flat_map(|layer| layer.as_type().tensors());
        let trained = tensors.filter(|tensor| tensor.role == Role::Parameter);
        trained.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }
}

/// What tells it from other models. All that is known is in [`config`](Self::config).
impl fmt::Debug for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelInfo")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("inputs", &self.inputs)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Deref for ModelInfo {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

/// What is changed is changed in this copy alone.
impl DerefMut for ModelInfo {
    fn deref_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl Origin {
    /// The file that holds the weights; absent for a model that came from no file.
    pub fn weights(&self) -> Option<&Path> {
        match self {
            Self::Program | Self::Memory | Self::Shipped => None,
            Self::Described(weights) | Self::Inferred(weights) => Some(weights),
        }
    }

    /// Whether the layers were guessed from the tensors' names, for want of a `config.json`.
    pub fn is_inferred(&self) -> bool {
        matches!(self, Self::Inferred(_))
    }
}
