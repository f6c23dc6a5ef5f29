//! `config.json`: what a model's weights cannot say about themselves.
//!
//! It is read strictly, and every error names the file, the line and the key. A [`Config`] can be written as
//! well: what is written reads as the same model.

mod read;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::graph::Graph;
use super::layers::Layer;
use super::normalise::Normalisation;
use super::output::Output;
use super::shape::Layout;
use crate::detection;
use crate::settings::{self, Origin, SettingError, Table};

/// The name of the file that describes a model, in the model's directory.
pub const CONFIG_FILE: &str = "config.json";
/// The largest `config.json` that is read.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// The most features that a model may take.
pub const INPUTS_MAX: usize = 65_536;
/// The version of the format of a chain of layers, which programs of before read too.
const FORMAT_LAYERS: u32 = 1;
/// The version that has graphs.
const FORMAT_GRAPH: u32 = 2;
/// The version that has detections.
const FORMAT_DETECTION: u32 = 3;
/// What stands in front of the names of a detection's tensors.
pub(crate) const DETECTION_TENSORS: &str = "detection.";
/// The threshold of a model that states none.
const THRESHOLD_DEFAULT: f32 = 0.5;
/// The words for a prediction below the threshold, and at or above it, of a model that states none.
const LABELS_DEFAULT: [&str; 2] = ["normal", "anomaly"];

/// A model's description, as `config.json` has it.
///
/// ```
/// use nearfar::model::layers::{Layer, Linear};
/// use nearfar::model::{Config, Output};
///
/// let mut config = Config::new("tiny", 2);
/// config.weights.file = "model.safetensors".to_owned();
/// config.weights.sha256 = "5a".repeat(32);
/// config.layers = vec![Layer::Linear(Linear { name: "fc".to_owned(), inputs: 2, outputs: 1, bias: true })];
/// config.output = Output::Logit;
/// assert_eq!(Config::parse(&config.to_json(), "config.json".as_ref())?, config);
/// # Ok::<(), nearfar::model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    format: Format,
    /// The model's name.
    pub name: String,
    /// Its version, in its author's own scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does, in its author's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where the weights come from, in its author's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The file that holds the weights.
    pub weights: WeightsFile,
    /// How many features a row has.
    pub inputs: usize,
    /// How a row's features form a sequence; absent where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The inputs in order; empty when nobody named them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// What happens to a row of features before the first layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// Patterns, in which `*` stands for any text, of the tensors that no layer needs to use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// The network, first layer first; empty for a model that is not a chain of layers.
    #[serde(skip_serializing_if = "is_no_chain")]
    pub layers: Vec<Layer>,
    /// The network as a graph of operators, without its weights; absent for a chain of layers, and where the
    /// file of weights says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) graph: Option<Graph>,
    /// What the last layer gives, or the graph's output `value`; predictions are probabilities in either
    /// case.
    #[serde(flatten)]
    pub output: Output,
    /// The graph's output that says the score; its first one where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Other outputs of the graph whose numbers a prediction carries behind the score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What learns of each device behind the network, or without one; absent for a model that says of every
    /// row what it says of that row alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<detection::Settings>,
    /// A prediction at or above it is an anomaly.
    pub threshold: f32,
    /// The words for a prediction below the threshold, and for one at or above it.
    pub labels: [String; 2],
    /// An example that the model must repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
}

/// The version of the format that a description needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
struct Format(u32);

/// Whether there are no layers, so that nothing is said of them.
#[allow(clippy::ptr_arg, reason = "serde hands it what the field is")]
fn is_no_chain(layers: &Vec<Layer>) -> bool {
    layers.is_empty()
}

/// A file of weights; both are empty for a model that came from no file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WeightsFile {
    /// Its name, in the directory of the `config.json`.
    pub file: String,
    /// Lower-case hexadecimal SHA-256 of it.
    pub sha256: String,
}

/// One of a model's inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Its name, such as `h_rms`.
    pub name: String,
    /// The unit in which it is sent, such as `g`; absent for a pure number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// An input and the output that PyTorch, or whatever trained the model, gave for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Golden {
    /// One row, in plain units.
    pub input: Vec<f32>,
    /// The probability that the input should give.
    pub output: f32,
    /// The absolute difference that is forgiven.
    pub tolerance: f32,
}

/// A mistake in `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}{problem}", file.display(), KeyPrefix(key))]
pub struct ConfigError {
    /// The file in which the mistake is.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key, such as `layers[2].in`; empty when the text is no JSON.
    pub key: String,
    /// What was found, what was expected.
    pub problem: String,
}

impl ConfigError {
    fn at(file: &Path, error: SettingError) -> Self {
        let (line, key) = (error.line().unwrap_or(1), error.key.clone());
        // Without its place it says what is wrong, and what was probably meant.
        let problem = SettingError { origin: Origin::Code, key: String::new(), ..error }.to_string();
        Self { file: file.to_owned(), line, key, problem }
    }
}

struct KeyPrefix<'a>(&'a str);

impl fmt::Display for KeyPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

impl Config {
    /// A model that takes `inputs` features and gives a probability, without layers and weights so far.
    pub fn new(name: impl Into<String>, inputs: usize) -> Self {
        Self {
            format: Format(FORMAT_LAYERS),
            name: name.into(),
            version: None,
            description: None,
            source: None,
            weights: WeightsFile::default(),
            inputs,
            layout: None,
            features: Vec::new(),
            normalisation: None,
            ignore: Vec::new(),
            layers: Vec::new(),
            graph: None,
            output: Output::Probability,
            value: None,
            also: Vec::new(),
            detection: None,
            threshold: THRESHOLD_DEFAULT,
            labels: LABELS_DEFAULT.map(str::to_owned),
            golden: None,
        }
    }

    /// Describes a graph, whose weights are not in it, in place of layers.
    pub(crate) fn set_graph(&mut self, graph: Graph) {
        self.format = Format(FORMAT_GRAPH);
        self.graph = Some(graph);
    }

    /// Describes what learns of each device, behind the network that is described or without one.
    pub fn set_detection(&mut self, settings: detection::Settings) {
        self.format = Format(FORMAT_DETECTION);
        self.detection = Some(settings);
    }

    /// Whether there is a network at all: what only detects has none.
    pub(crate) fn has_network(&self) -> bool {
        self.detection.is_none()
            || !self.layers.is_empty()
            || self.graph.is_some()
            || self.weights.file.ends_with(".onnx")
    }

    /// Parses and checks `text`, the content of `file`.
    ///
    /// # Errors
    /// The first mistake, with its line and key.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config = settings::json::parse(None, text).and_then(|tree| read::config(Table::of(&tree, "")?));
        config.map_err(|error| ConfigError::at(file, error))
    }

    /// The text of the `config.json` that says all of this. Nothing is checked before it is read again.
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("it has text for keys, and no error of its own");
        text.push('\n');
        text
    }
}
