//! The outermost message of an ONNX file: versions, functions, and the graph, which is not read here.

use std::collections::BTreeMap;

use super::error::{OnnxError, count, quoted};
use super::function::Function;
use super::limits::{DOMAINS_MAX, FUNCTIONS_MAX, IR_VERSIONS, ir_versions};
use super::wire::Message;
use crate::model::graph::ir::{DOMAIN, ML_DOMAIN};
use crate::model::graph::{ML_OPSET_MAX, OPSET_MAX};

/// What a file says besides its graph.
pub struct Model<'a> {
    pub graph: Message<'a>,
    /// The version of each domain's operators.
    pub opsets: BTreeMap<String, i64>,
    pub functions: Vec<Function<'a>>,
}

impl<'a> Model<'a> {
    pub fn read(file: &'a [u8]) -> Result<Self, OnnxError> {
        let (mut ir_version, mut graph, mut opsets) = (None, None, BTreeMap::new());
        let mut functions = Vec::new();
        let mut counted = 0;
        for field in Message::file(file).fields() {
            let field = field?;
            match field.number {
                1 => ir_version = Some(field.int()?),
                7 if graph.replace(field.message()?).is_some() => {
                    return Err("it has two graphs, expected one".into());
                }
                8 => opset(field.message()?, &mut opsets)?,
                25 => {
                    count(&mut counted, FUNCTIONS_MAX, "functions", "functions_max")?;
                    functions.push(Function::read(field.message()?)?);
                }
                // Who wrote it, what it is for, how it was trained.
                _ => {}
            }
        }
        match ir_version {
            None => return Err("it has no ir_version, which each ONNX model begins with".into()),
            Some(version) if !IR_VERSIONS.contains(&version) => {
                return Err(format!(
                    "it has version {version} of the ONNX format (ir_version), expected {}: export it again, or convert it with `onnx.version_converter`",
                    ir_versions()
                )
                .into());
            }
            Some(_) => {}
        }
        let graph = graph.ok_or("it is an ONNX model without a graph")?;
        Ok(Self { graph, opsets, functions })
    }
}

/// Reads a domain and its version into `opsets`.
pub fn opset(message: Message<'_>, opsets: &mut BTreeMap<String, i64>) -> Result<(), OnnxError> {
    let (mut name, mut version) = (DOMAIN, 0);
    for field in message.fields() {
        let field = field?;
        match field.number {
            1 => name = domain(field.name()?),
            2 => version = field.int()?,
            _ => {}
        }
    }
    let max = match name {
        DOMAIN => OPSET_MAX,
        ML_DOMAIN => ML_OPSET_MAX,
        // Nodes of other domains are refused by name; that one is listed harms nobody.
        _ => i64::MAX,
    };
    if !(1..=max).contains(&version) {
        let expected = if max == i64::MAX { "1 or more".to_owned() } else { format!("1 to {max}") };
        return Err(format!(
            "it asks for version {version} of the operators of {} (opset), expected {expected}",
            quoted(name)
        )
        .into());
    }
    if opsets.len() == DOMAINS_MAX {
        return Err(format!("it has more than {DOMAINS_MAX} domains of operators (domains_max)").into());
    }
    match opsets.insert(name.to_owned(), version) {
        None => Ok(()),
        // skl2onnx writes some twice.
        Some(other) if other == version => Ok(()),
        Some(other) => Err(format!(
            "it asks for versions {other} and {version} of the operators of {}, expected one",
            quoted(name)
        )
        .into()),
    }
}

/// A domain by its full name: that of ONNX itself is often left out.
pub fn domain(name: &str) -> &str {
    if name.is_empty() { DOMAIN } else { name }
}

/// What a file is that is no ONNX model.
pub fn foreign(file: &[u8]) -> Option<String> {
    let what = if file.starts_with(b"PK\x03\x04") {
        "a zip archive, such as torch.save writes: let the name of a PyTorch file end in .pt, or export the model with torch.onnx.export".to_owned()
    } else if is_graph(file) {
        "the graph of an ONNX model alone (GraphProto): wrap it with `onnx.helper.make_model(graph)` and save that".to_owned()
    } else if file.first() == Some(&IR_VERSION_KEY) {
        return None;
    } else {
        crate::model::foreign::name(file)?
    };
    Some(format!("this is no ONNX model but {what}"))
}

/// What a model's file begins with: the field `ir_version`.
const IR_VERSION_KEY: u8 = 0x08;

/// Whether `file` is a graph, without the model around it: nodes first, inputs or outputs later.
fn is_graph(file: &[u8]) -> bool {
    let (mut nodes, mut values) = (false, false);
    for field in Message::file(file).fields() {
        let Ok(field) = field else { return false };
        match field.number {
            1 | 11 | 12 if field.message().is_err() => return false,
            1 => nodes = true,
            11 | 12 => values = true,
            _ => {}
        }
    }
    nodes && values
}
