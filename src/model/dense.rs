//! Dense networks on candle: linear layers, batch norm in evaluation mode, activations.
//!
//! Weights are transposed and biases expanded to a row once, at load: that is a fifth of the time of a call with one row.
//! Small products are computed by a loop of ours inside a candle operation; see [`PRODUCT_MULTIPLICATIONS_MAX`].

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::cpu_backend::unary_map;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Storage, Tensor};

use super::config::{Activation, Layer, Output};
use super::normalise::Normalisation;
use super::{Model, ModelError};

/// The most multiplications for which [`Product`] is called in candle's place.
///
/// candle 0.11 asks the operating system for the number of cores at each multiplication, which reads a file and takes
/// about 80 µs; our plain loop has done this many by then.
const PRODUCT_MULTIPLICATIONS_MAX: usize = 1 << 18;

/// A network ready to be called. Clones share their weights.
#[derive(Clone)]
pub(super) struct Dense {
    inputs: usize,
    normalisation: Option<Normalisation>,
    steps: Vec<Step>,
    output: Output,
    /// Kept between calls, so that normalising allocates only when a batch is larger than any before.
    normalised: Vec<f32>,
}

#[derive(Clone)]
enum Step {
    /// `x * weight + bias`: weight `(inputs, outputs)`, bias `(1, outputs)`.
    Linear {
        weight: Tensor,
        bias: Option<Tensor>,
        small: Option<Arc<Product>>,
    },
    /// `x * scale + shift`, both `(1, features)`: what batch norm is once its statistics stand still.
    Affine {
        scale: Tensor,
        shift: Tensor,
    },
    Activation(Activation),
}

/// Finite f32 values of every tensor that the layers need, by name, with the lengths that the layers state.
pub(super) type Values = HashMap<String, Vec<f32>>;

impl Dense {
    /// Builds the network that `layers` describe, from `values`, which [`super::load`] has checked against them.
    pub fn new(
        inputs: usize,
        normalisation: Option<Normalisation>,
        layers: &[Layer],
        output: Output,
        values: &mut Values,
    ) -> Result<Self, ModelError> {
        // candle gives each multiplication to every core once it is large; two threads made each model that we
        // measured slower, and a node's other threads have better use for them.
        gemm::set_threading_threshold(usize::MAX);
        let steps = layers.iter().map(|layer| step(layer, values)).collect::<Result<_, _>>()?;
        Ok(Self { inputs, normalisation, steps, output, normalised: Vec::new() })
    }

    fn forward(&self, rows: &[f32], batch: usize) -> candle_core::Result<Tensor> {
        let mut x = Tensor::from_slice(rows, (batch, self.inputs), &Device::Cpu)?;
        for step in &self.steps {
            x = match step {
                Step::Linear { small: Some(product), .. } if product.is_small(batch) => {
                    x.apply_op1_no_bwd(product.as_ref())?
                }
                Step::Linear { weight, bias: None, .. } => x.matmul(weight)?,
                Step::Linear { weight, bias: Some(bias), .. } => add_row(&x.matmul(weight)?, bias, batch)?,
                Step::Affine { scale, shift } => add_row(&x.broadcast_mul(scale)?, shift, batch)?,
                Step::Activation(activation) => activate(&x, *activation)?,
            };
        }
        Ok(x)
    }
}

impl Model for Dense {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.clear();
        if !rows.len().is_multiple_of(self.inputs) {
            return Err(ModelError::Shape { inputs: self.inputs, values: rows.len() });
        }
        if rows.is_empty() {
            return Ok(());
        }
        let batch = rows.len() / self.inputs;
        let result = match &self.normalisation {
            None => self.forward(rows, batch),
            Some(normalisation) => {
                let mut normalised = std::mem::take(&mut self.normalised);
                normalisation.apply(rows, self.inputs, &mut normalised);
                let result = self.forward(&normalised, batch);
                self.normalised = normalised;
                result
            }
        };
        let output = result.map_err(forward_error)?;
        read_probabilities(&output, self.output, predictions)
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }
}

fn step(layer: &Layer, values: &mut Values) -> Result<Step, ModelError> {
    let mut take = |prefix: &str, part: &str| {
        let name = format!("{prefix}.{part}");
        values.remove(&name).ok_or_else(|| ModelError::Forward(format!("tensor {name} is missing")))
    };
    Ok(match layer {
        Layer::Linear { name, inputs, outputs, bias } => {
            let weight = Tensor::from_vec(take(name, "weight")?, (*outputs, *inputs), &Device::Cpu)
                .and_then(|weight| weight.t()?.contiguous())
                .map_err(forward_error)?;
            let bias = if *bias { Some(take(name, "bias")?) } else { None };
            let small = if inputs * outputs <= PRODUCT_MULTIPLICATIONS_MAX {
                let weight =
                    weight.flatten_all().and_then(|weight| weight.to_vec1()).map_err(forward_error)?;
                let bias = bias.clone().unwrap_or_else(|| vec![0.0; *outputs]);
                Some(Arc::new(Product { weight, bias }))
            } else {
                None
            };
            Step::Linear { weight, bias: bias.map(row).transpose()?, small }
        }
        Layer::BatchNorm { name, features, eps, affine } => {
            let (gamma, beta) = if *affine {
                (take(name, "weight")?, take(name, "bias")?)
            } else {
                (vec![1.0; *features], vec![0.0; *features])
            };
            let (mean, variance) = (take(name, "running_mean")?, take(name, "running_var")?);
            let scale: Vec<f64> = gamma
                .iter()
                .zip(&variance)
                .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + eps).sqrt())
                .collect();
            let shift = (0..*features).map(|at| f64::from(beta[at]) - f64::from(mean[at]) * scale[at]);
            let shift = shift.map(|shift| shift as f32).collect();
            let scale = scale.iter().map(|&scale| scale as f32).collect();
            Step::Affine { scale: row(scale)?, shift: row(shift)? }
        }
        Layer::Activation(activation) => Step::Activation(*activation),
    })
}

fn row(values: Vec<f32>) -> Result<Tensor, ModelError> {
    let width = values.len();
    Tensor::from_vec(values, (1, width), &Device::Cpu).map_err(forward_error)
}

fn add_row(x: &Tensor, row: &Tensor, batch: usize) -> candle_core::Result<Tensor> {
    // With one row the shapes are equal, and the plain addition spares candle the broadcast's bookkeeping.
    if batch == 1 { x.add(row) } else { x.broadcast_add(row) }
}

fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Relu => x.apply_op1_no_bwd(&Rectifier { negative_slope: 0.0 }),
        Activation::LeakyRelu { negative_slope } => {
            x.apply_op1_no_bwd(&Rectifier { negative_slope: negative_slope as f32 })
        }
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        Activation::Gelu => x.gelu_erf(),
        Activation::Silu => x.silu(),
        Activation::Elu { alpha } => x.elu(alpha),
    }
}

/// ReLU and its leaky form. candle's own turn NaN into 0, so that an overflow would look like a healthy answer;
/// PyTorch's, and this one, keep it.
struct Rectifier {
    negative_slope: f32,
}

impl CustomOp1 for Rectifier {
    fn name(&self) -> &'static str {
        "rectifier"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let slope = self.negative_slope;
        let rectified = if slope == 0.0 {
            unary_map(storage.as_slice::<f32>()?, layout, |x| if x < 0.0 { 0.0 } else { x })
        } else {
            unary_map(storage.as_slice::<f32>()?, layout, |x| if x < 0.0 { slope * x } else { x })
        };
        Ok((CpuStorage::F32(rectified), layout.shape().clone()))
    }
}

/// `x * weight + bias` in a plain loop, for networks so small that candle's preparations outweigh the arithmetic.
struct Product {
    /// `(inputs, outputs)`, row-major.
    weight: Vec<f32>,
    /// One number for each output; it states how many there are.
    bias: Vec<f32>,
}

impl Product {
    fn is_small(&self, batch: usize) -> bool {
        batch.saturating_mul(self.weight.len()) <= PRODUCT_MULTIPLICATIONS_MAX
    }

    fn multiply(&self, rows: &[f32]) -> Vec<f32> {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let mut products = Vec::with_capacity(rows.len() / inputs * outputs);
        for row in rows.chunks_exact(inputs) {
            let start = products.len();
            products.resize(start + outputs, 0.0);
            let product = &mut products[start..];
            for (x, weights) in row.iter().zip(self.weight.chunks_exact(outputs)) {
                product.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
            }
            product.iter_mut().zip(&self.bias).for_each(|(sum, bias)| *sum += bias);
        }
        products
    }
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("product of {layout:?}, which is not contiguous");
        };
        let products = self.multiply(&storage.as_slice::<f32>()?[start..end]);
        let shape = Shape::from((products.len() / self.bias.len(), self.bias.len()));
        Ok((CpuStorage::F32(products), shape))
    }
}

fn read_probabilities(
    output: &Tensor,
    meaning: Output,
    predictions: &mut Vec<f32>,
) -> Result<(), ModelError> {
    let (storage, layout) = output.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(ModelError::Forward(format!("output {:?} is not contiguous", output.shape())));
    };
    let values = storage.as_slice::<f32>().map_err(forward_error)?;
    predictions.extend(values[start..end].iter().map(|&value| match meaning {
        Output::Logit if value.is_finite() => 1.0 / (1.0 + (-value).exp()),
        Output::Probability if (0.0..=1.0).contains(&value) => value,
        Output::Logit | Output::Probability => f32::NAN,
    }));
    Ok(())
}

fn forward_error(error: candle_core::Error) -> ModelError {
    ModelError::Forward(error.to_string())
}
