//! Average pooling over time, as PyTorch's `AvgPool1d`: the mean of each channel in each window.

use std::fmt;

use pulp::Simd;
use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use super::pooling::{Pool, Windows};
use crate::model::ModelError;
use crate::model::kernel::operation::Step;
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
    fn windows(&self) -> Windows {
        Windows { kernel: self.kernel, stride: self.stride, padding: self.padding }
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
        self.windows().shape(input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        self.windows().load::<Self>(loading)
    }
}

impl fmt::Display for AveragePool1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, stride, padding } = self;
        write!(f, "average_pool1d (kernel {kernel}, stride {stride}, padding {padding})")
    }
}

impl Pool for AveragePool1d {
    const NAME: &'static str = "average_pool1d";

    #[inline(always)]
    fn pool<S: Simd>(_: S, window: &[f32], kernel: usize, means: &mut [f32]) {
        for sample in window.chunks_exact(means.len()) {
            means.iter_mut().zip(sample).for_each(|(sum, x)| *sum += x);
        }
        means.iter_mut().for_each(|mean| *mean /= kernel as f32);
    }
}
