//! A chain of layers on candle: a row of features in, a probability out.
//!
//! Layers that have weights, and those for sequences, are candle operations of ours,
//! each in a file of its own. A batch is worked through in blocks of rows, so that
//! what goes from layer to layer stays in the processor's cache.

use std::sync::Arc;

use candle_core::{Device, Storage, Tensor};

use super::config::Config;
use super::kernel::operation::{Operation, Step};
use super::kernel::transpose::Transpose;
use super::layers::{Activation, Layer, Loading, Values};
use super::normalise::Normalisation;
use super::output::{Output, of_reconstruction};
use super::shape::{Layout, Misfit, Order, Shape};
use super::{Model, ModelError};

/// The numbers between two layers that a block of rows may have: 256 KiB, a part of the second-level cache.
const BLOCK_VALUES: usize = 1 << 16;

/// Multiplications for a row of a network that is called at once rather than by
/// another thread: some microseconds.
const PROMPT_PRODUCTS_MAX: usize = 1 << 14;

/// A network ready to be called. Clones share their weights.
#[derive(Clone)]
pub struct NeuralNetwork {
    inputs: usize,
    normalisation: Option<Normalisation>,
    /// From the order in which features come to the one that layers work in, where these differ.
    arrange: Option<Operation<Transpose>>,
    steps: Arc<[Box<dyn Step>]>,
    output: Output,
    block_rows: usize,
    is_prompt: bool,
    /// Kept between calls, so that normalising allocates only when a batch is larger than any before.
    normalised: Vec<f32>,
    /// Rows of the last batch that gave a number which is not the probability that was promised, with it.
    outside: Vec<(usize, f32)>,
}

impl NeuralNetwork {
    /// Builds the network that `config` describes, from `values`, which [`super::load`] has checked against
    /// its layers.
    pub fn new(config: &Config, values: &mut Values) -> Result<Self, ModelError> {
        let Config { inputs, layout, layers, .. } = config;
        let (inputs, layout) = (*inputs, *layout);
        let (shapes, widest) = shapes(layers, Shape::of_input(inputs, layout))?;
        let steps = steps(layers, &shapes, layout.map(|layout| layout.order), values)?;
        let arrange = layout.filter(|layout| layout.order == Order::ChannelsSamples);
        let arrange =
            arrange.map(|Layout { channels, samples, .. }| Transpose { outer: channels, inner: samples });
        let block_rows = (BLOCK_VALUES / widest).max(1);
        Ok(Self {
            inputs,
            normalisation: config.normalisation.clone(),
            arrange: arrange.map(Operation),
            steps: steps.into(),
            output: config.output,
            block_rows,
            is_prompt: products(layers).is_some_and(|products| products <= PROMPT_PRODUCTS_MAX),
            normalised: Vec::new(),
            outside: Vec::new(),
        })
    }

    fn forward(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        self.outside.clear();
        for rows in rows.chunks(self.block_rows * self.inputs) {
            self.forward_block(rows, predictions).map_err(|error| ModelError::Forward(error.to_string()))?;
        }
        Ok(())
    }

    fn forward_block(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> candle_core::Result<()> {
        let batch = rows.len() / self.inputs;
        let mut x = Tensor::from_slice(rows, (batch, self.inputs), &Device::Cpu)?;
        if let Some(arrange) = &self.arrange {
            x = x.apply_op1_no_bwd(arrange)?;
        }
        let input = x.clone();
        for step in self.steps.iter() {
            x = step.forward(&x)?;
        }
        with_values(&x, |output| match self.output {
            Output::Reconstruction { midpoint, scale } => with_values(&input, |input| {
                let rows = input.chunks_exact(self.inputs).zip(output.chunks_exact(self.inputs));
                predictions.extend(rows.map(|(x, y)| of_reconstruction(x, y, midpoint, scale)));
            }),
            Output::Logit => {
                predictions.extend(output.iter().map(|&value| self.output.probability(value)));
                Ok(())
            }
            Output::Probability => {
                for &value in output {
                    let probability = self.output.probability(value);
                    if probability.is_nan() && value.is_finite() {
                        self.outside.push((predictions.len(), value));
                    }
                    predictions.push(probability);
                }
                Ok(())
            }
        })?
    }
}

impl Model for NeuralNetwork {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
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

    fn outside(&self, row: usize) -> Option<f32> {
        let place = self.outside.binary_search_by_key(&row, |(at, _)| *at).ok()?;
        Some(self.outside[place].1)
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
    let of_layer = |layer: &Layer| layer.as_type().products();
    layers.iter().try_fold(0_usize, |sum, layer| sum.checked_add(of_layer(layer)?))
}

/// What each of `layers` meets, and the widest that a row is anywhere.
fn shapes(layers: &[Layer], input: Shape) -> Result<(Vec<Shape>, usize), Misfit> {
    let (mut shape, mut widest) = (input, input.values());
    let mut shapes = Vec::with_capacity(layers.len());
    for layer in layers {
        shapes.push(shape);
        shape = layer.as_type().shape(shape)?;
        widest = widest.max(shape.values());
    }
    Ok((shapes, widest))
}

/// The steps that do what `layers` say, each of which meets the shape that stands beside it. Where one step
/// can do the work of two layers, it does.
fn steps(
    layers: &[Layer],
    shapes: &[Shape],
    order: Option<Order>,
    values: &mut Values,
) -> Result<Vec<Box<dyn Step>>, ModelError> {
    let mut steps: Vec<Box<dyn Step>> = Vec::with_capacity(layers.len());
    for (at, (layer, &input)) in layers.iter().zip(shapes).enumerate() {
        let mut loading = Loading { values, input, order };
        let before = at.checked_sub(1).map(|before| &layers[before]);
        let step = match layer {
            // A product rectifies while its sums are still in registers: a pass over memory less.
            Layer::Activation(Activation::Relu) if steps.last_mut().is_some_and(|last| last.rectify()) => {
                continue;
            }
            // The LSTM behind it computes the repeated input's part of the gates once, not at each sample.
            Layer::Repeat(_) if matches!(layers.get(at + 1), Some(Layer::Lstm(_))) => continue,
            Layer::Lstm(lstm) if matches!(before, Some(Layer::Repeat(_))) => {
                lstm.load_repeated(&mut loading)?
            }
            layer => layer.as_type().load(&mut loading)?,
        };
        steps.push(step);
    }
    Ok(steps)
}

/// Lends the numbers of a tensor.
fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        candle_core::bail!("output {:?} is not contiguous", tensor.shape());
    };
    Ok(read(&storage.as_slice::<f32>()?[start..end]))
}
