//! Values that follow from shapes and a few numbers: ranges, constants, triangles.

use super::Operator;
use super::cast::{Cut, target};
use super::elementwise::unexpected;
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::tensor::{Data, Element, Kind, Tensor, TensorType, elements};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("ConstantOfShape", 9, 1..=1, constant_of_shape),
    Operator::onnx("EyeLike", 9, 1..=1, eye_like),
    Operator::onnx("Range", 11, 3..=3, range),
    Operator::onnx("Trilu", 14, 1..=2, trilu),
];

/// A value of one number, as large as a plan may have it.
fn constant_of_shape(context: &Context<'_>) -> Result<Built, Problem> {
    let shape = context.known_ints(0, "input")?;
    let shape = shape.iter().map(|&value| size(value, "shape")).collect::<Result<Vec<_>, _>>()?;
    let value = match context.tensor("value")? {
        None => Tensor::new([1], vec![0_f32]),
        Some(value) if elements(&value.shape) == Some(1) => Tensor::clone(value),
        Some(value) => {
            return Err(Problem(format!(
                "its attribute value has the shape {:?}, expected one element",
                value.shape
            )));
        }
    };
    let output = TensorType::new(value.data.kind(), shape);
    Ok(moving(output, Fill { value }))
}

struct Fill {
    value: Tensor,
}

impl Mover for Fill {
    fn run<T: Bits>(&mut self, _: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        if let Some([value]) = T::of(&self.value.data) {
            output_bits::<T>(outputs, 0)?.fill(value.clone());
        }
        Ok(())
    }
}

/// 1 on a diagonal of two axes and 0 elsewhere.
fn eye_like(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.tensor_type(0)?;
    let &[rows, columns] = input.shape.as_slice() else {
        return Err(Problem(format!("its input has the shape {:?}, expected 2 axes", input.shape)));
    };
    let kind = match context.int("dtype")? {
        None => input.kind,
        Some(to) => match target(to, "dtype")? {
            (kind, Cut::Nothing | Cut::Half | Cut::Brain) => kind,
            _ => Kind::I64,
        },
    };
    let offset = context.int_or("k", 0)?;
    let output = TensorType::new(kind, [rows, columns]);
    macro_rules! eye {
        ($zero:expr, $one:expr) => {
            Ok(Built::kernel(output, Eye { columns, offset, zero: $zero, one: $one }))
        };
    }
    match kind {
        Kind::F32 => eye!(0_f32, 1_f32),
        Kind::F64 => eye!(0_f64, 1_f64),
        Kind::I64 => eye!(0_i64, 1_i64),
        Kind::I32 => eye!(0_i32, 1_i32),
        Kind::I8 => eye!(0_i8, 1_i8),
        Kind::U8 => eye!(0_u8, 1_u8),
        Kind::Bool => eye!(false, true),
        Kind::Text => Err(unexpected(context, 0, "numbers")),
    }
}

struct Eye<T> {
    columns: usize,
    offset: i64,
    zero: T,
    one: T,
}

impl<T: Element> Kernel for Eye<T> {
    fn run(&mut self, _: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<T>(outputs, 0)?;
        to.fill(self.zero.clone());
        for (row, line) in to.chunks_exact_mut(self.columns.max(1)).enumerate() {
            let place = (row as i64).checked_add(self.offset).and_then(|place| usize::try_from(place).ok());
            if let Some(to) = place.and_then(|place| line.get_mut(place)) {
                to.clone_from(&self.one);
            }
        }
        Ok(())
    }
}

/// Numbers from a start by steps to before a limit, all three known.
fn range(context: &Context<'_>) -> Result<Built, Problem> {
    match context.kind(0)? {
        Kind::F32 => real_range::<f32>(context, f64::from, |value| value as f32),
        Kind::F64 => real_range::<f64>(context, |value| value, |value| value),
        Kind::I64 => whole_range::<i64>(context, |value| value, |value| value),
        Kind::I32 => whole_range::<i32>(context, i64::from, |value| value as i32),
        _ => Err(unexpected(context, 0, "float32, float64, int64 or int32")),
    }
}

/// The start, the limit and the step.
fn bounds<T: Element + Copy>(context: &Context<'_>) -> Result<[T; 3], Problem> {
    let one = |at: usize, what: &str| match context.known_values::<T>(at, what)? {
        &[value] => Ok(value),
        values => Err(Problem(format!("its input {at} ({what}) has {} elements, expected 1", values.len()))),
    };
    Ok([one(0, "start")?, one(1, "limit")?, one(2, "delta")?])
}

fn real_range<T: Element + Copy>(
    context: &Context<'_>,
    double: fn(T) -> f64,
    back: fn(f64) -> T,
) -> Result<Built, Problem> {
    let [start, limit, step] = bounds::<T>(context)?.map(double);
    let count = ((limit - start) / step).ceil().max(0.0);
    if !(count.is_finite() && step != 0.0) {
        return Err(Problem(format!("it goes from {start} to {limit} by {step}, which never ends")));
    }
    // More than can be counted is the largest there is, which the plan refuses.
    let output = TensorType::new(T::KIND, [count as usize]);
    Ok(Built::kernel(output, Range { element: move |at| back(at as f64 * step + start) }))
}

fn whole_range<T: Element + Copy>(
    context: &Context<'_>,
    long: fn(T) -> i64,
    back: fn(i64) -> T,
) -> Result<Built, Problem> {
    let [start, limit, step] = bounds::<T>(context)?.map(long);
    if step == 0 {
        return Err(Problem(format!("it goes from {start} to {limit} by 0, which never ends")));
    }
    let distance =
        if step > 0 { i128::from(limit) - i128::from(start) } else { i128::from(start) - i128::from(limit) };
    let count = distance.max(0).unsigned_abs().div_ceil(u128::from(step.unsigned_abs()));
    let output = TensorType::new(T::KIND, [usize::try_from(count).unwrap_or(usize::MAX)]);
    let element = move |at: usize| back(start.wrapping_add(step.wrapping_mul(at as i64)));
    Ok(Built::kernel(output, Range { element }))
}

struct Range<F> {
    element: F,
}

impl<T: Element, F: Fn(usize) -> T + Send> Kernel for Range<F> {
    fn run(&mut self, _: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        for (at, to) in output::<T>(outputs, 0)?.iter_mut().enumerate() {
            *to = (self.element)(at);
        }
        Ok(())
    }
}

/// What is on one side of a diagonal of the last two axes; 0 on the other.
fn trilu(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.tensor_type(0)?.clone();
    let [.., rows, columns] = *input.shape.as_slice() else {
        return Err(Problem(format!("its input has the shape {:?}, expected 2 axes or more", input.shape)));
    };
    let offset = match context.has(1) {
        false => 0,
        true => match context.known_ints(1, "k")?.as_slice() {
            &[offset] => offset,
            other => {
                return Err(Problem(format!("its input 1 (k) has {} elements, expected 1", other.len())));
            }
        },
    };
    let is_upper = context.flag("upper", true)?;
    let zero = Data::zeros(input.kind, 1);
    Ok(moving(input, Trilu { rows, columns, offset, is_upper, zero }))
}

struct Trilu {
    rows: usize,
    columns: usize,
    offset: i64,
    is_upper: bool,
    /// One of them.
    zero: Data,
}

impl Mover for Trilu {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (input_bits::<T>(inputs, 0)?, output_bits::<T>(outputs, 0)?);
        let Some([zero]) = T::of(&self.zero) else { return Ok(()) };
        if self.columns == 0 {
            return Ok(());
        }
        let lines = from.chunks_exact(self.columns).zip(to.chunks_exact_mut(self.columns));
        for (at, (from, to)) in lines.enumerate() {
            // The first place that belongs to the upper side, or beyond the diagonal on the lower.
            let diagonal = ((at % self.rows) as i64).saturating_add(self.offset);
            let edge = if self.is_upper { diagonal } else { diagonal.saturating_add(1) };
            let edge = edge.clamp(0, self.columns as i64) as usize;
            to.clone_from_slice(from);
            if self.is_upper { to[..edge].fill(zero.clone()) } else { to[edge..].fill(zero.clone()) }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::graph::ir::Attribute;
    use crate::model::graph::testing::One;

    #[test]
    fn ranges_end_before_their_limit() {
        let long = |start: i64, limit: i64, step: i64| {
            let one = One::new("Range", 11).constant(&[], vec![start]).constant(&[], vec![limit]);
            one.constant(&[], vec![step]).first::<i64>().map(|(_, found)| found)
        };
        assert_eq!(long(1, 6, 2), Ok(vec![1, 3, 5]));
        assert_eq!(long(5, 1, -3), Ok(vec![5, 2]));
        assert_eq!(long(1, 1, 1), Ok(vec![]));
        assert!(long(0, 1, 0).unwrap_err().contains("never ends"));
        assert!(long(i64::MIN, i64::MAX, 1).unwrap_err().contains("_max"));
        let one = One::new("Range", 11)
            .constant(&[], vec![1_f32])
            .constant(&[], vec![2_f32])
            .constant(&[], vec![0.3_f32]);
        let (_, found) = one.first::<f32>().unwrap();
        assert!(
            found.iter().zip([1.0, 1.3, 1.6, 1.9]).all(|(found, expected)| (found - expected).abs() < 1e-6)
        );
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_value_of_one_number_is_as_large_as_a_plan_may_have_it() {
        let one = |shape: Vec<i64>| One::new("ConstantOfShape", 9).constant(&[shape.len()], shape);
        assert_eq!(one(vec![2, 1]).first::<f32>().unwrap(), (vec![2, 1], vec![0.0, 0.0]));
        let value = Attribute::Tensor(Arc::new(Tensor::new([1], vec![7_i64])));
        assert_eq!(one(vec![2]).with("value", value).first::<i64>().unwrap(), (vec![2], vec![7, 7]));
        assert!(one(vec![1 << 40]).run().unwrap_err().contains("_max"));
        assert_eq!(one(vec![-1]).run().unwrap_err(), "its shape is -1, expected 0 or more");
    }

    #[test]
    fn triangles_and_diagonals() {
        let square =
            |operator, opset| One::new(operator, opset).input(&[1, 2, 3], (1..7).collect::<Vec<i32>>());
        let found = |one: One| one.first::<i32>().unwrap().1;
        assert_eq!(found(square("Trilu", 14)), [1, 2, 3, 0, 5, 6]);
        assert_eq!(found(square("Trilu", 14).int("upper", 0)), [1, 0, 0, 4, 5, 0]);
        assert_eq!(found(square("Trilu", 14).constant(&[], vec![1_i64])), [0, 2, 3, 0, 0, 6]);
        assert_eq!(found(square("Trilu", 14).constant(&[], vec![-5_i64]).int("upper", 0)), [0; 6]);
        let eye = One::new("EyeLike", 9).input(&[2, 3], vec![0_i64; 6]).int("k", 1).int("dtype", 1);
        assert_eq!(eye.first::<f32>().unwrap(), (vec![2, 3], vec![0., 1., 0., 0., 0., 1.]));
    }
}
