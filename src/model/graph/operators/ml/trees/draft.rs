//! Trees as files describe them, whichever version of the operator it is.

use std::ops::Range;

/// Nodes of all trees, in any order.
#[derive(Debug, Default)]
pub struct Draft {
    pub nodes: Vec<Node>,
    /// Where each tree starts, in the order in which trees are added up.
    pub roots: Vec<usize>,
    /// What leaves add: a target and a weight each.
    pub weights: Vec<(u32, f64)>,
    /// The members of each set that a branch asks for.
    pub sets: Vec<Vec<f64>>,
}

#[derive(Debug, Clone)]
pub enum Node {
    Branch(Branch),
    /// The place of its weights.
    Leaf(Range<usize>),
}

/// A question about one feature.
#[derive(Debug, Clone)]
pub struct Branch {
    pub feature: usize,
    pub test: Test,
    /// What the feature is compared with; for [`Test::Member`] the number of the set.
    pub value: f64,
    /// Whether NaN is answered with yes; else it is as the comparison says, which is no for most.
    pub takes_nan: bool,
    /// The nodes that come next.
    pub yes: usize,
    pub no: usize,
}

/// How a feature is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
    Member,
}

impl Test {
    /// Those that versions 1 to 3 have, with their names in files.
    pub const NAMES: &[(&str, Option<Self>)] = &[
        ("BRANCH_LEQ", Some(Self::AtMost)),
        ("BRANCH_LT", Some(Self::Below)),
        ("BRANCH_GTE", Some(Self::AtLeast)),
        ("BRANCH_GT", Some(Self::Above)),
        ("BRANCH_EQ", Some(Self::Equal)),
        ("BRANCH_NEQ", Some(Self::Unequal)),
        ("LEAF", None),
    ];

    /// Those that version 5 has, by their numbers in files.
    pub const NUMBERED: &[Self] =
        &[Self::AtMost, Self::Below, Self::AtLeast, Self::Above, Self::Equal, Self::Unequal, Self::Member];
}
