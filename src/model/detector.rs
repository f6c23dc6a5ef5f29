//! A loaded model and what is known about it: the library's way to score features without any MQTT.

use std::path::Path;
use std::slice;

use super::info::ModelInfo;
use super::{Config, LoadError, Model, ModelError, judge, load};
use crate::detection::{Budget, Memory};
use crate::inference::{Prediction, Provenance};

/// A model that can be called, with what is known about it.
///
/// ```
/// use nearfar::Detector;
///
/// let mut detector = Detector::shipped()?; // or Detector::load("models/mine")
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
    /// the golden vector are checked: a detector that loads answers as its author's did. A directory without
    /// a `config.json` is its only file of weights, unless directories in it have one: it is one of models
    /// then.
    ///
    /// # Errors
    /// [`LoadError`], naming the file and what was expected of it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let (info, model) = load::load(path.as_ref())?;
        Ok(Self { info, model })
    }

    /// Loads the model at `path` as [`load`](Self::load) does; one that detects keeps to `budget` in place of
    /// what its description says, and what it learns of devices is its own.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub fn load_within(path: impl AsRef<Path>, budget: Budget) -> Result<Self, LoadError> {
        let within = |config: &mut Config| {
            if let Some(settings) = &mut config.detection {
                settings.false_alarms = budget;
            }
        };
        let (info, model) = load::load_changed(path.as_ref(), within)?;
        Ok(Self { info, model })
    }

    /// Checks and warms up a model that is in memory, such as one that a program carries with it
    /// (`include_bytes!`): the text of its `config.json`, and the bytes of the file of weights which that
    /// names, of the kind that its name ends in.
    ///
    /// # Errors
    /// What [`load`](Self::load) fails for, but for what a file system may refuse.
    ///
    /// ```
    /// use nearfar::Detector;
    ///
    /// let config = include_str!("../../models/anomaly_detector/config.json");
    /// let weights = include_bytes!("../../models/anomaly_detector/model.safetensors");
    /// let detector = Detector::from_bytes(config, weights)?;
    /// assert_eq!(detector.info().inputs, 32);
    /// # Ok::<(), nearfar::model::LoadError>(())
    /// ```
    pub fn from_bytes(config: &str, weights: &[u8]) -> Result<Self, LoadError> {
        let (info, model) = load::from_bytes(config, weights)?;
        Ok(Self { info, model })
    }

    /// A detector around a model of your own, which must have as many inputs as `info` says: whoever calls
    /// it, or has a node serve it, is told otherwise.
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
    /// For what a node refuses a request, in the same words: [`ModelError::Features`] for a row of another
    /// length, [`ModelError::NotFinite`] for a feature that is no number, [`ModelError::Outside`] and
    /// [`ModelError::NoProbability`] when the only number of the answer is none from 0 to 1,
    /// [`ModelError::Output`] when it is not finite, [`ModelError::Rows`] when there are more numbers or
    /// fewer, [`ModelError::Forward`] when the forward pass fails.
    pub fn predict(&mut self, features: &[f32]) -> Result<Prediction, ModelError> {
        self.predict_of(features, &Provenance::default())
    }

    /// Scores one row of which is known whose it is, and of when: that is what a model goes by which
    /// [remembers](Model::memory), and nothing to others.
    ///
    /// # Errors
    /// As of [`predict`](Self::predict).
    pub fn predict_of(
        &mut self,
        features: &[f32],
        provenance: &Provenance,
    ) -> Result<Prediction, ModelError> {
        self.check()?;
        judge::check_features(features, self.model.inputs())?;
        let mut values = Vec::with_capacity(self.model.outputs());
        self.model.predict_of(features, slice::from_ref(provenance), &mut values)?;
        judge::check_rows(values.len(), 1, self.model.outputs())?;
        judge::prediction(&values, || judge::why(self.model.as_ref(), 0))
    }

    /// Scores a batch: row-major `(batch, inputs)` in, row-major `(batch, outputs)` out,
    /// in place of what was there; see [`Model::predict`]. A row
    /// whose numbers are no answer does not spoil the others', and is for the caller to tell: NaN, mostly.
    ///
    /// # Errors
    /// [`ModelError`] when rows do not fit the model, or its forward pass fails, as of [`Model::predict`].
    pub fn predict_batch(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        self.check()?;
        let inputs = self.model.inputs();
        if !rows.len().is_multiple_of(inputs) {
            return Err(ModelError::Shape { inputs, values: rows.len() });
        }
        predictions.clear();
        self.model.predict(rows, predictions)?;
        judge::check_rows(predictions.len(), rows.len() / inputs, self.model.outputs())
    }

    /// Scores a batch: row-major `(batch, inputs)` in, one [score](Prediction::score) a row out, in place of
    /// what was there, however many numbers a prediction has.
    ///
    /// # Errors
    /// As of [`predict_batch`](Self::predict_batch).
    ///
    /// ```
    /// use nearfar::Detector;
    ///
    /// let mut detector = Detector::shipped()?;
    /// let mut scores = Vec::new();
    /// detector.score_batch(&[0.1; 64], &mut scores)?;
    /// assert_eq!(scores.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn score_batch(&mut self, rows: &[f32], scores: &mut Vec<f32>) -> Result<(), ModelError> {
        self.predict_batch(rows, scores)?;
        let (outputs, mut at) = (self.model.outputs(), 0);
        scores.retain(|_| {
            at += 1;
            (at - 1) % outputs == 0
        });
        Ok(())
    }

    /// What it knows of devices, if it remembers; see [`Model::memory`].
    pub fn memory(&self) -> Option<&Memory> {
        self.model.memory()
    }

    /// Refuses a model that is not as it is described.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let (said, inputs) = (self.info.inputs, self.model.inputs());
        match self.model.outputs() {
            _ if said != inputs => Err(ModelError::Described { said, inputs }),
            outputs if inputs == 0 || outputs == 0 => Err(ModelError::NoNumbers { inputs, outputs }),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("info", &self.info).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says of a row its feature, and the double of it.
    struct Both;

    impl Model for Both {
        fn inputs(&self) -> usize {
            1
        }

        fn outputs(&self) -> usize {
            2
        }

        fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
            predictions.extend(rows.iter().flat_map(|row| [*row, 2.0 * row]));
            Ok(())
        }
    }

    #[test]
    fn a_row_has_one_score_however_many_numbers_are_said_of_it() {
        let mut both = Detector::from_parts(ModelInfo::new("both", 1), Box::new(Both));
        let (mut predictions, mut scores) = (Vec::new(), vec![9.0]);
        both.predict_batch(&[0.1, 0.2, 0.3], &mut predictions).unwrap();
        both.score_batch(&[0.1, 0.2, 0.3], &mut scores).unwrap();
        assert_eq!((predictions.len(), scores), (6, vec![0.1, 0.2, 0.3]));
    }
}
