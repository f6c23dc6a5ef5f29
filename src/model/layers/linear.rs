//! The layers of dense networks: linear layers, batch norm in evaluation mode, activations.
//!
//! On a sequence each of them works on one sample after the other, as PyTorch's linear layer does.

use candle_core::cpu_backend::unary_map;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::super::kernel::operation::RowsLayer;
use super::super::kernel::product::{Product, Rows, Start};
use super::Activation;

/// `x * weight + bias` at each of `samples` samples.
pub struct Linear {
    product: Product,
    samples: usize,
    rectify: bool,
}

impl Linear {
    /// `weight` is `(outputs, inputs)`. With `rectify` a ReLU follows.
    pub fn new(weight: &[f32], bias: &[f32], samples: usize, rectify: bool) -> Self {
        Self { product: Product::new(weight, bias), samples, rectify }
    }
}

impl RowsLayer for Linear {
    const NAME: &'static str = "linear";

    fn inputs(&self) -> usize {
        self.samples * self.product.depth()
    }

    fn outputs(&self) -> usize {
        self.samples * self.product.outputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let rows = Rows::packed(input, self.product.depth());
        self.product.multiply(rows, Start::Bias, self.rectify, output);
    }
}

/// `x * scale + shift`: what batch norm is once its statistics stand still.
pub struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
    samples: usize,
}

/// The statistics and the trained part of a batch norm, a number for each feature.
pub struct BatchNorm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub eps: f64,
}

impl Affine {
    /// The batch norm of each of `samples` samples.
    pub fn new(norm: &BatchNorm, samples: usize) -> Self {
        let BatchNorm { gamma, beta, mean, variance, eps } = norm;
        let scale: Vec<f64> = gamma
            .iter()
            .zip(variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + eps).sqrt())
            .collect();
        let shift = beta.iter().zip(mean).zip(&scale);
        let shift = shift.map(|((&beta, &mean), scale)| (f64::from(beta) - f64::from(mean) * scale) as f32);
        Self { shift: shift.collect(), scale: scale.iter().map(|&scale| scale as f32).collect(), samples }
    }
}

impl RowsLayer for Affine {
    const NAME: &'static str = "affine";

    fn inputs(&self) -> usize {
        self.samples * self.scale.len()
    }

    fn outputs(&self) -> usize {
        self.inputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let features = self.scale.len();
        for (x, y) in input.chunks_exact(features).zip(output.chunks_exact_mut(features)) {
            let parts = x.iter().zip(&self.scale).zip(&self.shift);
            y.iter_mut().zip(parts).for_each(|(y, ((x, scale), shift))| *y = x * scale + shift);
        }
    }
}

/// Applies an elementwise function.
pub fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
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

/// ReLU and its leaky form. candle's own turn NaN into 0, so that an overflow would
/// look like a healthy answer; PyTorch's, and this one, keep it.
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
