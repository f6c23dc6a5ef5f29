//! Describes a model for people: layers, tensors, parameters, hash, origin, and whether it would load.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::graph::drawing::{self, NodeInfo};
use super::graph::network::Network;
use super::graph::stored;
use super::info::ModelInfo;
use super::load::{Files, Weights, build, find, find_weights, read_weights};
use super::tensors::{Shape, TensorInfo};
use super::{LoadError, graph_config};

/// The passes over which a profile is averaged.
const PROFILE_PASSES: u32 = 200;
/// The longest name that a column of names is made for.
const NAME_WIDTH_MAX: usize = 40;

/// What a model is made of.
#[derive(Debug)]
pub struct Inspection {
    /// The file of weights.
    pub weights: PathBuf,
    /// What kind of file it is, in words.
    pub format: String,
    /// Of that file, lower-case hexadecimal.
    pub sha256: String,
    /// Every tensor, in the order of the file.
    pub tensors: Vec<TensorInfo>,
    /// The model, when it loads; else why it does not, in one sentence.
    pub model: Result<ModelInfo, String>,
    /// Its graph, where it is one that can be run.
    pub graph: Option<GraphInspection>,
}

/// A model that is a graph, as it runs.
#[derive(Debug)]
pub struct GraphInspection {
    /// The nodes in the order in which they run, without those that are nothing to do.
    pub nodes: Vec<NodeInfo>,
    /// Why rows are run one by one, where they are.
    pub alone: Option<String>,
    /// The graph in the language of Graphviz.
    pub dot: String,
    network: Network,
}

impl GraphInspection {
    fn new(network: Network) -> Self {
        Self {
            nodes: drawing::nodes(&network),
            alone: network.alone().map(ToString::to_string),
            dot: drawing::dot(network.graph()),
            network,
        }
    }

    /// Measures what each node takes for one row, a row of zeros.
    ///
    /// # Errors
    /// Why the graph has no answer for such a row.
    pub fn profile(&mut self) -> Result<(), String> {
        let times = self.network.profile(PROFILE_PASSES)?;
        for (node, time) in self.nodes.iter_mut().zip(times) {
            node.time = Some(time);
        }
        Ok(())
    }
}

/// Describes the model at `path`, of the kinds that [`super::Detector::load`] takes.
///
/// A model that does not load is described as far as its weights can be read.
///
/// # Errors
/// [`LoadError`] when the weights cannot be found or read.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, LoadError> {
    inspect_set(path, None)
}

/// Describes one set of tensors in the checkpoint at `path`: that at `key`, where it
/// holds more than one. Without a key it is [`inspect`].
///
/// # Errors
/// [`LoadError`] when the weights cannot be found or read, or there is no such set.
pub fn inspect_set(path: impl AsRef<Path>, key: Option<&str>) -> Result<Inspection, LoadError> {
    let path = path.as_ref();
    let (files, weights_path) = match find(path) {
        Ok(files) => (Ok(files), None),
        // The weights can be described even where their description cannot be read.
        Err(LoadError::Config(error)) => (Err(error.to_string()), Some(find_weights(path)?)),
        Err(error) => return Err(error),
    };
    let weights_path = match (&files, weights_path) {
        (_, Some(path)) => path,
        (Ok(files), None) => files.weights.clone(),
        (Err(_), None) => path.to_owned(),
    };
    let keys: Vec<_> = key.map(str::to_owned).into_iter().collect();
    let weights = read_weights(&weights_path, &keys)?;
    let format = weights.format.clone();
    let sha256 = weights.sha256.clone();
    let tensors = weights.tensors.iter().map(|tensor| tensor.info.clone()).collect();
    let graph = files.as_ref().ok().and_then(|files| network(files, &weights)).map(GraphInspection::new);
    let model = files
        .and_then(|files| build(files, weights).map(|(info, _)| info).map_err(|error| error.to_string()));
    Ok(Inspection { weights: weights_path, format, sha256, tensors, model, graph })
}

/// The graph that the files describe, where there is one and it can be run.
fn network(files: &Files, weights: &Weights) -> Option<Network> {
    let described = files.config.as_ref().and_then(|(_, config)| config.graph.as_ref());
    let graph = match (&weights.graph, described) {
        (Some(graph), _) => graph.clone(),
        (None, described) => {
            let mut graph = described?.clone();
            stored::bring_together(&mut graph, graph_config::constants(weights.tensors.clone())).ok()?;
            graph
        }
    };
    Network::new(Arc::new(graph)).ok()
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Ok(info) => model(info, self.graph.as_ref(), f)?,
            Err(problem) => line(f, "does not load", problem)?,
        }
        if let Some(graph) = &self.graph {
            graph_nodes(graph, f)?;
        }
        line(f, "weights", self.weights.display())?;
        line(f, "format", &self.format)?;
        line(f, "sha256", &self.sha256)?;
        writeln!(f, "\ntensors")?;
        let width = self.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
        for TensorInfo { name, dtype, shape } in &self.tensors {
            writeln!(f, "  {name:width$}  {dtype:4}  {}", Shape(shape))?;
        }
        Ok(())
    }
}

fn model(info: &ModelInfo, graph: Option<&GraphInspection>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    line(f, "name", &info.name)?;
    for (label, text) in
        [("version", &info.version), ("description", &info.description), ("source", &info.source)]
    {
        if let Some(text) = text {
            line(f, label, text)?;
        }
    }
    let origin = match (info.origin.is_inferred(), info.layers.is_empty()) {
        (true, true) => "from the ONNX file",
        (true, false) => "inferred from tensor names",
        _ => "from config.json",
    };
    line(f, "architecture", origin)?;
    let of_graph = |graph: &GraphInspection| graph.nodes.iter().map(|node| node.parameters).sum();
    line(f, "parameters", graph.map_or_else(|| info.parameters(), of_graph))?;
    line(f, "inputs", info.inputs)?;
    if let Some(layout) = info.layout {
        line(f, "layout", layout)?;
    }
    line(f, "normalisation", info.normalisation.as_ref().map_or("none".to_owned(), ToString::to_string))?;
    line(f, "output", &info.output)?;
    let [below, above] = &info.labels;
    line(f, "threshold", format_args!("{} ({below} below, {above} from there)", info.threshold))?;
    if !info.layers.is_empty() {
        writeln!(f, "\nlayers")?;
    }
    for (at, layer) in info.layers.iter().enumerate() {
        writeln!(f, "  {at:2}  {layer}")?;
    }
    if !info.features.is_empty() {
        writeln!(f, "\nfeatures")?;
        for (at, feature) in info.features.iter().enumerate() {
            let unit = feature.unit.as_deref().unwrap_or("-");
            writeln!(f, "  {at:2}  {:20} {unit}", feature.name)?;
        }
    }
    writeln!(f)
}

fn graph_nodes(graph: &GraphInspection, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let whole: Duration = graph.nodes.iter().filter_map(|node| node.time).sum();
    writeln!(
        f,
        "nodes (for one row: operator, name, gives, parameters, multiplications{})",
        if whole.is_zero() { "" } else { ", time" }
    )?;
    let width =
        |text: fn(&NodeInfo) -> &str| graph.nodes.iter().map(|node| text(node).len()).max().unwrap_or(0);
    let (operators, names) = (width(|node| &node.operator), width(|node| &node.name).min(NAME_WIDTH_MAX));
    for (at, node) in graph.nodes.iter().enumerate() {
        let NodeInfo { name, operator, outputs, parameters, multiply_adds, time } = node;
        let outputs = outputs.join(", ");
        write!(
            f,
            "  {at:3}  {operator:operators$}  {name:names$}  {outputs:24}  {parameters:8}  {multiply_adds:10}"
        )?;
        if let Some(time) = time {
            let share = 100.0 * time.as_secs_f64() / whole.as_secs_f64();
            write!(f, "  {:9.3} \u{b5}s  {share:3.0} %", 1e6 * time.as_secs_f64())?;
        }
        writeln!(f)?;
    }
    if let Some(alone) = &graph.alone {
        writeln!(f, "rows are run one by one: {alone}")?;
    }
    writeln!(f)
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{label:15}{value}")
}
