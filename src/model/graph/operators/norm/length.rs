//! Normalisation of vectors by their length, and of channels by their mean and variance.

use std::marker::PhantomData;

use super::{count, of_kind};
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, TensorType};
use crate::model::kernel::blocks::Real;

pub fn build(context: &Context<'_>) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let at = axis(context.int_or("axis", -1)?, shape.len())?;
    let power = context.int_or("p", 2)?;
    if power != 1 && power != 2 {
        return Err(Problem(format!("its attribute p is {power}, expected 1 or 2")));
    }
    let (length, inner) = (shape[at], count(&shape[at + 1..])?);
    let is_square = power == 2;
    of_kind(
        context,
        || {
            Ok(Built::kernel(
                TensorType::new(f32::KIND, shape),
                Length::<f32> { length, inner, is_square, kind: PhantomData },
            ))
        },
        || {
            Ok(Built::kernel(
                TensorType::new(f64::KIND, shape),
                Length::<f64> { length, inner, is_square, kind: PhantomData },
            ))
        },
    )
}

struct Length<T> {
    length: usize,
    inner: usize,
    is_square: bool,
    kind: PhantomData<T>,
}

impl<T: Real + Element> Kernel for Length<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let y = output::<T>(outputs, 0)?;
        let block = self.length * self.inner;
        if block == 0 {
            return Ok(());
        }
        for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(block)) {
            for at in 0..self.inner {
                let column = x[at..].iter().step_by(self.inner);
                let part = |x: &T| if self.is_square { x.mul(*x) } else { x.abs() };
                let sum = column.clone().fold(T::ZERO, |sum, x| sum.add(part(x)));
                let length = if self.is_square { sum.sqrt() } else { sum };
                for (y, x) in y[at..].iter_mut().step_by(self.inner).zip(column) {
                    // Nothing stays nothing.
                    *y = if length == T::ZERO { T::ZERO } else { x.div(length) };
                }
            }
        }
        Ok(())
    }
}

/// Added to the deviation.
const EPSILON: f64 = 1e-9;

pub fn mean_variance(context: &Context<'_>) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let mut is_joined = vec![false; shape.len()];
    for &named in context.ints("axes")?.unwrap_or(&[0, 2, 3]) {
        is_joined[axis(named, shape.len())?] = true;
    }
    let (mut joined, mut kept, mut stride) = (Vec::new(), Vec::new(), 1);
    for at in (0..shape.len()).rev() {
        if is_joined[at] {
            joined.push((shape[at], stride))
        } else {
            kept.push((shape[at], stride))
        }
        stride = count(&shape[at..])?;
    }
    of_kind(
        context,
        || {
            let kernel =
                MeanVariance::<f32> { joined: joined.clone(), kept: kept.clone(), kind: PhantomData };
            Ok(Built::kernel(TensorType::new(f32::KIND, shape), kernel))
        },
        || {
            let kernel =
                MeanVariance::<f64> { joined: joined.clone(), kept: kept.clone(), kind: PhantomData };
            Ok(Built::kernel(TensorType::new(f64::KIND, shape), kernel))
        },
    )
}

/// Sizes and strides of the axes that are taken together, and of the others.
struct MeanVariance<T> {
    joined: Vec<(usize, usize)>,
    kept: Vec<(usize, usize)>,
    kind: PhantomData<T>,
}

/// Where the element number `number` of some axes is, the last of which comes first here.
fn place(axes: &[(usize, usize)], mut number: usize) -> usize {
    let mut place = 0;
    for (size, stride) in axes {
        place += number % size * stride;
        number /= size;
    }
    place
}

impl<T: Real + Element> Kernel for MeanVariance<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let y = output::<T>(outputs, 0)?;
        if y.is_empty() {
            return Ok(());
        }
        let size = |axes: &[(usize, usize)]| axes.iter().map(|(size, _)| size).product::<usize>();
        let (count, channels) = (size(&self.joined), size(&self.kept));
        for channel in 0..channels {
            let first = place(&self.kept, channel);
            let places = || (0..count).map(|number| first + place(&self.joined, number));
            let total = T::real(count as f64);
            let mean = places().fold(T::ZERO, |sum, at| sum.add(x[at])).div(total);
            let square = |at: usize| x[at].sub(mean).mul(x[at].sub(mean));
            let variance = places().fold(T::ZERO, |sum, at| sum.add(square(at))).div(total);
            let deviation = variance.sqrt().add(T::real(EPSILON));
            for at in places() {
                y[at] = x[at].sub(mean).div(deviation);
            }
        }
        Ok(())
    }
}
