//! The members of `config.json` as they are written, before any of them is checked against another.

use std::path::Path;

use serde::Deserialize;

use super::{ConfigError, OutputKind};
use crate::model::layers::Returns;
use crate::model::shape::Order;
use crate::suggestion;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: u32,
    pub name: String,
    pub version: Option<String>,
    pub description: Option<String>,
    /// Where the weights come from, in free text.
    #[serde(alias = "origin")]
    pub source: Option<String>,
    pub weights: Weights,
    pub inputs: usize,
    pub layout: Option<Layout>,
    pub features: Option<Vec<Feature>>,
    pub normalisation: Option<Normalisation>,
    pub layers: Vec<LayerEntry>,
    pub output: OutputKind,
    pub reconstruction: Option<Reconstruction>,
    pub threshold: Option<f64>,
    /// The words for a prediction below the threshold, and for one at or above it.
    #[serde(default = "default_labels")]
    pub labels: [String; 2],
    pub golden: Option<Golden>,
}

fn default_labels() -> [String; 2] {
    crate::model::detector::LABELS_DEFAULT.map(str::to_owned)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    pub file: String,
    pub sha256: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub name: String,
    pub unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub order: Order,
    pub channels: usize,
    pub samples: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconstruction {
    pub midpoint: f64,
    pub scale: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    pub log: Option<Log>,
    pub mean: Option<Vec<f64>>,
    pub std: Option<Vec<f64>>,
    pub clip: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    #[serde(default)]
    pub abs: bool,
    #[serde(default)]
    pub offset: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    pub input: Vec<f64>,
    pub output: f64,
    pub tolerance: Option<f64>,
}

/// One layer: the union of every type's members, so that a mistake is found on its own line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerEntry {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: Option<String>,
    #[serde(rename = "in")]
    pub inputs: Option<usize>,
    #[serde(rename = "out")]
    pub outputs: Option<usize>,
    pub bias: Option<bool>,
    pub features: Option<usize>,
    pub eps: Option<f64>,
    pub affine: Option<bool>,
    pub negative_slope: Option<f64>,
    pub alpha: Option<f64>,
    pub kernel: Option<usize>,
    pub stride: Option<usize>,
    pub padding: Option<usize>,
    pub hidden: Option<usize>,
    pub returns: Option<Returns>,
    pub samples: Option<usize>,
}

/// Parses the text; a mistake is reported with its line, its key, and the nearest known key.
pub fn parse(text: &str, file: &Path) -> Result<Document, ConfigError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let error = match parsed {
        Ok(document) => match json.end() {
            Ok(()) => return Ok(document),
            Err(error) => (String::new(), error),
        },
        Err(error) => (error.path().to_string(), error.into_inner()),
    };
    let (key, error) = error;
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = message.strip_suffix(&place).unwrap_or(&message);
    Err(ConfigError {
        file: file.to_owned(),
        line: error.line().max(1),
        key: if key == "." { String::new() } else { key },
        problem: with_suggestion(problem),
    })
}

/// Adds "did you mean" to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_suggestion(problem: &str) -> String {
    let mut quoted = problem.split('`').skip(1).step_by(2);
    let unknown = problem.starts_with("unknown ").then(|| quoted.next()).flatten();
    match unknown.and_then(|unknown| suggestion::meant(unknown, quoted)) {
        Some(known) => format!("{problem}; did you mean `{known}`?"),
        None => problem.to_owned(),
    }
}
