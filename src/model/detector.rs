//! A loaded model and what is known about it: the library's way to score features without any MQTT.

use std::path::Path;

use super::info::ModelInfo;
use super::{LoadError, Model, ModelError, load};
use crate::inference::Prediction;

/// A model that can be called, with what is known about it.
///
/// ```no_run
/// use nearfar::model::Detector;
///
/// let mut detector = Detector::load("models/anomaly_detector")?;
/// let features = vec![0.1; detector.info().inputs];
/// let score = detector.predict(&features)?.score();
/// println!("{score:.3}: {}", detector.info().label(score));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Detector {
    info: ModelInfo,
    model: Box<dyn Model>,
}

impl Detector {
    /// Loads, checks and warms up the model at `path`: a directory with `config.json`
    /// and weights, a `.safetensors` file, a `.pt` file or an `.onnx` file.
    ///
    /// A `config.json` beside a file is used when it names that file. Without one, pairs
    /// of `*.weight` and `*.bias` are read as dense layers with ReLU between them and
    /// one sigmoid at the end. The hash, every shape, every missing or unused tensor and
    /// the golden vector are checked: a detector that loads answers as its author's did.
    ///
    /// # Errors
    /// [`LoadError`], naming the file and what was expected of it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let (info, model) = load::load(path.as_ref())?;
        Ok(Self { info, model })
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

    /// How many numbers a prediction has; see [`Model::outputs`].
    pub fn outputs(&self) -> usize {
        self.model.outputs()
    }

    /// Scores one row of `inputs` features, in plain units. Of a model with one output the prediction's
    /// [score](Prediction::score) is a probability in `[0, 1]`.
    ///
    /// # Errors
    /// [`ModelError::Features`] for a row of another length, [`ModelError::Outside`] when the model
    /// promises a probability and answers another number, [`ModelError::Output`] when the answer is no
    /// number (features that are not finite have that effect), [`ModelError::Forward`] when the forward
    /// pass fails.
    pub fn predict(&mut self, features: &[f32]) -> Result<Prediction, ModelError> {
        let inputs = self.model.inputs();
        if features.len() != inputs {
            return Err(ModelError::Features { inputs, values: features.len() });
        }
        let mut values = Vec::with_capacity(self.model.outputs());
        self.model.predict(features, &mut values)?;
        let prediction = Prediction::from(&*values);
        match self.model.outside(0) {
            _ if prediction.is_finite() => Ok(prediction),
            Some(found) => Err(ModelError::Outside { found }),
            None => {
                Err(self.model.refused(0).map_or(ModelError::Output, |problem| ModelError::Row { problem }))
            }
        }
    }

    /// Scores a batch: row-major `(batch, inputs)` in, row-major `(batch, outputs)` out,
    /// in place of what was there; see [`Model::predict`].
    ///
    /// # Errors
    /// [`ModelError`] when rows do not fit the model, or its forward pass fails, as of [`Model::predict`].
    pub fn predict_batch(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.clear();
        self.model.predict(rows, predictions)
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("info", &self.info).finish_non_exhaustive()
    }
}
