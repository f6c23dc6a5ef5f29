//! Convolutions over time: windows of a sequence, multiplied with weights.
//!
//! With the channels of a sample side by side, the windows of a sequence are overlapping pieces of
//! memory, so that nothing is copied before the product, unless samples must be put around the sequence. The
//! windows of a dilated convolution, and those of a group of channels, are gathered first.

use serde::Serialize;

use super::operation::RowsLayer;
use super::product::{Product, Rows, Start};
use super::window::Window;

/// The numbers of gathered windows that are multiplied at once: 256 KiB, a part of the second-level cache.
const GATHERED_VALUES: usize = 1 << 16;

/// What stands before the first sample and after the last, as PyTorch's `padding_mode` calls it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The sequence mirrored, without repeating its first and last sample.
    Reflect,
    /// The first and the last sample again.
    Replicate,
    /// The sequence from its other end.
    Circular,
}

impl PaddingMode {
    /// Each with its word in `config.json`.
    pub(crate) const NAMES: &[(&str, Self)] = &[
        ("zeros", Self::Zeros),
        ("reflect", Self::Reflect),
        ("replicate", Self::Replicate),
        ("circular", Self::Circular),
    ];

    /// The most samples that it can put on one side of `samples`; any number where there is none.
    pub(crate) fn padding_max(self, samples: usize) -> Option<usize> {
        match self {
            Self::Zeros | Self::Replicate => None,
            Self::Reflect => Some(samples.saturating_sub(1)),
            Self::Circular => Some(samples),
        }
    }

    /// The sample that stands at `place` of a sequence of `samples` with `before` more before it; none for
    /// zeros.
    fn source(self, place: usize, before: usize, samples: usize) -> Option<usize> {
        let after = before + samples;
        match self {
            Self::Zeros => (before..after).contains(&place).then(|| place - before),
            Self::Replicate => Some(place.clamp(before, after - 1) - before),
            Self::Circular => Some((place + samples - before) % samples),
            Self::Reflect if place < before => Some(before - place),
            Self::Reflect if place >= after => Some(samples - 2 - (place - after)),
            Self::Reflect => Some(place - before),
        }
    }
}

/// A convolution with its weights: from sequences `(samples, inputs)` to `(windows, outputs)`.
pub struct Convolution {
    /// One for each group of channels.
    products: Vec<Product>,
    window: Window,
    mode: PaddingMode,
    /// Channels of a sample.
    inputs: usize,
    rectify: bool,
}

impl Convolution {
    /// `weight` is `(outputs, inputs / groups, kernel)`, as PyTorch has it.
    pub fn new(weight: &[f32], bias: &[f32], groups: usize, window: Window, mode: PaddingMode) -> Self {
        let kernel = window.kernel;
        let depth = weight.len() / bias.len();
        let inputs = depth / kernel;
        let mut by_sample = Vec::with_capacity(weight.len());
        for weight in weight.chunks_exact(depth) {
            by_sample.extend((0..depth).map(|at| weight[at % inputs * kernel + at / inputs]));
        }
        let outputs = bias.len() / groups;
        let of_groups = by_sample.chunks_exact(outputs * depth).zip(bias.chunks_exact(outputs));
        let products = of_groups.map(|(weight, bias)| Product::new(weight, bias)).collect();
        Self { products, window, mode, inputs: inputs * groups, rectify: false }
    }

    /// Puts `sequence` into `padded`, with what stands around it.
    fn pad(&self, sequence: &[f32], padded: &mut [f32]) {
        let Window { samples, before, .. } = self.window;
        let inputs = self.inputs;
        let first = before * inputs;
        padded[first..][..sequence.len()].copy_from_slice(sequence);
        // Zeros are there already, and stay.
        if self.mode == PaddingMode::Zeros {
            return;
        }
        let around = (0..before).chain(before + samples..self.window.padded());
        for place in around {
            let Some(source) = self.mode.source(place, before, samples) else { continue };
            let sample = &sequence[source * inputs..][..inputs];
            padded[place * inputs..][..inputs].copy_from_slice(sample);
        }
    }

    /// All windows of `values`, gathered in blocks, a group of channels after the other.
    fn gather(&self, values: &[f32], products: &mut [f32], scratch: &mut Scratch) {
        let Window { kernel, stride, dilation, count, .. } = self.window;
        let width = self.inputs / self.products.len();
        let depth = kernel * width;
        let all = self.outputs() / count;
        let block = (GATHERED_VALUES / depth).clamp(1, count);
        scratch.windows.resize(block * depth, 0.0);
        for (group, product) in self.products.iter().enumerate() {
            let outputs = product.outputs();
            scratch.products.resize(block * outputs, 0.0);
            for first in (0..count).step_by(block) {
                let windows = block.min(count - first);
                let gathered = &mut scratch.windows[..windows * depth];
                for (at, sample) in gathered.chunks_exact_mut(width).enumerate() {
                    let place = (first + at / kernel) * stride + at % kernel * dilation;
                    sample.copy_from_slice(&values[place * self.inputs + group * width..][..width]);
                }
                let rows = Rows::packed(gathered, depth);
                let places = &mut products[first * all..][..windows * all];
                if self.products.len() == 1 {
                    product.multiply(rows, Start::Bias, self.rectify, places);
                    continue;
                }
                let found = &mut scratch.products[..windows * outputs];
                product.multiply(rows, Start::Bias, self.rectify, found);
                for (place, found) in places.chunks_exact_mut(all).zip(found.chunks_exact(outputs)) {
                    place[group * outputs..][..outputs].copy_from_slice(found);
                }
            }
        }
    }
}

/// Reused from row to row.
#[derive(Default)]
struct Scratch {
    padded: Vec<f32>,
    windows: Vec<f32>,
    products: Vec<f32>,
}

impl RowsLayer for Convolution {
    const NAME: &'static str = "conv1d";

    fn inputs(&self) -> usize {
        self.window.samples * self.inputs
    }

    fn outputs(&self) -> usize {
        self.window.count * self.products.iter().map(Product::outputs).sum::<usize>()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let Window { stride, dilation, count, .. } = self.window;
        let is_padded = self.window.padded() > self.window.samples;
        let mut scratch = Scratch::default();
        if is_padded {
            scratch.padded = vec![0.0; self.window.padded() * self.inputs];
        }
        let sequences = input.chunks_exact(self.inputs()).zip(output.chunks_exact_mut(self.outputs()));
        for (sequence, products) in sequences {
            let mut padded = std::mem::take(&mut scratch.padded);
            if is_padded {
                self.pad(sequence, &mut padded);
            }
            let values = if is_padded { &padded } else { sequence };
            match self.products.as_slice() {
                [product] if dilation == 1 => {
                    let rows = Rows { values, stride: stride * self.inputs, count };
                    product.multiply(rows, Start::Bias, self.rectify, products);
                }
                _ => self.gather(values, products, &mut scratch),
            }
            scratch.padded = padded;
        }
    }

    fn rectify(&mut self) -> bool {
        self.rectify = true;
        true
    }
}
