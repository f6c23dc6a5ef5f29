//! Operators that change a value's shape and leave its elements, or are about shapes.

use super::Operator;
use crate::model::graph::context::{Context, Problem, axis, size};
use crate::model::graph::kernel::Built;
use crate::model::graph::tensor::{Tensor, elements};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Identity", 1, 1..=1, same),
    Operator::onnx("Dropout", 1, 1..=3, dropout),
    Operator::onnx("Shape", 1, 1..=1, shape),
    Operator::onnx("Size", 1, 1..=1, count),
    Operator::onnx("Reshape", 5, 2..=2, reshape),
    Operator::onnx("Flatten", 1, 1..=1, flatten),
];

fn same(context: &Context<'_>) -> Result<Built, Problem> {
    Ok(Built::View { of: 0, shape: context.shape(0)?.to_vec() })
}

/// As in evaluation: nothing is dropped.
fn dropout(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["ratio", "seed", "is_test"]);
    if context.wants(1) {
        return Err("its second output, the mask, is not supported".into());
    }
    same(context)
}

fn shape(context: &Context<'_>) -> Result<Built, Problem> {
    let shape: Vec<i64> = context.shape(0)?.iter().map(|&size| size as i64).collect();
    let rank = shape.len() as i64;
    let bound = |value: i64| if value < 0 { value + rank } else { value }.clamp(0, rank) as usize;
    let (start, end) = (bound(context.int_or("start", 0)?), bound(context.int_or("end", rank)?));
    let part = shape.get(start..end.max(start)).unwrap_or_default().to_vec();
    Ok(Built::Constants(vec![Tensor::new([part.len()], part)]))
}

fn count(context: &Context<'_>) -> Result<Built, Problem> {
    let count = elements(context.shape(0)?).unwrap_or(usize::MAX) as i64;
    Ok(Built::Constants(vec![Tensor::new([], vec![count])]))
}

fn reshape(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let wanted = context.known_ints(1, "shape")?;
    let keeps_zeros = context.flag("allowzero", false)?;
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (at, &value) in wanted.iter().enumerate() {
        shape.push(match value {
            -1 if open.replace(at).is_some() => {
                return Err(format!("found the shape {wanted:?}, expected -1 at most once").into());
            }
            -1 => 1,
            0 if !keeps_zeros => *input.get(at).ok_or_else(|| {
                format!("found 0 at place {at} of {wanted:?}, and its input has the shape {input:?}")
            })?,
            value => size(value, "shape")?,
        });
    }
    let (all, known) = (elements(input), elements(&shape));
    if let (Some(open), Some(all), Some(known)) = (open, all, known)
        && let Some(rest) = all.checked_div(known)
    {
        shape[open] = rest;
    }
    if all.is_none() || elements(&shape) != all {
        return Err(format!("found the shape {wanted:?}, and its input has the shape {input:?}").into());
    }
    Ok(Built::View { of: 0, shape })
}

fn flatten(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let at = context.int_or("axis", 1)?;
    let rank = input.len();
    let at = if at == rank as i64 { rank } else { axis(at, rank)? };
    let product = |sizes: &[usize]| elements(sizes).ok_or("it has more elements than can be counted");
    Ok(Built::View { of: 0, shape: vec![product(&input[..at])?, product(&input[at..])?] })
}
