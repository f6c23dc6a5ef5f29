//! A graph apart from its weights, and together with them again: the one in `config.json`, the others in a
//! file of tensors beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ir::{Attribute, DOMAIN, Graph, Node};
use super::tensor::{Data, Tensor};

/// The longest list that is written into `config.json`; longer ones go into the file of weights.
const LIST_MAX: usize = 16;

/// Takes all tensors and long lists out of `graph`, which then names them.
pub fn take_apart(graph: &mut Graph) -> BTreeMap<String, Arc<Tensor>> {
    let mut apart = Apart { tensors: BTreeMap::new(), taken: BTreeSet::new(), number: 0 };
    names(graph, &mut apart.taken);
    let constants = std::mem::take(&mut graph.constants);
    for (name, tensor) in constants {
        match tensor.data {
            // A file of tensors has no words.
            Data::Text(_) => drop(graph.constants.insert(name, tensor)),
            _ => drop(apart.tensors.insert(name, tensor)),
        }
    }
    apart.nodes(graph);
    apart.tensors
}

/// Every name of a constant, bodies' among them: a tensor that is taken out must have another.
fn names(graph: &Graph, into: &mut BTreeSet<String>) {
    into.extend(graph.constants.keys().cloned());
    for attribute in graph.nodes.iter().flat_map(|node| node.attributes.values()) {
        if let Attribute::Graph(body) = attribute {
            names(body, into);
        }
    }
}

struct Apart {
    tensors: BTreeMap<String, Arc<Tensor>>,
    taken: BTreeSet<String>,
    number: usize,
}

impl Apart {
    fn nodes(&mut self, graph: &mut Graph) {
        for node in &mut graph.nodes {
            self.node(node);
        }
    }

    /// Constants of a body become nodes: two bodies may have different ones of one name, a file may not.
    fn body(&mut self, body: &mut Graph) {
        let constants = std::mem::take(&mut body.constants).into_iter().map(|(name, tensor)| Node {
            domain: DOMAIN.to_owned(),
            operator: "Constant".to_owned(),
            outputs: vec![name],
            attributes: [("value".to_owned(), Attribute::Tensor(tensor))].into(),
            ..Node::default()
        });
        body.nodes.splice(0..0, constants);
        self.nodes(body);
    }

    fn node(&mut self, node: &mut Node) {
        let number = self.number;
        self.number += 1;
        for (key, attribute) in &mut node.attributes {
            let (tensor, is_list) = match attribute {
                Attribute::Tensor(tensor) if !matches!(tensor.data, Data::Text(_)) => {
                    (Arc::clone(tensor), false)
                }
                Attribute::Ints(values) if values.len() > LIST_MAX => {
                    (Arc::new(Tensor::new([values.len()], std::mem::take(values))), true)
                }
                Attribute::Floats(values) if values.len() > LIST_MAX => {
                    (Arc::new(Tensor::new([values.len()], std::mem::take(values))), true)
                }
                Attribute::Graph(body) => {
                    self.body(Arc::make_mut(body));
                    continue;
                }
                _ => continue,
            };
            let mut name = format!("node{number}.{key}");
            while !self.taken.insert(name.clone()) {
                name.push('_');
            }
            self.tensors.insert(name.clone(), tensor);
            *attribute = if is_list { Attribute::List(name) } else { Attribute::Weight(name) };
        }
    }
}

/// Brings `graph` and its weights together.
///
/// # Errors
/// A sentence for each tensor that is missing or that nobody names.
pub fn bring_together(
    graph: &mut Graph,
    mut tensors: BTreeMap<String, Arc<Tensor>>,
) -> Result<(), Vec<String>> {
    let mut together = Together { wanted: BTreeSet::new(), problems: Vec::new() };
    together.attributes(graph, &tensors);
    let used = used(graph);
    for name in tensors.keys() {
        if !together.wanted.contains(name) && !used.contains(name) {
            together.problems.push(format!("{} is in the file and not used", name.escape_debug()));
        }
    }
    tensors.retain(|name, _| used.contains(name));
    // Bodies see what stands around them.
    graph.constants.extend(tensors);
    if together.problems.is_empty() { Ok(()) } else { Err(together.problems) }
}

/// The names of the values that nodes take in, or that a graph gives.
fn used(graph: &Graph) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = graph.outputs.iter().cloned().collect();
    for node in &graph.nodes {
        all.extend(node.inputs.iter().cloned());
        for attribute in node.attributes.values() {
            if let Attribute::Graph(body) = attribute {
                all.extend(used(body));
            }
        }
    }
    all
}

struct Together {
    wanted: BTreeSet<String>,
    problems: Vec<String>,
}

impl Together {
    fn attributes(&mut self, graph: &mut Graph, tensors: &BTreeMap<String, Arc<Tensor>>) {
        for attribute in graph.nodes.iter_mut().flat_map(|node| node.attributes.values_mut()) {
            let found = match &mut *attribute {
                Attribute::Weight(name) => self.named(name, tensors).map(Attribute::Tensor),
                Attribute::List(name) => {
                    let name = name.clone();
                    self.named(&name, tensors).and_then(|tensor| self.list(&name, &tensor))
                }
                Attribute::Graph(body) => {
                    self.attributes(Arc::make_mut(body), tensors);
                    continue;
                }
                _ => continue,
            };
            if let Some(found) = found {
                *attribute = found;
            }
        }
    }

    fn named(&mut self, name: &str, tensors: &BTreeMap<String, Arc<Tensor>>) -> Option<Arc<Tensor>> {
        self.wanted.insert(name.to_owned());
        let found = tensors.get(name).cloned();
        if found.is_none() {
            self.problems.push(format!("{} is missing", name.escape_debug()));
        }
        found
    }

    fn list(&mut self, name: &str, tensor: &Tensor) -> Option<Attribute> {
        match (&tensor.data, tensor.shape.len()) {
            (Data::I64(values), 1) => Some(Attribute::Ints(values.clone())),
            (Data::F32(values), 1) => Some(Attribute::Floats(values.clone())),
            _ => {
                let found = tensor.tensor_type();
                self.problems
                    .push(format!("{} is {found}, expected a list of int64 or float32", name.escape_debug()));
                None
            }
        }
    }
}
