//! `ReduceLogSumExp`: ln Σ e^x, of differences from the largest, so that nothing overflows.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use super::fold::{Fold, folded};
use super::{Axes, Passage, built};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::elementwise::unexpected;
use crate::model::graph::operators::number::Real;
use crate::model::graph::tensor::{Data, Kind};
use crate::model::kernel::blocks;

pub fn log_sum_exp(context: &Context<'_>) -> Result<Built, Problem> {
    let axes = Axes::of(context)?;
    let output = axes.output(context)?;
    // The second one is the largest of each, which is of use only on the way.
    let outputs = vec![output.clone(), output];
    match context.kind(0)? {
        Kind::F32 => Ok(built(outputs, LogSumExp::<f32>::new(axes.passage))),
        Kind::F64 => Ok(built(outputs, LogSumExp::<f64>::new(axes.passage))),
        _ => Err(unexpected(context, 0, "float32 or float64")),
    }
}

/// Numbers with an exponential and a logarithm.
trait Exponential: Real + blocks::Real {}

impl Exponential for f32 {}
impl Exponential for f64 {}

struct LogSumExp<T> {
    arch: Arch,
    passage: Passage,
    of: PhantomData<T>,
}

impl<T> LogSumExp<T> {
    fn new(passage: Passage) -> Self {
        Self { arch: Arch::new(), passage, of: PhantomData }
    }
}

impl<T: Exponential> Kernel for LogSumExp<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let from = inputs.values::<T>(0)?;
        let [to, largest] = outputs else { return Err(Fault("output 1 is missing".to_owned())) };
        let to = output::<T>(std::slice::from_mut(to), 0)?;
        let largest = output::<T>(std::slice::from_mut(largest), 0)?;
        if self.passage.count == 0 {
            to.fill(T::rounded(f64::NEG_INFINITY));
            return Ok(());
        }
        self.arch.dispatch(Pass { passage: &mut self.passage, from, to: &mut *to, largest: &mut *largest });
        for (to, largest) in to.iter_mut().zip(largest) {
            *to = T::rounded(to.double().ln() + largest.double());
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        // About what an exponential takes.
        Some(self.passage.cost().saturating_mul(8))
    }
}

#[derive(Clone, Copy)]
struct Largest<T>(PhantomData<T>);

impl<T: Exponential> Fold<T> for Largest<T> {
    #[inline(always)]
    fn empty(self) -> T {
        T::rounded(f64::NEG_INFINITY)
    }

    #[inline(always)]
    fn start(self, first: T) -> T {
        first
    }

    #[inline(always)]
    fn take(self, so_far: T, next: T) -> T {
        if next > so_far { next } else { so_far }
    }

    #[inline(always)]
    fn join(self, a: T, b: T) -> T {
        self.take(a, b)
    }
}

/// The sum of e^(x - shift).
#[derive(Clone, Copy)]
struct Shifted<T>(T);

impl<T: Exponential> Fold<T> for Shifted<T> {
    #[inline(always)]
    fn empty(self) -> T {
        T::rounded(0.0)
    }

    #[inline(always)]
    fn start(self, _: T) -> T {
        T::rounded(0.0)
    }

    #[inline(always)]
    fn take(self, so_far: T, next: T) -> T {
        so_far.add(next.sub(self.0).exp())
    }

    #[inline(always)]
    fn join(self, a: T, b: T) -> T {
        a.add(b)
    }
}

struct Pass<'a, T> {
    passage: &'a mut Passage,
    from: &'a [T],
    to: &'a mut [T],
    largest: &'a mut [T],
}

impl<T: Exponential> WithSimd for Pass<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { passage, from, to, largest } = self;
        passage.fold(Largest(PhantomData), from, largest);
        // From infinity nothing can be taken: then the sum itself is infinite, or 0.
        largest.iter_mut().for_each(|value| {
            *value = if value.double().is_infinite() { T::rounded(0.0) } else { *value };
        });
        let Passage { kept, reduced, run, is_last_reduced, count } = passage;
        let mut at = 0;
        kept.each(0, |base| {
            if *is_last_reduced {
                to[at] = folded(reduced, Shifted(largest[at]), from, base, *run, *count);
                at += 1;
                return;
            }
            let (to, largest) = (&mut to[at..at + *run], &largest[at..at + *run]);
            to.fill(T::rounded(0.0));
            reduced.each(base, |place| {
                for ((to, largest), next) in to.iter_mut().zip(largest).zip(&from[place..place + *run]) {
                    *to = Shifted(*largest).take(*to, *next);
                }
            });
            at += *run;
        });
    }
}
