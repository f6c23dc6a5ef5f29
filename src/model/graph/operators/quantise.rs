//! Numbers as small integers and back: `scale (integer - zero point)`.

use std::marker::PhantomData;

use super::Operator;
use crate::model::graph::context::{Context, Problem, axis, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType, elements};
use crate::model::kernel::blocks::Once;

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("QuantizeLinear", 10, 2..=3, quantise),
    Operator::onnx("DequantizeLinear", 10, 2..=3, dequantise),
    Operator::onnx("DynamicQuantizeLinear", 11, 1..=1, dynamic),
];

/// Small whole numbers.
pub trait Whole: Element + Copy {
    /// Rounded half to even, and bounded to what there is; what is not a number becomes the least.
    fn rounded(value: f32) -> Self;
}

macro_rules! whole {
    ($($type:ty),+) => {
        $(impl Whole for $type {
            #[inline(always)]
            fn rounded(value: f32) -> Self {
                // As a comparison of vectors does it, in which the bound wins.
                let bounded = if value > f32::from(<$type>::MIN) { value } else { f32::from(<$type>::MIN) };
                bounded.min(f32::from(<$type>::MAX)) as Self
            }
        })+
    };
}
whole!(i8, u8);

/// An element of whatever whole numbers `data` has.
pub fn integer(data: &Data, at: usize) -> i32 {
    match data {
        Data::I8(values) => values[at].into(),
        Data::U8(values) => values[at].into(),
        Data::I32(values) => values[at],
        Data::I64(values) => values[at] as i32,
        _ => 0,
    }
}

/// Which scale each number has: the one at `outer, channel / block, inner`.
#[derive(Debug, Clone, Copy)]
struct Scales {
    /// Places along the axis.
    channels: usize,
    /// Places that have one scale.
    block: usize,
    /// Scales along the axis.
    count: usize,
    inner: usize,
    /// Whether there are scales for each place of the other axes.
    is_blocked: bool,
}

impl Scales {
    fn read(context: &Context<'_>) -> Result<Self, Problem> {
        let (shape, scale) = (context.shape(0)?, context.shape(1)?);
        let count =
            |sizes: &[usize]| elements(sizes).ok_or("its input has more elements than can be counted");
        let block = size(context.int_or("block_size", 0)?, "attribute block_size")?;
        let stated = context.int_or("axis", 1)?;
        let all = count(shape)?;
        let is_one = |shape: &[usize]| elements(shape) == Some(1) && shape.len() <= 1;
        if context.has(2) && context.shape(2)? != scale && !(is_one(context.shape(2)?) && is_one(scale)) {
            return Err(Problem(format!(
                "its zero point has the shape {:?}, expected that of its scale, {scale:?}",
                context.shape(2)?
            )));
        }
        if is_one(scale) {
            return Ok(Self { channels: all, block: all.max(1), count: 1, inner: 1, is_blocked: false });
        }
        let at = axis(stated, shape.len())?;
        let inner = count(&shape[at + 1..])?;
        if block == 0 && *scale == [shape[at]] {
            return Ok(Self { channels: shape[at], block: 1, count: shape[at], inner, is_blocked: false });
        }
        let mut blocks = shape.to_vec();
        blocks[at] = shape[at].div_ceil(block.max(1));
        if block == 0 || *scale != *blocks {
            return Err(Problem(format!(
                "its scale has the shape {scale:?}, expected one number, or [{}] for axis {at}",
                shape[at]
            )));
        }
        Ok(Self { channels: shape[at], block, count: blocks[at], inner, is_blocked: true })
    }

    /// Calls `each` with every run of neighbouring numbers that have one scale, and the scale's place.
    #[inline(always)]
    fn runs(&self, length: usize, mut each: impl FnMut(std::ops::Range<usize>, usize)) {
        let run = if self.is_blocked { 1 } else { self.inner * self.block };
        if run == 0 || self.channels == 0 {
            return;
        }
        for start in (0..length).step_by(run) {
            let (outer, channel) = (start / (self.channels * self.inner), start / self.inner % self.channels);
            let place = if self.is_blocked {
                (outer * self.count + channel / self.block) * self.inner + start % self.inner
            } else {
                channel / self.block
            };
            each(start..start + run, place);
        }
    }
}

fn ignore_training(context: &Context<'_>) {
    // How what is out of range becomes a kind of eight-bit floats, and in what a division is done.
    context.ignore(&["saturate", "precision"]);
}

fn quantise(context: &Context<'_>) -> Result<Built, Problem> {
    ignore_training(context);
    if context.kind(0)? != Kind::F32 || context.kind(1)? != Kind::F32 {
        return Err(Problem(format!(
            "its inputs are {} and {}, expected float32",
            context.kind(0)?,
            context.kind(1)?
        )));
    }
    let stated = context.int_or("output_dtype", 0)?;
    // 2 and 3 are ONNX's numbers for uint8 and int8.
    let kind = match (context.has(2), stated) {
        (true, _) => context.kind(2)?,
        (false, 0 | 2) => Kind::U8,
        (false, 3) => Kind::I8,
        (false, other) => {
            return Err(Problem(format!(
                "its attribute output_dtype is {other}, expected 2 (uint8) or 3 (int8)"
            )));
        }
    };
    let scales = Scales::read(context)?;
    let (shape, has_zero) = (context.shape(0)?, context.has(2));
    match kind {
        Kind::U8 => Ok(Built::kernel(
            TensorType::new(kind, shape),
            Quantise::<u8> { scales, has_zero, kind: PhantomData },
        )),
        Kind::I8 => Ok(Built::kernel(
            TensorType::new(kind, shape),
            Quantise::<i8> { scales, has_zero, kind: PhantomData },
        )),
        _ => Err(Problem(format!("its zero point is {kind}, expected int8 or uint8"))),
    }
}

struct Quantise<T> {
    scales: Scales,
    has_zero: bool,
    kind: PhantomData<T>,
}

impl<T: Whole> Kernel for Quantise<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (x, scales) = (inputs.values::<f32>(0)?, inputs.values::<f32>(1)?);
        let zeros = if self.has_zero { Some(inputs.data(2)?) } else { None };
        let y = output::<T>(outputs, 0)?;
        let once = Once;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                once.spend();
                self.scales.runs(x.len(), |run, place| {
                    let (scale, zero) =
                        (scales[place], zeros.map_or(0, |zeros| integer(zeros, place)) as f32);
                    for (y, x) in y[run.clone()].iter_mut().zip(&x[run]) {
                        *y = T::rounded((x / scale).round_ties_even() + zero);
                    }
                });
            },
        );
        Ok(())
    }
}

fn dequantise(context: &Context<'_>) -> Result<Built, Problem> {
    ignore_training(context);
    let kind = context.kind(0)?;
    if !matches!(kind, Kind::I8 | Kind::U8 | Kind::I32 | Kind::I64) || context.kind(1)? != Kind::F32 {
        return Err(Problem(format!(
            "its inputs are {kind} and {}, expected int8, uint8 or int32, and float32",
            context.kind(1)?
        )));
    }
    if context.has(2) && context.kind(2)? != kind {
        return Err(Problem(format!("its zero point is {}, expected {kind}", context.kind(2)?)));
    }
    let kernel = Dequantise { scales: Scales::read(context)?, has_zero: context.has(2) };
    Ok(Built::kernel(TensorType::new(Kind::F32, context.shape(0)?), kernel))
}

struct Dequantise {
    scales: Scales,
    has_zero: bool,
}

impl Kernel for Dequantise {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (x, scales) = (inputs.data(0)?, inputs.values::<f32>(1)?);
        let zeros = if self.has_zero { Some(inputs.data(2)?) } else { None };
        let y = output::<f32>(outputs, 0)?;
        self.scales.runs(y.len(), |run, place| {
            let (scale, zero) = (scales[place], zeros.map_or(0, |zeros| integer(zeros, place)));
            for (y, at) in y[run.clone()].iter_mut().zip(run) {
                *y = integer(x, at).wrapping_sub(zero) as f32 * scale;
            }
        });
        Ok(())
    }
}

fn dynamic(context: &Context<'_>) -> Result<Built, Problem> {
    if context.kind(0)? != Kind::F32 {
        return Err(Problem(format!("its input is {}, expected float32", context.kind(0)?)));
    }
    let outputs = vec![
        TensorType::new(Kind::U8, context.shape(0)?),
        TensorType::new(Kind::F32, []),
        TensorType::new(Kind::U8, []),
    ];
    Ok(Built::Kernel { outputs, kernel: Box::new(Dynamic) })
}

/// From the least to the largest number, zero among them, on 255 steps.
struct Dynamic;

impl Kernel for Dynamic {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<f32>(0)?;
        let (mut least, mut most) = (0.0_f32, 0.0_f32);
        for &x in x {
            least = if x < least { x } else { least };
            most = if x > most { x } else { most };
        }
        let scale = if least == most { 1.0 } else { (most - least) / 255.0 };
        let zero = (-least / scale).clamp(0.0, 255.0).round_ties_even();
        let [y, scales, zeros] = outputs else { return Err(Fault("it has no room".into())) };
        for (y, x) in output::<u8>(std::slice::from_mut(y), 0)?.iter_mut().zip(x) {
            *y = u8::rounded((x / scale).round_ties_even() + zero);
        }
        output::<f32>(std::slice::from_mut(scales), 0)?.fill(scale);
        output::<u8>(std::slice::from_mut(zeros), 0)?.fill(u8::rounded(zero));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::model::graph::testing::One;

    #[test]
    fn numbers_are_rounded_to_even_and_bounded() {
        let x = vec![0.5, 1.5, -0.5, 300.0, -1e30, f32::INFINITY, f32::NEG_INFINITY];
        let node = |x| One::new("QuantizeLinear", 13).input(&[7], x).constant(&[], vec![1.0_f32]);
        let (_, found) = node(x.clone()).constant(&[], vec![10_u8]).first::<u8>().unwrap();
        assert_eq!(found, [10, 12, 10, 255, 0, 255, 0]);
        let (_, found) = node(x).constant(&[], vec![0_i8]).first::<i8>().unwrap();
        assert_eq!(found, [0, 2, 0, 127, -128, 127, -128]);
    }

    #[test]
    fn each_channel_has_its_scale() {
        let (_, found) = One::new("DequantizeLinear", 13)
            .input(&[2, 2], vec![1_i8, 2, 3, 4])
            .constant(&[2], vec![0.5_f32, 2.0])
            .constant(&[2], vec![1_i8, 0])
            .int("axis", 0)
            .first::<f32>()
            .unwrap();
        assert_eq!(found, [0.0, 0.5, 6.0, 8.0]);
    }
}
