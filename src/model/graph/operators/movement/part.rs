//! `Slice` and `Split`: parts of a value along axes.

use super::strided::{self, Moved};
use crate::model::graph::context::{Context, Problem, axis, size};
use crate::model::graph::kernel::Built;
use crate::model::graph::operators::walk::strides;

/// What is taken of one axis.
#[derive(Clone, Copy)]
struct Range {
    start: usize,
    step: i64,
    count: usize,
}

impl Range {
    /// From `start` to before `end`, as Python counts.
    fn new(size: usize, start: i64, end: i64, step: i64) -> Self {
        let whole = size as i64;
        let from_end = |value: i64| if value < 0 { value.saturating_add(whole) } else { value };
        let (low, high) = if step > 0 { (0, whole) } else { (-1, whole - 1) };
        let start = from_end(start).clamp(low.max(0).min(high.max(0)), high.max(0));
        let end = from_end(end).clamp(low, high);
        let distance = if step > 0 { end - start } else { start - end };
        let count =
            if distance <= 0 || size == 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) };
        Self { start: start as usize, step, count: count as usize }
    }
}

pub fn slice(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let (starts, ends, axes, steps) = bounds(context)?;
    let mut ranges: Vec<Range> = input.iter().map(|&size| Range { start: 0, step: 1, count: size }).collect();
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Problem(format!(
            "it has {} starts, {} ends, {} axes and {} steps, expected as many of each",
            starts.len(),
            ends.len(),
            axes.len(),
            steps.len()
        )));
    }
    for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        if step == 0 {
            return Err("one of its steps is 0, expected another number".into());
        }
        let at = axis(at, input.len())?;
        ranges[at] = Range::new(input[at], start, end, step);
    }
    part(context, &ranges)
}

type Bounds = (Vec<i64>, Vec<i64>, Option<Vec<i64>>, Option<Vec<i64>>);

/// Attributes before version 10, inputs since.
fn bounds(context: &Context<'_>) -> Result<Bounds, Problem> {
    if context.opset() < 10 {
        if context.inputs() > 1 {
            return Err("it has more than 1 input, and its bounds are attributes before version 10".into());
        }
        let needed = |name: &str| {
            let found = context.ints(name)?;
            found
                .map(<[i64]>::to_vec)
                .ok_or_else(|| Problem(format!("its attribute {name} is missing, expected integers")))
        };
        let axes = context.ints("axes")?.map(<[i64]>::to_vec);
        return Ok((needed("starts")?, needed("ends")?, axes, None));
    }
    let optional = |at: usize, what: &str| {
        if context.has(at) { context.known_ints(at, what).map(Some) } else { Ok(None) }
    };
    Ok((
        context.known_ints(1, "starts")?,
        context.known_ints(2, "ends")?,
        optional(3, "axes")?,
        optional(4, "steps")?,
    ))
}

fn part(context: &Context<'_>, ranges: &[Range]) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let strides = strides(input);
    let mut start = 0;
    let mut axes = Vec::with_capacity(input.len());
    for (range, stride) in ranges.iter().zip(&strides) {
        start += range.start * *stride as usize;
        // A step beyond the axis is never taken: there is one place then.
        let step = if range.count > 1 { range.step as isize } else { 1 };
        axes.push((range.count, stride * step));
    }
    let shape: Vec<_> = ranges.iter().map(|range| range.count).collect();
    Ok(strided::built(context.tensor_type(0)?, shape, Moved::new(start, &axes)))
}

/// The sizes of the parts: as an attribute before version 13, as an input since, or equal ones.
pub fn split(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let at = axis(context.int_or("axis", 0)?, input.len())?;
    let whole = input[at];
    let (outputs, named) = (context.outputs(), context.int("num_outputs")?);
    let sizes = if context.opset() < 13 {
        if context.inputs() > 1 {
            return Err(
                "it has 2 inputs, and the sizes of its parts are an attribute before version 13".into()
            );
        }
        context.ints("split")?.map(<[i64]>::to_vec)
    } else if context.has(1) {
        Some(context.known_ints(1, "split")?)
    } else {
        None
    };
    let sizes = match sizes {
        Some(sizes) => sizes.iter().map(|&value| size(value, "part")).collect::<Result<Vec<_>, _>>()?,
        None => equal(whole, outputs, named)?,
    };
    let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
    if sum != Some(whole) || sizes.len() < outputs {
        return Err(Problem(format!(
            "its parts have the sizes {sizes:?}, expected {outputs} that are {whole} together, as axis {at} of its input is"
        )));
    }
    let strides = strides(input);
    let mut parts = Vec::with_capacity(sizes.len());
    let mut start = 0;
    for size in sizes {
        let mut shape = input.to_vec();
        shape[at] = size;
        let axes: Vec<_> = shape.iter().copied().zip(strides.iter().copied()).collect();
        parts.push((shape, Moved::new(start * strides[at] as usize, &axes)));
        start += size;
    }
    if parts.len() == 1 {
        return Ok(Built::View { of: 0, shape: input.to_vec() });
    }
    Ok(strided::parts(context.tensor_type(0)?, parts))
}

/// Parts of one size, the last of which may be smaller where their number is an attribute.
fn equal(whole: usize, outputs: usize, named: Option<i64>) -> Result<Vec<usize>, Problem> {
    let count = match named {
        Some(count) => size(count, "attribute num_outputs")?,
        None => outputs,
    };
    if count != outputs || count == 0 {
        return Err(Problem(format!("it has {outputs} outputs, expected {count}")));
    }
    let each = whole.div_ceil(count);
    let sizes: Vec<_> = (0..count).map(|at| each.min(whole.saturating_sub(at * each))).collect();
    if named.is_none() && each * count != whole {
        return Err(Problem(format!(
            "it divides {whole} places into {count} equal parts, which they cannot be"
        )));
    }
    Ok(sizes)
}
