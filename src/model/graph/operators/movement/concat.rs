//! `Concat`: values one after the other along an axis.

use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::walk::around;
use crate::model::graph::tensor::{Data, TensorType};

pub fn concat(context: &Context<'_>) -> Result<Built, Problem> {
    let first = context.tensor_type(0)?;
    let Some(at) = context.int("axis")? else {
        return Err("its attribute axis is missing, expected an integer".into());
    };
    let at = axis(at, first.shape.len())?;
    let mut shape = first.shape.clone();
    let mut blocks = Vec::with_capacity(context.inputs());
    shape[at] = 0;
    for input in 0..context.inputs() {
        let other = context.tensor_type(input)?;
        let mut expected = first.clone();
        if let (Some(own), Some(expected)) = (other.shape.get(at), expected.shape.get_mut(at)) {
            *expected = *own;
        }
        if *other != expected {
            return Err(Problem(format!(
                "its inputs 0 and {input} are {first} and {other}, expected the same but for the size of axis {at}"
            )));
        }
        let (_, own, inner) = around(&other.shape, at);
        shape[at] = shape[at].checked_add(own).ok_or("it would give more elements than can be counted")?;
        blocks.push(own * inner);
    }
    let outer = first.shape[..at].iter().product();
    if blocks.len() == 1 {
        return Ok(Built::View { of: 0, shape });
    }
    let output = TensorType::new(first.kind, shape);
    Ok(moving(output, Concat { outer, blocks }))
}

struct Concat {
    outer: usize,
    /// Of each input, the elements that lie side by side in the output.
    blocks: Vec<usize>,
}

impl Mover for Concat {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output_bits::<T>(outputs, 0)?;
        let whole: usize = self.blocks.iter().sum();
        let mut start = 0;
        for (input, &block) in self.blocks.iter().enumerate() {
            let from = input_bits::<T>(inputs, input)?;
            for outer in 0..self.outer {
                let at = outer * whole + start;
                copy(&from[outer * block..(outer + 1) * block], &mut to[at..at + block]);
            }
            start += block;
        }
        Ok(())
    }
}

/// A call of `memcpy` takes longer than a few elements, as columns that are put together are.
#[inline(always)]
fn copy<T: Clone>(from: &[T], to: &mut [T]) {
    match (from, to) {
        ([a], [x]) => x.clone_from(a),
        ([a, b], [x, y]) => {
            x.clone_from(a);
            y.clone_from(b);
        }
        (from, to) => to.clone_from_slice(from),
    }
}
