//! A model as a graph: nodes that each make values of other values, in an order in which each needs only
//! what comes before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tensor::{Kind, Tensor};

/// The operators of ONNX itself; files write it as an empty domain too.
pub const DOMAIN: &str = "ai.onnx";
/// The operators of classical machine learning.
pub const ML_DOMAIN: &str = "ai.onnx.ml";

/// How deep bodies of nodes may nest, such as an `If` within a `Loop`.
pub const BODIES_DEPTH_MAX: usize = 8;

/// A graph, or the body of a node that has one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// What comes in with each row.
    pub inputs: Vec<Input>,
    /// The names of what it gives.
    pub outputs: Vec<String>,
    /// Values that are known: weights.
    pub constants: BTreeMap<String, Arc<Tensor>>,
    pub nodes: Vec<Node>,
    /// For each domain the version of its operators; empty in a body, for which its graph's holds.
    pub opsets: BTreeMap<String, i64>,
}

/// A value that comes in from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    pub kind: Kind,
    /// `None` for a size that a file leaves open. The first one is the batch.
    pub shape: Vec<Option<usize>>,
}

/// One operation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Its name, where it has one.
    pub name: String,
    /// The operator's domain, [`DOMAIN`] for ONNX itself.
    pub domain: String,
    /// The operator, such as `Gemm`.
    pub operator: String,
    /// The names of its inputs; empty for one that is left out.
    pub inputs: Vec<String>,
    /// The names of its outputs; empty for one that nobody wants.
    pub outputs: Vec<String>,
    pub attributes: BTreeMap<String, Attribute>,
    /// The version of its domain's operators, where that is another than its graph's: it comes from a
    /// function with a version of its own.
    pub opset: Option<i64>,
}

/// What a node says beside its inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    Tensor(Arc<Tensor>),
    /// A tensor of that name in the file of weights, before the two are brought together.
    Weight(String),
    /// A long list of integers or of numbers, likewise.
    List(String),
    Graph(Arc<Graph>),
}

impl Attribute {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a word",
            Self::Ints(_) => "integers",
            Self::Floats(_) => "numbers",
            Self::Texts(_) => "words",
            Self::Tensor(_) | Self::Weight(_) => "a tensor",
            Self::List(_) => "a list",
            Self::Graph(_) => "a graph",
        }
    }
}
