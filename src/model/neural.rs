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
use super::layers::{self, Chain, Loading, Values};
use super::normalise::Normalisation;
use super::output::{Output, of_reconstruction};
use super::shape::{Layout, Order, Shape};
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
        let input = Shape::of_input(inputs, layout);
        let mut loading = Loading { values, input, order: layout.map(|layout| layout.order) };
        let steps = Chain::load(layers, &mut loading)?.into_steps();
        let widest = layers::widest(layers, input);
        let arrange = layout.filter(|layout| layout.order == Order::ChannelsSamples);
        let arrange =
            arrange.map(|Layout { channels, samples, .. }| Transpose { outer: channels, inner: samples });
        let block_rows = (BLOCK_VALUES / widest).max(1);
        Ok(Self {
            inputs,
            normalisation: config.normalisation.clone(),
            arrange: arrange.map(Operation),
            steps: steps.into(),
            output: config.output.clone(),
            block_rows,
            is_prompt: layers::products(layers).is_some_and(|products| products <= PROMPT_PRODUCTS_MAX),
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
        with_values(&x, |output| match &self.output {
            &Output::Reconstruction { midpoint, scale } => with_values(&input, |input| {
                let rows = input.chunks_exact(self.inputs).zip(output.chunks_exact(self.inputs));
                predictions.extend(rows.map(|(x, y)| of_reconstruction(x, y, midpoint, scale)));
            }),
            Output::Logit | Output::Score { .. } | Output::Label { .. } => {
                predictions.extend(output.iter().map(|&value| self.output.probability(value)));
                Ok(())
            }
            Output::Probability | Output::Class { .. } => {
                let row = output.len() / batch.max(1);
                for &value in output.iter().skip(self.output.place()).step_by(row.max(1)) {
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

/// Lends the numbers of a tensor.
fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        candle_core::bail!("output {:?} is not contiguous", tensor.shape());
    };
    Ok(read(&storage.as_slice::<f32>()?[start..end]))
}
