//! Whose each number is: along which axis of a value the rows of a batch lie.
//!
//! A plan for several rows is used only if it is certain that no row's numbers meet another's. Where this
//! cannot be told, rows are run one by one, which is always right.

use super::context::Context;
use super::kernel::Built;

/// How the rows of a batch lie in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// It is the same whatever the rows are.
    Same,
    /// Along `axis`, `each` places a row, row after row.
    Axis { axis: usize, each: usize },
    /// That cannot be told, or they have met.
    Mixed,
}

/// How the rows lie in each output of `context`'s node, of which `built` was made, when they lie in its inputs
/// as `inputs` says.
pub fn after(_context: &Context<'_>, inputs: &[Rows], _built: &Built) -> Rows {
    if inputs.iter().all(|rows| *rows == Rows::Same) { Rows::Same } else { Rows::Mixed }
}
