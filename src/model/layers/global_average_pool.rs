//! Global average pooling: the mean of each channel over all samples.

use std::fmt;

use pulp::{Arch, Simd, WithSimd};
use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The mean of each channel over all samples: from a sequence to `channels` features.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "global_average_pool")]
pub struct GlobalAveragePool {}

impl LayerType for GlobalAveragePool {
    fn types() -> &'static [&'static str] {
        &["global_average_pool"]
    }

    fn read(_: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self {})
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (channels, _) = input.sequence()?;
        Ok(Shape::Flat(channels))
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (channels, samples) = loading.input.sequence()?;
        Ok(Box::new(Operation(Loaded { arch: Arch::new(), channels, samples })))
    }
}

impl fmt::Display for GlobalAveragePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("global_average_pool")
    }
}

/// The pooling of sequences of one shape.
struct Loaded {
    arch: Arch,
    channels: usize,
    samples: usize,
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "global_average_pool";

    fn inputs(&self) -> usize {
        self.channels * self.samples
    }

    fn outputs(&self) -> usize {
        self.channels
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
        let Self { layer: Loaded { channels, samples, .. }, input, output } = self;
        let rows = input.chunks_exact(channels * samples).zip(output.chunks_exact_mut(*channels));
        for (row, means) in rows {
            for sample in row.chunks_exact(*channels) {
                means.iter_mut().zip(sample).for_each(|(sum, x)| *sum += x);
            }
            means.iter_mut().for_each(|mean| *mean /= *samples as f32);
        }
    }
}
