//! Trees laid out for the cache: twelve bytes a node, the two children of a node beside each other, the nodes
//! near the root first.
//!
//! A leaf leads to itself, so that rows may walk on in step with others that have farther to go. Its
//! threshold is NaN, with which every comparison fails, and failing leads to the second child.

use std::collections::VecDeque;
use std::ops::{AddAssign, DivAssign};

use super::draft::{Branch, Draft, Node, Test};
use crate::model::graph::context::Problem;
use crate::model::graph::tensor::Element;

/// The most nodes of a forest, and the most features that it may look at.
const NODES_MAX: usize = 1 << 28;

/// The precision in which thresholds are compared and leaves added up.
pub trait Real: Element + Copy + Default + PartialOrd + AddAssign + DivAssign + std::fmt::Debug {
    const NAN: Self;
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// The greatest number below this one.
    fn before(self) -> Self;
}

macro_rules! reals {
    ($($type:ty,)+) => {
        $(impl Real for $type {
            const NAN: Self = Self::NAN;

            fn from_f64(value: f64) -> Self {
                value as Self
            }

            fn to_f64(self) -> f64 {
                self.into()
            }

            fn before(self) -> Self {
                if self == Self::NEG_INFINITY { Self::NAN } else { self.next_down() }
            }
        })+
    };
}

reals!(f32, f64,);

/// What a step asks of its feature beside `<=`, in the high bits of [`Step::feature`].
pub mod flags {
    /// NaN is answered with yes.
    pub const TAKES_NAN: u32 = 1 << 31;
    /// `==`, or membership in the set whose number is the threshold.
    pub const EQUAL: u32 = 1 << 30;
    pub const MEMBER: u32 = 1 << 29;
    pub const ALL: u32 = TAKES_NAN | EQUAL | MEMBER;
}

/// A node: yes leads to `child`, no to the place after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step<T> {
    pub threshold: T,
    pub feature: u32,
    pub child: u32,
}

/// What the leaves of a forest add.
#[derive(Debug)]
pub enum Leaves<T> {
    /// One number for the only target, by the leaf's place.
    One(Vec<T>),
    /// From place `starts[leaf]` to `starts[leaf + 1]` of the weights, each for a target.
    Many { starts: Vec<u32>, weights: Vec<(u32, T)> },
}

/// What its steps ask: fewer kinds of questions are answered faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Questions {
    /// `<=`, which NaN answers with no.
    Plain,
    /// `<=`, and NaN may be answered with yes.
    Missing,
    Any,
}

/// A tree's root, and how many steps it is to its farthest leaf.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    pub root: u32,
    pub depth: u32,
}

/// All trees of an ensemble.
#[derive(Debug)]
pub struct Forest<T> {
    pub steps: Vec<Step<T>>,
    pub trees: Vec<Tree>,
    pub leaves: Leaves<T>,
    pub sets: Vec<Vec<T>>,
    pub questions: Questions,
    columns: usize,
}

impl<T: Real> Forest<T> {
    /// Lays `draft` out.
    ///
    /// # Errors
    /// A branch that two others lead to, or none, such as in a circle.
    pub fn new(draft: Draft) -> Result<Self, Problem> {
        let sets =
            draft.sets.iter().map(|set| set.iter().map(|&member| T::from_f64(member)).collect()).collect();
        let mut layout = Layout::<T>::new(&draft)?;
        let mut trees = Vec::with_capacity(draft.roots.len());
        for &root in &draft.roots {
            trees.push(layout.tree(root)?);
        }
        // What no root reaches leads in a circle, or belongs to a tree whose root is another node.
        let is_lost = |(node, is_placed): (&Node, &bool)| matches!(node, Node::Branch(_)) && !is_placed;
        if draft.nodes.iter().zip(&layout.is_placed).any(is_lost) {
            return Err("one of its branches is reached from no root, such as in a circle".into());
        }
        let Layout { steps, leaf_of, columns, questions, .. } = layout;
        let leaves = leaves(&draft, &leaf_of);
        Ok(Self { steps, trees, leaves, sets, questions, columns })
    }

    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How many features a row must have.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many steps a row may take.
    pub fn steps(&self) -> u64 {
        self.trees.iter().map(|tree| u64::from(tree.depth) + 1).sum()
    }
}

/// A forest that is being laid out.
struct Layout<'a, T> {
    draft: &'a Draft,
    steps: Vec<Step<T>>,
    /// For each step the draft's node, where it is a leaf.
    leaf_of: Vec<Option<usize>>,
    is_placed: Vec<bool>,
    columns: usize,
    questions: Questions,
    /// Nodes that have a place and wait for their children to get one, and how deep they are.
    waiting: VecDeque<(usize, usize, u32)>,
}

impl<'a, T: Real> Layout<'a, T> {
    fn new(draft: &'a Draft) -> Result<Self, Problem> {
        // Each branch is placed once, with two children, and each root.
        let most = draft.nodes.len().saturating_mul(2).saturating_add(draft.roots.len());
        if most > NODES_MAX {
            return Err(
                format!("it has {} nodes, expected {} at most", draft.nodes.len(), NODES_MAX / 2).into()
            );
        }
        let is_placed = vec![false; draft.nodes.len()];
        Ok(Self {
            draft,
            steps: Vec::new(),
            leaf_of: Vec::new(),
            is_placed,
            columns: 0,
            questions: Questions::Plain,
            waiting: VecDeque::new(),
        })
    }

    /// A place for a step that is not known yet.
    fn reserve(&mut self, count: usize) -> usize {
        let place = self.steps.len();
        self.steps.resize(place + count, Step { threshold: T::NAN, feature: 0, child: 0 });
        self.leaf_of.resize(place + count, None);
        place
    }

    fn tree(&mut self, root: usize) -> Result<Tree, Problem> {
        let place = self.reserve(1);
        let mut depth = 0;
        self.waiting.push_back((root, place, 0));
        while let Some((node, place, deep)) = self.waiting.pop_front() {
            depth = depth.max(deep);
            let draft = self.draft;
            match &draft.nodes[node] {
                Node::Leaf(_) => {
                    self.leaf_of[place] = Some(node);
                    // The comparison fails, and leads to the place after this one: the leaf itself.
                    self.steps[place].child = (place as u32).wrapping_sub(1);
                }
                Node::Branch(branch) => {
                    if std::mem::replace(&mut self.is_placed[node], true) {
                        return Err("one of its branches follows two others, or itself in a circle".into());
                    }
                    let child = self.reserve(2);
                    let (step, is_swapped) = self.step(branch, child)?;
                    self.steps[place] = step;
                    let (first, second) =
                        if is_swapped { (branch.no, branch.yes) } else { (branch.yes, branch.no) };
                    self.waiting.push_back((first, child, deep + 1));
                    self.waiting.push_back((second, child + 1, deep + 1));
                }
            }
        }
        Ok(Tree { root: place as u32, depth })
    }

    /// The step that `branch` is, in terms of `<=`, and whether its children change places.
    fn step(&mut self, branch: &Branch, child: usize) -> Result<(Step<T>, bool), Problem> {
        if branch.feature >= NODES_MAX {
            return Err(
                format!("it looks at feature {}, expected less than {NODES_MAX}", branch.feature).into()
            );
        }
        self.columns = self.columns.max(branch.feature + 1);
        let value = T::from_f64(branch.value);
        let is_nan = branch.value.is_nan();
        let (threshold, test, is_swapped) = match branch.test {
            // With NaN all comparisons fail but the one for unlikeness.
            Test::Unequal if is_nan => (T::NAN, 0, true),
            _ if is_nan => (T::NAN, 0, false),
            Test::AtMost => (value, 0, false),
            Test::Below => (value.before(), 0, false),
            Test::Above => (value, 0, true),
            Test::AtLeast => (value.before(), 0, true),
            Test::Equal => (value, flags::EQUAL, false),
            Test::Unequal => (value, flags::EQUAL, true),
            Test::Member => (value, flags::MEMBER, false),
        };
        // NaN fails every comparison but the one for unlikeness, which it passes. Where children change
        // places, so do its ways.
        let goes_yes = branch.takes_nan || branch.test == Test::Unequal;
        let takes_nan = goes_yes != is_swapped;
        self.questions = self.questions.max(match (test, takes_nan) {
            (0, false) => Questions::Plain,
            (0, true) => Questions::Missing,
            _ => Questions::Any,
        });
        let nan = if takes_nan { flags::TAKES_NAN } else { 0 };
        Ok((Step { threshold, feature: branch.feature as u32 | test | nan, child: child as u32 }, is_swapped))
    }
}

/// The weights of leaves, by their places.
fn leaves<T: Real>(draft: &Draft, leaf_of: &[Option<usize>]) -> Leaves<T> {
    let weights = |leaf: &Option<usize>| match leaf.map(|node| &draft.nodes[node]) {
        Some(Node::Leaf(range)) => &draft.weights[range.clone()],
        _ => &[][..],
    };
    let is_one = draft.weights.iter().all(|(target, _)| *target == 0)
        && leaf_of.iter().all(|leaf| leaf.is_none() || weights(leaf).len() == 1);
    if is_one {
        let value = |leaf| weights(leaf).first().map_or(T::default(), |(_, weight)| T::from_f64(*weight));
        return Leaves::One(leaf_of.iter().map(value).collect());
    }
    let (mut starts, mut all) = (Vec::with_capacity(leaf_of.len() + 1), Vec::new());
    for leaf in leaf_of {
        starts.push(all.len() as u32);
        all.extend(weights(leaf).iter().map(|&(target, weight)| (target, T::from_f64(weight))));
    }
    starts.push(all.len() as u32);
    Leaves::Many { starts, weights: all }
}
