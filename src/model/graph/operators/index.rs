//! Operators that take elements from, or write them to, places that other elements name.

mod gather;
mod one_hot;
mod scatter;
mod select;
mod top;

use super::Operator;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Fault, Inputs};
use crate::model::graph::tensor::{Data, Kind};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Compress", 9, 2..=2, select::compress),
    Operator::onnx("Gather", 1, 2..=2, gather::gather),
    Operator::onnx("GatherElements", 11, 2..=2, gather::gather_elements),
    Operator::onnx("GatherND", 11, 2..=2, gather::gather_nd),
    Operator::onnx("Hardmax", 1, 1..=1, top::hardmax),
    Operator::onnx("NonZero", 9, 1..=1, select::non_zero),
    Operator::onnx("OneHot", 9, 3..=3, one_hot::one_hot),
    Operator::onnx("Scatter", 9, 3..=3, scatter::scatter_elements),
    Operator::onnx("ScatterElements", 11, 3..=3, scatter::scatter_elements),
    Operator::onnx("ScatterND", 11, 3..=3, scatter::scatter_nd),
    Operator::onnx("TopK", 1, 1..=2, top::top),
];

/// Checks that input `at` is of integers.
fn expect_indices(context: &Context<'_>, at: usize) -> Result<(), Problem> {
    match context.kind(at)? {
        Kind::I64 | Kind::I32 => Ok(()),
        kind => Err(Problem(format!("its input {at} (indices) is {kind}, expected int64 or int32"))),
    }
}

/// Checks indices of an axis of `size` that are known already: no row would have an answer with wrong ones.
fn check_known(context: &Context<'_>, at: usize, size: usize) -> Result<(), Problem> {
    let Some(indices) = Indices::known(context, at)? else { return Ok(()) };
    (0..indices.len()).try_for_each(|at| indices.place(at, size).map(drop)).map_err(|fault| Problem(fault.0))
}

/// The indices of an input, of either kind.
#[derive(Clone, Copy)]
enum Indices<'a> {
    Long(&'a [i64]),
    Short(&'a [i32]),
}

impl<'a> Indices<'a> {
    /// Those of input `at` of a node that is built, where they do not depend on the row.
    fn known(context: &'a Context<'_>, at: usize) -> Result<Option<Self>, Problem> {
        Ok(context.constant(at)?.and_then(|tensor| match &tensor.data {
            Data::I64(values) => Some(Self::Long(values)),
            Data::I32(values) => Some(Self::Short(values)),
            _ => None,
        }))
    }

    fn of(inputs: &Inputs<'a>, at: usize) -> Result<Self, Fault> {
        match inputs.data(at)? {
            Data::I64(values) => Ok(Self::Long(values)),
            Data::I32(values) => Ok(Self::Short(values)),
            other => Err(Fault(format!("input {at} is {}, expected int64", other.kind()))),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Long(values) => values.len(),
            Self::Short(values) => values.len(),
        }
    }

    fn get(self, at: usize) -> i64 {
        match self {
            Self::Long(values) => values[at],
            Self::Short(values) => i64::from(values[at]),
        }
    }

    /// Index `at` as a place of an axis of `size`, counted from the end where it is negative.
    fn place(self, at: usize, size: usize) -> Result<usize, Fault> {
        let index = self.get(at);
        place(index, size)
    }
}

/// The place that `index` names in an axis of `size`.
fn place(index: i64, size: usize) -> Result<usize, Fault> {
    let from_start = if index < 0 { index.saturating_add(size as i64) } else { index };
    match usize::try_from(from_start) {
        Ok(place) if place < size => Ok(place),
        _ => Err(Fault(format!(
            "found the index {index}, expected -{size} to {} of an axis of {size}",
            size as i64 - 1
        ))),
    }
}

#[cfg(test)]
mod tests;
