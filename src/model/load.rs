//! From a path to a model that is proven to answer: find the files, check the hash
//! and every tensor, warm up, verify.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::config::{CONFIG_BYTES_MAX, CONFIG_FILE, Config, Golden};
use super::fit::check_tensors;
use super::fold::{Folded, fold};
use super::graph::network::Network;
use super::graph::{Graph, PlanError, stored};
use super::graph_model::GraphModel;
use super::info::{ModelInfo, Origin};
use super::layers::{Layer, Linear};
use super::neural::NeuralNetwork;
use super::output::Output;
use super::tensors::RawTensor;
use super::{
    LoadError, Model, ModelError, advice, checkpoint, foreign, graph_config, inferred, onnx, safetensors_file,
};
use crate::file_access;
use crate::text;

/// The largest file of weights that is read: all of it is in memory while it is.
pub const WEIGHTS_BYTES_MAX: u64 = 2 << 30;
/// The rows of the batch that warms the model up; its buffers then fit the batches that a busy node forms.
const WARM_UP_ROWS: usize = 32;
/// The file that makes a directory a model of TensorFlow's.
const SAVED_MODEL: &str = "saved_model.pb";
/// How many standard deviations from the mean their features are at most.
const WARM_UP_DEVIATIONS: f32 = 2.0;

/// Loads the model at `path`, of the kinds that [`super::Detector::load`] takes.
pub fn load(path: &Path) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    if path.as_os_str().is_empty() {
        let problem = "found an empty path, expected that of a directory or file".to_owned();
        return Err(LoadError::NotAModel { path: "model".into(), problem });
    }
    let files = find(path)?;
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

/// The files that make a model.
pub struct Files {
    /// The file with the weights.
    pub weights: PathBuf,
    /// The configuration that names them, and where it is.
    pub config: Option<(PathBuf, Config)>,
}

/// A file of weights, read.
pub struct Weights {
    /// In the order of the file.
    pub tensors: Vec<RawTensor>,
    /// Of the whole file, lower-case hexadecimal.
    pub sha256: String,
    /// What kind of file it is, such as `PyTorch zip archive, state dict`.
    pub format: String,
    /// What to do where its tensors do not tell the model.
    pub advice: Option<&'static str>,
    /// The model itself, with its weights, where the file says it.
    pub graph: Option<Graph>,
}

/// Finds the weights and the configuration that `path` means.
pub fn find(path: &Path) -> Result<Files, LoadError> {
    let metadata = fs::metadata(path).map_err(|error| read_error(path, error))?;
    if !metadata.is_dir() {
        return Ok(Files { weights: path.to_owned(), config: config_beside(path)? });
    }
    let config_path = path.join(CONFIG_FILE);
    if config_path.exists() {
        let text = read_text(&config_path)?;
        let config = Config::parse(&text, &config_path)?;
        return Ok(Files { weights: path.join(&config.weights.file), config: Some((config_path, config)) });
    }
    let weights = only_weights_in(path)?;
    refuse_directory_of_models(path)?;
    Ok(Files { weights, config: None })
}

/// Refuses a directory without a `config.json` that has directories with one: weights that lie beside those
/// are most likely not what was meant, and without a description nothing of how they want their inputs is
/// known.
fn refuse_directory_of_models(directory: &Path) -> Result<(), LoadError> {
    let mut models = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| read_error(directory, error))? {
        let path = entry.map_err(|error| read_error(directory, error))?.path();
        if path.join(CONFIG_FILE).is_file() {
            models.push(path.display().to_string());
        }
    }
    models.sort();
    if models.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "found no {CONFIG_FILE} in this directory, and one in {}: name the model that is meant, or the file of weights",
        models.join(", ")
    );
    Err(LoadError::NotAModel { path: directory.to_owned(), problem })
}

/// The `config.json` beside a file of weights, when it names that file.
pub fn config_beside(weights: &Path) -> Result<Option<(PathBuf, Config)>, LoadError> {
    let config_path = weights.with_file_name(CONFIG_FILE);
    if !config_path.is_file() {
        return Ok(None);
    }
    let text = read_text(&config_path)?;
    // Another program's config.json may stand here; ours says so by naming the file.
    let loose: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let named = loose.as_ref().and_then(|config| config.pointer("/weights/file")?.as_str());
    if loose.is_some() && named.map(Path::new) != weights.file_name().map(Path::new) {
        return Ok(None);
    }
    let config = Config::parse(&text, &config_path)?;
    Ok(Some((config_path, config)))
}

fn only_weights_in(directory: &Path) -> Result<PathBuf, LoadError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| read_error(directory, error))? {
        let path = entry.map_err(|error| read_error(directory, error))?.path();
        if matches!(extension(&path).as_str(), "safetensors" | "pt" | "pth" | "onnx") {
            found.push(path);
        }
    }
    found.sort();
    if let [only] = found.as_slice() {
        return Ok(only.clone());
    }
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let problem = if directory.join(SAVED_MODEL).is_file() {
        format!("it is a SavedModel of TensorFlow, which is not read: {}", advice::KERAS)
    } else if names.is_empty() {
        format!(
            "expected {CONFIG_FILE} and weights (.safetensors, .pt, .pth or .onnx) in this directory, found neither"
        )
    } else {
        format!(
            "found no {CONFIG_FILE} and more than one file of weights ({}): name one of them",
            names.join(", ")
        )
    };
    Err(LoadError::NotAModel { path: directory.to_owned(), problem })
}

/// The weights that `path` means, whatever its `config.json` says.
pub fn find_weights(path: &Path) -> Result<PathBuf, LoadError> {
    if path.is_dir() { only_weights_in(path) } else { Ok(path.to_owned()) }
}

/// Reads a file of weights of either kind, told by its name's end; of a checkpoint, the set of tensors at the
/// key, or with several `keys` their sets joined. Weights that are kept in parts are put together.
pub fn read_weights(path: &Path, keys: &[String]) -> Result<Weights, LoadError> {
    let kind = extension(path);
    // A checkpoint by any of the names that people give it: `.pth.tar` is not always an archive.
    let is_known = matches!(
        kind.as_str(),
        "safetensors" | "pt" | "pth" | "ckpt" | "tar" | "bin" | "pkl" | "onnx" | "h5"
    );
    if !is_known && !beginning(path).is_ok_and(|beginning| is_checkpoint(&beginning)) {
        return Err(LoadError::NotAModel { path: path.to_owned(), problem: instead_of_weights(path) });
    }
    weights_of(&read_bounded(path, WEIGHTS_BYTES_MAX, "weights_bytes_max")?, path, path.parent(), keys)
}

/// The weights that `bytes` are, of the file at `path`; an ONNX file may have some of them in other files of
/// `directory`.
fn weights_of(
    bytes: &[u8],
    path: &Path,
    directory: Option<&Path>,
    keys: &[String],
) -> Result<Weights, LoadError> {
    let (kind, sha256) = (extension(path), sha256(bytes));
    if kind == "onnx" {
        return read_onnx(path, directory, keys, bytes, sha256);
    }
    let mut weights = if kind == "safetensors" {
        if let Some(key) = keys.first() {
            let problem = format!(
                "found the key {key:?}, and a safetensors file holds one set of tensors: leave the key out"
            );
            return Err(LoadError::NotAModel { path: path.to_owned(), problem });
        }
        let tensors = safetensors_file::parse(bytes).map_err(|problem| LoadError::Safetensors {
            path: path.to_owned(),
            problem: instead_of_safetensors(bytes).unwrap_or(problem),
        })?;
        Weights { tensors, sha256, format: "safetensors".to_owned(), advice: None, graph: None }
    } else {
        let read = checkpoint::read(bytes, keys, &checkpoint::Limits::default())
            .map_err(|error| LoadError::Checkpoint { path: path.to_owned(), error })?;
        let advice = read.is_script.then_some(advice::TORCHSCRIPT);
        Weights { tensors: read.tensors, sha256, format: read.format, advice, graph: None }
    };
    let Folded { weight_norms, spectral_norms } = fold(&mut weights.tensors);
    for (count, norm) in [(weight_norms, "weight norm"), (spectral_norms, "spectral norm")] {
        if count > 0 {
            weights.format.push_str(&format!(", {norm} of {count} folded"));
        }
    }
    Ok(weights)
}

fn read_onnx(
    path: &Path,
    directory: Option<&Path>,
    keys: &[String],
    bytes: &[u8],
    sha256: String,
) -> Result<Weights, LoadError> {
    let not_a_model = |problem| LoadError::NotAModel { path: path.to_owned(), problem };
    if let Some(key) = keys.first() {
        return Err(not_a_model(format!(
            "found the key {key:?}, and an ONNX file holds one model: leave the key out"
        )));
    }
    let graph = onnx::read(bytes, directory).map_err(|error| not_a_model(error.to_string()))?;
    let tensors = graph_config::raw_tensors(&graph.constants);
    let format = format!("ONNX, {} nodes", graph.nodes.len());
    Ok(Weights { tensors, sha256, format, advice: None, graph: Some(graph) })
}

/// What was expected in place of the file at `path`, and what that is where it can be told.
fn instead_of_weights(path: &Path) -> String {
    let expected =
        "expected a directory, or a file that ends in .safetensors, .onnx, .pt, .pth, .ckpt or .bin";
    let Ok(Some(found)) = beginning(path).map(|beginning| foreign::name(&beginning)) else {
        return expected.to_owned();
    };
    format!("{expected}, found {found}")
}

/// The first bytes of the file at `path`.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(foreign::BEGINNING_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a file begins as a checkpoint does, or another zip archive or pickle.
fn is_checkpoint(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.first() == Some(&checkpoint::PROTO)
}

/// What a file is that is called safetensors and is not, if it can be told.
fn instead_of_safetensors(bytes: &[u8]) -> Option<String> {
    let found = if is_checkpoint(bytes) {
        "a checkpoint of PyTorch's, or another zip archive or pickle: make it one with `nearfar convert FILE.pt FILE.safetensors`".to_owned()
    } else {
        foreign::name(bytes).filter(|found| !found.starts_with("safetensors"))?
    };
    Some(format!("it is {found}"))
}

/// Builds the model, refusing anything that is not as the configuration says.
pub fn build(files: Files, weights: Weights) -> Result<(ModelInfo, Box<dyn Model>), LoadError> {
    let Files { weights: path, config: described } = files;
    let (config, config_path) = match described {
        Some((config_path, config)) => {
            check_hash(&path, &weights.sha256, &config_path, &config)?;
            (config, Some(config_path))
        }
        None => match &weights.graph {
            Some(graph) => (config_from_graph(&path, graph, &weights.sha256)?, None),
            None => (config_from_names(&path, &weights)?, None),
        },
    };
    let mut model = match (weights.graph, &config.graph) {
        (Some(graph), None) if config.layers.is_empty() => graph_model(&config, graph, &path)?,
        (None, Some(graph)) => {
            let mut graph = graph.clone();
            stored::bring_together(&mut graph, graph_config::constants(weights.tensors))
                .map_err(|problems| misfit(&path, config_path.as_deref(), problems))?;
            graph_model(&config, graph, &path)?
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
    let origin = if config_path.is_some() { Origin::Described(path) } else { Origin::Inferred(path) };
    Ok((ModelInfo { config: Arc::new(config), origin }, model))
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

fn graph_model(config: &Config, graph: Graph, path: &Path) -> Result<Box<dyn Model>, LoadError> {
    let model = GraphModel::new(config, Arc::new(graph)).map_err(|error| graph_error(path, &error))?;
    Ok(Box::new(model))
}

fn graph_error(path: &Path, error: &PlanError) -> LoadError {
    LoadError::Graph { path: path.to_owned(), problem: error.to_string() }
}

/// The description of a graph that says all but what its outputs mean, which is found out where it can be.
fn config_from_graph(path: &Path, graph: &Graph, sha256: &str) -> Result<Config, LoadError> {
    let mut config = build_graph(path, graph, |_| None)?;
    config.weights.file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    config.weights.sha256 = sha256.to_owned();
    Ok(config)
}

/// A description of `graph`, in which `say` may state what its score means.
pub fn build_graph(
    path: &Path,
    graph: &Graph,
    say: impl FnOnce(&mut Config) -> Option<Output>,
) -> Result<Config, LoadError> {
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
    Ok(config)
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

/// Reads a whole file, unless it is larger than `bytes_max`, the bound called `bound`.
pub fn read_bounded(path: &Path, bytes_max: u64, bound: &'static str) -> Result<Vec<u8>, LoadError> {
    let file = File::open(path).map_err(|error| read_error(path, error))?;
    let metadata = file.metadata().map_err(|error| read_error(path, error))?;
    if !metadata.is_file() {
        let problem = "expected a file".to_owned();
        return Err(LoadError::NotAModel { path: path.to_owned(), problem });
    }
    let too_large = |bytes| LoadError::TooLarge { path: path.to_owned(), bytes, bytes_max, bound };
    if metadata.len() > bytes_max {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The file may grow while it is read.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| read_error(path, error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

fn read_text(path: &Path) -> Result<String, LoadError> {
    let bytes = read_bounded(path, CONFIG_BYTES_MAX, "config_bytes_max")?;
    let text = text::decode(&bytes).map_err(|error| read_error(path, error.into()))?;
    if !text.trim_start().starts_with('{')
        && let Some(found) = foreign::text(&bytes)
    {
        let problem = format!("expected a description in JSON, found {found}");
        return Err(LoadError::NotAModel { path: path.to_owned(), problem });
    }
    Ok(text.to_owned())
}

fn read_error(path: &Path, error: io::Error) -> LoadError {
    let error = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), file_access::unreadable(path, &error))
        }
        _ => error,
    };
    LoadError::Read { path: path.to_owned(), error }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
