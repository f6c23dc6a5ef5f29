//! Functions of each number alone.

mod clip;
mod function;

use self::function::Fast;
use super::number::{Integer, Real, each_integer};
use super::{Operator, number};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Kind, TensorType};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Abs", 1, 1..=1, |context| whole(context, Fast::Abs, |x, _| x.abs(), i64::wrapping_abs)),
    Operator::onnx("Acos", 7, 1..=1, |context| rare(context, |x, _| x.acos())),
    Operator::onnx("Acosh", 9, 1..=1, |context| rare(context, |x, _| x.acosh())),
    Operator::onnx("Asin", 7, 1..=1, |context| rare(context, |x, _| x.asin())),
    Operator::onnx("Asinh", 9, 1..=1, |context| rare(context, |x, _| x.asinh())),
    Operator::onnx("Atan", 7, 1..=1, |context| rare(context, |x, _| x.atan())),
    Operator::onnx("Atanh", 9, 1..=1, |context| rare(context, |x, _| x.atanh())),
    Operator::onnx("BitwiseNot", 18, 1..=1, |context| integers(context, |x| !x)),
    Operator::onnx("Ceil", 1, 1..=1, |context| real(context, Fast::Ceil, |x, _| x.ceil())),
    Operator::onnx("Celu", 12, 1..=1, celu),
    Operator::onnx("Clip", 1, 1..=3, clip::clip),
    Operator::onnx("Cos", 7, 1..=1, |context| rare(context, |x, _| x.cos())),
    Operator::onnx("Cosh", 9, 1..=1, |context| rare(context, |x, _| x.cosh())),
    Operator::onnx("Elu", 1, 1..=1, elu),
    Operator::onnx("Erf", 9, 1..=1, |context| real(context, Fast::Erf, |x, _| libm::erf(x))),
    Operator::onnx("Exp", 1, 1..=1, |context| real(context, Fast::Exp, |x, _| x.exp())),
    Operator::onnx("Floor", 1, 1..=1, |context| real(context, Fast::Floor, |x, _| x.floor())),
    Operator::onnx("Gelu", 20, 1..=1, gelu),
    Operator::onnx("HardSigmoid", 1, 1..=1, hard_sigmoid),
    Operator::onnx("HardSwish", 14, 1..=1, |context| {
        real(context, Fast::HardSwish, |x, _| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))
    }),
    Operator::onnx("IsInf", 10, 1..=1, is_infinite),
    Operator::onnx("IsNaN", 9, 1..=1, |context| test(context, |x, _| x.is_nan(), [false; 2])),
    Operator::onnx("LeakyRelu", 1, 1..=1, leaky_relu),
    Operator::onnx("Log", 1, 1..=1, |context| real(context, Fast::Log, |x, _| x.ln())),
    Operator::onnx("Mish", 18, 1..=1, |context| {
        real(context, Fast::Mish, |x, _| x * function::softplus(x).tanh())
    }),
    Operator::onnx("Neg", 1, 1..=1, |context| whole(context, Fast::Neg, |x, _| -x, i64::wrapping_neg)),
    Operator::onnx("Not", 1, 1..=1, not),
    Operator::onnx("Reciprocal", 1, 1..=1, |context| real(context, Fast::Reciprocal, |x, _| 1.0 / x)),
    Operator::onnx("Relu", 1, 1..=1, |context| {
        whole(context, Fast::Relu, |x, _| if x < 0.0 { 0.0 } else { x }, |x| x.max(0))
    }),
    Operator::onnx("Round", 11, 1..=1, |context| real(context, Fast::Round, |x, _| x.round_ties_even())),
    Operator::onnx("Selu", 1, 1..=1, selu),
    Operator::onnx("Shrink", 9, 1..=1, shrink),
    Operator::onnx("Sigmoid", 1, 1..=1, |context| real(context, Fast::Sigmoid, |x, _| function::sigmoid(x))),
    Operator::onnx("Sign", 9, 1..=1, |context| {
        whole(context, Fast::Sign, |x, _| function::sign(x), i64::signum)
    }),
    Operator::onnx("Sin", 7, 1..=1, |context| rare(context, |x, _| x.sin())),
    Operator::onnx("Sinh", 9, 1..=1, |context| rare(context, |x, _| x.sinh())),
    Operator::onnx("Softplus", 1, 1..=1, |context| {
        real(context, Fast::Softplus, |x, _| function::softplus(x))
    }),
    Operator::onnx("Softsign", 1, 1..=1, |context| rare(context, |x, _| x / (1.0 + x.abs()))),
    Operator::onnx("Sqrt", 1, 1..=1, |context| real(context, Fast::Sqrt, |x, _| x.sqrt())),
    Operator::onnx("Swish", 24, 1..=1, swish),
    Operator::onnx("Tan", 7, 1..=1, |context| rare(context, |x, _| x.tan())),
    Operator::onnx("Tanh", 1, 1..=1, |context| real(context, Fast::Tanh, |x, _| x.tanh())),
    Operator::onnx("ThresholdedRelu", 1, 1..=1, |context| {
        let alpha = f64::from(context.float_or("alpha", 1.0)?);
        rare_with(context, |x, [alpha, _]| if x > alpha { x } else { 0.0 }, [alpha, 0.0])
    }),
];

/// A function with up to two settings, in double precision.
type Wide = fn(f64, [f64; 2]) -> f64;

/// What a kernel of an input of this kind and shape, whose output is like it, is built as.
fn alike(context: &Context<'_>, kernel: impl Kernel + 'static) -> Result<Built, Problem> {
    Ok(Built::kernel(context.tensor_type(0)?.clone(), kernel))
}

pub fn unexpected(context: &Context<'_>, at: usize, expected: &str) -> Problem {
    match context.kind(at) {
        Ok(kind) => Problem(format!("its input {at} is {kind}, expected {expected}")),
        Err(problem) => problem,
    }
}

/// A function that often matters for the time of a pass: of its own for f32.
fn real(context: &Context<'_>, fast: Fast, wide: Wide) -> Result<Built, Problem> {
    real_with(context, fast, wide, [0.0; 2])
}

fn real_with(context: &Context<'_>, fast: Fast, wide: Wide, settings: [f64; 2]) -> Result<Built, Problem> {
    match context.kind(0)? {
        Kind::F32 => {
            let output = context.tensor_type(0)?.clone();
            Ok(Built::Kernel { outputs: vec![output], kernel: function::kernel(fast, settings) })
        }
        _ => rare_with(context, wide, settings),
    }
}

/// The same, and integers have it too.
fn whole(context: &Context<'_>, fast: Fast, wide: Wide, integer: fn(i64) -> i64) -> Result<Built, Problem> {
    match context.kind(0)? {
        Kind::F32 | Kind::F64 => real(context, fast, wide),
        _ => integers(context, integer),
    }
}

fn integers(context: &Context<'_>, function: fn(i64) -> i64) -> Result<Built, Problem> {
    each_integer!(
        context.kind(0)?,
        T => alike(context, Integers::<T> { function, of: std::marker::PhantomData }),
        Err(unexpected(context, 0, "numbers"))
    )
}

/// A function that is computed in double precision whatever the kind is.
fn rare(context: &Context<'_>, wide: Wide) -> Result<Built, Problem> {
    rare_with(context, wide, [0.0; 2])
}

fn rare_with(context: &Context<'_>, wide: Wide, settings: [f64; 2]) -> Result<Built, Problem> {
    match context.kind(0)? {
        Kind::F32 => alike(context, Reals::<f32> { wide, settings, of: std::marker::PhantomData }),
        Kind::F64 => alike(context, Reals::<f64> { wide, settings, of: std::marker::PhantomData }),
        _ => Err(unexpected(context, 0, "float32 or float64")),
    }
}

/// `x` to a power that is known, as [`super::binary`] has it.
pub fn power(context: &Context<'_>, exponent: f64) -> Result<Built, Problem> {
    match exponent {
        2.0 => real(context, Fast::Square, |x, _| x * x),
        0.5 => real(context, Fast::Root, |x, _| x.powf(0.5)),
        3.0 => rare(context, |x, _| x * x * x),
        _ => rare_with(context, |x, [exponent, _]| x.powf(exponent), [exponent, 0.0]),
    }
}

struct Reals<T> {
    wide: Wide,
    settings: [f64; 2],
    of: std::marker::PhantomData<T>,
}

impl<T: Real> Kernel for Reals<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        for (to, from) in to.iter_mut().zip(from) {
            *to = T::rounded((self.wide)(from.double(), self.settings));
        }
        Ok(())
    }
}

struct Integers<T> {
    function: fn(i64) -> i64,
    of: std::marker::PhantomData<T>,
}

impl<T: Integer> Kernel for Integers<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        for (to, from) in to.iter_mut().zip(from) {
            *to = T::narrow((self.function)(from.wide()));
        }
        Ok(())
    }
}

fn celu(context: &Context<'_>) -> Result<Built, Problem> {
    let alpha = f64::from(context.float_or("alpha", 1.0)?);
    real_with(
        context,
        Fast::Celu,
        |x, [alpha, _]| if x < 0.0 { alpha * (x / alpha).exp_m1() } else { x },
        [alpha, 0.0],
    )
}

fn elu(context: &Context<'_>) -> Result<Built, Problem> {
    let alpha = f64::from(context.float_or("alpha", 1.0)?);
    real_with(context, Fast::Elu, |x, [alpha, _]| if x < 0.0 { alpha * x.exp_m1() } else { x }, [alpha, 0.0])
}

fn selu(context: &Context<'_>) -> Result<Built, Problem> {
    // The standard's defaults, from "Self-Normalizing Neural Networks" (Klambauer and others, 2017).
    let alpha = f64::from(context.float_or("alpha", 1.673_263_2)?);
    let gamma = f64::from(context.float_or("gamma", 1.050_701)?);
    real_with(
        context,
        Fast::Selu,
        |x, [alpha, gamma]| gamma * if x < 0.0 { alpha * x.exp_m1() } else { x },
        [alpha, gamma],
    )
}

fn leaky_relu(context: &Context<'_>) -> Result<Built, Problem> {
    let alpha = f64::from(context.float_or("alpha", 0.01)?);
    real_with(context, Fast::LeakyRelu, |x, [alpha, _]| if x < 0.0 { alpha * x } else { x }, [alpha, 0.0])
}

fn hard_sigmoid(context: &Context<'_>) -> Result<Built, Problem> {
    let alpha = f64::from(context.float_or("alpha", 0.2)?);
    let beta = f64::from(context.float_or("beta", 0.5)?);
    real_with(
        context,
        Fast::HardSigmoid,
        |x, [alpha, beta]| (alpha * x + beta).clamp(0.0, 1.0),
        [alpha, beta],
    )
}

fn gelu(context: &Context<'_>) -> Result<Built, Problem> {
    if context.choice("approximate", &[("none", false), ("tanh", true)])? {
        real(context, Fast::GeluTanh, |x, _| {
            let inner = std::f64::consts::FRAC_2_SQRT_PI
                * std::f64::consts::FRAC_1_SQRT_2
                * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        })
    } else {
        real(context, Fast::Gelu, |x, _| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)))
    }
}

fn swish(context: &Context<'_>) -> Result<Built, Problem> {
    let alpha = f64::from(context.float_or("alpha", 1.0)?);
    real_with(context, Fast::Swish, |x, [alpha, _]| x * function::sigmoid(alpha * x), [alpha, 0.0])
}

fn shrink(context: &Context<'_>) -> Result<Built, Problem> {
    let bias = f64::from(context.float_or("bias", 0.0)?);
    let lambda = f64::from(context.float_or("lambd", 0.5)?);
    let wide: Wide = |x, [bias, lambda]| {
        if x < -lambda {
            x + bias
        } else if x > lambda {
            x - bias
        } else {
            0.0
        }
    };
    each_integer!(
        context.kind(0)?,
        T => {
            let function = move |x: i64| number::integer(wide(x as f64, [bias, lambda]));
            alike(context, Each::<_, T> { function, of: std::marker::PhantomData })
        },
        rare_with(context, wide, [bias, lambda])
    )
}

/// A function of integers that has settings.
struct Each<F, T> {
    function: F,
    of: std::marker::PhantomData<T>,
}

impl<T: Integer, F: Fn(i64) -> i64 + Send> Kernel for Each<F, T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        for (to, from) in to.iter_mut().zip(from) {
            *to = T::narrow((self.function)(from.wide()));
        }
        Ok(())
    }
}

fn is_infinite(context: &Context<'_>) -> Result<Built, Problem> {
    let settings = [context.flag("detect_negative", true)?, context.flag("detect_positive", true)?];
    test(context, |x, [low, high]| (low && x == f64::NEG_INFINITY) || (high && x == f64::INFINITY), settings)
}

fn test(
    context: &Context<'_>,
    function: fn(f64, [bool; 2]) -> bool,
    settings: [bool; 2],
) -> Result<Built, Problem> {
    let output = TensorType::new(Kind::Bool, context.shape(0)?);
    match context.kind(0)? {
        Kind::F32 => {
            Ok(Built::kernel(output, Test::<f32> { function, settings, of: std::marker::PhantomData }))
        }
        Kind::F64 => {
            Ok(Built::kernel(output, Test::<f64> { function, settings, of: std::marker::PhantomData }))
        }
        _ => Err(unexpected(context, 0, "float32 or float64")),
    }
}

struct Test<T> {
    function: fn(f64, [bool; 2]) -> bool,
    settings: [bool; 2],
    of: std::marker::PhantomData<T>,
}

impl<T: Real> Kernel for Test<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<bool>(outputs, 0)?);
        for (to, from) in to.iter_mut().zip(from) {
            *to = (self.function)(from.double(), self.settings);
        }
        Ok(())
    }
}

fn not(context: &Context<'_>) -> Result<Built, Problem> {
    match context.kind(0)? {
        Kind::Bool => alike(context, Not),
        _ => Err(unexpected(context, 0, "bool")),
    }
}

struct Not;

impl Kernel for Not {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<bool>(0)?, output::<bool>(outputs, 0)?);
        for (to, from) in to.iter_mut().zip(from) {
            *to = !from;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
