//! Convolutions over one axis or two, and their transposes.

use std::sync::Arc;

use super::Operator;
use super::product::fuse_affine;
use super::weights::{Arranged, arranged};
use super::windows::{Padding, Windows, numbers};
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, Then};
use crate::model::graph::tensor::{Data, Kind, TensorType};
use crate::model::kernel::convolve::{Convolution, Geometry, Room, arrange};
use crate::model::kernel::line::Line;
use crate::model::kernel::product::{Product, Rows, Start};

pub const OPERATORS: &[Operator] =
    &[Operator::onnx("Conv", 1, 2..=3, build), Operator::onnx("ConvTranspose", 1, 2..=3, build_transposed)];

/// How the weights of a node are numbered.
#[derive(Debug, Clone, Copy)]
struct Filters {
    groups: usize,
    inputs: usize,
    outputs: usize,
    /// Numbers of a window of one channel.
    area: usize,
    is_transposed: bool,
}

impl Filters {
    fn sizes(&self) -> [usize; 3] {
        [self.groups, self.outputs, self.inputs * self.area]
    }

    fn len(&self) -> usize {
        self.groups * self.outputs * self.inputs * self.area
    }

    fn arrange(self, weights: &[f32], into: &mut [f32]) {
        let Self { inputs, outputs, area, is_transposed, .. } = self;
        if is_transposed {
            // (inputs, outputs, axes), and each output meets the input's numbers in the opposite order.
            arrange(
                self.sizes(),
                |group, output, at| {
                    let (input, place) = (at / area, area - 1 - at % area);
                    weights[((group * inputs + input) * outputs + output) * area + place]
                },
                into,
            );
        } else {
            let depth = inputs * area;
            arrange(self.sizes(), |group, output, at| weights[(group * outputs + output) * depth + at], into);
        }
    }
}

/// The kinds and shapes of the input and of the weights, and the number of groups.
fn inputs<'a>(context: &'a Context<'_>) -> Result<(&'a [usize], &'a [usize], usize), Problem> {
    for at in 0..context.inputs() {
        let kind = context.kind(at)?;
        if kind != Kind::F32 {
            return Err(Problem(format!("its input {at} is {kind}, expected float32")));
        }
    }
    let (input, weight) = (context.shape(0)?, context.shape(1)?);
    let groups = size(context.int_or("group", 1)?, "attribute group")?;
    if weight.len() != input.len() || weight.contains(&0) || groups == 0 {
        return Err(Problem(format!(
            "its input has the shape {input:?} and its weights {weight:?} in {groups} groups, expected as many axes, and no size of 0"
        )));
    }
    Ok((input, weight, groups))
}

fn check_bias(context: &Context<'_>, outputs: usize) -> Result<(), Problem> {
    if !context.has(2) || *context.shape(2)? == [outputs] {
        return Ok(());
    }
    Err(Problem(format!("its bias has the shape {:?}, expected [{outputs}]", context.shape(2)?)))
}

fn build(context: &Context<'_>) -> Result<Built, Problem> {
    let (input, weight, groups) = inputs(context)?;
    let mut windows = Windows::read(context, input, weight.get(2..))?;
    let output = windows.outputs(false)?;
    if weight[0] % groups != 0 || weight[1].checked_mul(groups) != Some(input[1]) {
        return Err(Problem(format!(
            "its input has {} channels and its weights have the shape {weight:?}, expected [outputs, {} / {groups}, ...]",
            input[1], input[1]
        )));
    }
    check_bias(context, weight[0])?;
    let Windows { kernel, stride, dilation, before, .. } = windows;
    let filters = Filters {
        groups,
        inputs: weight[1],
        outputs: weight[0] / groups,
        area: kernel[0] * kernel[1],
        is_transposed: false,
    };
    let geometry = Geometry {
        groups,
        inputs: filters.inputs,
        outputs: filters.outputs,
        input: windows.input,
        kernel,
        stride,
        dilation,
        before: before.map(|before| before as i64),
        spread: [1, 1],
        output,
    };
    let is_whole = groups == 1
        && kernel == windows.input
        && output == [1, 1]
        && (windows.before, windows.after) == ([0, 0], [0, 0])
        && dilation == [1, 1];
    if is_whole && context.constant(1)?.is_some() && (!context.has(2) || context.constant(2)?.is_some()) {
        return whole(context, windows.axes, weight);
    }
    finish(context, windows.axes, filters, geometry)
}

fn build_transposed(context: &Context<'_>) -> Result<Built, Problem> {
    let (input, weight, groups) = inputs(context)?;
    let windows = Windows::read(context, input, weight.get(2..))?;
    if weight[0] != input[1] || weight[0] % groups != 0 {
        return Err(Problem(format!(
            "its input has {} channels and its weights have the shape {weight:?} in {groups} groups, expected [{}, outputs / {groups}, ...]",
            input[1], input[1]
        )));
    }
    let outputs =
        weight[1].checked_mul(groups).ok_or("its weights have more channels than can be counted")?;
    check_bias(context, outputs)?;
    let (output, before) = transposed_outputs(context, &windows)?;
    let Windows { kernel, stride, dilation, .. } = windows;
    let filters = Filters {
        groups,
        inputs: weight[0] / groups,
        outputs: weight[1],
        area: kernel[0] * kernel[1],
        is_transposed: true,
    };
    let geometry = Geometry {
        groups,
        inputs: filters.inputs,
        outputs: filters.outputs,
        input: windows.input,
        kernel,
        stride: [1, 1],
        dilation,
        before: [0, 1].map(|axis| (windows.reach(axis) - 1) as i64 - before[axis]),
        spread: stride,
        output,
    };
    finish(context, windows.axes, filters, geometry)
}

/// The output's size along each axis, and how much of its start is cut off.
fn transposed_outputs(context: &Context<'_>, windows: &Windows) -> Result<([usize; 2], [i64; 2]), Problem> {
    let axes = windows.axes;
    let added = numbers(context, "output_padding", axes, 0)?.unwrap_or_else(|| vec![0; axes]);
    let stated = numbers(context, "output_shape", axes, 0)?;
    let (mut outputs, mut before) = ([1; 2], [0; 2]);
    for at in 0..axes {
        let axis = at + 2 - axes;
        let whole = windows.input[axis]
            .saturating_sub(1)
            .checked_mul(windows.stride[axis])
            .and_then(|size| size.checked_add(windows.reach(axis))?.checked_add(added[at]))
            .and_then(|size| i64::try_from(size).ok())
            .ok_or("its output has more elements than can be counted")?;
        let cut = |total: i64, is_lower: bool| if is_lower { total - total / 2 } else { total / 2 };
        let output = match (&stated, windows.padding) {
            (Some(stated), padding) => {
                let output = stated[at] as i64;
                before[axis] = cut((whole - output).max(0), padding != Padding::SameUpper);
                output
            }
            (None, Padding::Stated) => {
                before[axis] = windows.before[axis] as i64;
                whole - (windows.before[axis] + windows.after[axis]) as i64
            }
            (None, Padding::Valid) => whole,
            (None, padding) => {
                let output = windows.input[axis].saturating_mul(windows.stride[axis]) as i64;
                before[axis] = cut((whole - output).max(0), padding == Padding::SameLower);
                output
            }
        };
        outputs[axis] = usize::try_from(output).map_err(|_| {
            Problem(format!("its pads cut {} numbers off an output of {whole}", whole - output))
        })?;
    }
    Ok((outputs, before))
}

fn finish(
    context: &Context<'_>,
    axes: usize,
    filters: Filters,
    geometry: Geometry,
) -> Result<Built, Problem> {
    let mut shape = vec![context.shape(0)?[0], filters.groups * filters.outputs];
    shape.extend_from_slice(&geometry.output[2 - axes..]);
    let convolution = Convolution::new(geometry).ok_or("its output has more elements than can be counted")?;
    let is_bias_known = !context.has(2) || context.constant(2)?.is_some();
    let known = if context.constant(1)?.is_some() {
        Some(arranged(context, &[1, 2], || {
            let mut weights = vec![0.0; filters.len()];
            filters.arrange(context.known_values(1, "W")?, &mut weights);
            let bias = if context.has(2) && is_bias_known { context.known_values(2, "B")? } else { &[] };
            Ok(Known { weights: Arc::new(weights), bias: bias.to_vec() })
        })?)
    } else {
        None
    };
    let room = if known.is_some() { 0 } else { filters.len() };
    let shapes = [shape, vec![convolution.plane_space()], vec![convolution.wide_space()], vec![room]];
    let samples = context.shape(0)?[0] as u64;
    Ok(Built::Kernel {
        outputs: shapes.into_iter().map(|shape| TensorType::new(Kind::F32, shape)).collect(),
        kernel: Box::new(Conv {
            convolution,
            filters,
            known,
            bias_is_input: context.has(2) && (!is_bias_known || context.constant(1)?.is_none()),
            samples,
            rectify: false,
        }),
    })
}

/// Weights that are arranged, and a bias: nothing for zeros, and where it is none of the constants.
struct Known {
    /// Shared by those that differ in their bias.
    weights: Arc<Vec<f32>>,
    bias: Vec<f32>,
}

impl Known {
    /// Those whose sums are these sums with each channel's line applied.
    fn with(&self, filters: Filters, lines: &[Line]) -> Option<Self> {
        let bias = self.bias.iter().copied().chain(std::iter::repeat(0.0));
        let bias = lines.iter().zip(bias).map(|(line, bias)| line.bias(bias)).collect::<Option<_>>()?;
        let mut weights = Arc::clone(&self.weights);
        if lines.iter().any(|line| line.factor != 1.0) {
            let mut channels = vec![0.0; weights.len()];
            // Each number of the arranged ones is the place of its channel, which is exact.
            let [_, outputs, _] = filters.sizes();
            arrange(filters.sizes(), |group, output, _| (group * outputs + output) as f32, &mut channels);
            let all = weights.iter().zip(channels);
            let scaled = all.map(|(&weight, channel)| lines[channel as usize].weight(weight));
            weights = Arc::new(scaled.collect::<Option<_>>()?);
        }
        Some(Self { weights, bias })
    }
}

struct Conv {
    convolution: Convolution,
    filters: Filters,
    known: Option<Arc<Arranged<Known>>>,
    bias_is_input: bool,
    samples: u64,
    rectify: bool,
}

impl Kernel for Conv {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let [Data::F32(output), Data::F32(plane), Data::F32(wide), Data::F32(arranged)] = outputs else {
            return Err(Fault("its outputs are not float32".into()));
        };
        let (filters, bias): (&[f32], &[f32]) = match &self.known {
            Some(known) => (&known.weights, &known.bias),
            None => {
                self.filters.arrange(inputs.values(1)?, arranged);
                (arranged, &[])
            }
        };
        let bias = if self.bias_is_input { inputs.values::<f32>(2)? } else { bias };
        let room = Room { plane, wide };
        self.convolution.run(filters, bias, self.rectify, inputs.values(0)?, room, output);
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.samples.saturating_mul(self.convolution.multiply_adds()))
    }

    fn fuse(&mut self, then: Then<'_>) -> bool {
        let affine = match then {
            Then::Relu => {
                self.rectify = true;
                return true;
            }
            Then::Affine(affine) => affine,
        };
        // What is not among the known ones would be multiplied too.
        if self.rectify || self.bias_is_input {
            return false;
        }
        let filters = self.filters;
        let after = self.known.as_ref().and_then(|known| {
            let lines = affine.of_channels(1, filters.groups * filters.outputs)?;
            affine.taken_into(known, |known| known.with(filters, &lines))
        });
        let is_taken = after.is_some();
        if is_taken {
            self.known = after;
        }
        is_taken
    }
}

/// One window that is the whole input: a plain product.
fn whole(context: &Context<'_>, axes: usize, weight: &[usize]) -> Result<Built, Problem> {
    let product = arranged(context, &[1, 2], || {
        let bias = if context.has(2) { context.known_values(2, "B")?.to_vec() } else { vec![0.0; weight[0]] };
        Ok(Product::new(context.known_values(1, "W")?, &bias))
    })?;
    let mut shape = vec![context.shape(0)?[0], weight[0]];
    shape.resize(2 + axes, 1);
    let samples = shape[0];
    Ok(Built::kernel(TensorType::new(Kind::F32, shape), Whole { product, samples, rectify: false }))
}

struct Whole {
    product: Arc<Arranged<Product>>,
    samples: usize,
    rectify: bool,
}

impl Kernel for Whole {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let rows = Rows { values: inputs.values(0)?, stride: self.product.depth(), count: self.samples };
        let output = crate::model::graph::kernel::output(outputs, 0)?;
        self.product.multiply(rows, Start::Bias, self.rectify, output);
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        let sizes = [self.samples, self.product.depth(), self.product.outputs()];
        Some(sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64)))
    }

    fn fuse(&mut self, then: Then<'_>) -> bool {
        match then {
            Then::Relu => self.rectify = true,
            Then::Affine(_) if self.rectify => return false,
            Then::Affine(affine) => return fuse_affine(&mut self.product, affine, 1),
        }
        true
    }
}

#[cfg(test)]
mod tests;
