//! The layers for sequences that have no weights: pooling, repeating, and the order of channels and samples.

use pulp::{Arch, Simd, WithSimd};

use super::conv::Window;
use super::operation::RowsLayer;

/// From all samples of the first channel first to all channels of the first sample first, or back.
#[derive(Clone, Copy)]
pub(super) struct Transpose {
    /// What runs slower before: channels on the way in.
    pub outer: usize,
    /// What runs faster before.
    pub inner: usize,
}

impl RowsLayer for Transpose {
    const NAME: &'static str = "transpose";

    fn inputs(&self) -> usize {
        self.outer * self.inner
    }

    fn outputs(&self) -> usize {
        self.outer * self.inner
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let rows = input.chunks_exact(self.inputs()).zip(output.chunks_exact_mut(self.inputs()));
        for (from, to) in rows {
            for (at, from) in from.chunks_exact(self.inner).enumerate() {
                for (to, from) in to.chunks_exact_mut(self.outer).zip(from) {
                    to[at] = *from;
                }
            }
        }
    }
}

/// The largest number of each channel in each window; NaN when one is in it, as PyTorch has it.
pub(super) struct MaxPool1d {
    pub arch: Arch,
    pub window: Window,
    pub channels: usize,
}

impl RowsLayer for MaxPool1d {
    const NAME: &'static str = "max_pool1d";

    fn inputs(&self) -> usize {
        self.window.samples * self.channels
    }

    fn outputs(&self) -> usize {
        self.window.count() * self.channels
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        self.arch.dispatch(Pooling { layer: self, input, output });
    }
}

/// A call of a pooling. Not a closure, which the compiler may leave without the processor's vectors.
struct Pooling<'a, L> {
    layer: &'a L,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Pooling<'_, MaxPool1d> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { layer, input, output } = self;
        let rows = input.chunks_exact(layer.inputs()).zip(output.chunks_exact_mut(layer.outputs()));
        for (samples, pooled) in rows {
            for (at, largest) in pooled.chunks_exact_mut(layer.channels).enumerate() {
                layer.pool(samples, at, largest);
            }
        }
    }
}

impl MaxPool1d {
    #[inline(always)]
    fn pool(&self, samples: &[f32], at: usize, largest: &mut [f32]) {
        let Window { samples: all, kernel, stride, padding } = self.window;
        let first = (at * stride).saturating_sub(padding);
        let end = (at * stride + kernel).saturating_sub(padding).min(all);
        let mut samples = samples[first * self.channels..end * self.channels].chunks_exact(self.channels);
        if let Some(first) = samples.next() {
            largest.copy_from_slice(first);
        }
        for sample in samples {
            for (largest, &x) in largest.iter_mut().zip(sample) {
                *largest = if x > *largest || x.is_nan() { x } else { *largest };
            }
        }
    }
}

/// The mean of each channel over all samples.
pub(super) struct GlobalAveragePool {
    pub arch: Arch,
    pub channels: usize,
    pub samples: usize,
}

impl RowsLayer for GlobalAveragePool {
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

impl WithSimd for Pooling<'_, GlobalAveragePool> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { layer: GlobalAveragePool { channels, samples, .. }, input, output } = self;
        let rows = input.chunks_exact(channels * samples).zip(output.chunks_exact_mut(*channels));
        for (row, means) in rows {
            for sample in row.chunks_exact(*channels) {
                means.iter_mut().zip(sample).for_each(|(sum, x)| *sum += x);
            }
            means.iter_mut().for_each(|mean| *mean /= *samples as f32);
        }
    }
}

/// The same features at each of `samples` samples.
pub(super) struct Repeat {
    pub features: usize,
    pub samples: usize,
}

impl RowsLayer for Repeat {
    const NAME: &'static str = "repeat";

    fn inputs(&self) -> usize {
        self.features
    }

    fn outputs(&self) -> usize {
        self.features * self.samples
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        for (row, repeated) in input.chunks_exact(self.features).zip(output.chunks_exact_mut(self.outputs()))
        {
            repeated.chunks_exact_mut(self.features).for_each(|sample| sample.copy_from_slice(row));
        }
    }
}
