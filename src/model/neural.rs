//! A chain of layers on candle: a row of features in, a probability out.
//!
//! Layers that have weights, and those for sequences, are candle operations of ours,
//! each in a file of its own. A batch is worked through in blocks of rows, so that
//! what goes from layer to layer stays in the processor's cache.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Storage, Tensor};
use pulp::Arch;

use super::config::Output;
use super::kernel::lstm::{Lstm, LstmWeights};
use super::kernel::operation::Operation;
use super::layers::conv1d::{Conv1d, Window};
use super::layers::linear::{Affine, BatchNorm, Linear, activate};
use super::layers::max_pool1d::{GlobalAveragePool, MaxPool1d, Repeat, Transpose};
use super::layers::{Activation, Layer};
use super::normalise::Normalisation;
use super::shape::{Layout, Order, Shape, shape_after};
use super::{Model, ModelError};

/// The numbers between two layers that a block of rows may have: 256 KiB, a part of the second-level cache.
const BLOCK_VALUES: usize = 1 << 16;

/// Multiplications for a row of a network that is called at once rather than by
/// another thread: some microseconds.
const PROMPT_PRODUCTS_MAX: usize = 1 << 14;

/// A network ready to be called. Clones share their weights.
#[derive(Clone)]
pub struct Network {
    inputs: usize,
    normalisation: Option<Normalisation>,
    /// From the order in which features come to the one that layers work in, where these differ.
    arrange: Option<Operation<Transpose>>,
    steps: Arc<[Step]>,
    output: Output,
    block_rows: usize,
    is_prompt: bool,
    /// Kept between calls, so that normalising allocates only when a batch is larger than any before.
    normalised: Vec<f32>,
}

enum Step {
    Linear(Operation<Linear>),
    Affine(Operation<Affine>),
    Conv1d(Operation<Conv1d>),
    MaxPool1d(Operation<MaxPool1d>),
    GlobalAveragePool(Operation<GlobalAveragePool>),
    Transpose(Operation<Transpose>),
    Lstm(Box<Operation<Lstm>>),
    Repeat(Operation<Repeat>),
    Activation(Activation),
}

/// Finite f32 values of every tensor that the layers need, by name, with the lengths that the layers state.
pub type Values = HashMap<String, Vec<f32>>;

/// What a network is built from, as `config.json` says it and [`super::load`] has checked it.
pub struct Description<'a> {
    pub inputs: usize,
    pub layout: Option<Layout>,
    pub normalisation: Option<Normalisation>,
    pub layers: &'a [Layer],
    pub output: Output,
}

impl Network {
    /// Builds the network that `described` states, from `values`, which [`super::load`]
    /// has checked against its layers.
    pub fn new(described: Description<'_>, values: &mut Values) -> Result<Self, ModelError> {
        let Description { inputs, layout, normalisation, layers, output } = described;
        let mut builder = Builder { layout, values, shape: Shape::of_input(inputs, layout), widest: inputs };
        let mut steps = Vec::with_capacity(layers.len());
        let mut rest = layers;
        while let Some((step, taken)) = builder.step(rest)? {
            steps.extend(step);
            rest = &rest[taken..];
        }
        let arrange = layout.filter(|layout| layout.order == Order::ChannelsSamples);
        let arrange =
            arrange.map(|Layout { channels, samples, .. }| Transpose { outer: channels, inner: samples });
        let block_rows = (BLOCK_VALUES / builder.widest).max(1);
        Ok(Self {
            inputs,
            normalisation,
            arrange: arrange.map(Operation),
            steps: steps.into(),
            output,
            block_rows,
            is_prompt: products(layers).is_some_and(|products| products <= PROMPT_PRODUCTS_MAX),
            normalised: Vec::new(),
        })
    }

    fn forward(&self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for rows in rows.chunks(self.block_rows * self.inputs) {
            self.forward_block(rows, predictions).map_err(|error| ModelError::Forward(error.to_string()))?;
        }
        Ok(())
    }

    fn forward_block(&self, rows: &[f32], predictions: &mut Vec<f32>) -> candle_core::Result<()> {
        let batch = rows.len() / self.inputs;
        let mut x = Tensor::from_slice(rows, (batch, self.inputs), &Device::Cpu)?;
        if let Some(arrange) = &self.arrange {
            x = x.apply_op1_no_bwd(arrange)?;
        }
        let input = x.clone();
        for step in self.steps.iter() {
            x = match step {
                Step::Linear(operation) => x.apply_op1_no_bwd(operation)?,
                Step::Affine(operation) => x.apply_op1_no_bwd(operation)?,
                Step::Conv1d(operation) => x.apply_op1_no_bwd(operation)?,
                Step::MaxPool1d(operation) => x.apply_op1_no_bwd(operation)?,
                Step::GlobalAveragePool(operation) => x.apply_op1_no_bwd(operation)?,
                Step::Transpose(operation) => x.apply_op1_no_bwd(operation)?,
                Step::Lstm(operation) => x.apply_op1_no_bwd(operation.as_ref())?,
                Step::Repeat(operation) => x.apply_op1_no_bwd(operation)?,
                Step::Activation(activation) => activate(&x, *activation)?,
            };
        }
        with_values(&x, |output| match self.output {
            Output::Reconstruction { midpoint, scale } => with_values(&input, |input| {
                let rows = input.chunks_exact(self.inputs).zip(output.chunks_exact(self.inputs));
                predictions.extend(rows.map(|(x, y)| odd(mean_squared_error(x, y), midpoint, scale)));
            }),
            Output::Logit | Output::Probability => {
                predictions.extend(output.iter().map(|&value| probability(value, self.output)));
                Ok(())
            }
        })?
    }
}

impl Model for Network {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.clear();
        if !rows.len().is_multiple_of(self.inputs) {
            return Err(ModelError::Shape { inputs: self.inputs, values: rows.len() });
        }
        let Some(normalisation) = &self.normalisation else { return self.forward(rows, predictions) };
        let mut normalised = std::mem::take(&mut self.normalised);
        normalisation.apply(rows, self.inputs, &mut normalised);
        let result = self.forward(&normalised, predictions);
        self.normalised = normalised;
        result
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt
    }
}

/// How many multiplications a row takes in layers that see all of it at once; `None` where there are others.
fn products(layers: &[Layer]) -> Option<usize> {
    let of_layer = |layer: &Layer| match layer {
        Layer::Linear { inputs, outputs, .. } => inputs.checked_mul(*outputs),
        Layer::BatchNorm { features, .. } => Some(*features),
        Layer::Activation(_) => Some(0),
        _ => None,
    };
    layers.iter().try_fold(0_usize, |sum, layer| sum.checked_add(of_layer(layer)?))
}

/// Makes one step after the other, and knows the shape that the next one meets.
struct Builder<'a> {
    layout: Option<Layout>,
    values: &'a mut Values,
    shape: Shape,
    /// The most numbers of a row so far.
    widest: usize,
}

impl Builder<'_> {
    /// The step for the first of `layers` and how many of them it does; none when there are no more.
    fn step(&mut self, layers: &[Layer]) -> Result<Option<(Option<Step>, usize)>, ModelError> {
        let Some(layer) = layers.first() else { return Ok(None) };
        let rectify = layers.get(1) == Some(&Layer::Activation(Activation::Relu));
        let (channels, samples) = match self.shape {
            Shape::Flat(features) => (features, 1),
            Shape::Sequence { channels, samples } => (channels, samples),
        };
        let mut taken = 1;
        let step = match layer {
            Layer::Linear { name, outputs, bias, .. } => {
                let (weight, bias) = self.weight_and_bias(name, *outputs, *bias)?;
                taken += usize::from(rectify);
                Step::Linear(Operation(Linear::new(&weight, &bias, samples, rectify)))
            }
            Layer::BatchNorm { name, features, eps, affine } => {
                let norm = self.batch_norm(name, *features, *eps, *affine)?;
                Step::Affine(Operation(Affine::new(&norm, samples)))
            }
            Layer::Conv1d { name, outputs, kernel, stride, padding, bias, .. } => {
                let (weight, bias) = self.weight_and_bias(name, *outputs, *bias)?;
                let window = Window { samples, kernel: *kernel, stride: *stride, padding: *padding };
                taken += usize::from(rectify);
                Step::Conv1d(Operation(Conv1d::new(&weight, &bias, window, rectify)))
            }
            Layer::MaxPool1d { kernel, stride, padding } => {
                let window = Window { samples, kernel: *kernel, stride: *stride, padding: *padding };
                Step::MaxPool1d(Operation(MaxPool1d { arch: Arch::new(), window, channels }))
            }
            Layer::GlobalAveragePool => {
                let pool = GlobalAveragePool { arch: Arch::new(), channels, samples };
                Step::GlobalAveragePool(Operation(pool))
            }
            Layer::Flatten => match self.layout {
                Some(Layout { order: Order::ChannelsSamples, .. }) => {
                    Step::Transpose(Operation(Transpose { outer: samples, inner: channels }))
                }
                _ => {
                    self.advance(layer);
                    return Ok(Some((None, 1)));
                }
            },
            Layer::Repeat { samples } => {
                if let Some(Layer::Lstm { .. }) = layers.get(1) {
                    self.advance(layer);
                    let step = self.lstm(&layers[1], *samples, true)?;
                    return Ok(Some((step, 2)));
                }
                Step::Repeat(Operation(Repeat { features: channels, samples: *samples }))
            }
            Layer::Lstm { .. } => {
                let step = self.lstm(layer, samples, false)?;
                return Ok(Some((step, 1)));
            }
            Layer::Activation(activation) => Step::Activation(*activation),
        };
        self.advance(layer);
        Ok(Some((Some(step), taken)))
    }

    fn advance(&mut self, layer: &Layer) {
        if let Some(next) = shape_after(layer, self.shape) {
            self.shape = next;
            self.widest = self.widest.max(next.values());
        }
    }

    /// The LSTM that `layer` is; none for another layer.
    fn lstm(&mut self, layer: &Layer, samples: usize, repeated: bool) -> Result<Option<Step>, ModelError> {
        let Layer::Lstm { name, hidden, bias, returns, .. } = layer else { return Ok(None) };
        let mut sum = vec![0.0; 4 * hidden];
        if *bias {
            for part in ["bias_ih_l0", "bias_hh_l0"] {
                let part = self.take(name, part)?;
                sum.iter_mut().zip(part).for_each(|(sum, bias)| *sum += bias);
            }
        }
        let (input, recurrent) = (self.take(name, "weight_ih_l0")?, self.take(name, "weight_hh_l0")?);
        let weights = LstmWeights { input, recurrent, bias: sum };
        self.advance(layer);
        let lstm = Lstm::new(&weights, samples, repeated, *returns);
        Ok(Some(Step::Lstm(Box::new(Operation(lstm)))))
    }

    fn weight_and_bias(
        &mut self,
        name: &str,
        outputs: usize,
        bias: bool,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let weight = self.take(name, "weight")?;
        let bias = if bias { self.take(name, "bias")? } else { vec![0.0; outputs] };
        Ok((weight, bias))
    }

    fn batch_norm(
        &mut self,
        name: &str,
        features: usize,
        eps: f64,
        affine: bool,
    ) -> Result<BatchNorm, ModelError> {
        let (gamma, beta) = if affine {
            (self.take(name, "weight")?, self.take(name, "bias")?)
        } else {
            (vec![1.0; features], vec![0.0; features])
        };
        let (mean, variance) = (self.take(name, "running_mean")?, self.take(name, "running_var")?);
        Ok(BatchNorm { gamma, beta, mean, variance, eps })
    }

    fn take(&mut self, prefix: &str, part: &str) -> Result<Vec<f32>, ModelError> {
        let name = format!("{prefix}.{part}");
        self.values.remove(&name).ok_or_else(|| ModelError::Forward(format!("tensor {name} is missing")))
    }
}

/// Lends the numbers of a tensor.
fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        candle_core::bail!("output {:?} is not contiguous", tensor.shape());
    };
    Ok(read(&storage.as_slice::<f32>()?[start..end]))
}

fn probability(value: f32, meaning: Output) -> f32 {
    match meaning {
        Output::Logit if value.is_finite() => 1.0 / (1.0 + (-value).exp()),
        Output::Probability if (0.0..=1.0).contains(&value) => value,
        _ => f32::NAN,
    }
}

/// The probability that a reconstruction with this error is of an anomaly; NaN where the error is not finite.
fn odd(error: f64, midpoint: f64, scale: f64) -> f32 {
    if error.is_finite() { (1.0 / (1.0 + (-(error - midpoint) / scale).exp())) as f32 } else { f32::NAN }
}

fn mean_squared_error(x: &[f32], y: &[f32]) -> f64 {
    /// Sums side by side, for the processor's vectors.
    const SUMS: usize = 16;
    let mut sums = [0.0f32; SUMS];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<SUMS>(), y.as_chunks::<SUMS>());
    for (x, y) in xs.iter().zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += (x - y) * (x - y);
        }
    }
    let rest = x_rest.iter().zip(y_rest).map(|(x, y)| (x - y) * (x - y));
    let sum: f64 = sums.into_iter().chain(rest).map(f64::from).sum();
    sum / x.len() as f64
}
