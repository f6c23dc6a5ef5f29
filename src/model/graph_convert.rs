//! Turns an ONNX file into a model's directory: the graph into `config.json`, its weights beside it.

use std::path::{Path, PathBuf};

use super::config::Config;
use super::convert::ConvertError;
use super::graph::stored;
use super::load::{build_graph, read_weights};
use super::output::Output;
use super::save::save_raw;
use super::tensors::TensorInfo;
use super::{LoadError, graph_config};

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
    config.set_graph(graph);
    let files = save_raw(target, &mut config, &tensors)?;
    let tensors = tensors.into_iter().map(|tensor| tensor.info).collect();
    Ok(ConvertedGraph { config, tensors, files, nodes })
}
