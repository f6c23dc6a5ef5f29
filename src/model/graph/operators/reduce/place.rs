//! `ArgMax` and `ArgMin`: the place of the largest or smallest along an axis.

use std::marker::PhantomData;

use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::elementwise::unexpected;
use crate::model::graph::operators::number::each_element;
use crate::model::graph::operators::walk::around;
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

pub fn place(context: &Context<'_>, is_largest: bool) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let at = axis(context.int_or("axis", 0)?, input.len())?;
    let takes_last = context.flag("select_last_index", false)?;
    let mut shape = input.to_vec();
    if context.flag("keepdims", true)? {
        shape[at] = 1;
    } else {
        shape.remove(at);
    }
    let (outer, size, inner) = around(input, at);
    if size == 0 {
        return Err(Problem(format!("its input has the shape {input:?}, expected 1 or more at axis {at}")));
    }
    let output = TensorType::new(Kind::I64, shape);
    let kind = context.kind(0)?;
    if matches!(kind, Kind::Bool | Kind::Text) {
        return Err(unexpected(context, 0, "numbers"));
    }
    Ok(each_element!(
        kind,
        T => Built::kernel(output, Place::<T> { outer, size, inner, is_largest, takes_last, of: PhantomData })
    ))
}

struct Place<T> {
    outer: usize,
    size: usize,
    inner: usize,
    is_largest: bool,
    takes_last: bool,
    of: PhantomData<T>,
}

impl<T: Element + PartialOrd> Kernel for Place<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<i64>(outputs, 0)?);
        match (self.is_largest, self.takes_last) {
            (true, false) => self.find(from, to, |next, best| next > best),
            (true, true) => self.find(from, to, |next, best| next >= best),
            (false, false) => self.find(from, to, |next, best| next < best),
            (false, true) => self.find(from, to, |next, best| next <= best),
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some((self.outer as u64).saturating_mul(self.size as u64).saturating_mul(self.inner as u64))
    }
}

impl<T: Element + PartialOrd> Place<T> {
    fn find(&self, from: &[T], to: &mut [i64], is_better: fn(&T, &T) -> bool) {
        let Self { outer, size, inner, .. } = *self;
        for outer in 0..outer {
            for behind in 0..inner {
                let start = outer * size * inner + behind;
                let mut best = 0;
                for at in 1..size {
                    if is_better(&from[start + at * inner], &from[start + best * inner]) {
                        best = at;
                    }
                }
                to[outer * inner + behind] = best as i64;
            }
        }
    }
}
