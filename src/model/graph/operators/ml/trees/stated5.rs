//! The attributes of `TreeEnsemble`, version 5: branches and leaves in lists of their own, named by their
//! places.

use super::draft::{Branch, Draft, Node, Test};
use super::scores::Aggregate;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::operators::ml::expect_length;
use crate::model::graph::operators::ml::transform::Transform;
use crate::model::graph::tensor::Kind;

/// What `all`, by its numbers in files, has at the place that the attribute `name` says.
fn numbered<T: Copy>(context: &Context<'_>, name: &str, default: i64, all: &[T]) -> Result<T, Problem> {
    let number = context.int_or(name, default)?;
    let found = usize::try_from(number).ok().and_then(|number| all.get(number));
    found
        .copied()
        .ok_or_else(|| Problem(format!("its attribute {name} is {number}, expected 0 to {}", all.len() - 1)))
}

pub fn aggregate(context: &Context<'_>) -> Result<Aggregate, Problem> {
    let all = [Aggregate::Average, Aggregate::Sum, Aggregate::Min, Aggregate::Max];
    numbered(context, "aggregate_function", 1, &all)
}

/// The numbers are those of ONNX's specification; ONNX Runtime 1.32 has 1 and 2 the other way round.
pub fn transform(context: &Context<'_>) -> Result<Transform, Problem> {
    let all =
        [Transform::None, Transform::Softmax, Transform::Logistic, Transform::SoftmaxZero, Transform::Probit];
    numbered(context, "post_transform", 0, &all)
}

/// The lists, whose lengths fit.
pub struct Stated<'a> {
    roots: &'a [i64],
    features: &'a [i64],
    modes: &'a [u8],
    splits: Vec<f64>,
    yes: &'a [i64],
    no: &'a [i64],
    is_yes_leaf: &'a [i64],
    is_no_leaf: &'a [i64],
    /// Empty where nothing is said of NaN.
    takes_nan: &'a [i64],
    targets: &'a [i64],
    weights: Vec<f64>,
    members: Vec<f64>,
}

/// The numbers of the tensor `name`, which must be of `kind`, as the input is.
fn tensor(context: &Context<'_>, name: &str, kind: Kind) -> Result<Option<Vec<f64>>, Problem> {
    let Some(tensor) = context.tensor(name)? else { return Ok(None) };
    match (tensor.values::<f32>(), tensor.values::<f64>()) {
        (Some(values), _) if kind == Kind::F32 => {
            Ok(Some(values.iter().map(|&value| f64::from(value)).collect()))
        }
        (_, Some(values)) if kind == Kind::F64 => Ok(Some(values.to_vec())),
        _ => {
            Err(format!("its attribute {name} is {}, expected {kind} as its input", tensor.tensor_type())
                .into())
        }
    }
}

impl<'a> Stated<'a> {
    pub fn read(context: &Context<'a>, kind: Kind) -> Result<Self, Problem> {
        context.ignore(&["nodes_hitrates"]);
        let ints = |name: &str| Ok::<_, Problem>(context.ints(name)?.unwrap_or_default());
        let missing = |name: &str| Problem(format!("its attribute {name} is missing, expected a tensor"));
        let modes = context.tensor("nodes_modes")?.ok_or_else(|| missing("nodes_modes"))?;
        let modes = modes.values::<u8>().ok_or_else(|| {
            Problem(format!("its attribute nodes_modes is {}, expected uint8", modes.tensor_type()))
        })?;
        let stated = Self {
            roots: ints("tree_roots")?,
            features: ints("nodes_featureids")?,
            modes,
            splits: tensor(context, "nodes_splits", kind)?.ok_or_else(|| missing("nodes_splits"))?,
            yes: ints("nodes_truenodeids")?,
            no: ints("nodes_falsenodeids")?,
            is_yes_leaf: ints("nodes_trueleafs")?,
            is_no_leaf: ints("nodes_falseleafs")?,
            takes_nan: ints("nodes_missing_value_tracks_true")?,
            targets: ints("leaf_targetids")?,
            weights: tensor(context, "leaf_weights", kind)?.ok_or_else(|| missing("leaf_weights"))?,
            members: tensor(context, "membership_values", kind)?.unwrap_or_default(),
        };
        stated.check_lengths()?;
        Ok(stated)
    }

    fn check_lengths(&self) -> Result<(), Problem> {
        let (nodes, why) = (self.features.len(), "one for each of nodes_featureids");
        for (name, found) in [
            ("nodes_modes", self.modes.len()),
            ("nodes_splits", self.splits.len()),
            ("nodes_truenodeids", self.yes.len()),
            ("nodes_falsenodeids", self.no.len()),
            ("nodes_trueleafs", self.is_yes_leaf.len()),
            ("nodes_falseleafs", self.is_no_leaf.len()),
        ] {
            expect_length(name, found, nodes, why)?;
        }
        if !self.takes_nan.is_empty() {
            expect_length("nodes_missing_value_tracks_true", self.takes_nan.len(), nodes, why)?;
        }
        expect_length(
            "leaf_weights",
            self.weights.len(),
            self.targets.len(),
            "one for each of leaf_targetids",
        )?;
        if self.roots.is_empty() {
            return Err("its attribute tree_roots is empty, expected the place of each tree's root".into());
        }
        Ok(())
    }

    /// The trees, with every place followed: branches first, then leaves.
    pub fn draft(&self, targets: usize) -> Result<Draft, Problem> {
        let branches = self.features.len();
        let mut sets = self.sets()?;
        let mut nodes = Vec::with_capacity(branches + self.targets.len());
        let mut next_set = 0;
        for at in 0..branches {
            let branch = self.branch(at, next_set)?;
            next_set += usize::from(branch.test == Test::Member);
            nodes.push(Node::Branch(branch));
        }
        sets.truncate(next_set);
        let mut weights = Vec::with_capacity(self.targets.len());
        for (at, (&target, &weight)) in self.targets.iter().zip(&self.weights).enumerate() {
            let fits = usize::try_from(target).is_ok_and(|target| target < targets);
            if !fits {
                return Err(
                    format!("its leaf {at} is for target {target}, expected 0 to {}", targets - 1).into()
                );
            }
            nodes.push(Node::Leaf(at..at + 1));
            weights.push((target as u32, weight));
        }
        let root = |&root: &i64| {
            let found = usize::try_from(root).ok().filter(|&root| root < branches);
            found.ok_or_else(|| {
                Problem(format!("its attribute tree_roots names node {root}, and it has {branches}"))
            })
        };
        let roots = self.roots.iter().map(root).collect::<Result<_, _>>()?;
        Ok(Draft { nodes, roots, weights, sets })
    }

    fn branch(&self, at: usize, set: usize) -> Result<Branch, Problem> {
        let (branches, leaves) = (self.features.len(), self.targets.len());
        let child = |place: i64, is_leaf: i64| {
            let (count, first, what) =
                if is_leaf != 0 { (leaves, branches, "leaf") } else { (branches, 0, "node") };
            let found = usize::try_from(place).ok().filter(|&place| place < count);
            found.map(|place| first + place).ok_or_else(|| {
                Problem(format!("its node {at} leads to {what} {place}, and it has {count} of them"))
            })
        };
        let test = *Test::NUMBERED.get(usize::from(self.modes[at])).ok_or_else(|| {
            let last = Test::NUMBERED.len() - 1;
            Problem(format!("its node {at} has the mode {}, expected 0 to {last}", self.modes[at]))
        })?;
        let feature = usize::try_from(self.features[at]).map_err(|_| {
            Problem(format!("its node {at} looks at feature {}, expected 0 or more", self.features[at]))
        })?;
        Ok(Branch {
            feature,
            test,
            value: if test == Test::Member { set as f64 } else { self.splits[at] },
            takes_nan: self.takes_nan.get(at).is_some_and(|&flag| flag != 0),
            yes: child(self.yes[at], self.is_yes_leaf[at])?,
            no: child(self.no[at], self.is_no_leaf[at])?,
        })
    }

    /// The members of each set: NaN stands behind those of each.
    fn sets(&self) -> Result<Vec<Vec<f64>>, Problem> {
        let asked =
            self.modes.iter().filter(|&&mode| Test::NUMBERED.get(usize::from(mode)) == Some(&Test::Member));
        let asked = asked.count();
        let mut sets: Vec<Vec<f64>> =
            self.members.split(|member| member.is_nan()).map(<[f64]>::to_vec).collect();
        if sets.last().is_some_and(Vec::is_empty) {
            sets.pop();
        }
        if sets.len() < asked {
            return Err(format!(
                "{asked} of its nodes ask for members of a set, and membership_values has {} sets",
                sets.len()
            )
            .into());
        }
        Ok(sets)
    }
}
