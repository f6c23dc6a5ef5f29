//! The layers for sequences that have no weights: pooling, repeating, and the order of channels and samples.

use pulp::{Arch, Simd, WithSimd};

use super::super::kernel::operation::RowsLayer;
use super::conv1d::Window;

/// From all samples of the first channel first to all channels of the first sample first, or back.
#[derive(Clone, Copy)]
pub struct Transpose {
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
pub struct MaxPool1d {
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
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer: layer @ MaxPool1d { window, channels, .. }, input, output } = self;
        let Window { samples: all, kernel, stride, padding } = *window;
        let rows = input.chunks_exact(layer.inputs()).zip(output.chunks_exact_mut(layer.outputs()));
        for (samples, pooled) in rows {
            for (at, largest) in pooled.chunks_exact_mut(*channels).enumerate() {
                let first = (at * stride).saturating_sub(padding);
                let end = (at * stride + kernel).saturating_sub(padding).min(all);
                pool(simd, &samples[first * channels..end * channels], largest);
            }
        }
    }
}

/// The largest of each channel in `window`, whose samples are as long as `largest`.
#[inline(always)]
fn pool<S: Simd>(simd: S, window: &[f32], largest: &mut [f32]) {
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

/// The mean of each channel over all samples.
pub struct GlobalAveragePool {
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
pub struct Repeat {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_what_is_no_number_has_none() {
        for channels in [1, 3, 16, 37] {
            let window = Window { samples: 4, kernel: 2, stride: 2, padding: 0 };
            let pool = MaxPool1d { arch: Arch::new(), window, channels };
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
