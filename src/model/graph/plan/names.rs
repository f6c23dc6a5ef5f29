//! What nodes need and are called.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::graph::ir::{Attribute, DOMAIN, Graph, Node};
use crate::model::graph::tensor::TensorType;

/// The names of all values that `node` needs, those that its bodies take from around them among them. Bodies
/// nest no deeper than [`crate::model::graph::ir::BODIES_DEPTH_MAX`], which whoever makes a graph sees to.
pub fn needs(node: &Node) -> Vec<&str> {
    let own = node.inputs.iter().map(String::as_str).filter(|name| !name.is_empty());
    let mut names: Vec<_> = own.collect();
    for attribute in node.attributes.values() {
        if let Attribute::Graph(body) = attribute {
            names.extend(captured(body));
        }
    }
    names
}

/// How many nodes a body has, those of bodies in it among them.
pub fn nodes(body: &Graph) -> usize {
    let inner =
        body.nodes.iter().flat_map(|node| node.attributes.values()).filter_map(|attribute| match attribute {
            Attribute::Graph(body) => Some(nodes(body)),
            _ => None,
        });
    body.nodes.len() + inner.sum::<usize>()
}

/// The names of the values that a body takes from around it.
pub fn captured(body: &Graph) -> BTreeSet<&str> {
    let mut made: BTreeSet<&str> = body.constants.keys().map(String::as_str).collect();
    made.extend(body.inputs.iter().map(|input| input.name.as_str()));
    let mut captured = BTreeSet::new();
    for node in &body.nodes {
        captured.extend(needs(node).into_iter().filter(|name| !made.contains(name)));
        made.extend(node.outputs.iter().map(String::as_str));
    }
    captured.extend(body.outputs.iter().map(String::as_str).filter(|name| !made.contains(name)));
    captured
}

/// The multiplications and additions of a kernel that does not say: one for each element that it gives.
pub fn default_cost(outputs: &[TensorType]) -> u64 {
    outputs.first().and_then(TensorType::elements).map_or(u64::MAX, |elements| elements as u64)
}

/// A node for messages, such as `node 3 "/fc1/Gemm" (Gemm, opset 13)`.
pub fn describe(at: usize, node: &Node, opsets: &BTreeMap<String, i64>) -> String {
    let name =
        if node.name.is_empty() { String::new() } else { format!(" \"{}\"", node.name.escape_debug()) };
    let domain =
        if node.domain == DOMAIN { String::new() } else { format!("{}:", node.domain.escape_debug()) };
    let opset = node
        .opset
        .or_else(|| opsets.get(&node.domain).copied())
        .map_or("no opset".to_owned(), |opset| format!("opset {opset}"));
    format!("node {at}{name} ({domain}{}, {opset})", node.operator.escape_debug())
}
