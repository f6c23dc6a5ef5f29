//! `config.json`: what a model's weights cannot say about themselves.
//!
//! The text is parsed strictly (an unknown key is an error with a suggestion), then
//! checked as a whole; every error names the file, the line and the key.

mod locate;
pub mod schema;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::locate::line_of;
use super::detector::Feature;
use super::layers::{self, Activation, Layer};
use super::normalise::Normalisation;
use super::shape::{Layout, Shape};

/// The name of the file that describes a model, in the model's directory.
pub(super) const CONFIG_FILE: &str = "config.json";
/// The largest `config.json` that is read.
pub(super) const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// The most features that a model may take.
pub(super) const INPUTS_MAX: usize = 65_536;
/// The difference to the golden output that is forgiven when `golden.tolerance` is absent.
const GOLDEN_TOLERANCE_DEFAULT: f64 = 1e-6;

/// What the last layer gives; the weights cannot tell, because a sigmoid has no parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Output {
    /// One number, already a probability in `[0, 1]`.
    Probability,
    /// One number; one sigmoid makes it a probability.
    Logit,
    /// The input once more, as an autoencoder does: with `error` the mean of the squared differences
    /// to the normalised input, the probability is `1 / (1 + exp(-(error - midpoint) / scale))`.
    Reconstruction {
        /// The error that is as likely an anomaly as not.
        midpoint: f64,
        /// How far the error must grow for the odds of an anomaly to grow by a factor of e; more than 0.
        scale: f64,
    },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probability => f.write_str("probability"),
            Self::Logit => f.write_str("logit"),
            Self::Reconstruction { midpoint, scale } => {
                write!(f, "reconstruction (midpoint {midpoint}, scale {scale})")
            }
        }
    }
}

/// The word for an [`Output`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputKind {
    Probability,
    Logit,
    Reconstruction,
}

/// A mistake in `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}{problem}", file.display(), KeyPrefix(key))]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key, such as `layers[2].in`; empty when the text is no JSON.
    pub key: String,
    /// What was found, what was expected.
    pub problem: String,
}

struct KeyPrefix<'a>(&'a str);

impl fmt::Display for KeyPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

/// A checked `config.json`.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub name: String,
    pub version: Option<String>,
    pub description: Option<String>,
    pub source: Option<String>,
    /// The weights' file name, in the directory of the config.
    pub weights_file: String,
    /// Lower-case hexadecimal SHA-256 of that file.
    pub weights_sha256: String,
    pub inputs: usize,
    /// How the inputs form a sequence; absent where they do not.
    pub layout: Option<Layout>,
    /// Empty, or as many as there are inputs.
    pub features: Vec<Feature>,
    pub normalisation: Option<Normalisation>,
    pub layers: Vec<Layer>,
    pub output: Output,
    pub threshold: f32,
    pub labels: [String; 2],
    pub golden: Option<Golden>,
}

/// An input and the output that PyTorch, or whatever trained the model, gave for it.
#[derive(Debug, Clone)]
pub(super) struct Golden {
    /// One row, in plain units.
    pub input: Vec<f32>,
    /// The expected probability.
    pub output: f32,
    /// The absolute difference that is forgiven.
    pub tolerance: f32,
}

impl Config {
    /// Parses and checks `text`, the content of `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let raw = schema::parse(text, file)?;
        let place = Place { text, file };
        check(raw, &place)
    }
}

/// Where a mistake is: turns a key into an error with its line.
pub struct Place<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Place<'_> {
    pub fn error(&self, key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
        let key = key.into();
        let line = line_of(self.text, &key);
        ConfigError { file: self.file.to_owned(), line, key, problem: problem.into() }
    }
}

fn check(raw: schema::Document, place: &Place<'_>) -> Result<Config, ConfigError> {
    if raw.format != 1 {
        return Err(place.error("format", format!("expected 1, found {}", raw.format)));
    }
    if raw.name.is_empty() {
        return Err(place.error("name", "expected a name, found an empty string"));
    }
    if raw.inputs == 0 || raw.inputs > INPUTS_MAX {
        let problem = format!("expected 1 to {INPUTS_MAX} (inputs_max), found {}", raw.inputs);
        return Err(place.error("inputs", problem));
    }
    let features = check_features(&raw, place)?;
    let (weights_file, weights_sha256) = check_weights(&raw.weights, place)?;
    let normalisation = match &raw.normalisation {
        Some(normalisation) => Some(check_normalisation(normalisation, raw.inputs, place)?),
        None => None,
    };
    let layout = match &raw.layout {
        Some(layout) => Some(check_layout(layout, raw.inputs, place)?),
        None => None,
    };
    let output = check_output(&raw, place)?;
    let input = Shape::of_input(raw.inputs, layout);
    let (layers, last) = layers::read(&raw.layers, input, place)?;
    check_last(&layers, last, input, output, place)?;
    let threshold = check_threshold(raw.threshold, place)?;
    let golden = match &raw.golden {
        Some(golden) => Some(check_golden(golden, raw.inputs, place)?),
        None => None,
    };
    Ok(Config {
        name: raw.name,
        version: raw.version,
        description: raw.description,
        source: raw.source,
        weights_file,
        weights_sha256,
        inputs: raw.inputs,
        layout,
        features,
        normalisation,
        layers,
        output,
        threshold,
        labels: raw.labels,
        golden,
    })
}

fn check_features(raw: &schema::Document, place: &Place<'_>) -> Result<Vec<Feature>, ConfigError> {
    let Some(features) = &raw.features else { return Ok(Vec::new()) };
    if features.len() != raw.inputs {
        let problem = format!("expected {} features, as inputs says, found {}", raw.inputs, features.len());
        return Err(place.error("features", problem));
    }
    for (at, feature) in features.iter().enumerate() {
        if let Some(first) = features[..at].iter().position(|earlier| earlier.name == feature.name) {
            let problem = format!("{:?} is the name of features[{first}] too", feature.name);
            return Err(place.error(format!("features[{at}].name"), problem));
        }
    }
    let named = |raw: &schema::Feature| Feature { name: raw.name.clone(), unit: raw.unit.clone() };
    Ok(features.iter().map(named).collect())
}

fn check_weights(raw: &schema::Weights, place: &Place<'_>) -> Result<(String, String), ConfigError> {
    let plain = Path::new(&raw.file).file_name().is_some_and(|name| name == raw.file.as_str());
    if !plain || raw.file.contains('\\') {
        let problem = format!("expected the name of a file beside {CONFIG_FILE}, found {:?}", raw.file);
        return Err(place.error("weights.file", problem));
    }
    if raw.sha256.len() != 64 || !raw.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let problem = format!(
            "expected 64 hexadecimal digits (`sha256sum {}` prints them), found {:?}",
            raw.file, raw.sha256
        );
        return Err(place.error("weights.sha256", problem));
    }
    Ok((raw.file.clone(), raw.sha256.to_ascii_lowercase()))
}

fn check_normalisation(
    raw: &schema::Normalisation,
    inputs: usize,
    place: &Place<'_>,
) -> Result<Normalisation, ConfigError> {
    let mut checked = Normalisation::default();
    if let Some(log) = &raw.log {
        let key = "normalisation.log.offset";
        let offset = finite(log.offset, key, place)?;
        if offset < 0.0 {
            return Err(place.error(key, format!("expected 0 or more, found {offset}")));
        }
        checked.log = Some(super::normalise::Log { abs: log.abs, offset });
    }
    checked.mean = vector(raw.mean.as_deref(), inputs, "normalisation.mean", place)?;
    checked.std = vector(raw.std.as_deref(), inputs, "normalisation.std", place)?;
    if let Some(at) = checked.std.iter().flatten().position(|&std| std <= 0.0) {
        let found = raw.std.as_ref().map_or(0.0, |std| std[at]);
        let problem = format!("expected more than 0 in f32, found {found}");
        return Err(place.error(format!("normalisation.std[{at}]"), problem));
    }
    if let Some(clip) = raw.clip {
        let clip = finite(clip, "normalisation.clip", place)?;
        if clip <= 0.0 {
            return Err(place.error("normalisation.clip", format!("expected more than 0, found {clip}")));
        }
        checked.clip = Some(clip);
    }
    Ok(checked)
}

fn check_layout(raw: &schema::Layout, inputs: usize, place: &Place<'_>) -> Result<Layout, ConfigError> {
    if raw.channels.checked_mul(raw.samples) == Some(inputs) {
        return Ok(Layout { order: raw.order, channels: raw.channels, samples: raw.samples });
    }
    let (channels, samples) = (raw.channels, raw.samples);
    let problem =
        format!("expected {inputs} inputs, as inputs says, found {channels} channels x {samples} samples");
    Err(place.error("layout", problem))
}

fn check_output(raw: &schema::Document, place: &Place<'_>) -> Result<Output, ConfigError> {
    match (raw.output, &raw.reconstruction) {
        (OutputKind::Probability, None) => Ok(Output::Probability),
        (OutputKind::Logit, None) => Ok(Output::Logit),
        (OutputKind::Reconstruction, Some(reconstruction)) => {
            let schema::Reconstruction { midpoint, scale } = *reconstruction;
            if finite(midpoint, "reconstruction.midpoint", place)? < 0.0 {
                let problem = format!("expected 0 or more, found {midpoint}");
                return Err(place.error("reconstruction.midpoint", problem));
            }
            if finite(scale, "reconstruction.scale", place)? <= 0.0 {
                let problem = format!("expected more than 0 in f32, found {scale}");
                return Err(place.error("reconstruction.scale", problem));
            }
            Ok(Output::Reconstruction { midpoint, scale })
        }
        (OutputKind::Reconstruction, None) => {
            let problem = "\"reconstruction\" needs a member reconstruction with midpoint and scale";
            Err(place.error("output", problem))
        }
        (_, Some(_)) => {
            Err(place.error("reconstruction", "only an output \"reconstruction\" has a use for it"))
        }
    }
}

/// Checks that the last layer gives what `output` needs.
fn check_last(
    layers: &[Layer],
    last: Shape,
    input: Shape,
    output: Output,
    place: &Place<'_>,
) -> Result<(), ConfigError> {
    let expected = match output {
        Output::Probability | Output::Logit => Shape::Flat(1),
        Output::Reconstruction { .. } => input,
    };
    if last != expected {
        let problem = format!("expected the last layer to give {expected}, it gives {last}");
        return Err(place.error("layers", problem));
    }
    if output == Output::Logit && layers.last() == Some(&Layer::Activation(Activation::Sigmoid)) {
        let problem = "found \"logit\" after a final sigmoid layer, which would apply the sigmoid twice; \
                       write \"probability\", or leave out the last layer";
        return Err(place.error("output", problem));
    }
    Ok(())
}

fn check_threshold(raw: Option<f64>, place: &Place<'_>) -> Result<f32, ConfigError> {
    let threshold = raw.unwrap_or(f64::from(super::detector::THRESHOLD_DEFAULT));
    if (0.0..=1.0).contains(&threshold) {
        return Ok(threshold as f32);
    }
    Err(place.error("threshold", format!("expected a probability in [0, 1], found {threshold}")))
}

fn check_golden(raw: &schema::Golden, inputs: usize, place: &Place<'_>) -> Result<Golden, ConfigError> {
    let input = vector(Some(&raw.input), inputs, "golden.input", place)?.unwrap_or_default();
    if !(0.0..=1.0).contains(&raw.output) {
        let problem = format!("expected a probability in [0, 1], found {}", raw.output);
        return Err(place.error("golden.output", problem));
    }
    let tolerance = raw.tolerance.unwrap_or(GOLDEN_TOLERANCE_DEFAULT);
    if !(tolerance > 0.0 && tolerance < 1.0) {
        let problem = format!("expected more than 0 and less than 1, found {tolerance}");
        return Err(place.error("golden.tolerance", problem));
    }
    Ok(Golden { input, output: raw.output as f32, tolerance: tolerance as f32 })
}

/// The numbers of a vector, as many as there are inputs, each within f32.
fn vector(
    raw: Option<&[f64]>,
    inputs: usize,
    key: &str,
    place: &Place<'_>,
) -> Result<Option<Vec<f32>>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    if raw.len() != inputs {
        let problem = format!("expected {inputs} numbers, as inputs says, found {}", raw.len());
        return Err(place.error(key, problem));
    }
    let numbers = raw.iter().enumerate().map(|(at, &number)| finite(number, &format!("{key}[{at}]"), place));
    numbers.collect::<Result<_, _>>().map(Some)
}

fn finite(number: f64, key: &str, place: &Place<'_>) -> Result<f32, ConfigError> {
    let narrow = number as f32;
    if narrow.is_finite() {
        return Ok(narrow);
    }
    Err(place.error(key, format!("expected a number within f32, found {number}")))
}
