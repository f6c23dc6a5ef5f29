//! Elements from places that lie along axes, in order.

use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, Moves, input_bits, moving, output_bits};
use crate::model::graph::operators::walk::Walk;
use crate::model::graph::tensor::{Data, TensorType};

/// Where the elements of an output come from.
pub struct Moved {
    start: usize,
    walk: Walk,
    run: usize,
    step: isize,
}

impl Moved {
    /// From `start` along `axes`, the outermost first: their sizes, and how far apart elements are.
    pub fn new(start: usize, axes: &[(usize, isize)]) -> Self {
        let mut walk = Walk::new(axes);
        let (run, step) = walk.take_innermost();
        Self { start, walk, run, step }
    }

    /// Whether all lie side by side from the first on.
    fn is_in_place(&self) -> bool {
        self.start == 0 && self.walk.places() == 1 && (self.step == 1 || self.run <= 1)
    }

    #[inline(always)]
    pub fn copy<T: Clone>(&mut self, from: &[T], to: &mut [T]) {
        let Self { start, walk, run, step } = self;
        let (run, step) = (*run, *step);
        if run == 0 {
            return;
        }
        let mut at = 0;
        walk.each(*start, |place| {
            let to = &mut to[at..at + run];
            match step {
                1 => to.clone_from_slice(&from[place..place + run]),
                0 => to.fill(from[place].clone()),
                2.. => {
                    for (to, from) in to.iter_mut().zip(from[place..].iter().step_by(step as usize)) {
                        to.clone_from(from);
                    }
                }
                _ => {
                    let back = from[..=place].iter().rev().step_by(step.unsigned_abs());
                    for (to, from) in to.iter_mut().zip(back) {
                        to.clone_from(from);
                    }
                }
            }
            at += run;
        });
    }
}

/// What a node is built as whose output of `shape` has elements of its first input, from where `moved` says.
pub fn built(input: &TensorType, shape: Vec<usize>, moved: Moved) -> Built {
    let output = TensorType::new(input.kind, shape);
    if moved.is_in_place() && output.elements() == input.elements() {
        return Built::View { of: 0, shape: output.shape };
    }
    moving(output, Parts { parts: vec![moved] })
}

/// The same for several outputs.
pub fn parts(input: &TensorType, outputs: Vec<(Vec<usize>, Moved)>) -> Built {
    let (shapes, parts): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
    let outputs = shapes.into_iter().map(|shape| TensorType::new(input.kind, shape)).collect();
    Built::Kernel { outputs, kernel: Box::new(Moves(Parts { parts })) }
}

struct Parts {
    parts: Vec<Moved>,
}

impl Mover for Parts {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let from = input_bits::<T>(inputs, 0)?;
        for (at, part) in self.parts.iter_mut().enumerate() {
            part.copy(from, output_bits::<T>(outputs, at)?);
        }
        Ok(())
    }
}
