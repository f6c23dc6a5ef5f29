//! Joins trees that a graph adds up one by one into one ensemble.
//!
//! scikit-learn's isolation forest becomes a node for each tree that gives the number of a leaf, some thirty
//! that look up and compute what that leaf adds to the score (`LabelEncoder`, `Cast`, `Equal`, `Log`, ...),
//! and a `Sum` of all. What a leaf adds depends on the leaf alone: it is computed here, once for each leaf,
//! by the very nodes that would have, and becomes the leaf's weight in a single `TreeEnsembleRegressor`,
//! which adds up in the same order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use crate::model::graph::ir::{Attribute, DOMAIN, Graph, ML_DOMAIN, Node};
use crate::model::graph::plan::{Plan, Wanted, needs};
use crate::model::graph::tensor::{Data, Kind, Tensor};

const ENSEMBLE: &str = "TreeEnsembleRegressor";

/// Operators that work on each number alone. With a number and constants of one element they give a number.
const EACH: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Clip",
    "Div",
    "Equal",
    "Exp",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Reciprocal",
    "Relu",
    "Sigmoid",
    "Sign",
    "Sqrt",
    "Sub",
    "Sum",
    "Where",
];

/// What is known of a value.
#[derive(Debug, Clone)]
enum Form {
    /// Columns of an input of the graph.
    Columns { input: usize, columns: Arc<Vec<i64>> },
    /// A number that follows from a tree's leaf.
    Leaf(usize),
    /// The sum of such numbers, by their names, in this order.
    Sum(Vec<(usize, String)>),
}

/// A tree that is an ensemble of its own.
struct Tree<'g> {
    node: &'g Node,
    input: usize,
    columns: Option<Arc<Vec<i64>>>,
    /// The nodes that compute with its leaf.
    follows: Vec<usize>,
}

/// `graph` with sums of trees joined; `None` where there are none.
pub fn join_trees(graph: &Graph) -> Option<Graph> {
    let mut search = Search { graph, forms: HashMap::new(), trees: Vec::new() };
    for (at, node) in graph.nodes.iter().enumerate() {
        if let ([output], Some(form)) = (&node.outputs[..], search.form(at, node)) {
            search.forms.insert(output, form);
        }
    }
    let mut joined = graph.clone();
    let mut is_changed = false;
    for (at, terms) in search.sums() {
        if let Some(node) = search.join(at, terms) {
            joined.nodes[at] = node;
            is_changed = true;
        }
    }
    if !is_changed {
        return None;
    }
    drop_unneeded(&mut joined);
    Some(joined)
}

struct Search<'g> {
    graph: &'g Graph,
    forms: HashMap<&'g str, Form>,
    trees: Vec<Tree<'g>>,
}

impl<'g> Search<'g> {
    fn form(&mut self, at: usize, node: &'g Node) -> Option<Form> {
        match (node.domain.as_str(), node.operator.as_str()) {
            (DOMAIN, "Gather") => self.columns(node),
            (ML_DOMAIN, ENSEMBLE) => self.tree(node),
            (ML_DOMAIN, "LabelEncoder") => self.follow(at, node),
            (DOMAIN, "Reshape") if self.is_column(node.inputs.get(1)?) => self.follow(at, node),
            (DOMAIN, operator) if EACH.contains(&operator) => {
                self.follow(at, node).or_else(|| self.sum(node))
            }
            _ => None,
        }
    }

    /// The place of the graph's input `name`, where it is a table of `float32`.
    fn table(&self, name: &str) -> Option<usize> {
        let at = self.graph.inputs.iter().position(|input| input.name == name)?;
        let input = &self.graph.inputs[at];
        (input.kind == Kind::F32 && input.shape.len() == 2).then_some(at)
    }

    fn columns(&self, node: &Node) -> Option<Form> {
        let [table, places] = &node.inputs[..] else { return None };
        let input = self.table(table)?;
        if !matches!(node.attributes.get("axis"), Some(Attribute::Int(1 | -1))) {
            return None;
        }
        let places = self.graph.constants.get(places).filter(|places| places.shape.len() == 1)?;
        let columns = places.values::<i64>()?;
        columns
            .iter()
            .all(|&column| column >= 0)
            .then(|| Form::Columns { input, columns: Arc::new(columns.to_vec()) })
    }

    /// A tree whose leaves have one weight each, and to which nothing is added.
    fn tree(&mut self, node: &'g Node) -> Option<Form> {
        let [from] = &node.inputs[..] else { return None };
        let (input, columns) = match self.forms.get(from.as_str()) {
            Some(Form::Columns { input, columns }) => (*input, Some(Arc::clone(columns))),
            Some(_) => return None,
            None => (self.table(from)?, None),
        };
        let is = |name: &str, word: &str| match node.attributes.get(name) {
            None => true,
            Some(Attribute::Text(found)) => found == word,
            Some(_) => false,
        };
        let ids = ints(node, "nodes_treeids")?;
        let targets = ints(node, "target_ids")?;
        let nodes: BTreeSet<_> = ints(node, "target_nodeids")?.iter().collect();
        let is_plain = node
            .attributes
            .keys()
            .all(|name| PARTS.contains(&name.as_str()) || IGNORED.contains(&name.as_str()))
            && is("post_transform", "NONE")
            && is("aggregate_function", "SUM")
            && node.attributes.get("n_targets") == Some(&Attribute::Int(1))
            && ids.iter().chain(ints(node, "target_treeids")?).all(|id| Some(id) == ids.first())
            && targets.iter().all(|&target| target == 0)
            && nodes.len() == targets.len()
            && matches!(node.attributes.get("target_weights"), Some(Attribute::Floats(all)) if all.len() == targets.len());
        if !is_plain {
            return None;
        }
        self.trees.push(Tree { node, input, columns, follows: Vec::new() });
        Some(Form::Leaf(self.trees.len() - 1))
    }

    fn is_single(&self, name: &str) -> bool {
        self.graph.constants.get(name).is_some_and(|tensor| tensor.data.len() == 1 && tensor.shape.len() <= 2)
    }

    /// Whether it is the shape of a column.
    fn is_column(&self, name: &str) -> bool {
        self.graph
            .constants
            .get(name)
            .and_then(|shape| shape.values::<i64>())
            .is_some_and(|shape| shape == [-1, 1])
    }

    /// What a node makes of one tree's leaf and constants.
    fn follow(&mut self, at: usize, node: &Node) -> Option<Form> {
        let mut tree = None;
        let is_shape = node.operator == "Reshape";
        for name in node.inputs.iter().take(if is_shape { 1 } else { usize::MAX }) {
            match self.forms.get(name.as_str()) {
                Some(Form::Leaf(found)) if *tree.get_or_insert(*found) == *found => {}
                None if name.is_empty() || self.is_single(name) => {}
                _ => return None,
            }
        }
        let tree = tree?;
        self.trees[tree].follows.push(at);
        Some(Form::Leaf(tree))
    }

    /// A sum of several trees; what follows a sum is added to its end, as additions go from left to right.
    fn sum(&self, node: &Node) -> Option<Form> {
        if node.operator != "Sum" && node.operator != "Add" {
            return None;
        }
        let mut terms = Vec::new();
        for (place, name) in node.inputs.iter().enumerate() {
            match self.forms.get(name.as_str())? {
                Form::Leaf(tree) => terms.push((*tree, name.clone())),
                Form::Sum(first) if place == 0 => terms.clone_from(first),
                _ => return None,
            }
        }
        Some(Form::Sum(terms))
    }

    /// The sums that are not part of others, with the places of their nodes.
    fn sums(&self) -> Vec<(usize, &Vec<(usize, String)>)> {
        let mut needed: BTreeSet<&str> = self.graph.outputs.iter().map(String::as_str).collect();
        for node in &self.graph.nodes {
            let is_sum = node
                .outputs
                .first()
                .is_some_and(|name| matches!(self.forms.get(name.as_str()), Some(Form::Sum(_))));
            if !is_sum {
                needed.extend(needs(node));
            }
        }
        let sum = |(at, node): (usize, &'g Node)| match self.forms.get(node.outputs.first()?.as_str()) {
            Some(Form::Sum(terms)) if needed.contains(node.outputs[0].as_str()) => Some((at, terms)),
            _ => None,
        };
        self.graph.nodes.iter().enumerate().filter_map(sum).collect()
    }

    /// The ensemble that adds up `terms`, in the place of node `at`.
    fn join(&self, at: usize, terms: &[(usize, String)]) -> Option<Node> {
        let input = self.trees[terms.first()?.0].input;
        if terms.iter().any(|(tree, _)| self.trees[*tree].input != input) {
            return None;
        }
        let weights = self.weights(terms)?;
        let mut parts: BTreeMap<&str, Attribute> = BTreeMap::new();
        for (number, ((tree, _), weights)) in terms.iter().zip(weights).enumerate() {
            append(&mut parts, &self.trees[*tree], number as i64, weights)?;
        }
        let mut attributes: BTreeMap<_, _> =
            parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
        attributes.insert("n_targets".to_owned(), Attribute::Int(1));
        let node = &self.graph.nodes[at];
        Some(Node {
            name: node.name.clone(),
            domain: ML_DOMAIN.to_owned(),
            operator: ENSEMBLE.to_owned(),
            inputs: vec![self.graph.inputs[input].name.clone()],
            outputs: node.outputs.clone(),
            attributes,
            opset: None,
        })
    }

    /// What each leaf of each term adds: the graph's own nodes compute it, with a row for each leaf.
    fn weights(&self, terms: &[(usize, String)]) -> Option<Vec<Vec<f32>>> {
        let mut constants = self.graph.constants.clone();
        let mut places = BTreeSet::new();
        for (tree, _) in terms {
            let tree = &self.trees[*tree];
            let Some(Attribute::Floats(leaves)) = tree.node.attributes.get("target_weights") else {
                return None;
            };
            constants.insert(
                tree.node.outputs[0].clone(),
                Arc::new(Tensor::new([leaves.len(), 1], leaves.clone())),
            );
            places.extend(&tree.follows);
        }
        let part = Graph {
            inputs: Vec::new(),
            outputs: terms.iter().map(|(_, name)| name.clone()).collect(),
            constants,
            nodes: places.into_iter().map(|&at| self.graph.nodes[at].clone()).collect(),
            opsets: self.graph.opsets.clone(),
        };
        let prepared = Mutex::default();
        let wanted = Wanted {
            graph: &part,
            opsets: &self.graph.opsets,
            inputs: Vec::new(),
            outer: Vec::new(),
            rows: 1,
            singles: None,
            prepared: &prepared,
            first_node: 0,
        };
        // A node that cannot be planned is named when the graph itself is.
        let plan = Plan::new(&wanted).ok()?;
        (0..terms.len())
            .map(|at| match plan.output(at) {
                Data::F32(values) => Some(values.clone()),
                _ => None,
            })
            .collect()
    }
}

/// The lists that an ensemble is made of, and what is left out of it.
const PARTS: &[&str] = &[
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_modes",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
    "target_ids",
    "target_nodeids",
    "target_treeids",
    "target_weights",
];
const IGNORED: &[&str] = &["n_targets", "nodes_hitrates", "post_transform", "aggregate_function"];

fn ints<'n>(node: &'n Node, name: &str) -> Option<&'n [i64]> {
    match node.attributes.get(name) {
        Some(Attribute::Ints(values)) => Some(values),
        _ => None,
    }
}

/// Puts the lists of `tree` behind those in `parts`, as tree `number` with other weights.
fn append(
    parts: &mut BTreeMap<&str, Attribute>,
    tree: &Tree<'_>,
    number: i64,
    weights: Vec<f32>,
) -> Option<()> {
    let nodes = ints(tree.node, "nodes_treeids")?.len();
    let leaves = ints(tree.node, "target_ids")?.len();
    for &name in PARTS {
        let own = match (name, tree.node.attributes.get(name)) {
            ("nodes_treeids", _) => Attribute::Ints(vec![number; nodes]),
            ("target_treeids", _) => Attribute::Ints(vec![number; leaves]),
            ("target_weights", _) => Attribute::Floats(weights.clone()),
            ("nodes_featureids", Some(Attribute::Ints(features))) => {
                let place = |feature: &i64| match &tree.columns {
                    None => Some(*feature),
                    Some(columns) => columns.get(usize::try_from(*feature).ok()?).copied(),
                };
                Attribute::Ints(features.iter().map(place).collect::<Option<_>>()?)
            }
            ("nodes_missing_value_tracks_true", None) => Attribute::Ints(vec![0; nodes]),
            (_, Some(own)) => own.clone(),
            (_, None) => return None,
        };
        match (parts.get_mut(name), own) {
            (None, own) => drop(parts.insert(name, own)),
            (Some(Attribute::Ints(all)), Attribute::Ints(own)) => all.extend(own),
            (Some(Attribute::Floats(all)), Attribute::Floats(own)) => all.extend(own),
            (Some(Attribute::Texts(all)), Attribute::Texts(own)) => all.extend(own),
            _ => return None,
        }
    }
    Some(())
}

/// Takes out the nodes that no output needs.
fn drop_unneeded(graph: &mut Graph) {
    let mut needed: BTreeSet<String> = graph.outputs.iter().cloned().collect();
    let mut is_kept = vec![false; graph.nodes.len()];
    for (at, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|name| needed.contains(name)) {
            is_kept[at] = true;
            needed.extend(needs(node).into_iter().map(str::to_owned));
        }
    }
    let mut kept = is_kept.into_iter();
    graph.nodes.retain(|_| kept.next().unwrap_or(true));
}
