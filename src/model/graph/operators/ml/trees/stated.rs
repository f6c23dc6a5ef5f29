//! The attributes of `TreeEnsembleRegressor` and `TreeEnsembleClassifier`, versions 1 to 3: parallel lists in
//! which a node is named by its tree's number and its own.

use std::collections::HashMap;

use super::draft::{Branch, Draft, Node, Test};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::operators::ml::expect_length;

/// What the lists of weights are called.
pub struct Names {
    ids: &'static str,
    nodes: &'static str,
    trees: &'static str,
    weights: &'static str,
    weights_tensor: &'static str,
}

pub const REGRESSOR: Names = Names {
    ids: "target_ids",
    nodes: "target_nodeids",
    trees: "target_treeids",
    weights: "target_weights",
    weights_tensor: "target_weights_as_tensor",
};

pub const CLASSIFIER: Names = Names {
    ids: "class_ids",
    nodes: "class_nodeids",
    trees: "class_treeids",
    weights: "class_weights",
    weights_tensor: "class_weights_as_tensor",
};

/// Numbers of a list, or of a tensor from version 3 on.
#[derive(Clone, Copy)]
enum Numbers<'a> {
    Singles(&'a [f32]),
    Doubles(&'a [f64]),
}

impl Numbers<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Singles(values) => values.len(),
            Self::Doubles(values) => values.len(),
        }
    }

    fn get(&self, at: usize) -> f64 {
        match self {
            Self::Singles(values) => f64::from(values[at]),
            Self::Doubles(values) => values[at],
        }
    }
}

/// The numbers of the attribute `list`, or of the attribute `tensor`.
fn numbers<'a>(context: &Context<'a>, list: &str, tensor: &str) -> Result<Numbers<'a>, Problem> {
    let values = context.floats(list)?.unwrap_or_default();
    match context.tensor(tensor)? {
        None => Ok(Numbers::Singles(values)),
        Some(_) if !values.is_empty() => {
            Err(format!("it has both {list} and {tensor}, expected one of them").into())
        }
        Some(found) => match (found.values::<f32>(), found.values::<f64>()) {
            (Some(values), _) => Ok(Numbers::Singles(values)),
            (_, Some(values)) => Ok(Numbers::Doubles(values)),
            _ => {
                Err(format!("its attribute {tensor} is {}, expected float32 or float64", found.tensor_type())
                    .into())
            }
        },
    }
}

/// Targets and weights.
type Weights = Vec<(u32, f64)>;

/// The lists, whose lengths fit.
pub struct Stated<'a> {
    trees: &'a [i64],
    ids: &'a [i64],
    features: &'a [i64],
    modes: &'a [String],
    values: Numbers<'a>,
    yes: &'a [i64],
    no: &'a [i64],
    /// Empty where nothing is said of NaN.
    takes_nan: &'a [i64],
    weight_targets: &'a [i64],
    weight_trees: &'a [i64],
    weight_nodes: &'a [i64],
    weights: Numbers<'a>,
    base: Numbers<'a>,
    /// Whether a list is of doubles, so that all is computed in doubles.
    pub is_double: bool,
}

impl<'a> Stated<'a> {
    pub fn read(context: &Context<'a>, names: &Names) -> Result<Self, Problem> {
        context.ignore(&["nodes_hitrates", "nodes_hitrates_as_tensor"]);
        let ints = |name: &str| Ok::<_, Problem>(context.ints(name)?.unwrap_or_default());
        let mut stated = Self {
            trees: ints("nodes_treeids")?,
            ids: ints("nodes_nodeids")?,
            features: ints("nodes_featureids")?,
            modes: context.texts("nodes_modes")?.unwrap_or_default(),
            values: numbers(context, "nodes_values", "nodes_values_as_tensor")?,
            yes: ints("nodes_truenodeids")?,
            no: ints("nodes_falsenodeids")?,
            takes_nan: ints("nodes_missing_value_tracks_true")?,
            weight_targets: ints(names.ids)?,
            weight_trees: ints(names.trees)?,
            weight_nodes: ints(names.nodes)?,
            weights: numbers(context, names.weights, names.weights_tensor)?,
            base: numbers(context, "base_values", "base_values_as_tensor")?,
            is_double: false,
        };
        let all = [stated.values, stated.weights, stated.base];
        stated.is_double = all.iter().any(|numbers| matches!(numbers, Numbers::Doubles(_)));
        stated.check_lengths(names)?;
        Ok(stated)
    }

    fn check_lengths(&self, names: &Names) -> Result<(), Problem> {
        let nodes = self.ids.len();
        for (name, found) in [
            ("nodes_treeids", self.trees.len()),
            ("nodes_featureids", self.features.len()),
            ("nodes_modes", self.modes.len()),
            ("nodes_values", self.values.len()),
            ("nodes_truenodeids", self.yes.len()),
            ("nodes_falsenodeids", self.no.len()),
        ] {
            expect_length(name, found, nodes, "one for each of nodes_nodeids")?;
        }
        if !self.takes_nan.is_empty() {
            let why = "one for each of nodes_nodeids";
            expect_length("nodes_missing_value_tracks_true", self.takes_nan.len(), nodes, why)?;
        }
        let weights = self.weight_targets.len();
        for (name, found) in [
            (names.trees, self.weight_trees.len()),
            (names.nodes, self.weight_nodes.len()),
            (names.weights, self.weights.len()),
        ] {
            expect_length(name, found, weights, &format!("one for each of {}", names.ids))?;
        }
        Ok(())
    }

    /// The base values, of which there must be as many as one of `expected` says.
    pub fn base(&self, expected: &[usize]) -> Result<Vec<f64>, Problem> {
        let found = self.base.len();
        if !expected.contains(&found) {
            let expected: Vec<_> = expected.iter().map(usize::to_string).collect();
            return Err(format!(
                "its attribute base_values has {found} values, expected {}",
                expected.join(" or ")
            )
            .into());
        }
        Ok((0..found).map(|at| self.base.get(at)).collect())
    }

    /// The target that all weights are for, where it is the same one.
    pub fn only_target(&self) -> Option<usize> {
        let first = *self.weight_targets.first()?;
        // Whether there is such a target is checked with the trees.
        let is_same = self.weight_targets.iter().all(|&target| target == first);
        usize::try_from(first).ok().filter(|&first| is_same && first < 2)
    }

    /// Whether no weight is negative.
    pub fn is_positive(&self) -> bool {
        // NaN is not negative either.
        !(0..self.weights.len()).any(|at| self.weights.get(at) < 0.0)
    }

    /// The trees, with every name of a node followed.
    pub fn draft(&self, targets: usize) -> Result<Draft, Problem> {
        let places = Places::new(self.trees, self.ids)?;
        let (weights, leaves) = self.weights(&places, targets)?;
        let mut nodes = Vec::with_capacity(self.ids.len());
        let mut is_child = vec![false; self.ids.len()];
        for at in 0..self.ids.len() {
            let node = self.node(&places, at, &leaves)?;
            if let Node::Branch(branch) = &node {
                (is_child[branch.yes], is_child[branch.no]) = (true, true);
            }
            nodes.push(node);
        }
        let roots = self.roots(&is_child)?;
        Ok(Draft { nodes, roots, weights, sets: Vec::new() })
    }

    fn node(&self, places: &Places<'_>, at: usize, leaves: &[usize]) -> Result<Node, Problem> {
        let (tree, id) = (self.trees[at], self.ids[at]);
        let mode = self.modes[at].as_str();
        let found = Test::NAMES.iter().find(|(name, _)| *name == mode);
        let Some((_, test)) = found else {
            let names: Vec<_> = Test::NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "its node {id} of tree {tree} has the mode \"{}\", expected one of {}",
                mode.escape_debug(),
                names.join(", ")
            )
            .into());
        };
        let Some(test) = *test else { return Ok(Node::Leaf(leaves[at]..leaves[at + 1])) };
        let feature = usize::try_from(self.features[at]).map_err(|_| {
            Problem(format!(
                "its node {id} of tree {tree} looks at feature {}, expected 0 or more",
                self.features[at]
            ))
        })?;
        let child = |child: i64| {
            places.find(tree, child).ok_or_else(|| {
                Problem(format!(
                    "its node {id} of tree {tree} leads to node {child}, which that tree has not"
                ))
            })
        };
        let takes_nan = self.takes_nan.get(at).is_some_and(|&flag| flag != 0);
        let (yes, no) = (child(self.yes[at])?, child(self.no[at])?);
        Ok(Node::Branch(Branch { feature, test, value: self.values.get(at), takes_nan, yes, no }))
    }

    /// The weights, those of a leaf beside each other, and where those of each node start.
    fn weights(&self, places: &Places<'_>, targets: usize) -> Result<(Weights, Vec<usize>), Problem> {
        let mut leaves = vec![0_usize; self.ids.len() + 1];
        let mut owners = Vec::with_capacity(self.weight_targets.len());
        for (at, &target) in self.weight_targets.iter().enumerate() {
            let (tree, id) = (self.weight_trees[at], self.weight_nodes[at]);
            let owner = places.find(tree, id).ok_or_else(|| {
                Problem(format!("it has a weight for node {id} of tree {tree}, which is not there"))
            })?;
            if usize::try_from(target).map_or(true, |target| target >= targets) {
                return Err(format!(
                    "it has a weight for target {target} at node {id} of tree {tree}, expected 0 to {}",
                    targets - 1
                )
                .into());
            }
            owners.push(owner);
            leaves[owner + 1] += 1;
        }
        for at in 1..leaves.len() {
            leaves[at] += leaves[at - 1];
        }
        let mut next = leaves.clone();
        let mut weights = vec![(0, 0.0); owners.len()];
        for (at, owner) in owners.into_iter().enumerate() {
            weights[next[owner]] = (self.weight_targets[at] as u32, self.weights.get(at));
            next[owner] += 1;
        }
        Ok((weights, leaves))
    }

    /// The root of each tree, in the order in which the trees appear: the node that no other leads to. Where
    /// there are several, it is the first of them that is listed.
    fn roots(&self, is_child: &[bool]) -> Result<Vec<usize>, Problem> {
        let mut known: HashMap<i64, usize> = HashMap::new();
        let mut roots: Vec<Option<usize>> = Vec::new();
        let mut last = None;
        for (at, (&tree, &is_child)) in self.trees.iter().zip(is_child).enumerate() {
            // Nodes of a tree mostly follow each other.
            let place = match last {
                Some((number, place)) if number == tree => place,
                _ => *known.entry(tree).or_insert_with(|| {
                    roots.push(None);
                    roots.len() - 1
                }),
            };
            last = Some((tree, place));
            if !is_child && roots[place].is_none() {
                roots[place] = Some(at);
            }
        }
        match roots.iter().position(Option::is_none) {
            None => Ok(roots.into_iter().flatten().collect()),
            Some(place) => {
                let tree = known.iter().find(|(_, at)| **at == place).map_or(0, |(tree, _)| *tree);
                Err(format!(
                    "its tree {tree} has no root: each of its nodes follows another one, in a circle"
                )
                .into())
            }
        }
    }
}

/// Where each node is in the lists, by its tree's number and its own.
struct Places<'a> {
    trees: &'a [i64],
    ids: &'a [i64],
    /// The first place of each tree: nodes are mostly listed in order from there.
    starts: HashMap<i64, usize>,
    /// All places, in the order of trees and nodes.
    sorted: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(trees: &'a [i64], ids: &'a [i64]) -> Result<Self, Problem> {
        let mut starts = HashMap::new();
        for (at, tree) in trees.iter().enumerate() {
            if at == 0 || trees[at - 1] != *tree {
                starts.entry(*tree).or_insert(at);
            }
        }
        let mut sorted: Vec<_> = (0..ids.len()).collect();
        sorted.sort_by_key(|&at| (trees[at], ids[at]));
        for pair in sorted.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            if (trees[a], ids[a]) == (trees[b], ids[b]) {
                return Err(format!("it has node {} of tree {} twice", ids[a], trees[a]).into());
            }
        }
        Ok(Self { trees, ids, starts, sorted })
    }

    fn find(&self, tree: i64, id: i64) -> Option<usize> {
        let start = *self.starts.get(&tree)?;
        let guess = usize::try_from(id).ok().and_then(|id| start.checked_add(id));
        if let Some(guess) = guess
            && self.ids.get(guess) == Some(&id)
            && self.trees[guess] == tree
        {
            return Some(guess);
        }
        let key = |at: &usize| (self.trees[*at], self.ids[*at]);
        self.sorted.binary_search_by_key(&(tree, id), key).ok().map(|at| self.sorted[at])
    }
}
