//! Convolutions over time: a window of samples is one row of a product.
//!
//! With the channels of a sample side by side, the windows of a sequence are overlapping pieces of
//! memory, so that nothing is copied before the product, unless zeros must be put around the sequence.

use super::super::kernel::operation::RowsLayer;
use super::super::kernel::product::{Product, Rows, Start};
use super::super::shape::windows;

/// A one-dimensional convolution of sequences `(samples, inputs)` into `(windows, outputs)`.
pub struct Conv1d {
    product: Product,
    window: Window,
    inputs: usize,
    rectify: bool,
}

/// How a window goes over a sequence, in samples.
#[derive(Clone, Copy)]
pub struct Window {
    pub samples: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Window {
    /// How many windows there are; `config` has checked that there is one.
    pub fn count(self) -> usize {
        windows(self.samples, self.kernel, self.stride, self.padding).unwrap_or(0)
    }
}

impl Conv1d {
    /// `weight` is `(outputs, inputs, kernel)`, as PyTorch has it. With `rectify` a ReLU follows.
    pub fn new(weight: &[f32], bias: &[f32], window: Window, rectify: bool) -> Self {
        let kernel = window.kernel;
        let depth = weight.len() / bias.len();
        let inputs = depth / kernel;
        let mut by_sample = Vec::with_capacity(weight.len());
        for weight in weight.chunks_exact(depth) {
            by_sample.extend((0..depth).map(|at| weight[at % inputs * kernel + at / inputs]));
        }
        Self { product: Product::new(&by_sample, bias), window, inputs, rectify }
    }
}

impl RowsLayer for Conv1d {
    const NAME: &'static str = "conv1d";

    fn inputs(&self) -> usize {
        self.window.samples * self.inputs
    }

    fn outputs(&self) -> usize {
        self.window.count() * self.product.outputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let Window { stride, padding, .. } = self.window;
        let (stride, count) = (stride * self.inputs, self.window.count());
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
}
