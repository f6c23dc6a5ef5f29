//! `BatchNormalization` in evaluation: each channel is scaled and shifted.

use std::sync::Arc;

use pulp::Arch;

use super::super::weights::{Arranged, arranged};
use super::{count, of_kind};
use crate::model::graph::context::{Context, Problem, expect_rank};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, Then, output};
use crate::model::graph::tensor::{Data, Element, TensorType};
use crate::model::kernel::blocks::{Once, Real};
use crate::model::kernel::line::Line;

pub fn build(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["momentum", "is_test", "consumed_inputs"]);
    if context.flag("training_mode", false)? {
        return Err("its attribute training_mode is 1, expected 0, as in evaluation".into());
    }
    if (1..context.outputs()).any(|at| context.wants(at)) {
        return Err("its outputs beyond the first, which training needs, are not supported".into());
    }
    let is_spatial = context.opset() >= 9 || context.flag("spatial", true)?;
    let shape = context.shape(0)?;
    expect_rank(shape, 2..=usize::MAX, "input")?;
    let (channels, inner) =
        if is_spatial { (shape[1], count(&shape[2..])?) } else { (count(&shape[1..])?, 1) };
    for (at, name) in [(1, "scale"), (2, "B"), (3, "mean"), (4, "var")] {
        let found = context.shape(at)?;
        if count(found)? != channels {
            return Err(Problem(format!(
                "its input {at} ({name}) has the shape {found:?}, expected [{channels}]"
            )));
        }
    }
    let epsilon = f64::from(context.float_or("epsilon", 1e-5)?);
    of_kind(
        context,
        || kernel::<f32>(context, channels, inner, epsilon),
        || kernel::<f64>(context, channels, inner, epsilon),
    )
}

fn kernel<T: Real + Element + Into<f64>>(
    context: &Context<'_>,
    channels: usize,
    inner: usize,
    epsilon: f64,
) -> Result<Built, Problem> {
    let mut is_known = true;
    for at in 1..5 {
        is_known &= context.constant(at)?.is_some();
    }
    let known = if is_known {
        Some(arranged(context, &[1, 2, 3, 4], || {
            let part = |at, name| context.known_values::<T>(at, name);
            let parts = [part(1, "scale")?, part(2, "B")?, part(3, "mean")?, part(4, "var")?];
            let mut lines = vec![(T::ZERO, T::ZERO); channels];
            fill(parts, epsilon, &mut lines);
            Ok(lines)
        })?)
    } else {
        None
    };
    let output = TensorType::new(T::KIND, context.shape(0)?);
    Ok(Built::kernel(output, Batch::<T> { known, channels, inner, epsilon, rectify: false }))
}

/// What each channel is multiplied with, and what is added then.
fn fill<T: Real>([scale, bias, mean, variance]: [&[T]; 4], epsilon: f64, lines: &mut [(T, T)]) {
    for (at, line) in lines.iter_mut().enumerate() {
        *line = self::line([scale[at], bias[at], mean[at], variance[at]], epsilon);
    }
}

fn line<T: Real>([scale, bias, mean, variance]: [T; 4], epsilon: f64) -> (T, T) {
    let scale = scale.div(variance.add(T::real(epsilon)).sqrt());
    (scale, bias.sub(mean.mul(scale)))
}

/// For each channel what its numbers are multiplied by, and what is added then.
type Lines<T> = Vec<(T, T)>;

struct Batch<T> {
    known: Option<Arc<Arranged<Lines<T>>>>,
    channels: usize,
    inner: usize,
    epsilon: f64,
    rectify: bool,
}

impl<T: Real + Element + Into<f64>> Kernel for Batch<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let y = output::<T>(outputs, 0)?;
        let parts = match &self.known {
            Some(_) => [&[][..]; 4],
            None => [inputs.values(1)?, inputs.values(2)?, inputs.values(3)?, inputs.values(4)?],
        };
        if y.is_empty() {
            return Ok(());
        }
        let (channels, inner, rectify) = (self.channels, self.inner, self.rectify);
        let line = |channel: usize| match &self.known {
            Some(known) => known[channel],
            None => line(parts.map(|part| part[channel]), self.epsilon),
        };
        let once = Once;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                once.spend();
                let finish = |y: T| if rectify && y < T::ZERO { T::ZERO } else { y };
                let samples = x.chunks_exact(channels * inner).zip(y.chunks_exact_mut(channels * inner));
                for (x, y) in samples {
                    if let (1, Some(known)) = (inner, &self.known) {
                        for ((y, x), (scale, shift)) in y.iter_mut().zip(x).zip(known.iter()) {
                            *y = finish(x.mul(*scale).add(*shift));
                        }
                        continue;
                    }
                    for (channel, (x, y)) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)).enumerate()
                    {
                        let (scale, shift) = line(channel);
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = finish(x.mul(scale).add(shift)));
                    }
                }
            },
        );
        Ok(())
    }

    fn fuse(&mut self, then: Then<'_>) -> bool {
        match then {
            Then::Relu => self.rectify = true,
            Then::Affine(_) => return false,
        }
        true
    }

    fn lines(&self) -> Option<Vec<Line>> {
        let line = |&(factor, summand): &(T, T)| Line { factor: factor.into(), summand: summand.into() };
        Some(self.known.as_ref()?.iter().map(line).collect())
    }
}
