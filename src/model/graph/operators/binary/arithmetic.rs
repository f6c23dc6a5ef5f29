//! The four operations, the larger and the smaller of two, and comparisons: of their own for f32.

use std::marker::PhantomData;
use std::sync::Arc;

use super::many::many;
use super::zip::{Apply, Fast, Zip};
use super::{OfIntegers, divided, same_kind, unexpected, zipped};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Kernel};
use crate::model::graph::operators::broadcast;
use crate::model::graph::operators::number::{Integer, each_integer};
use crate::model::graph::tensor::{Kind, TensorType};

/// An operation of numbers of any kind.
pub trait Operation: Copy + Send + Sync + 'static {
    fn f32(a: f32, b: f32) -> f32;
    fn f64(a: f64, b: f64) -> f64;
    fn i64(a: i64, b: i64) -> i64;
}

macro_rules! operations {
    ($($name:ident = |$a:ident, $b:ident| $real:expr, $integer:expr;)+) => {
        $(
            #[derive(Clone, Copy)]
            struct $name;

            impl Operation for $name {
                #[inline(always)]
                fn f32($a: f32, $b: f32) -> f32 {
                    $real
                }

                #[inline(always)]
                fn f64($a: f64, $b: f64) -> f64 {
                    $real
                }

                #[inline(always)]
                fn i64($a: i64, $b: i64) -> i64 {
                    $integer
                }
            }
        )+
    };
}

operations! {
    Add = |a, b| a + b, a.wrapping_add(b);
    Subtract = |a, b| a - b, a.wrapping_sub(b);
    Multiply = |a, b| a * b, a.wrapping_mul(b);
    Divide = |a, b| a / b, a.wrapping_div(b);
    // Where one is not a number, neither is the answer.
    Maximum = |a, b| if a > b || a.is_nan() { a } else { b }, a.max(b);
    Minimum = |a, b| if a < b || a.is_nan() { a } else { b }, a.min(b);
    // Of an input and its slope.
    ParametricRelu = |a, b| if a < 0.0 { a * b } else { a }, if a < 0 { a.wrapping_mul(b) } else { a };
}

/// An operation as the loops over inputs take it.
#[derive(Clone, Copy)]
pub struct Of<F>(pub PhantomData<F>);

impl<F: Operation> Apply<f32, f32, f32> for Of<F> {
    #[inline(always)]
    fn apply(&self, a: &f32, b: &f32) -> f32 {
        F::f32(*a, *b)
    }
}

impl<F: Operation> Apply<f64, f64, f64> for Of<F> {
    #[inline(always)]
    fn apply(&self, a: &f64, b: &f64) -> f64 {
        F::f64(*a, *b)
    }
}

/// The kernel of an operation on two inputs within an output, and the kind of what it gives.
fn kernel<F: Operation>(kind: Kind, output: &[usize], inputs: [&[usize]; 2]) -> Option<Box<dyn Kernel>> {
    let of = Of::<F>(PhantomData);
    match kind {
        Kind::F32 => Some(Box::new(Fast::new(output, inputs, of))),
        Kind::F64 => Some(Box::new(Zip::<f64, f64, f64, _>::new(output, inputs, of))),
        _ => each_integer!(
            kind,
            T => Some(Box::new(Zip::<T, T, T, _>::new(output, inputs, OfIntegers(F::i64)))),
            None
        ),
    }
}

pub fn operation<F: Operation>(context: &Context<'_>) -> Result<Built, Problem> {
    let kind = same_kind(context)?;
    let inputs = [context.shape(0)?, context.shape(1)?];
    let shape = broadcast::shape(&inputs)?;
    let kernel = kernel::<F>(kind, &shape, inputs).ok_or_else(|| unexpected(context, 0, "numbers"))?;
    Ok(Built::Kernel { outputs: vec![TensorType::new(kind, shape)], kernel })
}

pub fn add(context: &Context<'_>) -> Result<Built, Problem> {
    operation::<Add>(context)
}

pub fn subtract(context: &Context<'_>) -> Result<Built, Problem> {
    operation::<Subtract>(context)
}

pub fn multiply(context: &Context<'_>) -> Result<Built, Problem> {
    operation::<Multiply>(context)
}

pub fn divide(context: &Context<'_>) -> Result<Built, Problem> {
    match same_kind(context)? {
        Kind::F32 | Kind::F64 => operation::<Divide>(context),
        _ => divided(context, Divide::i64),
    }
}

/// Of an input and its slopes.
pub fn parametric_relu(context: &Context<'_>) -> Result<Built, Problem> {
    operation::<ParametricRelu>(context)
}

pub fn maximum(context: &Context<'_>) -> Result<Built, Problem> {
    many::<Maximum>(context, false)
}

pub fn minimum(context: &Context<'_>) -> Result<Built, Problem> {
    many::<Minimum>(context, false)
}

pub fn sum(context: &Context<'_>) -> Result<Built, Problem> {
    many::<Add>(context, false)
}

pub fn mean(context: &Context<'_>) -> Result<Built, Problem> {
    many::<Add>(context, true)
}

pub fn equal(context: &Context<'_>) -> Result<Built, Problem> {
    match same_kind(context)? {
        Kind::Bool => zipped::<bool, bool, bool, _>(context, (|a, b| a == b) as fn(bool, bool) -> bool),
        Kind::Text => zipped::<Arc<str>, Arc<str>, bool, _>(context, SameText),
        _ => comparison::<Equal>(context),
    }
}

struct SameText;

impl Apply<Arc<str>, Arc<str>, bool> for SameText {
    fn apply(&self, a: &Arc<str>, b: &Arc<str>) -> bool {
        a == b
    }
}

pub fn greater(context: &Context<'_>) -> Result<Built, Problem> {
    comparison::<Greater>(context)
}

pub fn greater_or_equal(context: &Context<'_>) -> Result<Built, Problem> {
    comparison::<GreaterOrEqual>(context)
}

pub fn less(context: &Context<'_>) -> Result<Built, Problem> {
    comparison::<Less>(context)
}

pub fn less_or_equal(context: &Context<'_>) -> Result<Built, Problem> {
    comparison::<LessOrEqual>(context)
}

/// A comparison of numbers of any kind.
trait Comparison: Copy + Send + Sync + 'static {
    fn holds<T: PartialOrd>(a: &T, b: &T) -> bool;
}

macro_rules! comparisons {
    ($($name:ident = $operator:tt;)+) => {
        $(
            #[derive(Clone, Copy)]
            struct $name;

            impl Comparison for $name {
                #[inline(always)]
                fn holds<T: PartialOrd>(a: &T, b: &T) -> bool {
                    a $operator b
                }
            }
        )+
    };
}

comparisons! {
    Equal = ==;
    Greater = >;
    GreaterOrEqual = >=;
    Less = <;
    LessOrEqual = <=;
}

#[derive(Clone, Copy)]
struct Holds<F>(PhantomData<F>);

impl<T: PartialOrd, F: Comparison> Apply<T, T, bool> for Holds<F> {
    #[inline(always)]
    fn apply(&self, a: &T, b: &T) -> bool {
        F::holds(a, b)
    }
}

/// A comparison of integers of any kind.
struct HoldsOfIntegers(fn(&i64, &i64) -> bool);

impl<T: Integer> Apply<T, T, bool> for HoldsOfIntegers {
    #[inline(always)]
    fn apply(&self, a: &T, b: &T) -> bool {
        (self.0)(&a.wide(), &b.wide())
    }
}

fn comparison<F: Comparison>(context: &Context<'_>) -> Result<Built, Problem> {
    let holds = Holds::<F>(PhantomData);
    match same_kind(context)? {
        Kind::F32 => {
            let inputs = [context.shape(0)?, context.shape(1)?];
            let shape = broadcast::shape(&inputs)?;
            let kernel = Fast::new(&shape, inputs, holds);
            Ok(Built::kernel(TensorType::new(Kind::Bool, shape), kernel))
        }
        Kind::F64 => zipped::<f64, f64, bool, _>(context, holds),
        kind => each_integer!(
            kind,
            T => zipped::<T, T, bool, _>(context, HoldsOfIntegers(F::holds)),
            Err(unexpected(context, 0, "numbers"))
        ),
    }
}
