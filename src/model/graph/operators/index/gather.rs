//! `Gather`, `GatherElements` and `GatherND`: elements of places that indices name.

use super::{Indices, check_known, expect_indices, place};
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::walk::{Walk, around, strides};
use crate::model::graph::tensor::{Data, TensorType};

pub fn gather(context: &Context<'_>) -> Result<Built, Problem> {
    expect_indices(context, 1)?;
    let (input, indices) = (context.tensor_type(0)?, context.shape(1)?);
    let at = axis(context.int_or("axis", 0)?, input.shape.len())?;
    let (outer, size, inner) = around(&input.shape, at);
    check_known(context, 1, size)?;
    let shape = [&input.shape[..at], indices, &input.shape[at + 1..]].concat();
    let output = TensorType::new(input.kind, shape);
    Ok(moving(output, Gather { outer, size, inner }))
}

struct Gather {
    outer: usize,
    size: usize,
    inner: usize,
}

impl Mover for Gather {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, indices) = (input_bits::<T>(inputs, 0)?, Indices::of(inputs, 1)?);
        let to = output_bits::<T>(outputs, 0)?;
        let Self { outer, size, inner, .. } = *self;
        let count = indices.len();
        for at in 0..count {
            // Each index is looked at once, however many values have the axis.
            let place = indices.place(at, size)?;
            for outer in 0..outer {
                let from = &from[(outer * size + place) * inner..][..inner];
                let to = &mut to[(outer * count + at) * inner..][..inner];
                match (from, to) {
                    ([from], [to]) => to.clone_from(from),
                    (from, to) => to.clone_from_slice(from),
                }
            }
        }
        Ok(())
    }
}

/// The places in data along all axes but one, for each element of indices that has the same axes.
pub fn beside(data: &[usize], indices: &[usize], at: usize) -> Result<Walk, Problem> {
    let fits =
        data.len() == indices.len() && (0..data.len()).all(|axis| axis == at || indices[axis] <= data[axis]);
    if !fits {
        return Err(Problem(format!(
            "its input has the shape {data:?} and its indices {indices:?}, expected as many axes, none longer but axis {at}"
        )));
    }
    let strides = strides(data);
    let axes = (0..data.len()).map(|axis| (indices[axis], if axis == at { 0 } else { strides[axis] }));
    Ok(Walk::new(&axes.collect::<Vec<_>>()))
}

pub fn gather_elements(context: &Context<'_>) -> Result<Built, Problem> {
    expect_indices(context, 1)?;
    let (input, indices) = (context.tensor_type(0)?, context.shape(1)?);
    let at = axis(context.int_or("axis", 0)?, input.shape.len())?;
    let walk = beside(&input.shape, indices, at)?;
    let (_, size, inner) = around(&input.shape, at);
    check_known(context, 1, size)?;
    let output = TensorType::new(input.kind, indices);
    Ok(moving(output, GatherElements { walk, size, inner }))
}

struct GatherElements {
    walk: Walk,
    size: usize,
    inner: usize,
}

impl Mover for GatherElements {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, indices) = (input_bits::<T>(inputs, 0)?, Indices::of(inputs, 1)?);
        let to = output_bits::<T>(outputs, 0)?;
        let (mut at, mut fault) = (0, None);
        self.walk.each(0, |beside| {
            match indices.place(at, self.size) {
                Ok(place) => to[at].clone_from(&from[beside + place * self.inner]),
                Err(wrong) => fault = fault.take().or(Some(wrong)),
            }
            at += 1;
        });
        fault.map_or(Ok(()), Err)
    }
}

/// Indices whose last axis names places along several axes of data.
pub struct Tuples {
    /// Places along so many axes are the same in data and indices.
    batches: usize,
    /// The elements of one of these, in data.
    batch: usize,
    /// How many tuples there are in each, and how many indices each has.
    count: usize,
    sizes: Vec<usize>,
    strides: Vec<usize>,
    /// The elements that a tuple names.
    pub block: usize,
}

impl Tuples {
    pub fn new(data: &[usize], indices: &[usize], batch_axes: usize) -> Result<Self, Problem> {
        let wrong = || {
            Problem(format!(
                "its input has the shape {data:?} and its indices {indices:?}, which do not fit with {batch_axes} axes in common"
            ))
        };
        let Some((&width, outer)) = indices.split_last() else { return Err(wrong()) };
        let named = batch_axes..batch_axes.saturating_add(width);
        if named.end > data.len() || batch_axes > outer.len() || data[..batch_axes] != outer[..batch_axes] {
            return Err(wrong());
        }
        let strides = strides(data);
        Ok(Self {
            batches: data[..batch_axes].iter().product(),
            batch: data[batch_axes..].iter().product(),
            count: outer[batch_axes..].iter().product(),
            sizes: data[named.clone()].to_vec(),
            strides: strides[named.clone()].iter().map(|&stride| stride as usize).collect(),
            block: data[named.end..].iter().product(),
        })
    }

    /// Checks indices, input 1, that are known already.
    pub fn check_known(&self, context: &Context<'_>) -> Result<(), Problem> {
        let Some(indices) = Indices::known(context, 1)? else { return Ok(()) };
        self.each(indices, |_, _| {}).map_err(|fault| Problem(fault.0))
    }

    /// Calls `each` with the number of a tuple, and the place in data that it names.
    pub fn each(&self, indices: Indices<'_>, mut each: impl FnMut(usize, usize)) -> Result<(), Fault> {
        let width = self.sizes.len();
        for tuple in 0..self.batches * self.count {
            let mut at = tuple / self.count.max(1) * self.batch;
            for (axis, (&size, stride)) in self.sizes.iter().zip(&self.strides).enumerate() {
                at += place(indices.get(tuple * width + axis), size)? * stride;
            }
            each(tuple, at);
        }
        Ok(())
    }
}

pub fn gather_nd(context: &Context<'_>) -> Result<Built, Problem> {
    expect_indices(context, 1)?;
    let (input, indices) = (context.tensor_type(0)?, context.shape(1)?);
    let batch_axes =
        crate::model::graph::context::size(context.int_or("batch_dims", 0)?, "attribute batch_dims")?;
    let tuples = Tuples::new(&input.shape, indices, batch_axes)?;
    tuples.check_known(context)?;
    let width = tuples.sizes.len();
    let shape = [&indices[..indices.len() - 1], &input.shape[batch_axes + width..]].concat();
    let output = TensorType::new(input.kind, shape);
    Ok(moving(output, GatherTuples { tuples }))
}

struct GatherTuples {
    tuples: Tuples,
}

impl Mover for GatherTuples {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, indices) = (input_bits::<T>(inputs, 0)?, Indices::of(inputs, 1)?);
        let to = output_bits::<T>(outputs, 0)?;
        let block = self.tuples.block;
        self.tuples.each(indices, |tuple, at| {
            to[tuple * block..][..block].clone_from_slice(&from[at..][..block]);
        })
    }
}
