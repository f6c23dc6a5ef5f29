//! Normalisation of blocks by their own mean and variance: layers, instances, groups, and the root mean
//! square.

use std::marker::PhantomData;

use pulp::Arch;

use super::{count, of_kind};
use crate::model::graph::context::{Context, Problem, axis, expect_rank, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, TensorType};
use crate::model::kernel::blocks::{Once, Real, moments, sum_of};

/// What is normalised together, and what it is scaled with then.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    /// The numbers of a block.
    size: usize,
    /// How many neighbouring numbers have one scale.
    run: usize,
    /// How many scales there are; they repeat.
    scales: usize,
    /// Blocks until the scales begin anew.
    period: usize,
    has_mean: bool,
    has_bias: bool,
    epsilon: f64,
}

pub fn layer(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["stash_type"]);
    along(context, true)
}

pub fn root_mean_square(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["stash_type"]);
    along(context, false)
}

/// Over all axes from one on.
fn along(context: &Context<'_>, has_mean: bool) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let at = axis(context.int_or("axis", -1)?, shape.len())?;
    let size = count(&shape[at..])?;
    let scales = count(context.shape(1)?)?;
    if scales != size && scales != 1 || context.has(2) && count(context.shape(2)?)? != scales {
        return Err(Problem(format!(
            "its scale has the shape {:?}, expected {:?} for it and the bias",
            context.shape(1)?,
            &shape[at..]
        )));
    }
    let mut state = shape.to_vec();
    state[at..].fill(1);
    let blocks = Blocks {
        size,
        run: if scales == 1 { size } else { 1 },
        scales,
        period: 1,
        has_mean,
        has_bias: context.has(2),
        epsilon: f64::from(context.float_or("epsilon", 1e-5)?),
    };
    finish(context, blocks, &state)
}

pub fn instance(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["consumed_inputs"]);
    let shape = context.shape(0)?;
    expect_rank(shape, 3..=usize::MAX, "input")?;
    grouped(context, shape[1], shape[1])
}

pub fn group(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["stash_type"]);
    let shape = context.shape(0)?;
    expect_rank(shape, 3..=usize::MAX, "input")?;
    let groups = size(
        context.int("num_groups")?.ok_or("its attribute num_groups is missing")?,
        "attribute num_groups",
    )?;
    if groups == 0 || shape[1] % groups != 0 {
        return Err(Problem(format!(
            "its input has {} channels, which {groups} groups do not divide",
            shape[1]
        )));
    }
    // Version 18 has one scale for each group.
    grouped(context, groups, if context.opset() < 21 { groups } else { shape[1] })
}

fn grouped(context: &Context<'_>, groups: usize, scales: usize) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    for at in [1, 2] {
        if *context.shape(at)? != [scales] {
            return Err(Problem(format!(
                "its input {at} has the shape {:?}, expected [{scales}]",
                context.shape(at)?
            )));
        }
    }
    let sample = count(&shape[1..])?;
    let blocks = Blocks {
        size: sample / groups.max(1),
        run: sample / scales.max(1),
        scales,
        period: groups,
        has_mean: true,
        has_bias: true,
        epsilon: f64::from(context.float_or("epsilon", 1e-5)?),
    };
    finish(context, blocks, &[])
}

fn finish(context: &Context<'_>, blocks: Blocks, state: &[usize]) -> Result<Built, Problem> {
    of_kind(context, || kernel::<f32>(context, blocks, state), || kernel::<f64>(context, blocks, state))
}

fn kernel<T: Real + Element>(
    context: &Context<'_>,
    blocks: Blocks,
    state: &[usize],
) -> Result<Built, Problem> {
    let mut outputs = vec![TensorType::new(T::KIND, context.shape(0)?)];
    for at in 1..context.outputs() {
        if at > 2 || state.is_empty() {
            return Err(Problem(format!("it has {} outputs, expected fewer", context.outputs())));
        }
        outputs.push(TensorType::new(T::KIND, state));
    }
    Ok(Built::Kernel { outputs, kernel: Box::new(Normalise::<T> { blocks, kind: PhantomData }) })
}

struct Normalise<T> {
    blocks: Blocks,
    kind: PhantomData<T>,
}

impl<T: Real + Element> Kernel for Normalise<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let scale = inputs.values::<T>(1)?;
        let bias = if self.blocks.has_bias { inputs.values::<T>(2)? } else { &[] };
        let (first, rest) = outputs.split_at_mut(1);
        let y = output::<T>(first, 0)?;
        let (means, rest) = rest.split_at_mut(rest.len().min(1));
        let means = if means.is_empty() { &mut [] } else { output::<T>(means, 0)? };
        let deviations = if rest.is_empty() { &mut [] } else { output::<T>(rest, 0)? };
        if y.is_empty() {
            return Ok(());
        }
        let blocks = self.blocks;
        let once = Once;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                once.spend();
                let size = blocks.size;
                for (at, (x, y)) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)).enumerate() {
                    let (mean, inverse) = blocks.measure(x);
                    if let Some(place) = means.get_mut(at) {
                        *place = mean;
                    }
                    if let Some(place) = deviations.get_mut(at) {
                        *place = inverse;
                    }
                    blocks.write(at, x, (mean, inverse), (scale, bias), y);
                }
            },
        );
        Ok(())
    }
}

impl Blocks {
    /// The mean and one over the deviation.
    #[inline(always)]
    fn measure<T: Real>(&self, x: &[T]) -> (T, T) {
        let (mean, variance) = if self.has_mean {
            moments(x)
        } else {
            let squares = sum_of(
                x,
                #[inline(always)]
                |x| x.mul(x),
            );
            (T::ZERO, squares.div(T::real(x.len() as f64)))
        };
        (mean, T::real(1.0).div(variance.add(T::real(self.epsilon)).sqrt()))
    }

    #[inline(always)]
    fn write<T: Real>(
        &self,
        block: usize,
        x: &[T],
        (mean, inverse): (T, T),
        (scale, bias): (&[T], &[T]),
        y: &mut [T],
    ) {
        let first = block % self.period * self.size;
        if self.run == 1 {
            let start = first % self.scales;
            let all = y.iter_mut().zip(x).zip(&scale[start..]);
            if self.has_bias {
                for (((y, x), scale), bias) in all.zip(&bias[start..]) {
                    *y = x.sub(mean).mul(inverse).mul(*scale).add(*bias);
                }
            } else {
                for ((y, x), scale) in all {
                    *y = x.sub(mean).mul(inverse).mul(*scale);
                }
            }
            return;
        }
        let mut done = 0;
        while done < self.size {
            let place = (first + done) / self.run;
            let end = self.size.min((place + 1) * self.run - first);
            let scale = inverse.mul(scale[place % self.scales]);
            let shift = if self.has_bias { bias[place % self.scales] } else { T::ZERO };
            for (y, x) in y[done..end].iter_mut().zip(&x[done..end]) {
                *y = x.sub(mean).mul(scale).add(shift);
            }
            done = end;
        }
    }
}
