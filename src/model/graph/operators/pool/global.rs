//! Pools of whole channels.

use std::marker::PhantomData;

use pulp::Arch;

use crate::model::graph::context::{Context, Problem, expect_rank};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType, elements};
use crate::model::kernel::blocks::{Once, Real, max as most, sum, sum_of};

#[derive(Debug, Clone, Copy)]
enum Pool {
    Max,
    Average,
    Length(f64),
}

pub fn max(context: &Context<'_>) -> Result<Built, Problem> {
    build(context, Pool::Max)
}

pub fn average(context: &Context<'_>) -> Result<Built, Problem> {
    build(context, Pool::Average)
}

pub fn length(context: &Context<'_>) -> Result<Built, Problem> {
    let power = if context.opset() < 2 {
        f64::from(context.float_or("p", 2.0)?)
    } else {
        context.int_or("p", 2)? as f64
    };
    build(context, Pool::Length(power))
}

fn build(context: &Context<'_>, pool: Pool) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    expect_rank(shape, 3..=usize::MAX, "input")?;
    let size = elements(&shape[2..]).ok_or("its input has more elements than can be counted")?;
    if size == 0 {
        return Err(Problem(format!("its input has the shape {shape:?}, expected a number in each channel")));
    }
    let mut output = shape.to_vec();
    output[2..].fill(1);
    match context.kind(0)? {
        Kind::F32 => Ok(Built::kernel(
            TensorType::new(Kind::F32, output),
            Global::<f32> { pool, size, kind: PhantomData },
        )),
        Kind::F64 => Ok(Built::kernel(
            TensorType::new(Kind::F64, output),
            Global::<f64> { pool, size, kind: PhantomData },
        )),
        kind => Err(Problem(format!("its input is {kind}, expected float32 or float64"))),
    }
}

struct Global<T> {
    pool: Pool,
    size: usize,
    kind: PhantomData<T>,
}

impl<T: Real + Element> Kernel for Global<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let y = output::<T>(outputs, 0)?;
        let once = Once;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                once.spend();
                for (x, y) in x.chunks_exact(self.size).zip(y) {
                    *y = match self.pool {
                        Pool::Max => most(x),
                        Pool::Average => sum(x).div(T::real(x.len() as f64)),
                        Pool::Length(2.0) => sum_of(
                            x,
                            #[inline(always)]
                            |x| x.mul(x),
                        )
                        .sqrt(),
                        Pool::Length(power) => {
                            let power = T::real(power);
                            sum_of(
                                x,
                                #[inline(always)]
                                |x| x.abs().powf(power),
                            )
                            .powf(T::real(1.0).div(power))
                        }
                    };
                }
            },
        );
        Ok(())
    }
}
