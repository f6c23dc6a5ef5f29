//! Average pooling over time, as PyTorch's `AvgPool1d`: the mean of each channel in each window.

use std::fmt;

use pulp::{Arch, Simd, WithSimd};
use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::kernel::window::Window;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The mean of each channel in each window; padding counts as zeros, as PyTorch's `count_include_pad` has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "average_pool1d")]
pub struct AveragePool1d {
    /// Samples in a window.
    pub kernel: usize,
    /// Samples from one window to the next.
    pub stride: usize,
    /// Zeros added on either side.
    pub padding: usize,
}

impl AveragePool1d {
    fn windows(&self, samples: usize) -> Result<Window, Misfit> {
        Window::new(samples, self.kernel, self.stride, self.padding)
            .ok_or_else(|| Misfit::window(samples, self.kernel, self.padding))
    }
}

impl LayerType for AveragePool1d {
    fn types() -> &'static [&'static str] {
        &["average_pool1d"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        // PyTorch's windows lie side by side unless a stride is stated.
        let (kernel, stride, padding) = table.window(|kernel| kernel)?;
        Ok(Self { kernel, stride, padding })
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (channels, samples) = input.sequence()?;
        Ok(Shape::Sequence { channels, samples: self.windows(samples)?.count })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (channels, samples) = loading.input.sequence()?;
        Ok(Box::new(Operation(Loaded { arch: Arch::new(), window: self.windows(samples)?, channels })))
    }
}

impl fmt::Display for AveragePool1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, stride, padding } = self;
        write!(f, "average_pool1d (kernel {kernel}, stride {stride}, padding {padding})")
    }
}

/// The pooling of sequences of one length.
struct Loaded {
    arch: Arch,
    window: Window,
    channels: usize,
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "average_pool1d";

    fn inputs(&self) -> usize {
        self.window.samples * self.channels
    }

    fn outputs(&self) -> usize {
        self.window.count * self.channels
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        self.arch.dispatch(Pooling { layer: self, input, output });
    }
}

/// One call. Not a closure, which the compiler may leave without the processor's vectors.
struct Pooling<'a> {
    layer: &'a Loaded,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Pooling<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { layer: layer @ Loaded { window, channels, .. }, input, output } = self;
        let Window { samples: all, kernel, stride, before, .. } = *window;
        let rows = input.chunks_exact(layer.inputs()).zip(output.chunks_exact_mut(layer.outputs()));
        for (samples, pooled) in rows {
            for (at, means) in pooled.chunks_exact_mut(*channels).enumerate() {
                let first = (at * stride).saturating_sub(before);
                let end = (at * stride + kernel).saturating_sub(before).min(all);
                for sample in samples[first * channels..end * channels].chunks_exact(*channels) {
                    means.iter_mut().zip(sample).for_each(|(sum, x)| *sum += x);
                }
                means.iter_mut().for_each(|mean| *mean /= kernel as f32);
            }
        }
    }
}
