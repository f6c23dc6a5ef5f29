//! `CumSum`: the sum of all up to each place of an axis.

use std::marker::PhantomData;

use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::elementwise::unexpected;
use crate::model::graph::operators::walk::around;
use crate::model::graph::tensor::{Data, Element, Kind};

pub fn cumulate(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let named = context.known_ints(1, "axis")?;
    let &[named] = named.as_slice() else {
        return Err(Problem(format!("its input 1 (axis) has {} elements, expected 1", named.len())));
    };
    let at = axis(named, input.len())?;
    let (outer, size, inner) = around(input, at);
    let settings = Settings {
        outer,
        size,
        inner,
        is_exclusive: context.flag("exclusive", false)?,
        is_reverse: context.flag("reverse", false)?,
    };
    let output = context.tensor_type(0)?.clone();
    Ok(match context.kind(0)? {
        Kind::F32 => Built::kernel(output, Cumulate::<f32> { settings, of: PhantomData }),
        Kind::F64 => Built::kernel(output, Cumulate::<f64> { settings, of: PhantomData }),
        Kind::I64 => Built::kernel(output, Cumulate::<i64> { settings, of: PhantomData }),
        Kind::I32 => Built::kernel(output, Cumulate::<i32> { settings, of: PhantomData }),
        _ => return Err(unexpected(context, 0, "float32, float64, int64 or int32")),
    })
}

trait Sum: Element + Copy + Default {
    fn plus(self, other: Self) -> Self;
}

macro_rules! sums {
    ($($type:ty, |$a:ident, $b:ident| $sum:expr;)+) => {
        $(impl Sum for $type {
            fn plus(self, $b: Self) -> Self {
                let $a = self;
                $sum
            }
        })+
    };
}

sums! {
    f32, |a, b| a + b;
    f64, |a, b| a + b;
    i64, |a, b| a.wrapping_add(b);
    i32, |a, b| a.wrapping_add(b);
}

struct Settings {
    outer: usize,
    size: usize,
    inner: usize,
    is_exclusive: bool,
    is_reverse: bool,
}

struct Cumulate<T> {
    settings: Settings,
    of: PhantomData<T>,
}

impl<T: Sum> Kernel for Cumulate<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        let Settings { outer, size, inner, is_exclusive, is_reverse } = self.settings;
        for line in 0..outer * inner {
            let start = line / inner * size * inner + line % inner;
            let mut sum = T::default();
            for step in 0..size {
                let at = start + if is_reverse { size - 1 - step } else { step } * inner;
                let with = sum.plus(from[at]);
                to[at] = if is_exclusive { sum } else { with };
                sum = with;
            }
        }
        Ok(())
    }
}
