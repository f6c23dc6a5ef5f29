//! `config.json`: what a model's weights cannot say about themselves.
//!
//! It is read strictly, and every error names the file, the line and the key. A [`Config`] can be written as
//! well: what is written reads as the same model.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::layers::{self, Activation, Layer};
use super::narrow;
use super::normalise::Normalisation;
use super::output::Output;
use super::shape::{Layout, Shape};
use crate::settings::{self, Entry, Origin, SettingError, Table};

/// The name of the file that describes a model, in the model's directory.
pub const CONFIG_FILE: &str = "config.json";
/// The largest `config.json` that is read.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// The most features that a model may take.
pub const INPUTS_MAX: usize = 65_536;
/// The version of the format, which is the only one so far.
const FORMAT: u32 = 1;
/// The threshold of a model that states none.
const THRESHOLD_DEFAULT: f32 = 0.5;
/// The words for a prediction below the threshold, and at or above it, of a model that states none.
const LABELS_DEFAULT: [&str; 2] = ["normal", "anomaly"];
/// The difference to the golden output that is forgiven when `golden.tolerance` is absent.
const GOLDEN_TOLERANCE_DEFAULT: f32 = 1e-6;
/// Every key that the file may have, in the order in which they are written.
const KEYS: &[&str] = &[
    "format",
    "name",
    "version",
    "description",
    "source",
    "origin",
    "weights",
    "inputs",
    "layout",
    "features",
    "normalisation",
    "layers",
    "output",
    "reconstruction",
    "threshold",
    "labels",
    "golden",
];

/// A model's description, as `config.json` has it.
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
    /// The input transform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// The network, first layer first; empty for a model that is not a chain of layers.
    pub layers: Vec<Layer>,
    /// What the last layer gives; predictions are probabilities in either case.
    #[serde(flatten)]
    pub output: Output,
    /// A prediction at or above it is an anomaly.
    pub threshold: f32,
    /// The words for a prediction below the threshold, and for one at or above it.
    pub labels: [String; 2],
    /// An example that the model must repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
}

/// Stands for the version of the format, where it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(FORMAT)
    }
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
    /// The expected probability.
    pub output: f32,
    /// The absolute difference that is forgiven.
    pub tolerance: f32,
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
            format: Format,
            name: name.into(),
            version: None,
            description: None,
            source: None,
            weights: WeightsFile::default(),
            inputs,
            layout: None,
            features: Vec::new(),
            normalisation: None,
            layers: Vec::new(),
            output: Output::Probability,
            threshold: THRESHOLD_DEFAULT,
            labels: LABELS_DEFAULT.map(str::to_owned),
            golden: None,
        }
    }

    /// Parses and checks `text`, the content of `file`.
    ///
    /// # Errors
    /// The first mistake, with its line and key.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config = settings::json::parse(None, text).and_then(|tree| read(Table::of(&tree, "")?));
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

fn read(mut table: Table<'_>) -> Result<Config, SettingError> {
    // Before anything is understood: a misspelt `layout` is named, rather than a layer
    // that then does not fit.
    table.refuse_all_but(KEYS)?;
    check_format(&mut table)?;
    let is_name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let name = required(&mut table, "name")?.parsed("a name", is_name)?;
    let inputs = read_inputs(&mut table)?;
    let mut config = Config {
        version: table.find_text("version")?.map(str::to_owned),
        description: table.find_text("description")?.map(str::to_owned),
        source: read_source(&mut table)?,
        weights: WeightsFile::read(required(&mut table, "weights")?.table()?)?,
        layout: table.find("layout").map(|entry| Layout::read(&entry, inputs)).transpose()?,
        normalisation: table
            .find("normalisation")
            .map(|entry| Normalisation::read(&entry, inputs))
            .transpose()?,
        output: Output::read(&mut table)?,
        golden: table.find("golden").map(|entry| Golden::read(&entry, inputs)).transpose()?,
        ..Config::new(name, inputs)
    };
    if let Some(entry) = table.find("features") {
        config.features = read_features(&entry, inputs)?;
    }
    if let Some(entry) = table.find("threshold") {
        config.threshold = narrow::number(&entry, "a probability in [0, 1]", is_probability)?;
    }
    if let Some(entry) = table.find("labels") {
        config.labels = read_labels(&entry)?;
    }
    config.layers = read_layers(&mut table, &config)?;
    table.finish()?;
    Ok(config)
}

/// What stands at `key`, and must.
fn required<'a>(table: &mut Table<'a>, key: &'static str) -> Result<Entry<'a>, SettingError> {
    let entry = table.find(key);
    table.required(key, entry)
}

fn check_format(table: &mut Table<'_>) -> Result<(), SettingError> {
    let entry = required(table, "format")?;
    if entry.number::<u32>(..)? == FORMAT { Ok(()) } else { Err(entry.wrong(FORMAT.to_string())) }
}

fn read_inputs(table: &mut Table<'_>) -> Result<usize, SettingError> {
    let entry = required(table, "inputs")?;
    let inputs = entry.number(..)?;
    if (1..=INPUTS_MAX).contains(&inputs) {
        return Ok(inputs);
    }
    Err(entry.wrong(format!("1 to {INPUTS_MAX} (inputs_max)")))
}

/// Where the weights come from; `origin` is an older word for it.
fn read_source(table: &mut Table<'_>) -> Result<Option<String>, SettingError> {
    let (source, origin) = (table.find_text("source")?, table.find_text("origin")?);
    if source.is_some() && origin.is_some() {
        return Err(table.invalid("origin", "it is another word for source, which stands there too"));
    }
    Ok(source.or(origin).map(str::to_owned))
}

fn read_features(entry: &Entry<'_>, inputs: usize) -> Result<Vec<Feature>, SettingError> {
    let items = entry.items()?;
    if items.len() != inputs {
        let problem = format!("found {}, expected {inputs} features, as inputs says", items.len());
        return Err(entry.invalid(problem));
    }
    let mut places = HashMap::new();
    let mut features = Vec::with_capacity(inputs);
    for (at, item) in items.enumerate() {
        let mut table = item.table()?;
        let (name, unit) = (table.find_text("name")?, table.find_text("unit")?.map(str::to_owned));
        table.refuse_others()?;
        let name = table.required("name", name)?;
        if let Some(first) = places.insert(name, at) {
            return Err(table.invalid("name", format!("{name:?} is the name of features[{first}] too")));
        }
        features.push(Feature { name: name.to_owned(), unit });
    }
    Ok(features)
}

fn read_labels(entry: &Entry<'_>) -> Result<[String; 2], SettingError> {
    let labels = entry.items()?.map(|item| item.text().map(str::to_owned));
    let labels: Vec<_> = labels.collect::<Result<_, _>>()?;
    labels.try_into().map_err(|labels: Vec<_>| {
        let expected = "two words, for below the threshold and for at or above it";
        entry.invalid(format!("found {}, expected {expected}", labels.len()))
    })
}

/// The layers, of which the last one must give what `config.output` needs.
fn read_layers(table: &mut Table<'_>, config: &Config) -> Result<Vec<Layer>, SettingError> {
    let entry = required(table, "layers")?;
    let input = Shape::of_input(config.inputs, config.layout);
    let (layers, last) = layers::read(&entry, input)?;
    let expected = match config.output {
        Output::Probability | Output::Logit => Shape::Flat(1),
        Output::Reconstruction { .. } => input,
    };
    if last != expected {
        let problem = format!("expected the last layer to give {expected}, it gives {last}");
        return Err(entry.invalid(problem));
    }
    if config.output == Output::Logit && layers.last() == Some(&Layer::Activation(Activation::Sigmoid)) {
        let problem = "found \"logit\" after a final sigmoid layer, which would apply the sigmoid twice; \
                       write \"probability\", or leave out the last layer";
        return Err(table.invalid("output", problem));
    }
    Ok(layers)
}

impl WeightsFile {
    fn read(mut table: Table<'_>) -> Result<Self, SettingError> {
        let (file, sha256) = (table.find("file"), table.find("sha256"));
        table.refuse_others()?;
        let (file, sha256) = (table.required("file", file)?, table.required("sha256", sha256)?);
        let is_plain = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name);
        let name = file.parsed(&format!("the name of a file beside {CONFIG_FILE}"), |name| {
            (is_plain(name) && !name.contains('\\')).then_some(name)
        })?;
        let expected = format!("64 hexadecimal digits (`sha256sum {name}` prints them)");
        let sha256 = sha256.parsed(&expected, |digits| {
            let is_hash = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hash.then(|| digits.to_ascii_lowercase())
        })?;
        Ok(Self { file: name.to_owned(), sha256 })
    }
}

impl Golden {
    fn read(entry: &Entry<'_>, inputs: usize) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let (input, output, tolerance) = (table.find("input"), table.find("output"), table.find("tolerance"));
        table.refuse_others()?;
        let (input, output) = (table.required("input", input)?, table.required("output", output)?);
        let is_tolerance = |tolerance| tolerance > 0.0 && tolerance < 1.0;
        let tolerance = tolerance
            .map(|entry| narrow::number(&entry, "more than 0 and less than 1 in f32", is_tolerance))
            .transpose()?;
        Ok(Self {
            input: narrow::vector(&input, inputs, "a number", |_| true)?,
            output: narrow::number(&output, "a probability in [0, 1]", is_probability)?,
            tolerance: tolerance.unwrap_or(GOLDEN_TOLERANCE_DEFAULT),
        })
    }
}

fn is_probability(number: f32) -> bool {
    (0.0..=1.0).contains(&number)
}
