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

pub use self::weights::Arranged;

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
    let Some(opset) = node.opset.or_else(|| opsets.get(&node.domain).copied()) else {
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

/// How many inputs an operator takes, for messages.
fn in_words(inputs: &RangeInclusive<usize>) -> String {
    match (*inputs.start(), *inputs.end()) {
        (low, high) if low == high => low.to_string(),
        (low, usize::MAX) => format!("{low} or more"),
        (low, high) => format!("{low} to {high}"),
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
    // Not among the tables, for the planner puts its branch in its place.
    names.push("If".to_owned());
    names.sort();
    names.join(", ")
}

impl Found {
    pub fn check_inputs(&self, inputs: usize) -> Result<(), Problem> {
        let expected = &self.operator.inputs;
        if expected.contains(&inputs) {
            return Ok(());
        }
        Err(Problem(format!("it has {inputs} inputs, expected {}", in_words(expected))))
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operators.md");
    /// What the plan puts its branch in the place of, so that no table has it.
    const INLINED: (&str, i64, RangeInclusive<usize>) = ("If", 1, 1..=1);

    /// What the page's line of an operator begins with; a word on what is different here may follow.
    fn row(name: &str, since: i64, inputs: &RangeInclusive<usize>) -> String {
        format!("| `{name}` | {since} | {} |", in_words(inputs))
    }

    #[test]
    fn the_page_has_a_line_for_each_operator_and_no_other() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        for (domain, inlined) in [(DOMAIN, Some(INLINED)), (ML_DOMAIN, None)] {
            let (_, rest) = page.split_once(&format!("\n## {domain}\n")).unwrap();
            let part = rest.split("\n## ").next().unwrap();
            let found: Vec<_> = part.lines().filter(|line| line.starts_with("| `")).collect();
            let mut operators: Vec<_> = FAMILIES
                .iter()
                .copied()
                .flatten()
                .filter(|operator| operator.domain == domain)
                .map(|operator| (operator.name, operator.since, operator.inputs.clone()))
                .chain(inlined)
                .collect();
            operators.sort_by_key(|(name, ..)| *name);
            let expected: Vec<_> =
                operators.iter().map(|(name, since, inputs)| row(name, *since, inputs)).collect();
            for line in &expected {
                let lines = found.iter().filter(|found| found.starts_with(line.as_str())).count();
                assert_eq!(lines, 1, "docs/operators.md, {domain}: expected {line:?} once");
            }
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    found.starts_with(expected.as_str()),
                    "docs/operators.md: found {found:?}, expected {expected:?}"
                );
            }
            assert_eq!(found.len(), expected.len(), "docs/operators.md, lines of {domain}");
        }
    }
}
