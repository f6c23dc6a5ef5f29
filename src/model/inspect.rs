//! Describes a model for people: layers, tensors, parameters, hash, origin, and whether it would load.

use std::fmt;
use std::path::{Path, PathBuf};

use super::LoadError;
use super::info::ModelInfo;
use super::load::{build, find, find_weights, read_weights};
use super::tensors::{Shape, TensorInfo};

/// What a model is made of.
#[derive(Debug)]
pub struct Inspection {
    /// The file of weights.
    pub weights: PathBuf,
    /// What kind of file it is, in words.
    pub format: String,
    /// Of that file, lower-case hexadecimal.
    pub sha256: String,
    /// Every tensor, in the order of the file.
    pub tensors: Vec<TensorInfo>,
    /// The model, when it loads; else why it does not, in one sentence.
    pub model: Result<ModelInfo, String>,
}

/// Describes the model at `path`, of the kinds that [`super::Detector::load`] takes.
///
/// A model that does not load is described as far as its weights can be read.
///
/// # Errors
/// [`LoadError`] when the weights cannot be found or read.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, LoadError> {
    inspect_set(path, None)
}

/// Describes one set of tensors in the checkpoint at `path`: that at `key`, where it
/// holds more than one. Without a key it is [`inspect`].
///
/// # Errors
/// [`LoadError`] when the weights cannot be found or read, or there is no such set.
pub fn inspect_set(path: impl AsRef<Path>, key: Option<&str>) -> Result<Inspection, LoadError> {
    let path = path.as_ref();
    let (files, weights_path) = match find(path) {
        Ok(files) => (Ok(files), None),
        // The weights can be described even where their description cannot be read.
        Err(LoadError::Config(error)) => (Err(error.to_string()), Some(find_weights(path)?)),
        Err(error) => return Err(error),
    };
    let weights_path = match (&files, weights_path) {
        (_, Some(path)) => path,
        (Ok(files), None) => files.weights.clone(),
        (Err(_), None) => path.to_owned(),
    };
    let keys: Vec<_> = key.map(str::to_owned).into_iter().collect();
    let weights = read_weights(&weights_path, &keys)?;
    let format = weights.format.clone();
    let sha256 = weights.sha256.clone();
    let tensors = weights.tensors.iter().map(|tensor| tensor.info.clone()).collect();
    let model = files
        .and_then(|files| build(files, weights).map(|(info, _)| info).map_err(|error| error.to_string()));
    Ok(Inspection { weights: weights_path, format, sha256, tensors, model })
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Ok(info) => model(info, f)?,
            Err(problem) => line(f, "does not load", problem)?,
        }
        line(f, "weights", self.weights.display())?;
        line(f, "format", &self.format)?;
        line(f, "sha256", &self.sha256)?;
        writeln!(f, "\ntensors")?;
        let width = self.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
        for TensorInfo { name, dtype, shape } in &self.tensors {
            writeln!(f, "  {name:width$}  {dtype:4}  {}", Shape(shape))?;
        }
        Ok(())
    }
}

fn model(info: &ModelInfo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    line(f, "name", &info.name)?;
    for (label, text) in
        [("version", &info.version), ("description", &info.description), ("source", &info.source)]
    {
        if let Some(text) = text {
            line(f, label, text)?;
        }
    }
    let origin = if info.origin.is_inferred() { "inferred from tensor names" } else { "from config.json" };
    line(f, "architecture", origin)?;
    line(f, "parameters", info.parameters())?;
    line(f, "inputs", info.inputs)?;
    if let Some(layout) = info.layout {
        line(f, "layout", layout)?;
    }
    line(f, "normalisation", info.normalisation.as_ref().map_or("none".to_owned(), ToString::to_string))?;
    line(f, "output", info.output)?;
    let [below, above] = &info.labels;
    line(f, "threshold", format_args!("{} ({below} below, {above} from there)", info.threshold))?;
    writeln!(f, "\nlayers")?;
    for (at, layer) in info.layers.iter().enumerate() {
        writeln!(f, "  {at:2}  {layer}")?;
    }
    if !info.features.is_empty() {
        writeln!(f, "\nfeatures")?;
        for (at, feature) in info.features.iter().enumerate() {
            let unit = feature.unit.as_deref().unwrap_or("-");
            writeln!(f, "  {at:2}  {:20} {unit}", feature.name)?;
        }
    }
    writeln!(f)
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{label:15}{value}")
}
