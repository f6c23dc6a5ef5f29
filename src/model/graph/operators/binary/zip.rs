//! The loop over two inputs that are brought to one shape.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use crate::model::graph::kernel::{Fault, Inputs, Kernel, output};
use crate::model::graph::operators::broadcast::Layout;
use crate::model::graph::operators::number::Integer;
use crate::model::graph::tensor::{Data, Element};

/// A function of two elements.
pub trait Apply<A, B, O> {
    /// To be `#[inline(always)]` where it is more than a call: the loop round it is compiled for instructions
    /// that this is not.
    fn apply(&self, a: &A, b: &B) -> O;
}

/// For what is rare, where a call for each element does not matter.
impl<A: Copy, B: Copy, O> Apply<A, B, O> for fn(A, B) -> O {
    #[inline(always)]
    fn apply(&self, a: &A, b: &B) -> O {
        self(*a, *b)
    }
}

/// A function of two inputs.
pub struct Zip<A, B, O, F> {
    layout: Layout<2>,
    function: F,
    of: PhantomData<(A, B, O)>,
}

impl<A: Element, B: Element, O: Element, F: Apply<A, B, O>> Zip<A, B, O, F> {
    pub fn new(output: &[usize], inputs: [&[usize]; 2], function: F) -> Self {
        Self { layout: Layout::new(output, inputs), function, of: PhantomData }
    }
}

impl<A: Element, B: Element, O: Element, F: Apply<A, B, O> + Send> Kernel for Zip<A, B, O, F> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (left, right) = (inputs.values::<A>(0)?, inputs.values::<B>(1)?);
        let pass =
            Pass { layout: &mut self.layout, function: &self.function, left, right, to: output(outputs, 0)? };
        pass.all();
        Ok(())
    }
}

/// The same for f32, with the widest vectors that there are.
pub struct Fast<O, F> {
    arch: Arch,
    zip: Zip<f32, f32, O, F>,
}

impl<O: Element, F: Apply<f32, f32, O>> Fast<O, F> {
    pub fn new(output: &[usize], inputs: [&[usize]; 2], function: F) -> Self {
        Self { arch: Arch::new(), zip: Zip::new(output, inputs, function) }
    }
}

impl<O: Element, F: Apply<f32, f32, O> + Send> Kernel for Fast<O, F> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (left, right) = (inputs.values::<f32>(0)?, inputs.values::<f32>(1)?);
        let Zip { layout, function, .. } = &mut self.zip;
        self.arch.dispatch(Pass { layout, function: &*function, left, right, to: output(outputs, 0)? });
        Ok(())
    }
}

/// The same for integers by which something is divided.
pub struct Divided<T, F>(pub Zip<T, T, T, F>);

impl<T: Integer, F: Apply<T, T, T> + Send> Kernel for Divided<T, F> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        // Nothing is divided by it where there is nothing to divide.
        if self.0.layout.run > 0 && inputs.values::<T>(1)?.iter().any(|value| value.wide() == 0) {
            return Err(Fault("it would divide an integer by 0".to_owned()));
        }
        self.0.run(inputs, outputs)
    }
}

struct Pass<'a, A, B, O, F> {
    layout: &'a mut Layout<2>,
    function: &'a F,
    left: &'a [A],
    right: &'a [B],
    to: &'a mut [O],
}

impl<O: Element, F: Apply<f32, f32, O>> WithSimd for Pass<'_, f32, f32, O, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.all();
    }
}

impl<A, B, O, F: Apply<A, B, O>> Pass<'_, A, B, O, F> {
    #[inline(always)]
    fn all(self) {
        let Self { layout, function, left, right, to } = self;
        let (run, moves) = (layout.run, layout.moves);
        layout.runs(|at, [a, b]| {
            let to = &mut to[at..at + run];
            match moves {
                [true, true] => {
                    let (left, right) = (&left[a..a + run], &right[b..b + run]);
                    for ((to, a), b) in to.iter_mut().zip(left).zip(right) {
                        *to = function.apply(a, b);
                    }
                }
                [true, false] => {
                    let right = &right[b];
                    for (to, a) in to.iter_mut().zip(&left[a..a + run]) {
                        *to = function.apply(a, right);
                    }
                }
                [false, true] => {
                    let left = &left[a];
                    for (to, b) in to.iter_mut().zip(&right[b..b + run]) {
                        *to = function.apply(left, b);
                    }
                }
                // Along an axis that only a third input has.
                [false, false] => {
                    for to in to.iter_mut() {
                        *to = function.apply(&left[a], &right[b]);
                    }
                }
            }
        });
    }
}
