//! `Clip`: the nearest number within bounds, which are attributes before version 11 and inputs since.

use super::unexpected;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, elements};

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

fn of<T: Element + PartialOrd + Copy>(
    context: &Context<'_>,
    attribute: fn(f32) -> T,
) -> Result<Built, Problem> {
    let bound = |at: usize, name: &str| {
        if context.opset() < 11 {
            let bound = context.float(name)?.map(attribute);
            return Ok(bound.map_or(Bound::None, Bound::Fixed));
        }
        if !context.has(at) {
            return Ok(Bound::None);
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
    let kernel = Clip { low: bound(1, "min")?, high: bound(2, "max")? };
    Ok(Built::kernel(context.tensor_type(0)?.clone(), kernel))
}

enum Bound<T> {
    None,
    Fixed(T),
    Input(usize),
}

impl<T: Element + Copy> Bound<T> {
    fn now(&self, inputs: &Inputs<'_>) -> Result<Option<T>, Fault> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(bound) => Ok(Some(*bound)),
            Self::Input(at) => Ok(inputs.values::<T>(*at)?.first().copied()),
        }
    }
}

struct Clip<T> {
    low: Bound<T>,
    high: Bound<T>,
}

impl<T: Element + PartialOrd + Copy> Kernel for Clip<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        let (low, high) = (self.low.now(inputs)?, self.high.now(inputs)?);
        to.copy_from_slice(from);
        // Each bound in a pass of its own. What is not a number stays so; where the bounds have changed
        // places, the upper one holds.
        if let Some(low) = low {
            to.iter_mut().for_each(|value| *value = if *value < low { low } else { *value });
        }
        if let Some(high) = high {
            to.iter_mut().for_each(|value| *value = if *value > high { high } else { *value });
        }
        Ok(())
    }
}
