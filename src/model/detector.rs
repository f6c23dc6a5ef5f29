//! A loaded model and what is known about it: the library's way to score features without any MQTT.

use std::path::{Path, PathBuf};

use super::config::Output;
use super::layers::Layer;
use super::shape::Layout;
use super::{LoadError, Model, ModelError, load};

/// The threshold of a model that states none.
pub(super) const THRESHOLD_DEFAULT: f32 = 0.5;
/// The words for a prediction below the threshold, and at or above it, of a model that states none.
pub(super) const LABELS_DEFAULT: [&str; 2] = ["normal", "anomaly"];

/// One of a model's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name, such as `h_rms`.
    pub name: String,
    /// The unit in which it is sent, such as `g`; absent for a pure number.
    pub unit: Option<String>,
}

/// What is known about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its version, in its author's own scheme.
    pub version: Option<String>,
    /// What it does, in its author's words.
    pub description: Option<String>,
    /// Where the weights come from, in its author's words.
    pub source: Option<String>,
    /// How many features a row has.
    pub inputs: usize,
    /// How a row's features form a sequence; absent where they do not.
    pub layout: Option<Layout>,
    /// The inputs in order; empty when nobody named them.
    pub features: Vec<Feature>,
    /// A prediction at or above it is an anomaly.
    pub threshold: f32,
    /// The words for a prediction below the threshold, and for one at or above it.
    pub labels: [String; 2],
    /// What the last layer gives; predictions are probabilities in either case.
    pub output: Output,
    /// The network, first layer first; empty for a model that is not a chain of layers.
    pub layers: Vec<Layer>,
    /// The input transform in words; `none` where there is none.
    pub normalisation: String,
    /// How many numbers were trained.
    pub parameters: usize,
    /// The file that holds the weights; absent for a model that came from no file.
    pub weights: Option<PathBuf>,
    /// Lower-case hexadecimal SHA-256 of that file; empty without one.
    pub sha256: String,
    /// Whether the layers were guessed from the tensors' names, for want of a `config.json`.
    pub architecture_inferred: bool,
}

impl ModelInfo {
    /// Facts about a model of your own or a test double: `inputs` features, everything else at its default.
    pub fn new(name: impl Into<String>, inputs: usize) -> Self {
        Self {
            name: name.into(),
            version: None,
            description: None,
            source: None,
            inputs,
            layout: None,
            features: Vec::new(),
            threshold: THRESHOLD_DEFAULT,
            labels: LABELS_DEFAULT.map(str::to_owned),
            output: Output::Probability,
            layers: Vec::new(),
            normalisation: "none".to_owned(),
            parameters: 0,
            weights: None,
            sha256: String::new(),
            architecture_inferred: false,
        }
    }

    /// Whether `prediction` is at or above the threshold.
    pub fn is_anomaly(&self, prediction: f32) -> bool {
        prediction >= self.threshold
    }

    /// The word for `prediction`.
    pub fn label(&self, prediction: f32) -> &str {
        &self.labels[usize::from(self.is_anomaly(prediction))]
    }
}

/// A model that can be called, with what is known about it.
///
/// ```no_run
/// use nearfar::model::Detector;
///
/// let mut detector = Detector::load("models/anomaly_detector")?;
/// let features = vec![0.1; detector.info().inputs];
/// let prediction = detector.predict(&features)?;
/// println!("{prediction:.3}: {}", detector.info().label(prediction));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Detector {
    info: ModelInfo,
    model: Box<dyn Model>,
}

impl Detector {
    /// Loads, checks and warms up the model at `path`: a directory with `config.json`
    /// and weights, a `.safetensors` file or a `.pt` file.
    ///
    /// A `config.json` beside a file is used when it names that file. Without one, pairs
    /// of `*.weight` and `*.bias` are read as dense layers with ReLU between them and
    /// one sigmoid at the end. The hash, every shape, every missing or unused tensor and
    /// the golden vector are checked: a detector that loads answers as its author's did.
    ///
    /// # Errors
    /// [`LoadError`], naming the file and what was expected of it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        load::load(path.as_ref())
    }

    /// A detector around a model of your own.
    pub fn from_parts(info: ModelInfo, model: Box<dyn Model>) -> Self {
        Self { info, model }
    }

    /// The model, for a thread that will own it, and what is known about it.
    pub fn into_parts(self) -> (ModelInfo, Box<dyn Model>) {
        (self.info, self.model)
    }

    /// What is known about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Scores one row of `inputs` features, in plain units; returns a probability in `[0, 1]`.
    ///
    /// # Errors
    /// [`ModelError::Features`] for a row of another length, [`ModelError::Output`] when
    /// the model's answer is no probability (features that are not finite have that
    /// effect), [`ModelError::Forward`] when the forward pass fails.
    pub fn predict(&mut self, features: &[f32]) -> Result<f32, ModelError> {
        let inputs = self.model.inputs();
        if features.len() != inputs {
            return Err(ModelError::Features { inputs, values: features.len() });
        }
        let mut predictions = Vec::with_capacity(1);
        self.model.predict(features, &mut predictions)?;
        match predictions.first() {
            Some(prediction) if prediction.is_finite() => Ok(*prediction),
            _ => Err(ModelError::Output),
        }
    }

    /// Scores a batch: row-major `(batch, inputs)` in, one probability a row out; see [`Model::predict`].
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn predict_batch(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        self.model.predict(rows, predictions)
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("info", &self.info).finish_non_exhaustive()
    }
}
