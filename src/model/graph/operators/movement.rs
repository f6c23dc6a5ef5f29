//! Operators that move elements to other places: axes in another order, parts, repetitions.

mod concat;
mod pad;
mod part;
mod reverse;
mod space;
mod strided;

use self::strided::Moved;
use super::walk::strides;
use super::{ANY, Operator};
use crate::model::graph::context::{Context, Problem, axis, size};
use crate::model::graph::kernel::Built;
use crate::model::graph::tensor::elements;

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Concat", 4, ANY, concat::concat),
    Operator::onnx("DepthToSpace", 1, 1..=1, space::depth_to_space),
    Operator::onnx("Expand", 8, 2..=2, expand),
    Operator::onnx("Pad", 2, 1..=4, pad::pad),
    Operator::onnx("ReverseSequence", 10, 2..=2, reverse::reverse_sequence),
    Operator::onnx("Slice", 1, 1..=5, part::slice),
    Operator::onnx("SpaceToDepth", 1, 1..=1, space::space_to_depth),
    Operator::onnx("Split", 2, 1..=2, part::split),
    Operator::onnx("Squeeze", 1, 1..=2, squeeze),
    Operator::onnx("Tile", 6, 2..=2, tile),
    Operator::onnx("Transpose", 1, 1..=1, transpose),
    Operator::onnx("Unsqueeze", 1, 1..=2, unsqueeze),
];

/// Axes that are an attribute before version 13 and an input since; `None` where they are left out.
fn axes(context: &Context<'_>) -> Result<Option<Vec<i64>>, Problem> {
    if context.opset() < 13 {
        if context.inputs() > 1 {
            return Err("it has 2 inputs, and its axes are an attribute before version 13".into());
        }
        return Ok(context.ints("axes")?.map(<[i64]>::to_vec));
    }
    if context.has(1) { context.known_ints(1, "axes").map(Some) } else { Ok(None) }
}

fn squeeze(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let wanted = match axes(context)? {
        None => (0..input.len()).filter(|&at| input[at] == 1).collect(),
        Some(axes) => axes.iter().map(|&at| axis(at, input.len())).collect::<Result<Vec<_>, _>>()?,
    };
    if let Some(&wrong) = wanted.iter().find(|&&at| input[at] != 1) {
        return Err(Problem(format!("its input has the shape {input:?}, expected 1 at axis {wrong}")));
    }
    let left = (0..input.len()).filter(|at| !wanted.contains(at));
    Ok(Built::View { of: 0, shape: left.map(|at| input[at]).collect() })
}

fn unsqueeze(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let Some(named) = axes(context)? else { return Err("its axes are missing".into()) };
    let rank = input.len() + named.len();
    let mut is_new = vec![false; rank];
    for &at in &named {
        let at = axis_of(at, rank)?;
        if std::mem::replace(&mut is_new[at], true) {
            return Err(Problem(format!("found the axes {named:?}, which name one twice")));
        }
    }
    let mut sizes = input.iter();
    let shape = is_new.iter().map(|&is_new| if is_new { 1 } else { sizes.next().copied().unwrap_or(1) });
    Ok(Built::View { of: 0, shape: shape.collect() })
}

/// As [`axis`], of an output.
fn axis_of(at: i64, rank: usize) -> Result<usize, Problem> {
    axis(at, rank).map_err(|_| {
        let signed = rank as i64;
        Problem(format!(
            "found axis {at}, expected {} to {}, for its output has {rank} axes",
            -signed,
            signed - 1
        ))
    })
}

fn transpose(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let rank = input.len();
    let order: Vec<usize> = match context.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(order) => {
            let wrong = || {
                Problem(format!(
                    "its attribute perm is {order:?}, expected each of its input's {rank} axes once"
                ))
            };
            let order: Vec<_> =
                order.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>().map_err(|_| wrong())?;
            if order.len() != rank || (0..rank).any(|at| !order.contains(&at)) {
                return Err(wrong());
            }
            order
        }
    };
    let strides = strides(input);
    let axes: Vec<_> = order.iter().map(|&at| (input[at], strides[at])).collect();
    let shape = order.iter().map(|&at| input[at]).collect();
    Ok(strided::built(context.tensor_type(0)?, shape, Moved::new(0, &axes)))
}

/// Each axis of one place as often as another shape says; the two are brought to one shape.
fn expand(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let wanted = context.known_ints(1, "shape")?;
    let wanted = wanted.iter().map(|&value| size(value, "shape")).collect::<Result<Vec<_>, _>>()?;
    let shape = super::broadcast::shape(&[input, &wanted])?;
    let strides = strides(input);
    let lacks = shape.len() - input.len();
    let axes: Vec<_> = shape
        .iter()
        .enumerate()
        .map(|(at, &size)| match at.checked_sub(lacks) {
            Some(own) if input[own] != 1 => (size, strides[own]),
            _ => (size, 0),
        })
        .collect();
    moved(context, shape, &axes)
}

fn tile(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let repeats = context.known_ints(1, "repeats")?;
    if repeats.len() != input.len() {
        return Err(Problem(format!(
            "its input 1 (repeats) has {} elements, expected one for each of its input's {} axes",
            repeats.len(),
            input.len()
        )));
    }
    let strides = strides(input);
    let (mut shape, mut axes) = (Vec::with_capacity(input.len()), Vec::with_capacity(2 * input.len()));
    for ((&own, &repeats), &stride) in input.iter().zip(&repeats).zip(&strides) {
        let repeats = size(repeats, "input 1 (repeats)")?;
        shape.push(own.checked_mul(repeats).ok_or("it would give more elements than can be counted")?);
        axes.extend([(repeats, 0), (own, stride)]);
    }
    moved(context, shape, &axes)
}

fn moved(context: &Context<'_>, shape: Vec<usize>, axes: &[(usize, isize)]) -> Result<Built, Problem> {
    // Whether it can be counted is looked at before the walk is made, which counts.
    elements(&shape).ok_or_else(|| format!("it would give the shape {shape:?}, which is too much"))?;
    Ok(strided::built(context.tensor_type(0)?, shape, Moved::new(0, axes)))
}

#[cfg(test)]
mod tests;
