//! A file of weights, of whatever kind: told by its name's end, or by how it begins.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::files::{extension, read_bounded};
use crate::model::fold::{Folded, fold};
use crate::model::graph::Graph;
use crate::model::tensors::RawTensor;
use crate::model::{LoadError, advice, checkpoint, foreign, graph_config, onnx, safetensors_file};

/// The largest file of weights that is read: all of it is in memory while it is.
pub const WEIGHTS_BYTES_MAX: u64 = 2 << 30;

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
pub fn weights_of(
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

/// Lower-case hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
