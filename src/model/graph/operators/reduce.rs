//! Many numbers along axes to one: sums, means, norms, the largest, and where that is.
//!
//! What is added in which order depends on the axes alone, never on how many places the others have: an
//! answer is the same to the bit for one row as for many.

mod cumulate;
mod fold;
mod log_sum_exp;
mod place;

use super::Operator;
use super::walk::{Walk, strides};
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::Built;
use crate::model::graph::tensor::TensorType;

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("ArgMax", 1, 1..=1, |context| place::place(context, true)),
    Operator::onnx("ArgMin", 1, 1..=1, |context| place::place(context, false)),
    Operator::onnx("CumSum", 11, 2..=2, cumulate::cumulate),
    Operator::onnx("ReduceL1", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::L1)),
    Operator::onnx("ReduceL2", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::L2)),
    Operator::onnx("ReduceLogSum", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::LogSum)),
    Operator::onnx("ReduceLogSumExp", 1, 1..=2, log_sum_exp::log_sum_exp),
    Operator::onnx("ReduceMax", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::Max)),
    Operator::onnx("ReduceMean", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::Mean)),
    Operator::onnx("ReduceMin", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::Min)),
    Operator::onnx("ReduceProd", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::Product)),
    Operator::onnx("ReduceSum", 1, 1..=2, |context| fold::reduction(context, fold::Reduction::Sum)),
    Operator::onnx("ReduceSumSquare", 1, 1..=2, |context| {
        fold::reduction(context, fold::Reduction::SumSquare)
    }),
];

/// Which axes are reduced, and what is left.
struct Axes {
    /// The output.
    shape: Vec<usize>,
    passage: Passage,
}

/// The way through an input whose axes are kept or reduced; neighbours that are both are one.
#[derive(Clone)]
struct Passage {
    kept: Walk,
    reduced: Walk,
    /// The places of the last axis, which lie side by side.
    run: usize,
    /// Whether the last axis is reduced.
    is_last_reduced: bool,
    /// How many elements make one.
    count: usize,
}

/// The axes that a reduction names: as an attribute, since version 18 (13 for `ReduceSum`) as an input.
fn named(context: &Context<'_>) -> Result<Vec<usize>, Problem> {
    let since = if context.operator() == "ReduceSum" { 13 } else { 18 };
    let rank = context.shape(0)?.len();
    let axes = if context.opset() < since {
        if context.inputs() > 1 {
            return Err(Problem(format!(
                "it has 2 inputs, and its axes are an attribute before version {since}"
            )));
        }
        context.ints("axes")?.unwrap_or_default().to_vec()
    } else if context.has(1) {
        context.known_ints(1, "axes")?
    } else {
        Vec::new()
    };
    let keeps_all = context.opset() >= since && context.flag("noop_with_empty_axes", false)?;
    if axes.is_empty() {
        return Ok(if keeps_all { Vec::new() } else { (0..rank).collect() });
    }
    axes.iter().map(|&at| axis(at, rank)).collect()
}

impl Axes {
    fn of(context: &Context<'_>) -> Result<Self, Problem> {
        let input = context.shape(0)?;
        let named = named(context)?;
        let keeps_axes = context.flag("keepdims", true)?;
        let mut shape = Vec::with_capacity(input.len());
        for (at, &size) in input.iter().enumerate() {
            match named.contains(&at) {
                false => shape.push(size),
                true if keeps_axes => shape.push(1),
                true => {}
            }
        }
        Ok(Self { shape, passage: Passage::new(input, &named) })
    }

    fn output(&self, context: &Context<'_>) -> Result<TensorType, Problem> {
        Ok(TensorType::new(context.kind(0)?, self.shape.as_slice()))
    }
}

impl Passage {
    fn new(input: &[usize], reduced: &[usize]) -> Self {
        let strides = strides(input);
        let is_last_reduced = input.len().checked_sub(1).is_some_and(|last| reduced.contains(&last));
        let is_reduced = |axis: usize| reduced.contains(&axis);
        // The axes at the end that are all reduced, or all kept. Axes of one place count too: whether they
        // have one may depend on the number of rows, and the order of additions must not.
        let behind = (0..input.len()).rev().take_while(|axis| is_reduced(*axis) == is_last_reduced).count();
        let first = input.len() - behind;
        let run = input[first..].iter().product();
        let walk = |wanted: bool| {
            let axes = (0..first).filter(|axis| is_reduced(*axis) == wanted);
            Walk::new(&axes.map(|axis| (input[axis], strides[axis])).collect::<Vec<_>>())
        };
        let (kept, reduced) = (walk(false), walk(true));
        let count = reduced.places() * if is_last_reduced { run } else { 1 };
        Self { kept, reduced, run, is_last_reduced, count }
    }
}

/// What a kernel of a reduction, with what it needs on the way, is built as.
fn built(outputs: Vec<TensorType>, kernel: impl crate::model::graph::kernel::Kernel + 'static) -> Built {
    Built::Kernel { outputs, kernel: Box::new(kernel) }
}

#[cfg(test)]
mod tests;
