//! What a graph's file does not say and a model must: what its outputs mean; and weights as files hold them.

use std::collections::BTreeMap;
use std::sync::Arc;

use half::{bf16, f16};

use super::graph::network::Network;
use super::graph::{Data, Graph, Kind, Tensor};
use super::output::Output;
use super::tensors::{Dtype, RawTensor, TensorInfo};

/// How far a score of an outlier detector of scikit-learn's must go for the odds to grow by a factor of e.
/// Its `decision_function` is 0 at the threshold, and some tenths at the most.
const SCORE_SCALE: f64 = 0.1;

/// What a graph's outputs mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    pub output: Output,
    /// The output that says the score.
    pub value: String,
}

/// What the outputs of `network` mean, where their names, kinds and last operators leave no doubt.
///
/// # Errors
/// A sentence with the outputs that there are.
pub fn meaning(network: &Network) -> Result<Meaning, String> {
    let (graph, plan) = (network.graph(), network.single());
    let outputs: Vec<_> = graph
        .outputs
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), plan.output_type(at).0.kind, plan.output(at).len()))
        .collect();
    let is_label = |&&(_, kind, numbers): &&(&str, Kind, usize)| {
        matches!(kind, Kind::I64 | Kind::I32 | Kind::Text) && numbers == 1
    };
    let has_label = outputs.iter().any(|output| is_label(&output));
    let numbers = |wanted: usize| {
        let mut found = outputs
            .iter()
            .filter(move |(_, kind, numbers)| matches!(kind, Kind::F32 | Kind::F64) && *numbers == wanted);
        // More than one leaves a doubt.
        found.next().filter(|_| found.next().is_none()).map(|(name, ..)| *name)
    };
    let is_score = |name: &&str| name.contains("score");
    if has_label && let Some(name) = outputs.iter().map(|(name, ..)| *name).find(|name| *name == "scores") {
        let output = Output::Score { higher_is_anomalous: false, midpoint: 0.0, scale: SCORE_SCALE };
        return Ok(Meaning { output, value: name.to_owned() });
    }
    let last = |name: &str| last_operator(graph, name);
    if let Some(name) = numbers(2)
        && (has_label || last(name) == Some("Softmax"))
    {
        return Ok(Meaning { output: Output::Class { index: 1 }, value: name.to_owned() });
    }
    if let Some(name) = numbers(1).filter(|name| !is_score(name))
        && matches!(last(name), Some("Sigmoid" | "HardSigmoid"))
    {
        return Ok(Meaning { output: Output::Probability, value: name.to_owned() });
    }
    let all: Vec<_> = outputs
        .iter()
        .map(|(name, kind, numbers)| format!("\"{}\" ({numbers} {kind})", name.escape_debug()))
        .collect();
    Err(format!(
        "it does not say what its outputs mean: {}; write a model with `nearfar convert FILE.onnx DIRECTORY --output WORD`, \
         where WORD is probability, logit, score, reconstruction, class or label",
        all.join(", ")
    ))
}

/// The operator that makes the numbers of a value, those that only change its shape or kind passed over.
fn last_operator<'g>(graph: &'g Graph, name: &str) -> Option<&'g str> {
    let mut name = name;
    // Nodes are in order: each of them is passed once.
    for node in graph.nodes.iter().rev() {
        if node.outputs.first().is_none_or(|output| output != name) {
            continue;
        }
        match node.operator.as_str() {
            "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" | "Cast" => {
                name = node.inputs.first()?
            }
            operator => return Some(operator),
        }
    }
    None
}

/// The tensors of a file as the constants of a graph.
pub fn constants(tensors: Vec<RawTensor>) -> BTreeMap<String, Arc<Tensor>> {
    tensors
        .into_iter()
        .map(|RawTensor { info, bytes }| {
            let data = data(info.dtype, &bytes);
            (info.name, Arc::new(Tensor { shape: info.shape, data }))
        })
        .collect()
}

fn data(dtype: Dtype, bytes: &[u8]) -> Data {
    fn all<T, const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|word| read(*word)).collect()
    }
    match dtype {
        Dtype::F64 => Data::F64(all(bytes, f64::from_le_bytes)),
        Dtype::F32 => Data::F32(all(bytes, f32::from_le_bytes)),
        Dtype::F16 => Data::F32(all(bytes, |word| f16::from_le_bytes(word).to_f32())),
        Dtype::Bf16 => Data::F32(all(bytes, |word| bf16::from_le_bytes(word).to_f32())),
        Dtype::I64 => Data::I64(all(bytes, i64::from_le_bytes)),
        Dtype::I32 => Data::I32(all(bytes, i32::from_le_bytes)),
        Dtype::I16 => Data::I64(all(bytes, |word| i64::from(i16::from_le_bytes(word)))),
        Dtype::I8 => Data::I8(all(bytes, i8::from_le_bytes)),
        Dtype::U8 => Data::U8(bytes.to_vec()),
        Dtype::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
    }
}

/// Constants as a file of tensors holds them; words are left out.
pub fn raw_tensors<'t>(constants: impl IntoIterator<Item = (&'t String, &'t Arc<Tensor>)>) -> Vec<RawTensor> {
    constants.into_iter().filter_map(|(name, tensor)| raw_tensor(name, tensor)).collect()
}

fn raw_tensor(name: &str, tensor: &Tensor) -> Option<RawTensor> {
    let (dtype, bytes): (_, Vec<u8>) = match &tensor.data {
        Data::F32(values) => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::F64(values) => (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::I64(values) => (Dtype::I64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::I32(values) => (Dtype::I32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::I8(values) => (Dtype::I8, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Data::U8(values) => (Dtype::U8, values.clone()),
        Data::Bool(values) => (Dtype::Bool, values.iter().map(|&value| u8::from(value)).collect()),
        Data::Text(_) => return None,
    };
    Some(RawTensor { info: TensorInfo { name: name.to_owned(), dtype, shape: tensor.shape.clone() }, bytes })
}
