//! What a model is to the rest of the node: rows of features in, probabilities out.
//! No tensor type leaves here.
//!
//! ```text
//!  MODEL path ──▶ load ──▶ config (config.json) ─────────┐    (normalise inside)
//!                   ├────▶ checkpoint (.pt, safely) ──┐  ├──▶ neural ────────┬──▶ Detector
//!                   ├────▶ safetensors ───────────────┴──┤    (layers)       │
//!                   └────▶ onnx ──▶ graph ───────────────┴──▶ graph_model ───┘
//!                                                             (operators)
//! ```
//! [`Detector`] is a loaded model with what is known about it, [`convert()`] turns a
//! PyTorch checkpoint into safetensors, [`convert_onnx()`] an ONNX file into a model's
//! directory, [`inspect()`] describes a model for people.
//! Nothing here knows MQTT, JSON payloads or an async runtime.
//!
//! A model of one's own serves as any other, such as a double in a test that says what it is told to:
//! ```
//! use std::time::Duration;
//!
//! use nearfar::model::{Model, ModelError, ModelInfo};
//! use nearfar::{Detector, Node, deployment};
//!
//! struct Says(f32);
//!
//! impl Model for Says {
//!     fn inputs(&self) -> usize {
//!         2
//!     }
//!
//!     fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
//!         predictions.extend(rows.chunks(2).map(|_| self.0));
//!         Ok(())
//!     }
//! }
//!
//! let double = Detector::from_parts(ModelInfo::new("says", 2), Box::new(Says(0.75)));
//! let node = Node::builder().deployment(deployment::Config::edge(), double).start()?;
//! let answered = node.ask([1.0, 2.0], Duration::from_secs(10))?;
//! assert_eq!((answered.prediction.score(), answered.by.model.as_str()), (0.75, "says"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod advice;
mod checkpoint;
mod config;
mod convert;
mod detecting;
mod detector;
mod deviation;
mod error;
mod fit;
mod fold;
mod foreign;
mod glob;
mod graph;
mod graph_config;
mod graph_convert;
mod graph_model;
mod inferred;
mod info;
mod inspect;
mod judge;
mod kernel;
pub mod layers;
mod load;
mod narrow;
mod neural;
mod normalise;
mod onnx;
mod output;
mod safetensors_file;
mod save;
mod selection;
mod shape;
mod tensors;

pub use self::checkpoint::{CheckpointError, Limits};
use self::config::INPUTS_MAX;
pub use self::config::{Config, ConfigError, Feature, Golden, WeightsFile};
pub use self::convert::{ConvertError, ConvertOptions, Converted, convert};
pub use self::detector::Detector;
pub use self::deviation::{Deviations, Far};
pub use self::error::LoadError;
pub use self::graph::drawing::NodeInfo;
pub use self::graph_convert::{ConvertedGraph, OnnxOptions, convert_onnx};
pub use self::info::{ModelInfo, Origin};
pub use self::inspect::{GraphInspection, Inspection, inspect, inspect_set};
pub(crate) use self::judge::{check_features, check_rows, prediction, why};
pub use self::layers::{Activation, Layer, Returns};
pub use self::normalise::{Log, Normalisation};
pub use self::output::{Label, Output};
pub use self::save::{Tensor, save};
pub use self::selection::Rename;
pub use self::shape::{Layout, Order};
pub use self::tensors::{Dtype, TensorInfo};

use crate::detection::Memory;
use crate::inference::Provenance;

/// A model that one thread owns and calls.
pub trait Model: Send {
    /// How many features a row has.
    fn inputs(&self) -> usize;

    /// How many numbers it says of a row, at least 1: the first is the score that is compared with a
    /// threshold, and the one that a result on the wire carries. One, the default, for a model that
    /// says a probability.
    fn outputs(&self) -> usize {
        1
    }

    /// Scores a batch of feature vectors.
    ///
    /// `rows` is row-major f32 `(batch, inputs)`, in the units the model's `config.json` names;
    /// normalisation happens inside. `predictions` is empty, and receives row-major `(batch, outputs)` in
    /// the order of the rows; of a model with one output that is a probability in `[0, 1]`. A row whose
    /// output is not finite, or is the only one and not in `[0, 1]`, is refused alone, and does not spoil its
    /// batch.
    ///
    /// # Errors
    /// When `rows` is not a whole number of rows, or the forward pass fails.
    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError>;

    /// Scores a batch as [`predict`](Self::predict) does, of which is known whose each row is: of a model
    /// that [remembers](Self::memory). The rows of a device are in their order. `provenance` has one entry
    /// for each row, or is empty.
    ///
    /// # Errors
    /// As of [`predict`](Self::predict); no device has been touched then.
    fn predict_of(
        &mut self,
        rows: &[f32],
        _provenance: &[Provenance],
        predictions: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        self.predict(rows, predictions)
    }

    /// What it knows of devices, which copies share.
    ///
    /// `None`, the default, for a model whose answer to a row depends on that row alone.
    fn memory(&self) -> Option<&Memory> {
        None
    }

    /// What row number `row` of the last batch gave, where its prediction is NaN because that is a number
    /// outside `[0, 1]` and the model promises a probability.
    ///
    /// `None`, the default, for a model that does not know.
    fn outside(&self, _row: usize) -> Option<f32> {
        None
    }

    /// Why row number `row` of the last batch has no answer, where its prediction is NaN because the model
    /// could not work on the row at all, such as a fraction where it takes whole numbers.
    ///
    /// `None`, the default, for a model that does not know.
    fn refused(&self, _row: usize) -> Option<String> {
        None
    }

    /// Another instance that answers alike, for one more thread. What never changes,
    /// such as weights, is best shared.
    ///
    /// `None`, the default, for a model of which there can be only one; it cannot have several workers.
    fn replica(&self) -> Option<Box<dyn Model>> {
        None
    }

    /// Another instance that answers alike and, if it [remembers](Self::memory), learns for itself: for
    /// another place, whose requests are not those of this one.
    fn apart(&self) -> Option<Box<dyn Model>> {
        self.replica()
    }

    /// Whether a row takes microseconds, whatever its values, so that waking another thread would cost
    /// more than the model does. Then the thread that reads requests calls a [`replica`](Self::replica)
    /// itself while no worker is busy. One that does not return then stalls the node, which says so.
    ///
    /// False, the default, for a model that may take its time.
    fn is_prompt(&self) -> bool {
        false
    }
}

/// Why a forward pass failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The values are not a whole number of rows.
    #[error("expected a multiple of {inputs} features, got {values} values")]
    Shape {
        /// Features in a row.
        inputs: usize,
        /// Values given.
        values: usize,
    },
    /// One row was asked for, and it has another length.
    #[error("expected {inputs} features, got {values}")]
    Features {
        /// Features in a row.
        inputs: usize,
        /// Values given.
        values: usize,
    },
    /// A feature of a row is no number.
    #[error("features[{at}] is {found}, expected a finite number")]
    NotFinite {
        /// Which one.
        at: usize,
        /// What it is.
        found: f32,
    },
    /// It is described with another number of features than it takes.
    #[error("it is described with {said} inputs and takes {inputs}, expected as many")]
    Described {
        /// What its description says.
        said: usize,
        /// What it takes.
        inputs: usize,
    },
    /// It takes or says no number of a row.
    #[error("it has {inputs} inputs and {outputs} outputs, expected at least one of each")]
    NoNumbers {
        /// What it takes.
        inputs: usize,
        /// What it says.
        outputs: usize,
    },
    /// There are more numbers than rows have, or fewer.
    #[error("the model's answer to {rows} rows has {found} numbers, expected {expected}")]
    Rows {
        /// The numbers of the answer.
        found: usize,
        /// The rows that were asked.
        rows: usize,
        /// What they should have.
        expected: usize,
    },
    /// The answer for a row is not finite.
    #[error("the model's output is {found}, not a finite number")]
    Output {
        /// The first such number.
        found: f32,
    },
    /// The only number of the answer for a row is none from 0 to 1.
    #[error("the model's output is {found}, outside [0, 1], expected a probability")]
    NoProbability {
        /// That number.
        found: f32,
    },
    /// The answer for a row is a number, and not the probability that the model's `config.json` promises.
    #[error("{}", output::outside(*.found))]
    Outside {
        /// What the last layer gives.
        found: f32,
    },
    /// The row cannot be worked on at all.
    #[error("the model has no answer for this row: {problem}")]
    Row {
        /// What is wrong with it.
        problem: String,
    },
    /// The numeric library refused.
    #[error("forward pass failed: {0}")]
    Forward(String),
}
