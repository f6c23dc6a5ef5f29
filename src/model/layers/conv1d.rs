//! A convolution over time, as PyTorch's `Conv1d` with one group and no dilation.
//!
//! With the channels of a sample side by side, the windows of a sequence are overlapping pieces of
//! memory, so that nothing is copied before the product, unless zeros must be put around the sequence.

use std::fmt;

use serde::Serialize;

use super::layer_table::{LAYER_VALUES_MAX, LayerTable};
use super::layer_type::{Expected, LayerType};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::kernel::product::{Product, Rows, Start};
use crate::model::kernel::window::Window;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// A convolution over the samples of a sequence: `{name}.weight` is `(outputs, inputs, kernel)`,
/// `{name}.bias` `(outputs)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "conv1d")]
pub struct Conv1d {
    /// The tensors' prefix.
    pub name: String,
    /// Channels that come into the layer.
    #[serde(rename = "in")]
    pub inputs: usize,
    /// Channels that the layer gives.
    #[serde(rename = "out")]
    pub outputs: usize,
    /// Samples in a window.
    pub kernel: usize,
    /// Samples from one window to the next.
    pub stride: usize,
    /// Zeros added before the first sample and after the last.
    pub padding: usize,
    /// Whether `{name}.bias` exists.
    pub bias: bool,
}

impl Conv1d {
    fn windows(&self, samples: usize) -> Result<Window, Misfit> {
        Window::new(samples, self.kernel, self.stride, self.padding)
            .ok_or_else(|| Misfit::window(samples, self.kernel, self.padding))
    }
}

impl LayerType for Conv1d {
    fn types() -> &'static [&'static str] {
        &["conv1d"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, inputs, outputs) = (table.prefix()?, table.size("in")?, table.size("out")?);
        let (kernel, stride, padding) = table.window(|_| 1)?;
        let bias = table.flag("bias", true)?;
        if kernel.saturating_mul(inputs) > LAYER_VALUES_MAX {
            let problem = format!(
                "found {kernel} samples x {inputs} channels, \
                 expected at most {LAYER_VALUES_MAX} numbers in a window (layer_values_max)"
            );
            return Err(table.invalid("kernel", problem));
        }
        Ok(Self { name, inputs, outputs, kernel, stride, padding, bias })
    }

    fn tensors(&self) -> Vec<Expected> {
        Expected::weight_and_bias(&self.name, &[self.outputs, self.inputs, self.kernel], self.bias)
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (_, samples) = input.sequence()?;
        let windows = self.windows(samples)?;
        input.check_width("in", self.inputs)?;
        Ok(Shape::Sequence { channels: self.outputs, samples: windows.count })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (weight, bias) = loading.weight_and_bias(&self.name, self.outputs, self.bias)?;
        let (_, samples) = loading.input.sequence()?;
        Ok(Box::new(Operation(Loaded::new(&weight, &bias, self.windows(samples)?))))
    }
}

impl fmt::Display for Conv1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, inputs, outputs, kernel, stride, padding, bias } = self;
        let bias = if *bias { "" } else { ", no bias" };
        write!(f, "conv1d {name} ({inputs} to {outputs}, kernel {kernel}, stride {stride}, ")?;
        write!(f, "padding {padding}{bias})")
    }
}

/// The layer with its weights: from sequences `(samples, inputs)` to `(windows, outputs)`.
struct Loaded {
    product: Product,
    window: Window,
    inputs: usize,
    rectify: bool,
}

impl Loaded {
    /// `weight` is `(outputs, inputs, kernel)`, as PyTorch has it.
    fn new(weight: &[f32], bias: &[f32], window: Window) -> Self {
        let kernel = window.kernel;
        let depth = weight.len() / bias.len();
        let inputs = depth / kernel;
        let mut by_sample = Vec::with_capacity(weight.len());
        for weight in weight.chunks_exact(depth) {
            by_sample.extend((0..depth).map(|at| weight[at % inputs * kernel + at / inputs]));
        }
        Self { product: Product::new(&by_sample, bias), window, inputs, rectify: false }
    }
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "conv1d";

    fn inputs(&self) -> usize {
        self.window.samples * self.inputs
    }

    fn outputs(&self) -> usize {
        self.window.count * self.product.outputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let Window { stride, padding, count, .. } = self.window;
        let stride = stride * self.inputs;
        let sequences = input.chunks_exact(self.inputs()).zip(output.chunks_exact_mut(self.outputs()));
        let padding = padding * self.inputs;
        let mut padded = if padding == 0 { Vec::new() } else { vec![0.0; self.inputs() + 2 * padding] };
        for (sequence, products) in sequences {
            let values = if padding == 0 {
                sequence
            } else {
                padded[padding..][..sequence.len()].copy_from_slice(sequence);
                &padded
            };
            self.product.multiply(Rows { values, stride, count }, Start::Bias, self.rectify, products);
        }
    }

    fn rectify(&mut self) -> bool {
        self.rectify = true;
        true
    }
}
