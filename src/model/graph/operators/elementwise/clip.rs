//! `Clip`: the nearest number within bounds, which are attributes before version 11 and inputs since.

use super::unexpected;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, elements};

/// A kind with a smallest and a largest number: bounds where none are given, so that infinities are not left.
trait Bounded: Element + PartialOrd + Copy {
    const LOWEST: Self;
    const HIGHEST: Self;
}

macro_rules! bounded {
    ($($type:ty)+) => {
        $(impl Bounded for $type {
            const LOWEST: Self = Self::MIN;
            const HIGHEST: Self = Self::MAX;
        })+
    };
}

bounded!(f32 f64 i64 i32 i8 u8);

pub fn clip(context: &Context<'_>) -> Result<Built, Problem> {
    match context.kind(0)? {
        Kind::F32 => of::<f32>(context, |bound| bound),
        Kind::F64 => of::<f64>(context, f64::from),
        Kind::I64 => of::<i64>(context, |bound| bound as i64),
        Kind::I32 => of::<i32>(context, |bound| bound as i32),
        Kind::I8 => of::<i8>(context, |bound| bound as i8),
        Kind::U8 => of::<u8>(context, |bound| bound as u8),
        Kind::Bool | Kind::Text => Err(unexpected(context, 0, "numbers")),
    }
}

fn of<T: Bounded>(context: &Context<'_>, attribute: fn(f32) -> T) -> Result<Built, Problem> {
    let bound = |at: usize, name: &str, default: T| {
        if context.opset() < 11 {
            let bound = context.float(name)?.map(attribute);
            return Ok(Bound::Fixed(bound.unwrap_or(default)));
        }
        if !context.has(at) {
            return Ok(Bound::Fixed(default));
        }
        let found = context.tensor_type(at)?;
        if found.kind != T::KIND || elements(&found.shape) != Some(1) {
            return Err(Problem(format!("its input {at} ({name}) is {found}, expected {} []", T::KIND)));
        }
        Ok(Bound::Input(at))
    };
    if context.opset() < 11 && context.inputs() > 1 {
        return Err("it has more than 1 input, and its bounds are attributes before version 11".into());
    }
    let kernel = Clip { low: bound(1, "min", T::LOWEST)?, high: bound(2, "max", T::HIGHEST)? };
    Ok(Built::kernel(context.tensor_type(0)?.clone(), kernel))
}

enum Bound<T> {
    Fixed(T),
    Input(usize),
}

impl<T: Element + Copy> Bound<T> {
    fn now(&self, inputs: &Inputs<'_>) -> Result<T, Fault> {
        match self {
            Self::Fixed(bound) => Ok(*bound),
            Self::Input(at) => {
                let bound = inputs.values::<T>(*at)?.first();
                bound.copied().ok_or_else(|| Fault(format!("input {at} is empty")))
            }
        }
    }
}

struct Clip<T> {
    low: Bound<T>,
    high: Bound<T>,
}

impl<T: Bounded> Kernel for Clip<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        let (low, high) = (self.low.now(inputs)?, self.high.now(inputs)?);
        to.copy_from_slice(from);
        // Each bound in a pass of its own. What is not a number stays so; where the bounds have changed
        // places, the upper one holds.
        to.iter_mut().for_each(|value| *value = if *value < low { low } else { *value });
        to.iter_mut().for_each(|value| *value = if *value > high { high } else { *value });
        Ok(())
    }
}
