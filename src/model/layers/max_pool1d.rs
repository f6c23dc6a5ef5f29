//! Max pooling over time, as PyTorch's `MaxPool1d`: the largest number of each channel in each window.

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

/// The largest number of each channel in each window; NaN when one is in it, as PyTorch has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "max_pool1d")]
pub struct MaxPool1d {
    /// Samples in a window.
    pub kernel: usize,
    /// Samples from one window to the next.
    pub stride: usize,
    /// Samples added on either side, which are never the largest.
    pub padding: usize,
}

impl MaxPool1d {
    fn windows(&self) -> Windows {
        Windows { kernel: self.kernel, stride: self.stride, padding: self.padding }
    }
}

impl LayerType for MaxPool1d {
    fn types() -> &'static [&'static str] {
        &["max_pool1d"]
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

impl fmt::Display for MaxPool1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, stride, padding } = self;
        write!(f, "max_pool1d (kernel {kernel}, stride {stride}, padding {padding})")
    }
}

impl Pool for MaxPool1d {
    const NAME: &'static str = "max_pool1d";

    #[inline(always)]
    fn pool<S: Simd>(simd: S, window: &[f32], _: usize, largest: &mut [f32]) {
        let channels = largest.len();
        for (at, largest) in largest.chunks_mut(S::F32_LANES).enumerate() {
            let place = at * S::F32_LANES;
            let load = |sample: &[f32]| match S::as_simd_f32s(&sample[place..][..largest.len()]) {
                ([whole], _) => *whole,
                (_, part) => simd.partial_load_f32s(part),
            };
            let mut samples = window.chunks_exact(channels).map(load);
            let Some(mut most) = samples.next() else { continue };
            for x in samples {
                most = simd.select_f32s(simd.less_than_f32s(most, x), x, most);
                // NaN alone does not equal itself; it stays.
                most = simd.select_f32s(simd.equal_f32s(x, x), most, x);
            }
            match S::as_mut_simd_f32s(largest) {
                ([whole], _) => *whole = most,
                (_, part) => simd.partial_store_f32s(part, most),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pooling::Pooling;
    use super::*;
    use crate::model::kernel::operation::RowsLayer;
    use crate::model::kernel::window::Window;

    #[test]
    fn a_window_with_what_is_no_number_has_none() {
        for channels in [1, 3, 16, 37] {
            let window = Window::new(4, 2, 2, 0).unwrap();
            let pool = Pooling::<MaxPool1d>::new(window, channels);
            for bad in 0..4 {
                let mut input: Vec<_> = (0..4 * channels).map(|at| at as f32).collect();
                input[bad * channels] = f32::NAN;
                let mut output = vec![0.0; 2 * channels];
                pool.forward(&input, &mut output);
                for (at, largest) in output.iter().enumerate() {
                    let (window, channel) = (at / channels, at % channels);
                    if (window, channel) == (bad / 2, 0) {
                        assert!(largest.is_nan());
                    } else {
                        assert_eq!(*largest, ((2 * window + 1) * channels + channel) as f32);
                    }
                }
            }
        }
    }
}
