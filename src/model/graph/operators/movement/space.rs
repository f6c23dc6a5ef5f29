//! `DepthToSpace` and `SpaceToDepth`: channels become blocks of places, and the other way round.

use super::moved;
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::Built;
use crate::model::graph::operators::walk::strides;

pub fn depth_to_space(context: &Context<'_>) -> Result<Built, Problem> {
    let ([samples, channels, rows, columns], block) = read(context)?;
    // Before version 11 blocks were always the outer part of the channels.
    let is_outer = context.opset() < 11 || context.choice("mode", &[("DCR", true), ("CRD", false)])?;
    let area = block.checked_mul(block).filter(|&area| channels.is_multiple_of(area)).ok_or_else(|| {
        Problem(format!("its input has {channels} channels, expected a multiple of {block} times {block}"))
    })?;
    let depth = channels / area;
    let shape = vec![samples, depth, grown(rows, block)?, grown(columns, block)?];
    if is_outer {
        rearranged(context, &[samples, block, block, depth, rows, columns], [0, 3, 4, 1, 5, 2], shape)
    } else {
        rearranged(context, &[samples, depth, block, block, rows, columns], [0, 1, 4, 2, 5, 3], shape)
    }
}

pub fn space_to_depth(context: &Context<'_>) -> Result<Built, Problem> {
    let ([samples, channels, rows, columns], block) = read(context)?;
    if !rows.is_multiple_of(block) || !columns.is_multiple_of(block) {
        return Err(Problem(format!(
            "its input has {rows} by {columns} places, expected multiples of {block}, its attribute blocksize"
        )));
    }
    let (rows, columns) = (rows / block, columns / block);
    let shape = vec![samples, grown(grown(channels, block)?, block)?, rows, columns];
    rearranged(context, &[samples, channels, rows, block, columns, block], [0, 3, 5, 1, 2, 4], shape)
}

/// The input's sizes, and how many places a block has along each side.
fn read(context: &Context<'_>) -> Result<([usize; 4], usize), Problem> {
    let shape = context.shape(0)?;
    let sizes = <[usize; 4]>::try_from(shape)
        .map_err(|_| Problem(format!("its input has the shape {shape:?}, expected 4 axes")))?;
    let block = context.int("blocksize")?.ok_or("its attribute blocksize is missing")?;
    match size(block, "attribute blocksize")? {
        0 => Err("its attribute blocksize is 0, expected 1 or more".into()),
        block => Ok((sizes, block)),
    }
}

fn grown(size: usize, block: usize) -> Result<usize, Problem> {
    size.checked_mul(block).ok_or_else(|| "it would give more elements than can be counted".into())
}

/// The input in `parts`, which it is taken apart into, with these axes in another order, in `shape`.
fn rearranged(
    context: &Context<'_>,
    parts: &[usize; 6],
    order: [usize; 6],
    shape: Vec<usize>,
) -> Result<Built, Problem> {
    let strides = strides(parts);
    moved(context, shape, &order.map(|axis| (parts[axis], strides[axis])))
}
