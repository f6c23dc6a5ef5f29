//! Pools of windows that go over one axis or two.

use std::marker::PhantomData;

use super::super::windows::Windows;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};
use crate::model::kernel::blocks::Real;

pub fn max(context: &Context<'_>) -> Result<Built, Problem> {
    if context.wants(1) {
        return Err("its second output, the places of what is most, is not supported".into());
    }
    // How places would be numbered.
    context.ignore(&["storage_order"]);
    let kind = context.kind(0)?;
    match kind {
        Kind::F32 => build::<f32, Most>(context, Most),
        Kind::F64 => build::<f64, Most>(context, Most),
        Kind::I8 => build::<i8, Most>(context, Most),
        Kind::U8 => build::<u8, Most>(context, Most),
        _ => Err(Problem(format!("its input is {kind}, expected float32, float64, int8 or uint8"))),
    }
}

pub fn average(context: &Context<'_>) -> Result<Built, Problem> {
    let counts_padding = context.flag("count_include_pad", false)?;
    match context.kind(0)? {
        Kind::F32 => build::<f32, Mean>(context, Mean { counts_padding }),
        Kind::F64 => build::<f64, Mean>(context, Mean { counts_padding }),
        kind => Err(Problem(format!("its input is {kind}, expected float32 or float64"))),
    }
}

pub fn length(context: &Context<'_>) -> Result<Built, Problem> {
    let power = if context.opset() < 2 {
        f64::from(context.float_or("p", 2.0)?)
    } else {
        context.int_or("p", 2)? as f64
    };
    match context.kind(0)? {
        Kind::F32 => build::<f32, Length>(context, Length { power }),
        Kind::F64 => build::<f64, Length>(context, Length { power }),
        kind => Err(Problem(format!("its input is {kind}, expected float32 or float64"))),
    }
}

/// What is made of the numbers of a window.
trait Pool<T>: Send + Copy + 'static {
    fn pool(self, window: impl Iterator<Item = T>, counts: Counts) -> T;
}

/// How many numbers a window has of the input, and how many with the padding.
#[derive(Clone, Copy)]
struct Counts {
    inside: usize,
    padded: usize,
}

#[derive(Clone, Copy)]
struct Most;

/// What maximums begin with.
trait Least {
    const LEAST: Self;
}

macro_rules! least {
    ($($type:ty),+) => {
        $(impl Least for $type {
            const LEAST: Self = <$type>::MIN;
        })+
    };
}
least!(f32, f64, i8, u8);

impl<T: Least + PartialOrd> Pool<T> for Most {
    #[inline(always)]
    fn pool(self, window: impl Iterator<Item = T>, _: Counts) -> T {
        window.fold(T::LEAST, |most, value| if value > most { value } else { most })
    }
}

#[derive(Clone, Copy)]
struct Mean {
    counts_padding: bool,
}

impl<T: Real> Pool<T> for Mean {
    #[inline(always)]
    fn pool(self, window: impl Iterator<Item = T>, counts: Counts) -> T {
        let count = if self.counts_padding { counts.padded } else { counts.inside };
        window.fold(T::ZERO, T::add).div(T::real(count as f64))
    }
}

#[derive(Clone, Copy)]
struct Length {
    power: f64,
}

impl<T: Real> Pool<T> for Length {
    #[inline(always)]
    fn pool(self, window: impl Iterator<Item = T>, _: Counts) -> T {
        if self.power == 2.0 {
            return window.fold(T::ZERO, |sum, x| sum.add(x.mul(x))).sqrt();
        }
        let power = T::real(self.power);
        window.fold(T::ZERO, |sum, x| sum.add(x.abs().powf(power))).powf(T::real(1.0).div(power))
    }
}

fn build<T: Element + Copy, P: Pool<T>>(context: &Context<'_>, pool: P) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let mut windows = Windows::read(context, shape, None)?;
    let outputs = windows.outputs(context.flag("ceil_mode", false)?)?;
    let mut output = shape[..2].to_vec();
    output.extend_from_slice(&outputs[2 - windows.axes..]);
    let kernel = Windowed {
        windows,
        outputs,
        channels: shape[0].saturating_mul(shape[1]),
        pool,
        kind: PhantomData::<T>,
    };
    Ok(Built::kernel(TensorType::new(T::KIND, output), kernel))
}

struct Windowed<T, P> {
    windows: Windows,
    outputs: [usize; 2],
    channels: usize,
    pool: P,
    kind: PhantomData<T>,
}

/// The part of a window along an axis that lies in the input.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    count: usize,
    /// With the padding.
    padded: usize,
}

impl<T: Element + Copy, P: Pool<T>> Windowed<T, P> {
    fn span(&self, axis: usize, at: usize) -> Span {
        let Windows { input, kernel, stride, dilation, before, after, .. } = &self.windows;
        let (step, before, size) = (dilation[axis], before[axis], input[axis]);
        let start = at * stride[axis];
        // The first and the one behind the last number of the window that are in the input.
        let first = before.saturating_sub(start).div_ceil(step).min(kernel[axis]);
        let within = |end: usize| end.saturating_sub(start).div_ceil(step).min(kernel[axis]);
        let last = within(before + size).max(first);
        Span {
            first: (start + first * step).saturating_sub(before),
            count: last - first,
            padded: within(before + size + after[axis]),
        }
    }
}

impl<T: Element + Copy, P: Pool<T>> Kernel for Windowed<T, P> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let y = output::<T>(outputs, 0)?;
        let [rows, columns] = self.outputs;
        let ([height, width], [down, right]) = (self.windows.input, self.windows.dilation);
        if y.is_empty() {
            return Ok(());
        }
        for column in 0..columns {
            let across = self.span(1, column);
            for row in 0..rows {
                let along = self.span(0, row);
                let counts =
                    Counts { inside: along.count * across.count, padded: along.padded * across.padded };
                for channel in 0..self.channels {
                    let x = &x[channel * height * width..][..height * width];
                    let window = (0..along.count).flat_map(|at| {
                        let start = (along.first + at * down) * width + across.first;
                        (0..across.count).map(move |at| start + at * right)
                    });
                    y[(channel * rows + row) * columns + column] =
                        self.pool.pool(window.map(|at| x[at]), counts);
                }
            }
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        let [rows, columns] = self.outputs;
        let sizes = [self.channels, rows, columns, self.windows.kernel[0], self.windows.kernel[1]];
        Some(sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64)))
    }
}
