//! `Max`, `Min`, `Sum` and `Mean` of any number of inputs.

use std::marker::PhantomData;

use super::arithmetic::{Of, Operation};
use super::zip::Apply;
use super::{OfIntegers, unexpected};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::broadcast::{self, Layout};
use crate::model::graph::operators::number::{Real, each_integer};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

/// An operation on any number of inputs: on the first two, on what that gives and the third, and so on.
pub fn many<F: Operation>(context: &Context<'_>, is_mean: bool) -> Result<Built, Problem> {
    let kind = context.kind(0)?;
    let mut shapes = Vec::with_capacity(context.inputs());
    for at in 0..context.inputs() {
        let other = context.kind(at)?;
        if other != kind {
            return Err(Problem(format!(
                "its inputs 0 and {at} are {kind} and {other}, expected the same for all"
            )));
        }
        shapes.push(context.shape(at)?);
    }
    let shape = broadcast::shape(&shapes)?;
    if shapes.len() == 1 && (!is_mean || matches!(kind, Kind::F32 | Kind::F64)) {
        return Ok(Built::View { of: 0, shape });
    }
    if shapes.len() == 2 && !is_mean {
        return super::arithmetic::operation::<F>(context);
    }
    let layouts: Vec<_> = shapes.iter().map(|own| Layout::new(&shape, [*own])).collect();
    let of = Of::<F>(PhantomData);
    let output = TensorType::new(kind, shape);
    match kind {
        Kind::F32 => {
            Ok(Built::kernel(output, Many { layouts, function: of, finish: finish::<f32>(is_mean) }))
        }
        Kind::F64 => {
            Ok(Built::kernel(output, Many { layouts, function: of, finish: finish::<f64>(is_mean) }))
        }
        _ if is_mean => Err(unexpected(context, 0, "float32 or float64")),
        _ => each_integer!(
            kind,
            T => Ok(Built::kernel(output, Many::<T, _> { layouts, function: OfIntegers(F::i64), finish: None })),
            Err(unexpected(context, 0, "numbers"))
        ),
    }
}

/// What is done with the result of all, and their number.
type Finish<T> = Option<fn(T, usize) -> T>;

fn finish<T: Real>(is_mean: bool) -> Finish<T> {
    is_mean.then_some(|sum, count| T::rounded(sum.double() / count as f64))
}

struct Many<T, F> {
    /// Of each input within the output.
    layouts: Vec<Layout<1>>,
    function: F,
    finish: Finish<T>,
}

impl<T: Element + Copy, F: Apply<T, T, T> + Send> Kernel for Many<T, F> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<T>(outputs, 0)?;
        let Self { layouts, function, finish } = self;
        for (input, layout) in layouts.iter_mut().enumerate() {
            let from = inputs.values::<T>(input)?;
            let (run, [moves]) = (layout.run, layout.moves);
            layout.runs(|at, [place]| {
                let to = &mut to[at..at + run];
                let from = &from[place..];
                match (input, moves) {
                    (0, true) => to.copy_from_slice(&from[..run]),
                    (0, false) => to.fill(from[0]),
                    (_, true) => {
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = function.apply(to, from))
                    }
                    (_, false) => to.iter_mut().for_each(|to| *to = function.apply(to, &from[0])),
                }
            });
        }
        if let Some(finish) = finish {
            to.iter_mut().for_each(|to| *to = finish(*to, layouts.len()));
        }
        Ok(())
    }
}
