//! Functions of two numbers, or more, that are brought to one shape.

mod arithmetic;
mod many;
mod select;
mod zip;

use self::zip::{Apply, Zip};
use super::elementwise::{power as constant_power, unexpected};
use super::number::{Integer, Real, each_integer, integer};
use super::{ANY, Operator, broadcast};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Kernel};
use crate::model::graph::tensor::{Data, Element, Kind, Tensor, TensorType, elements};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Add", 7, 2..=2, arithmetic::add),
    Operator::onnx("And", 7, 2..=2, |context| logic(context, |a, b| a & b)),
    Operator::onnx("BitShift", 11, 2..=2, shift),
    Operator::onnx("BitwiseAnd", 18, 2..=2, |context| bits(context, |a, b| a & b)),
    Operator::onnx("BitwiseOr", 18, 2..=2, |context| bits(context, |a, b| a | b)),
    Operator::onnx("BitwiseXor", 18, 2..=2, |context| bits(context, |a, b| a ^ b)),
    Operator::onnx("Div", 7, 2..=2, arithmetic::divide),
    Operator::onnx("Equal", 7, 2..=2, arithmetic::equal),
    Operator::onnx("Greater", 7, 2..=2, arithmetic::greater),
    Operator::onnx("GreaterOrEqual", 12, 2..=2, arithmetic::greater_or_equal),
    Operator::onnx("Less", 7, 2..=2, arithmetic::less),
    Operator::onnx("LessOrEqual", 12, 2..=2, arithmetic::less_or_equal),
    Operator::onnx("Max", 6, ANY, arithmetic::maximum),
    Operator::onnx("Mean", 6, ANY, arithmetic::mean),
    Operator::onnx("Min", 6, ANY, arithmetic::minimum),
    Operator::onnx("Mod", 10, 2..=2, remainder),
    Operator::onnx("Mul", 7, 2..=2, arithmetic::multiply),
    Operator::onnx("Or", 7, 2..=2, |context| logic(context, |a, b| a | b)),
    Operator::onnx("PRelu", 7, 2..=2, arithmetic::parametric_relu),
    Operator::onnx("Pow", 7, 2..=2, power),
    Operator::onnx("Sub", 7, 2..=2, arithmetic::subtract),
    Operator::onnx("Sum", 6, ANY, arithmetic::sum),
    Operator::onnx("Where", 9, 3..=3, select::select),
    Operator::onnx("Xor", 7, 2..=2, |context| logic(context, |a, b| a ^ b)),
];

/// What a kernel that brings both inputs to one shape is built as.
fn zipped<A: Element, B: Element, O: Element, F>(context: &Context<'_>, function: F) -> Result<Built, Problem>
where
    F: Apply<A, B, O> + Send + 'static,
{
    let (left, right) = (context.shape(0)?, context.shape(1)?);
    let shape = broadcast::shape(&[left, right])?;
    let kernel: Box<dyn Kernel> = Box::new(Zip::new(&shape, [left, right], function));
    Ok(Built::Kernel { outputs: vec![TensorType::new(O::KIND, shape)], kernel })
}

/// Both inputs' kind, where it is the same.
fn same_kind(context: &Context<'_>) -> Result<Kind, Problem> {
    let (first, second) = (context.kind(0)?, context.kind(1)?);
    if first == second {
        return Ok(first);
    }
    Err(Problem(format!("its inputs are {first} and {second}, expected the same for both")))
}

fn logic(context: &Context<'_>, function: fn(bool, bool) -> bool) -> Result<Built, Problem> {
    match same_kind(context)? {
        Kind::Bool => zipped::<bool, bool, bool, _>(context, function),
        _ => Err(unexpected(context, 0, "bool")),
    }
}

/// A function of integers of any kind.
struct OfIntegers(fn(i64, i64) -> i64);

impl<T: Integer> Apply<T, T, T> for OfIntegers {
    #[inline(always)]
    fn apply(&self, a: &T, b: &T) -> T {
        T::narrow((self.0)(a.wide(), b.wide()))
    }
}

fn bits(context: &Context<'_>, function: fn(i64, i64) -> i64) -> Result<Built, Problem> {
    each_integer!(
        same_kind(context)?,
        T => zipped::<T, T, T, _>(context, OfIntegers(function)),
        Err(unexpected(context, 0, "integers"))
    )
}

/// Integers of other sizes than 8 bits without a sign are kept as int64, and are moved as such.
fn shift(context: &Context<'_>) -> Result<Built, Problem> {
    let Some(direction) = context.text("direction")? else {
        return Err("its attribute direction is missing, expected LEFT or RIGHT".into());
    };
    bits(
        context,
        match direction {
            "LEFT" => |a, b| if (0..64).contains(&b) { a << b } else { 0 },
            "RIGHT" => |a, b| if (0..64).contains(&b) { ((a as u64) >> b) as i64 } else { 0 },
            other => {
                let other = other.escape_debug();
                return Err(Problem(format!(
                    "its attribute direction is \"{other}\", expected LEFT or RIGHT"
                )));
            }
        },
    )
}

/// With `fmod` the remainder has the sign of what is divided, else that of what it is divided by.
fn remainder(context: &Context<'_>) -> Result<Built, Problem> {
    let is_truncated = context.flag("fmod", false)?;
    let function: fn(i64, i64) -> i64 = if is_truncated {
        i64::wrapping_rem
    } else {
        |a, b| {
            let rest = a.wrapping_rem(b);
            if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
        }
    };
    let kind = same_kind(context)?;
    match kind {
        Kind::F32 | Kind::F64 if !is_truncated => {
            Err(Problem(format!("its inputs are {kind} and its attribute fmod is 0, expected 1")))
        }
        Kind::F32 => zipped::<f32, f32, f32, _>(context, (|a, b| a % b) as fn(f32, f32) -> f32),
        Kind::F64 => zipped::<f64, f64, f64, _>(context, (|a, b| a % b) as fn(f64, f64) -> f64),
        _ => divided(context, function),
    }
}

/// A function of integers whose second is not 0.
fn divided(context: &Context<'_>, function: fn(i64, i64) -> i64) -> Result<Built, Problem> {
    let is_zero = |tensor: &Tensor| match &tensor.data {
        Data::I64(values) => values.contains(&0),
        Data::I32(values) => values.contains(&0),
        Data::I8(values) => values.contains(&0),
        Data::U8(values) => values.contains(&0),
        _ => false,
    };
    let has_elements = elements(context.shape(0)?) != Some(0);
    if has_elements && context.constant(1)?.is_some_and(|divisor| is_zero(divisor)) {
        return Err(Problem("it would divide an integer by 0, which is among its known divisors".to_owned()));
    }
    let (left, right) = (context.shape(0)?, context.shape(1)?);
    let shape = broadcast::shape(&[left, right])?;
    let output = TensorType::new(context.kind(0)?, shape.as_slice());
    each_integer!(
        same_kind(context)?,
        T => {
            let zip = Zip::<T, T, T, _>::new(&shape, [left, right], OfIntegers(function));
            Ok(Built::kernel(output, zip::Divided(zip)))
        },
        Err(unexpected(context, 0, "numbers"))
    )
}

/// A number of any kind, as a power takes and gives it.
trait Number: Element + Copy {
    fn double(self) -> f64;
    fn from_double(value: f64) -> Self;
}

macro_rules! numbers {
    ($($type:ty, $double:expr, $back:expr;)+) => {
        $(impl Number for $type {
            fn double(self) -> f64 {
                $double(self)
            }

            fn from_double(value: f64) -> Self {
                $back(value)
            }
        })+
    };
}

numbers! {
    f32, Real::double, Real::rounded;
    f64, Real::double, Real::rounded;
    i64, |value| value as f64, integer;
    i32, f64::from, |value| integer(value) as i32;
}

struct Power;

impl<A: Number, B: Number> Apply<A, B, A> for Power {
    #[inline(always)]
    fn apply(&self, a: &A, b: &B) -> A {
        A::from_double(a.double().powf(b.double()))
    }
}

/// The result has the kind of what is raised; the power may be of another.
fn power(context: &Context<'_>) -> Result<Built, Problem> {
    let base = context.kind(0)?;
    let constant = context.constant(1)?.filter(|power| elements(&power.shape) == Some(1));
    if let (Kind::F32 | Kind::F64, Some(power)) = (base, constant)
        && power.shape.len() <= context.shape(0)?.len()
    {
        let known =
            (power.values::<f32>(), power.values::<f64>(), power.values::<i64>(), power.values::<i32>());
        match known {
            (Some(&[power]), ..) => return constant_power(context, f64::from(power)),
            (_, Some(&[power]), ..) => return constant_power(context, power),
            (_, _, Some(&[power]), _) => return constant_power(context, power as f64),
            (.., Some(&[power])) => return constant_power(context, f64::from(power)),
            _ => {}
        }
    }
    match base {
        Kind::F32 => raised::<f32>(context),
        Kind::F64 => raised::<f64>(context),
        Kind::I64 => raised::<i64>(context),
        Kind::I32 => raised::<i32>(context),
        _ => Err(unexpected(context, 0, "float32, float64, int64 or int32")),
    }
}

fn raised<A: Number>(context: &Context<'_>) -> Result<Built, Problem> {
    match context.kind(1)? {
        Kind::F32 => zipped::<A, f32, A, _>(context, Power),
        Kind::F64 => zipped::<A, f64, A, _>(context, Power),
        Kind::I64 => zipped::<A, i64, A, _>(context, Power),
        Kind::I32 => zipped::<A, i32, A, _>(context, Power),
        _ => Err(unexpected(context, 1, "float32, float64, int64 or int32")),
    }
}

#[cfg(test)]
mod tests;
