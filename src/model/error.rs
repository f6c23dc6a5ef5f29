//! Why a model cannot be loaded. Every message names the file and both sides: what
//! was expected, what was found.

use std::io;
use std::path::PathBuf;

use super::{CheckpointError, ConfigError, ModelError};

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum LoadError {
    /// The file system refused.
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// Neither a directory with weights nor a file of a known kind.
    #[error("{}: {problem}", path.display())]
    NotAModel {
        path: PathBuf,
        /// What was found there, what was expected.
        problem: String,
    },
    /// Its graph cannot be run, or does not say what its answers mean.
    #[error("{}: {problem}", path.display())]
    Graph { path: PathBuf, problem: String },
    /// More bytes than are read.
    #[error("{} has {bytes} bytes, more than {bytes_max} ({bound})", path.display())]
    TooLarge { path: PathBuf, bytes: u64, bytes_max: u64, bound: &'static str },
    /// A mistake in `config.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are not those that the configuration describes, or were damaged.
    #[error(
        "the sha256 of {} is {found}, {} expects {expected}: the file was damaged or replaced; \
         fetch it again, or write the new sha256 into {}",
        path.display(), config.display(), config.display()
    )]
    Hash { path: PathBuf, config: PathBuf, expected: String, found: String },
    /// The safetensors file is not well formed.
    #[error("{} is no valid safetensors file: {problem}", path.display())]
    Safetensors { path: PathBuf, problem: String },
    /// The PyTorch file holds no weights that can be read.
    #[error("{}: {error}", path.display())]
    Checkpoint { path: PathBuf, error: CheckpointError },
    /// The tensors are not those that the layers need.
    #[error("the weights in {} do not fit {wanted_by}: {}", path.display(), problems.join("; "))]
    Tensors {
        path: PathBuf,
        wanted_by: String,
        /// Each missing, unused, misshapen or unusable tensor.
        problems: Vec<String>,
    },
    /// Without a `config.json` the layers could not be told from the tensors' names.
    #[error("{} has no {} that describes it, and its tensors are no plain chain of dense layers: {problem}; describe the layers in a {}{advice}", path.display(), super::config::CONFIG_FILE, super::config::CONFIG_FILE)]
    Inference {
        path: PathBuf,
        problem: String,
        /// What else to do, which may be nothing.
        advice: String,
    },
    /// The model does not give the answer that its configuration promises.
    #[error(
        "golden vector of {}: expected {expected} within {tolerance:e}, the model answers {found}{}",
        config.display(), too_coarse(*coarse)
    )]
    Golden {
        config: PathBuf,
        expected: f32,
        tolerance: f32,
        /// The model's output; NaN when it is no probability.
        found: f32,
        /// A feature whose mean is so large beside its standard deviation that 32 bits keep too little of it.
        coarse: Option<usize>,
    },
    /// It promises a probability, and what it gives is another number.
    #[error("{}: output: {tried}: {error}", config.display())]
    Outside {
        config: PathBuf,
        /// What was tried.
        tried: String,
        error: ModelError,
    },
    /// The first forward pass failed.
    #[error("{} cannot be called: {error}", path.display())]
    WarmUp { path: PathBuf, error: ModelError },
}

fn too_coarse(feature: Option<usize>) -> String {
    let Some(feature) = feature else { return String::new() };
    format!(
        "; features[{feature}] has a mean that is more than 10000 times its standard deviation, of which 32 bits keep too little: \
         subtract a constant near the mean before the features are sent, and from normalisation.mean"
    )
}
