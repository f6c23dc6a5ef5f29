//! Turns an ONNX file into a model's directory: the graph into `config.json`, its weights beside it.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::{CONFIG_FILE, Config};
use super::convert::{ConvertError, write_atomically};
use super::graph::stored;
use super::load::{Files, build, build_graph, read_weights, sha256};
use super::output::Output;
use super::tensors::TensorInfo;
use super::{LoadError, graph_config, safetensors_file};

/// The file of weights that is written.
const WEIGHTS_FILE: &str = "model.safetensors";

/// What an ONNX file does not say of the model in it.
#[derive(Debug, Clone, Default)]
pub struct OnnxOptions {
    /// The model's name; that of the file where nothing is said.
    pub name: Option<String>,
    /// What the score means; found out where that leaves no doubt.
    pub output: Option<Output>,
    /// The graph's output that says the score; the first one where nothing is said.
    pub value: Option<String>,
    /// Other outputs whose numbers predictions carry.
    pub also: Vec<String>,
    /// A prediction at or above it is an anomaly; 0.5 where nothing is said.
    pub threshold: Option<f32>,
}

/// What a conversion of an ONNX file has written.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvertedGraph {
    /// The description, as it was written.
    pub config: Config,
    /// The weights, by name.
    pub tensors: Vec<TensorInfo>,
    /// The files that were written.
    pub files: [PathBuf; 2],
    /// How many nodes the graph has.
    pub nodes: usize,
}

/// Writes the model in the ONNX file `source` to the directory `target`, which is made where there is none.
///
/// Nothing is written of a model that would not load. Each of the two files appears whole or not at all.
///
/// # Errors
/// [`ConvertError`].
pub fn convert_onnx(
    source: &Path,
    target: &Path,
    options: &OnnxOptions,
) -> Result<ConvertedGraph, ConvertError> {
    let weights = read_weights(source, &[])?;
    let Some(graph) = weights.graph else {
        let problem = "expected an ONNX file, for a directory is to be written".to_owned();
        return Err(LoadError::NotAModel { path: source.to_owned(), problem }.into());
    };
    let (mut config, _) = build_graph(source, &graph, |config| {
        config.value.clone_from(&options.value);
        options.output.clone()
    })?;
    config.name = options.name.clone().unwrap_or(config.name);
    config.also.clone_from(&options.also);
    config.threshold = options.threshold.unwrap_or(config.threshold);
    let file = source.file_name().unwrap_or_default().to_string_lossy();
    config.source = Some(format!("converted from {file}, sha256 {}", weights.sha256));
    let mut graph = graph;
    let nodes = graph.nodes.len();
    let tensors = graph_config::raw_tensors(&stored::take_apart(&mut graph));
    let bytes = safetensors_file::serialise(&tensors);
    config.weights.file = WEIGHTS_FILE.to_owned();
    config.weights.sha256 = sha256(&bytes);
    config.set_graph(graph);
    let files = [target.join(WEIGHTS_FILE), target.join(CONFIG_FILE)];
    try_it(&config, &files, &bytes)?;
    write(&files[0], &bytes)?;
    write(&files[1], config.to_json().as_bytes())?;
    let tensors = tensors.into_iter().map(|tensor| tensor.info).collect();
    Ok(ConvertedGraph { config, tensors, files, nodes })
}

/// Reads what is about to be written, as whoever loads it will.
fn try_it(config: &Config, files: &[PathBuf; 2], bytes: &[u8]) -> Result<(), ConvertError> {
    let [weights_path, config_path] = files;
    let config = Config::parse(&config.to_json(), config_path).map_err(LoadError::from)?;
    let tensors = safetensors_file::parse(bytes)
        .map_err(|problem| LoadError::Safetensors { path: weights_path.clone(), problem })?;
    let weights = super::load::Weights {
        tensors,
        sha256: config.weights.sha256.clone(),
        format: "safetensors".to_owned(),
        advice: None,
        graph: None,
    };
    build(Files { weights: weights_path.clone(), config: Some((config_path.clone(), config)) }, weights)?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ConvertError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .map_err(|error| ConvertError::Write { path: path.to_owned(), error })?;
    }
    write_atomically(path, bytes).map_err(|error| ConvertError::Write { path: path.to_owned(), error })
}
