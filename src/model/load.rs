//! From a path to a model that is proven to answer: find the files, check the hash
//! and every tensor, warm up, verify.

mod files;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use self::files::{Files, config_beside, find, find_weights};
pub use self::weights::{Weights, read_weights, sha256};

use self::weights::weights_of;
use super::config::{CONFIG_FILE, Config, DETECTION_TENSORS, Golden};
use super::detecting::DetectingModel;
use super::fit::check_tensors;
use super::graph::network::Network;
use super::graph::{Graph, PlanError, stored};
use super::graph_model::GraphModel;
use super::info::{ModelInfo, Origin};
use super::layers::{Layer, Linear};
use super::neural::NeuralNetwork;
use super::output::Output;
use super::tensors::RawTensor;
use super::{LoadError, Model, ModelError, graph_config, inferred};
use crate::detection::{Learnt, Memory};

/// The rows of the batch that warms the model up; its buffers then fit the batches that a busy node forms.
const WARM_UP_ROWS: usize = 32;
/// How many standard deviations from the mean their features are at most.
const WARM_UP_DEVIATIONS: f32 = 2.0;

/// Loads the model at `path`, of the kinds that [`super::Detector::load`] takes.
pub fn load(path: &Path) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    load_changed(path, |_| ())
}

/// The same, after `change` has had its way with the description, where there is one.
pub fn load_changed(
    path: &Path,
    change: impl FnOnce(&mut Config),
) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    if path.as_os_str().is_empty() {
        let problem = "found an empty path, expected that of a directory or file".to_owned();
        return Err(LoadError::NotAModel { path: "model".into(), problem });
    }
    let mut files = find(path)?;
    if let Some((_, config)) = &mut files.config {
        change(config);
    }
    let weights = read_weights(&files.weights, &[])?;
    build(files, weights)
}

/// The model that the text of a `config.json` and the bytes of its weights are.
pub fn from_bytes(config: &str, weights: &[u8]) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    let config_path = PathBuf::from(CONFIG_FILE);
    let config = Config::parse(config, &config_path)?;
    let path = PathBuf::from(&config.weights.file);
    let weights = weights_of(weights, &path, None, &[])?;
    let (mut info, model) = build(Files { weights: path, config: Some((config_path, config)) }, weights)?;
    info.origin = Origin::Memory;
    Ok((info, model))
}

/// Builds the model, refusing anything that is not as the configuration says.
pub fn build(files: Files, weights: Weights) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    let Files { weights: path, config: described } = files;
    let mut planned = None;
    let (config, config_path) = match described {
        Some((config_path, config)) => {
            check_hash(&path, &weights.sha256, &config_path, &config)?;
            (config, Some(config_path))
        }
        None => match &weights.graph {
            Some(graph) => {
                let (config, network) = config_from_graph(&path, graph, &weights.sha256)?;
                planned = Some(network);
                (config, None)
            }
            None => (config_from_names(&path, &weights)?, None),
        },
    };
    let mut weights = weights;
    let mut learnt = learnt(&config, &mut weights.tensors);
    let mut model = match (weights.graph, &config.graph) {
        _ if !config.has_network() => {
            let problems: Vec<_> = weights.tensors.iter().map(|tensor| tensor.info.name.clone()).collect();
            if !problems.is_empty() {
                let problem = format!("{} in the file and not used: it has no layers", problems.join(", "));
                return Err(misfit(&path, config_path.as_deref(), vec![problem]));
            }
            return detecting(config, None, &mut learnt, &weights.sha256, (path, config_path));
        }
        (Some(graph), None) if config.layers.is_empty() => graph_model(&config, graph, planned, &path)?,
        (None, Some(graph)) => {
            let mut graph = graph.clone();
            stored::bring_together(&mut graph, graph_config::constants(weights.tensors))
                .map_err(|problems| misfit(&path, config_path.as_deref(), problems))?;
            graph_model(&config, graph, None, &path)?
        }
        (Some(_), _) => {
            let problem = "it is an ONNX file, which says itself what the network is: leave layers and graph out of config.json".to_owned();
            return Err(LoadError::NotAModel { path, problem });
        }
        (None, None) => chain(&config, config_path.as_deref(), &path, &weights.tensors, weights.advice)?,
    };
    let warm_up_error = |error| LoadError::WarmUp { path: path.clone(), error };
    let outside = warm_up(model.as_mut(), &config).map_err(warm_up_error)?;
    match (&config_path, &config.golden) {
        (Some(config_path), Some(golden)) => verify(model.as_mut(), golden, &config, (config_path, &path))?,
        // An output of a reconstruction or of a sigmoid is always a probability.
        (_, None) if 2 * outside.len() > WARM_UP_ROWS => {
            let tried =
                format!("{} of {WARM_UP_ROWS} inputs that were tried give no probability", outside.len());
            let error = ModelError::Outside { found: outside[0] };
            let config = config_path.unwrap_or(path);
            return Err(LoadError::Outside { config, tried, error });
        }
        _ => {}
    }
    if config.detection.is_some() {
        return detecting(config, Some(model), &mut learnt, &weights.sha256, (path, config_path));
    }
    let origin = if config_path.is_some() { Origin::Described(path) } else { Origin::Inferred(path) };
    Ok((ModelInfo { config: Arc::new(config), origin }, model))
}

/// Takes the tensors of a detection out of `tensors`.
fn learnt(config: &Config, tensors: &mut Vec<RawTensor>) -> Learnt {
    if config.detection.is_none() {
        return Learnt::new();
    }
    let taken = tensors.extract_if(.., |tensor| tensor.info.name.starts_with(DETECTION_TENSORS));
    taken.map(|tensor| (tensor.info.name[DETECTION_TENSORS.len()..].to_owned(), tensor.to_f32())).collect()
}

/// The model that `config` describes, with a detection behind `network`.
fn detecting(
    config: Config,
    network: Option<Box<dyn Model>>,
    learnt: &mut Learnt,
    sha256: &str,
    (path, config_path): (PathBuf, Option<PathBuf>),
) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    let Some(settings) = &config.detection else {
        let problem = "it has neither layers nor a graph nor a detection".to_owned();
        return Err(LoadError::NotAModel { path, problem });
    };
    let wanted_by = config_path.as_deref();
    let detection =
        settings.build(config.inputs, learnt).map_err(|problem| misfit(&path, wanted_by, vec![problem]))?;
    let digest = Sha256::new().chain_update(config.to_json()).chain_update(sha256).finalize().into();
    let memory = Memory::new(detection, digest, settings.devices_max);
    let normalisation = config.normalisation.clone().map(Arc::new);
    let model = DetectingModel::new(config.inputs, network, normalisation, memory);
    let info = ModelInfo { config: Arc::new(config), origin: Origin::Described(path) };
    Ok((info, Box::new(model)))
}

fn misfit(path: &Path, config_path: Option<&Path>, problems: Vec<String>) -> LoadError {
    let wanted_by =
        config_path.map_or("the inferred layers".to_owned(), |config| config.display().to_string());
    LoadError::Tensors { path: path.to_owned(), wanted_by, problems }
}

fn chain(
    config: &Config,
    config_path: Option<&Path>,
    path: &Path,
    tensors: &[RawTensor],
    advice: Option<&'static str>,
) -> Result<Box<dyn Model>, LoadError> {
    let checked = check_tensors(&config.layers, &config.ignore, tensors);
    let mut values = checked.map_err(|mut problems| {
        problems.extend(advice.map(str::to_owned));
        misfit(path, config_path, problems)
    })?;
    let model = NeuralNetwork::new(config, &mut values)
        .map_err(|error| LoadError::WarmUp { path: path.to_owned(), error })?;
    Ok(Box::new(model))
}

/// The model that `graph` is, which may have been `planned` already.
fn graph_model(
    config: &Config,
    graph: Graph,
    planned: Option<Network>,
    path: &Path,
) -> Result<Box<dyn Model>, LoadError> {
    let network = planned.map_or_else(|| Network::new(Arc::new(graph)), Ok);
    let model = network.and_then(|network| GraphModel::new(config, network));
    Ok(Box::new(model.map_err(|error| graph_error(path, &error))?))
}

fn graph_error(path: &Path, error: &PlanError) -> LoadError {
    LoadError::Graph { path: path.to_owned(), problem: error.to_string() }
}

/// The description of a graph that says all but what its outputs mean, which is found out where it can be.
fn config_from_graph(path: &Path, graph: &Graph, sha256: &str) -> Result<(Config, Network), LoadError> {
    let (mut config, network) = build_graph(path, graph, |_| None)?;
    config.weights.file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    config.weights.sha256 = sha256.to_owned();
    Ok((config, network))
}

/// A description of `graph`, in which `say` may state what its score means; and the graph, planned.
pub fn build_graph(
    path: &Path,
    graph: &Graph,
    say: impl FnOnce(&mut Config) -> Option<Output>,
) -> Result<(Config, Network), LoadError> {
    let network = Network::new(Arc::new(graph.clone())).map_err(|error| graph_error(path, &error))?;
    let mut config = Config::new(name_of(path), network.width());
    match say(&mut config) {
        Some(output) => config.output = output,
        None => {
            let problem = |problem| LoadError::Graph { path: path.to_owned(), problem };
            let found = graph_config::meaning(&network).map_err(problem)?;
            config.output = found.output;
            config.value = Some(found.value);
        }
    }
    Ok((config, network))
}

fn check_hash(path: &Path, found: &str, config_path: &Path, config: &Config) -> Result<(), LoadError> {
    let expected = &config.weights.sha256;
    if found == expected {
        return Ok(());
    }
    Err(LoadError::Hash {
        path: path.to_owned(),
        config: config_path.to_owned(),
        expected: expected.clone(),
        found: found.to_owned(),
    })
}

/// The description of a dense chain, as the names and shapes of its tensors tell it.
fn config_from_names(path: &Path, weights: &Weights) -> Result<Config, LoadError> {
    let tensors: Vec<_> = weights.tensors.iter().map(|tensor| &tensor.info).collect();
    let layers = inferred::layers(&tensors).map_err(|problem| LoadError::Inference {
        path: path.to_owned(),
        problem,
        advice: or(weights),
    })?;
    let Some(Layer::Linear(Linear { inputs, .. })) = layers.first() else {
        let problem = "it has no layer".to_owned();
        return Err(LoadError::Inference { path: path.to_owned(), problem, advice: or(weights) });
    };
    let mut config = Config::new(name_of(path), *inputs);
    config.weights.file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    config.weights.sha256.clone_from(&weights.sha256);
    config.layers = layers;
    config.output = Output::Logit;
    Ok(config)
}

/// The advice of `weights` as one more thing to do.
fn or(weights: &Weights) -> String {
    weights.advice.map(|advice| format!("; or {advice}")).unwrap_or_default()
}

/// What a model is called whose file does not say it.
fn name_of(path: &Path) -> String {
    let name = path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    // The conventional name says less than that of the directory.
    match path.parent().and_then(Path::file_name) {
        Some(directory) if name == "model" => directory.to_string_lossy().into_owned(),
        _ => name.into_owned(),
    }
}

/// Calls the model with rows as it will meet them, and says what those gave that is no probability though it
/// should be one.
fn warm_up(model: &mut dyn Model, config: &Config) -> Result<Vec<f32>, ModelError> {
    let (mut rows, mut predictions) = (plausible_rows(config), Vec::new());
    model.predict(&rows, &mut predictions)?;
    let outside = (0..WARM_UP_ROWS).filter_map(|row| model.outside(row)).collect();
    rows.truncate(model.inputs());
    predictions.clear();
    model.predict(&rows, &mut predictions)?;
    Ok(outside)
}

/// Rows whose features are spread evenly around the mean that the model was trained with, always the same.
fn plausible_rows(config: &Config) -> Vec<f32> {
    let undo = |normalised: f32, at: usize| {
        config.normalisation.as_ref().map_or(normalised, |normalisation| normalisation.undone(normalised, at))
    };
    let feature = |number: usize| {
        // The golden ratio's multiples are as even as numbers on a line can be (Weyl's sequence).
        let share = ((number + 1) as f64 * 0.618_033_988_749_895).fract() as f32;
        undo((2.0 * share - 1.0) * WARM_UP_DEVIATIONS, number % config.inputs)
    };
    (0..WARM_UP_ROWS * config.inputs).map(feature).collect()
}

fn verify(
    model: &mut dyn Model,
    golden: &Golden,
    described: &Config,
    (config, weights): (&Path, &Path),
) -> Result<(), LoadError> {
    let mut predictions = Vec::new();
    model
        .predict(&golden.input, &mut predictions)
        .map_err(|error| LoadError::WarmUp { path: weights.to_owned(), error })?;
    if let Some(found) = model.outside(0) {
        let tried = "the golden input gives no probability".to_owned();
        let (config, error) = (config.to_owned(), ModelError::Outside { found });
        return Err(LoadError::Outside { config, tried, error });
    }
    let found = predictions.first().copied().unwrap_or(f32::NAN);
    let (expected, tolerance) = (golden.output, golden.tolerance);
    // Not `>`: a NaN must not pass.
    if (found - expected).abs() <= tolerance {
        return Ok(());
    }
    let coarse = described.normalisation.as_ref().and_then(|normalisation| normalisation.coarse());
    Err(LoadError::Golden { config: config.to_owned(), expected, tolerance, found, coarse })
}
