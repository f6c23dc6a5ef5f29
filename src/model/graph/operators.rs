//! What each operator makes of a node: a file for each family.
//!
//! An operator is a function from what is known of a node to what is to be done, and a line in the table of
//! its family: its name, the version that it is there from, how many inputs it may have.

mod attention;
mod binary;
mod body;
mod broadcast;
mod cast;
mod constant;
mod conv;
mod dft;
mod elementwise;
mod generate;
mod index;
pub mod ml;
mod movement;
mod norm;
mod number;
mod pool;
mod product;
mod quantise;
mod recurrent;
mod reduce;
mod resize;
mod shape;
mod softmax;
mod walk;
mod weights;
mod windows;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::context::{Context, Problem};
use super::ir::{DOMAIN, ML_DOMAIN, Node};
use super::kernel::Built;

/// The newest version of ONNX's operators that is known here.
pub const OPSET_MAX: i64 = 24;
/// The newest version of the operators of classical machine learning that is known here.
pub const ML_OPSET_MAX: i64 = 5;

/// A line of a family's table.
pub struct Operator {
    pub domain: &'static str,
    pub name: &'static str,
    /// The version of its domain in which it appeared.
    pub since: i64,
    /// How many inputs it may have, those left out at the end not counted.
    pub inputs: RangeInclusive<usize>,
    pub build: fn(&Context<'_>) -> Result<Built, Problem>,
}

impl Operator {
    /// An operator of ONNX itself.
    pub const fn onnx(
        name: &'static str,
        since: i64,
        inputs: RangeInclusive<usize>,
        build: fn(&Context<'_>) -> Result<Built, Problem>,
    ) -> Self {
        Self { domain: DOMAIN, name, since, inputs, build }
    }

    /// An operator of classical machine learning.
    pub const fn ml(
        name: &'static str,
        since: i64,
        inputs: RangeInclusive<usize>,
        build: fn(&Context<'_>) -> Result<Built, Problem>,
    ) -> Self {
        Self { domain: ML_DOMAIN, name, since, inputs, build }
    }
}

/// The number of inputs of operators that take any number.
pub const ANY: RangeInclusive<usize> = 1..=usize::MAX;

/// Every family's table.
const FAMILIES: &[&[Operator]] = &[
    attention::OPERATORS,
    binary::OPERATORS,
    body::OPERATORS,
    cast::OPERATORS,
    constant::OPERATORS,
    conv::OPERATORS,
    dft::OPERATORS,
    elementwise::OPERATORS,
    generate::OPERATORS,
    index::OPERATORS,
    ml::encode::OPERATORS,
    ml::impute::OPERATORS,
    ml::linear::OPERATORS,
    ml::scale::OPERATORS,
    ml::select::OPERATORS,
    ml::svm::OPERATORS,
    ml::trees::OPERATORS,
    ml::zip_map::OPERATORS,
    movement::OPERATORS,
    norm::OPERATORS,
    pool::OPERATORS,
    product::OPERATORS,
    quantise::OPERATORS,
    recurrent::OPERATORS,
    reduce::OPERATORS,
    resize::OPERATORS,
    shape::OPERATORS,
    softmax::OPERATORS,
];

/// An operator that was found, with the version that its graph asks for.
pub struct Found {
    operator: &'static Operator,
    pub opset: i64,
}

/// The operator of `node`.
pub fn find(node: &Node, opsets: &BTreeMap<String, i64>) -> Result<Found, Problem> {
    let Some(&opset) = opsets.get(&node.domain) else {
        return Err(Problem(format!(
            "its domain \"{}\" has no version in this model",
            node.domain.escape_debug()
        )));
    };
    let mut all = FAMILIES.iter().copied().flatten();
    let found = all.find(|operator| operator.domain == node.domain && operator.name == node.operator);
    match found {
        Some(operator) if operator.since <= opset => Ok(Found { operator, opset }),
        Some(operator) => Err(Problem(format!(
            "the operator {} exists from version {} of {} on, and the model asks for version {opset}",
            operator.name, operator.since, operator.domain
        ))),
        None => Err(Problem(format!("this operator is not supported; there are {}", names()))),
    }
}

/// The names of all operators, for messages.
pub fn names() -> String {
    let mut names: Vec<_> = FAMILIES
        .iter()
        .copied()
        .flatten()
        .map(|operator| match operator.domain {
            DOMAIN => operator.name.to_owned(),
            domain => format!("{domain}:{}", operator.name),
        })
        .collect();
    names.sort();
    names.join(", ")
}

impl Found {
    pub fn check_inputs(&self, inputs: usize) -> Result<(), Problem> {
        let expected = &self.operator.inputs;
        if expected.contains(&inputs) {
            return Ok(());
        }
        let expected = match (*expected.start(), *expected.end()) {
            (low, high) if low == high => low.to_string(),
            (low, usize::MAX) => format!("{low} or more"),
            (low, high) => format!("{low} to {high}"),
        };
        Err(Problem(format!("it has {inputs} inputs, expected {expected}")))
    }

    /// Builds the node, and refuses attributes that nobody understood: each says something about the answer.
    pub fn build(&self, context: &Context<'_>) -> Result<Built, Problem> {
        let built = (self.operator.build)(context)?;
        match context.unread() {
            None => Ok(built),
            Some(name) => Err(Problem(format!(
                "its attribute {} is not understood here, and would be ignored",
                name.escape_debug()
            ))),
        }
    }
}
