//! A graph of an ONNX file, or the body of a node that has one: weights, nodes, inputs and outputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::error::{OnnxError, count, quoted};
use super::external::External;
use super::function::{Function, Scope, places};
use super::limits::{INPUTS_MAX, TENSORS_MAX};
use super::model::Model;
use super::tensor::{TensorProto, described};
use super::value_info::ValueInfo;
use super::wire::Message;
use crate::model::graph::Graph;
use crate::model::graph::ir::BODIES_DEPTH_MAX;

/// What reads the graphs of a file, with what all of them have in common.
pub struct Reader<'a> {
    graph: Message<'a>,
    pub functions: &'a [Function<'a>],
    /// Where each function is among them, by domain, name and overload.
    pub places: HashMap<(&'a str, &'a str, &'a str), usize>,
    pub opsets: BTreeMap<String, i64>,
    pub external: External<'a>,
    pub counted: Counted,
}

/// What has been read so far, of things that are bounded for the whole file.
#[derive(Default)]
pub struct Counted {
    pub nodes: usize,
    pub values: usize,
    pub tensors: usize,
    pub words: usize,
    pub calls: usize,
    pub called_bytes: usize,
}

impl<'a> Reader<'a> {
    pub fn new(model: &'a Model<'a>, directory: Option<&'a Path>, bytes: u64) -> Self {
        Self {
            graph: model.graph,
            functions: &model.functions,
            places: HashMap::new(),
            opsets: model.opsets.clone(),
            external: External::new(directory, bytes),
            counted: Counted::default(),
        }
    }

    /// The graph of the model itself.
    pub fn model(mut self) -> Result<Graph, OnnxError> {
        self.places = places(self.functions)?;
        let parts = Parts::read(self.graph)?;
        let mut graph = self.filled(&parts, &Scope::default())?;
        for info in &parts.inputs {
            // Until version 3 of the format weights were listed among the inputs, as what they are unless
            // somebody gives others.
            if !graph.constants.contains_key(info.name) {
                graph.inputs.push(info.input()?);
            }
        }
        check_values(&graph)?;
        check_outputs(&graph)?;
        graph.opsets = self.opsets;
        Ok(graph)
    }

    /// The body of a node that is read in `scope`.
    pub fn body(&mut self, message: Message<'a>, scope: &Scope<'_>) -> Result<Graph, OnnxError> {
        let scope = scope.deeper();
        if scope.depth > BODIES_DEPTH_MAX {
            return Err(format!(
                "bodies of nodes are nested more than {BODIES_DEPTH_MAX} deep (bodies_depth_max)"
            )
            .into());
        }
        let parts = Parts::read(message)?;
        let mut graph = self.filled(&parts, &scope)?;
        for info in &parts.inputs {
            let mut input = info.body_input()?;
            input.name = scope.name(&input.name);
            if !graph.constants.contains_key(&input.name) {
                graph.inputs.push(input);
            }
        }
        check_values(&graph)?;
        Ok(graph)
    }

    /// A graph with all but its inputs.
    fn filled(&mut self, parts: &Parts<'a>, scope: &Scope<'_>) -> Result<Graph, OnnxError> {
        let mut graph = Graph::default();
        for &message in &parts.weights {
            count(&mut self.counted.tensors, TENSORS_MAX, "tensors", "tensors_max")?;
            let proto = TensorProto::read(message, &mut self.counted.words)
                .map_err(|error| error.within("one of its weights"))?;
            let name = proto.name;
            if name.is_empty() {
                return Err("one of its weights has no name".into());
            }
            let tensor = proto.tensor(&mut self.external).map_err(|error| error.within(described(name)))?;
            if graph.constants.insert(scope.name(name), Arc::new(tensor)).is_some() {
                return Err(format!("two of its weights are called {}", quoted(name)).into());
            }
        }
        for &message in &parts.nodes {
            self.node(message, scope, &mut graph.nodes)?;
        }
        for info in &parts.outputs {
            graph.outputs.push(scope.name(info.name));
        }
        Ok(graph)
    }
}

/// The parts of a graph as they stand in the file.
#[derive(Default)]
struct Parts<'a> {
    nodes: Vec<Message<'a>>,
    weights: Vec<Message<'a>>,
    inputs: Vec<ValueInfo<'a>>,
    outputs: Vec<ValueInfo<'a>>,
}

impl<'a> Parts<'a> {
    fn read(message: Message<'a>) -> Result<Self, OnnxError> {
        use super::limits::NODES_MAX;

        let mut parts = Self::default();
        let (mut nodes, mut weights, mut inputs, mut outputs) = (0, 0, 0, 0);
        for field in message.fields() {
            let field = field?;
            match field.number {
                1 => {
                    count(&mut nodes, NODES_MAX, "nodes", "nodes_max")?;
                    parts.nodes.push(field.message()?);
                }
                5 => {
                    count(&mut weights, TENSORS_MAX, "tensors", "tensors_max")?;
                    parts.weights.push(field.message()?);
                }
                11 => {
                    // Until version 3 of the format all weights are among them.
                    count(&mut inputs, TENSORS_MAX, "inputs", "tensors_max")?;
                    parts.inputs.push(ValueInfo::read(field.message()?)?);
                }
                12 => {
                    count(&mut outputs, INPUTS_MAX, "outputs", "inputs_max")?;
                    parts.outputs.push(ValueInfo::read(field.message()?)?);
                }
                15 => {
                    return Err("it has sparse weights (sparse_initializer), which are not supported; export them dense".into());
                }
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// Refuses values without a name, and two values of one name: each is made once.
fn check_values(graph: &Graph) -> Result<(), OnnxError> {
    if graph.inputs.len() > INPUTS_MAX {
        return Err(format!("it has more than {INPUTS_MAX} inputs (inputs_max)").into());
    }
    let mut made: BTreeSet<&str> = graph.constants.keys().map(String::as_str).collect();
    for input in &graph.inputs {
        if input.name.is_empty() {
            return Err("one of its inputs has no name".into());
        }
        if !made.insert(&input.name) {
            return Err(format!("two of its inputs are called {}", quoted(&input.name)).into());
        }
    }
    let outputs = graph.nodes.iter().flat_map(|node| &node.outputs);
    for name in outputs.filter(|name| !name.is_empty()) {
        if !made.insert(name) {
            return Err(
                format!("the value {} is made twice, expected each to be made once", quoted(name)).into()
            );
        }
    }
    if graph.outputs.iter().any(String::is_empty) {
        return Err("one of its outputs has no name".into());
    }
    Ok(())
}

/// Refuses a model without outputs, and two of one name. A body may give a value twice.
fn check_outputs(graph: &Graph) -> Result<(), OnnxError> {
    let mut outputs = BTreeSet::new();
    match graph.outputs.iter().find(|name| !outputs.insert(name.as_str())) {
        _ if graph.outputs.is_empty() => Err("it has no outputs".into()),
        None => Ok(()),
        Some(name) => Err(format!("two of its outputs are called {}", quoted(name)).into()),
    }
}
