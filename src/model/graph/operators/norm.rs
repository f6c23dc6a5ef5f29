//! Operators that bring numbers to a common scale.

mod batch;
mod length;
mod moments;

use super::Operator;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::Built;
use crate::model::graph::tensor::{Kind, elements};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("BatchNormalization", 1, 5..=5, batch::build),
    Operator::onnx("InstanceNormalization", 1, 3..=3, moments::instance),
    Operator::onnx("LayerNormalization", 17, 2..=3, moments::layer),
    Operator::onnx("GroupNormalization", 18, 3..=3, moments::group),
    Operator::onnx("RMSNormalization", 23, 2..=2, moments::root_mean_square),
    Operator::onnx("LpNormalization", 1, 1..=1, length::build),
    Operator::onnx("MeanVarianceNormalization", 9, 1..=1, length::mean_variance),
];

/// The product of sizes, where it can be counted.
fn count(sizes: &[usize]) -> Result<usize, Problem> {
    elements(sizes)
        .ok_or_else(|| Problem(format!("the shape {sizes:?} has more elements than can be counted")))
}

/// Builds for float32 or float64, whatever all inputs are.
fn of_kind(
    context: &Context<'_>,
    single: impl FnOnce() -> Result<Built, Problem>,
    double: impl FnOnce() -> Result<Built, Problem>,
) -> Result<Built, Problem> {
    let kind = context.kind(0)?;
    for at in (1..context.inputs()).filter(|&at| context.has(at)) {
        if context.kind(at)? != kind {
            return Err(Problem(format!(
                "its inputs are {kind} and {}, expected the same kind",
                context.kind(at)?
            )));
        }
    }
    match kind {
        Kind::F32 => single(),
        Kind::F64 => double(),
        _ => Err(Problem(format!("its input is {kind}, expected float32 or float64"))),
    }
}
