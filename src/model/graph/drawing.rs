//! A graph for people: its nodes in order with what they give and cost, and a drawing for Graphviz.

use std::fmt::Write;
use std::time::Duration;

use super::ir::{Attribute, Graph, Node};
use super::network::Network;

/// A node for which there is something to do, as it runs for one row.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// Its name, or that of its first output where it has none.
    pub name: String,
    /// Its operator, with the domain where that is not ONNX's own; and those of the nodes behind it that it
    /// does as well.
    pub operator: String,
    /// What it gives for one row, such as `float32 [1, 16]`.
    pub outputs: Vec<String>,
    /// The numbers among its inputs and attributes that are known.
    pub parameters: usize,
    /// Multiplications and additions for one row.
    pub multiply_adds: u64,
    /// What it takes for one row, where that was measured.
    pub time: Option<Duration>,
}

/// The nodes of `network` in the order in which they run; those that only rename or reshape are left out, and
/// so are those that could be computed when it was loaded.
pub fn nodes(network: &Network) -> Vec<NodeInfo> {
    let graph = network.graph();
    let info = |step: super::plan::StepInfo| {
        let node = graph.nodes.get(step.node);
        // Nodes that it does as well are a part of it.
        let parts: Vec<_> =
            node.into_iter().chain(step.fused.iter().filter_map(|&at| graph.nodes.get(at))).collect();
        let own = node.map_or(usize::MAX, |node| node.outputs.len());
        NodeInfo {
            name: node.map_or_else(|| format!("node {}", step.node), name),
            operator: node.map_or_else(|| "in a body".to_owned(), |_| joined(&parts)),
            // What comes behind the node's own is what the kernel has for itself.
            outputs: step.outputs.iter().take(own).map(ToString::to_string).collect(),
            parameters: parts.iter().map(|node| parameters(graph, node)).sum(),
            multiply_adds: step.multiply_adds,
            time: None,
        }
    };
    network.single().steps().map(info).collect()
}

fn name(node: &Node) -> String {
    let named = Some(&node.name).filter(|name| !name.is_empty()).or(node.outputs.first());
    named.map_or(String::new(), |name| name.escape_debug().to_string())
}

/// The operators of a step, such as `Conv + BatchNormalization + Relu`.
fn joined(nodes: &[&Node]) -> String {
    nodes.iter().map(|node| operator(node)).collect::<Vec<_>>().join(" + ")
}

fn operator(node: &Node) -> String {
    let operator = node.operator.escape_debug();
    if node.domain == super::ir::DOMAIN {
        operator.to_string()
    } else {
        format!("{}:{operator}", node.domain.escape_debug())
    }
}

fn parameters(graph: &Graph, node: &Node) -> usize {
    let inputs =
        node.inputs.iter().filter_map(|name| graph.constants.get(name)).map(|tensor| tensor.data.len());
    let attributes = node.attributes.values().map(|attribute| match attribute {
        Attribute::Floats(values) => values.len(),
        Attribute::Tensor(tensor) => tensor.data.len(),
        _ => 0,
    });
    inputs.chain(attributes).sum()
}

/// The graph in the language of Graphviz: an ellipse for each value that comes in or goes out, a box for each
/// node.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph model {\n    rankdir=TB;\n    node [fontname=\"sans-serif\"];\n");
    let quoted = |name: &str| name.escape_default().to_string().replace("\\'", "'");
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a text does not fail.
        let _: Result<(), std::fmt::Error> = text.write_fmt(line);
    };
    for input in &graph.inputs {
        let name = quoted(&input.name);
        line(format_args!(
            "    \"v:{name}\" [label=\"{name}\\n{} {}\", shape=ellipse];\n",
            input.kind,
            Sizes(&input.shape)
        ));
    }
    let made_by =
        |name: &str| graph.nodes.iter().position(|node| node.outputs.iter().any(|output| output == name));
    for (at, node) in graph.nodes.iter().enumerate() {
        let (operator, name) = (quoted(&operator(node)), quoted(&node.name));
        line(format_args!("    n{at} [label=\"{operator}\\n{name}\", shape=box];\n"));
        for input in node.inputs.iter().filter(|input| !input.is_empty()) {
            if let Some(maker) = made_by(input) {
                line(format_args!("    n{maker} -> n{at};\n"));
            } else if graph.inputs.iter().any(|given| given.name == *input) {
                line(format_args!("    \"v:{}\" -> n{at};\n", quoted(input)));
            }
        }
    }
    for output in &graph.outputs {
        let name = quoted(output);
        line(format_args!("    \"o:{name}\" [label=\"{name}\", shape=ellipse];\n"));
        if let Some(maker) = made_by(output) {
            line(format_args!("    n{maker} -> \"o:{name}\";\n"));
        }
    }
    text.push_str("}\n");
    text
}

/// Sizes, of which those that are open are written as `?`.
struct Sizes<'a>(&'a [Option<usize>]);

impl std::fmt::Display for Sizes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = self.0.iter().map(|size| size.map_or("?".to_owned(), |size| size.to_string()));
        write!(f, "[{}]", sizes.collect::<Vec<_>>().join(", "))
    }
}
