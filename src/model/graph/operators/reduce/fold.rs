//! Reductions that take one number after the other.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use super::{Axes, Passage, built};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::elementwise::unexpected;
use crate::model::graph::operators::number::{Integer, Real, each_integer, integer};
use crate::model::graph::tensor::{Data, Element, Kind, elements};

/// So many partial results are kept apart along an axis, so that they can be made at once.
const LANES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    L1,
    L2,
    LogSum,
    Max,
    Mean,
    Min,
    Product,
    Sum,
    SumSquare,
}

/// What is done with each number, from one result to the next.
pub trait Fold<T>: Copy + Send + 'static {
    /// Whether its loop becomes vectors, and is to be there for each kind of them.
    const IS_WIDE: bool = true;
    /// The result of nothing.
    fn empty(self) -> T;
    /// What to begin with, before `first` is taken.
    fn start(self, first: T) -> T;
    fn take(self, so_far: T, next: T) -> T;
    /// Of two results one.
    fn join(self, a: T, b: T) -> T;
}

macro_rules! folds {
    ($($name:ident: $empty:expr, $start:expr, |$a:ident, $b:ident| $take:expr, $join:expr;)+) => {
        $(
            #[derive(Clone, Copy)]
            struct $name;

            folds!(@of f32 $name: $empty, $start, |$a, $b| $take, $join);
            folds!(@of f64 $name: $empty, $start, |$a, $b| $take, $join);
        )+
    };
    (@of $type:tt $name:ident: $empty:expr, $start:expr, |$a:ident, $b:ident| $take:expr, $join:expr) => {
        impl Fold<$type> for $name {
            #[inline(always)]
            fn empty(self) -> $type {
                $empty as $type
            }

            #[inline(always)]
            fn start(self, first: $type) -> $type {
                let start: fn($type) -> $type = $start;
                start(first)
            }

            #[inline(always)]
            fn take(self, $a: $type, $b: $type) -> $type {
                $take
            }

            #[inline(always)]
            fn join(self, $a: $type, $b: $type) -> $type {
                $join
            }
        }
    };
}

folds! {
    Sum: 0.0, |_| 0.0, |a, b| a + b, a + b;
    SumAbsolute: 0.0, |_| 0.0, |a, b| a + b.abs(), a + b;
    SumSquare: 0.0, |_| 0.0, |a, b| a + b * b, a + b;
    Product: 1.0, |_| 1.0, |a, b| a * b, a * b;
    // As ONNX Runtime has it: what is not a number counts where it comes first, and is passed over elsewhere.
    Largest: f64::NEG_INFINITY, |first| first, |a, b| if b > a { b } else { a }, if b > a { b } else { a };
    Smallest: f64::INFINITY, |first| first, |a, b| if b < a { b } else { a }, if b < a { b } else { a };
}

pub fn reduction(context: &Context<'_>, reduction: Reduction) -> Result<Built, Problem> {
    let axes = Axes::of(context)?;
    match context.kind(0)? {
        Kind::F32 => real::<f32>(context, axes, reduction),
        Kind::F64 => real::<f64>(context, axes, reduction),
        _ => integers(context, &axes, reduction),
    }
}

fn real<T: Real>(context: &Context<'_>, axes: Axes, reduction: Reduction) -> Result<Built, Problem>
where
    Sum: Fold<T>,
    SumAbsolute: Fold<T>,
    SumSquare: Fold<T>,
    Product: Fold<T>,
    Largest: Fold<T>,
    Smallest: Fold<T>,
{
    let output = axes.output(context)?;
    let finish: fn(T, usize) -> T = match reduction {
        // The mean of nothing is 0 in ONNX Runtime.
        Reduction::Mean => |sum, count| T::rounded(sum.double() / count.max(1) as f64),
        Reduction::LogSum => |sum, _| T::rounded(sum.double().ln()),
        Reduction::L2 => |sum, _| T::rounded(sum.double().sqrt()),
        _ => |value, _| value,
    };
    let (outputs, passage) = (vec![output], axes.passage);
    Ok(match reduction {
        Reduction::Sum | Reduction::Mean | Reduction::LogSum => {
            built(outputs, Reduce::new(passage, Sum, finish))
        }
        Reduction::L1 => built(outputs, Reduce::new(passage, SumAbsolute, finish)),
        Reduction::L2 | Reduction::SumSquare => built(outputs, Reduce::new(passage, SumSquare, finish)),
        Reduction::Product => built(outputs, Reduce::new(passage, Product, finish)),
        Reduction::Max => built(outputs, Reduce::new(passage, Largest, finish)),
        Reduction::Min => built(outputs, Reduce::new(passage, Smallest, finish)),
    })
}

/// Integers are rarely reduced: one loop for all.
#[derive(Clone, Copy)]
struct OfIntegers {
    empty: Option<i64>,
    take: fn(i64, i64) -> i64,
    join: fn(i64, i64) -> i64,
}

impl<T: Integer> Fold<T> for OfIntegers {
    const IS_WIDE: bool = false;

    fn empty(self) -> T {
        T::narrow(self.empty.unwrap_or_default())
    }

    fn start(self, first: T) -> T {
        self.empty.map_or(first, T::narrow)
    }

    fn take(self, so_far: T, next: T) -> T {
        T::narrow((self.take)(so_far.wide(), next.wide()))
    }

    fn join(self, a: T, b: T) -> T {
        T::narrow((self.join)(a.wide(), b.wide()))
    }
}

fn integers(context: &Context<'_>, axes: &Axes, reduction: Reduction) -> Result<Built, Problem> {
    let sum = |take| OfIntegers { empty: Some(0), take, join: i64::wrapping_add };
    let one = |join| OfIntegers { empty: None, take: join, join };
    let fold = match reduction {
        Reduction::Sum | Reduction::Mean | Reduction::LogSum => sum(i64::wrapping_add),
        Reduction::L1 => sum(|sum, next| sum.wrapping_add(next.wrapping_abs())),
        Reduction::L2 | Reduction::SumSquare => sum(|sum, next| sum.wrapping_add(next.wrapping_mul(next))),
        Reduction::Product => OfIntegers { empty: Some(1), ..one(i64::wrapping_mul) },
        Reduction::Max => one(i64::max),
        Reduction::Min => one(i64::min),
    };
    if fold.empty.is_none() && axes.passage.count == 0 && elements(&axes.shape) != Some(0) {
        return Err("it would give the largest or smallest of no integers".into());
    }
    let finish: fn(i64, usize) -> i64 = match reduction {
        Reduction::Mean => |sum, count| sum / count.max(1) as i64,
        Reduction::L2 => |sum, _| integer((sum as f64).sqrt()),
        Reduction::LogSum => |sum, _| integer((sum as f64).ln()),
        _ => |value, _| value,
    };
    let output = axes.output(context)?;
    each_integer!(
        context.kind(0)?,
        T => {
            let finish = move |value: T, count: usize| T::narrow(finish(value.wide(), count));
            Ok(built(vec![output], Reduce::new(axes.passage.clone(), fold, finish)))
        },
        Err(unexpected(context, 0, "numbers"))
    )
}

struct Reduce<T, F, E> {
    arch: Arch,
    passage: Passage,
    fold: F,
    finish: E,
    of: PhantomData<T>,
}

impl<T, F, E> Reduce<T, F, E> {
    fn new(passage: Passage, fold: F, finish: E) -> Self {
        Self { arch: Arch::new(), passage, fold, finish, of: PhantomData }
    }
}

impl<T: Element + Copy, F: Fold<T>, E: Fn(T, usize) -> T + Send> Kernel for Reduce<T, F, E> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        if self.passage.count == 0 {
            to.fill(self.fold.empty());
        } else {
            let pass = Pass { passage: &mut self.passage, fold: self.fold, from, to: &mut *to };
            if F::IS_WIDE { self.arch.dispatch(pass) } else { pass.all() }
        }
        for to in to {
            *to = (self.finish)(*to, self.passage.count);
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.passage.cost())
    }
}

impl Passage {
    /// The numbers that are taken.
    pub fn cost(&self) -> u64 {
        let all = [self.kept.places(), self.reduced.places(), self.run];
        all.iter().fold(1, |all, &places| all.saturating_mul(places as u64))
    }

    /// Folds `from` into `to`, in which there is one place for each that is kept.
    #[inline(always)]
    pub fn fold<T: Copy, F: Fold<T>>(&mut self, fold: F, from: &[T], to: &mut [T]) {
        let Self { kept, reduced, run, is_last_reduced, count } = self;
        let run = *run;
        let mut at = 0;
        if *is_last_reduced {
            kept.each(0, |base| {
                to[at] = folded(reduced, fold, from, base, run, *count);
                at += 1;
            });
            return;
        }
        kept.each(0, |base| {
            let to = &mut to[at..at + run];
            for (to, first) in to.iter_mut().zip(&from[base..base + run]) {
                *to = fold.start(*first);
            }
            reduced.each(base, |place| {
                for (to, next) in to.iter_mut().zip(&from[place..place + run]) {
                    *to = fold.take(*to, *next);
                }
            });
            at += run;
        });
    }
}

/// The result of the runs that begin where `reduced` says.
#[inline(always)]
pub fn folded<T: Copy, F: Fold<T>>(
    reduced: &mut super::Walk,
    fold: F,
    from: &[T],
    base: usize,
    run: usize,
    count: usize,
) -> T {
    let start = fold.start(from[base]);
    if count < LANES {
        let mut so_far = start;
        reduced.each(base, |place| {
            for next in &from[place..place + run] {
                so_far = fold.take(so_far, *next);
            }
        });
        return so_far;
    }
    let mut lanes = [start; LANES];
    reduced.each(base, |place| {
        let (chunks, rest) = from[place..place + run].as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, next) in lanes.iter_mut().zip(chunk) {
                *lane = fold.take(*lane, *next);
            }
        }
        for (lane, next) in lanes.iter_mut().zip(rest) {
            *lane = fold.take(*lane, *next);
        }
    });
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = fold.join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

struct Pass<'a, T, F> {
    passage: &'a mut Passage,
    fold: F,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Copy, F: Fold<T>> WithSimd for Pass<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.all();
    }
}

impl<T: Copy, F: Fold<T>> Pass<'_, T, F> {
    #[inline(always)]
    fn all(self) {
        self.passage.fold(self.fold, self.from, self.to);
    }
}
