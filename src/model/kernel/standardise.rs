//! What layer and group normalisation share: numbers less their mean, over their standard deviation.

use pulp::{Arch, Simd, WithSimd};

use super::operation::RowsLayer;

/// Sums side by side, for the processor's vectors.
const SUMS: usize = 8;

/// Standardises groups of channels, then scales and shifts each channel.
pub struct Standardise {
    arch: Arch,
    /// Samples of a row.
    samples: usize,
    /// Of these, how many neighbours share a mean: one, or all.
    together: usize,
    /// Into how many groups the channels are divided.
    groups: usize,
    eps: f64,
    /// A number for each channel.
    scale: Vec<f32>,
    /// A number for each channel.
    shift: Vec<f32>,
}

impl Standardise {
    /// Each sample alone, all of its channels together.
    pub fn of_samples(samples: usize, eps: f64, scale: Vec<f32>, shift: Vec<f32>) -> Self {
        Self { arch: Arch::new(), samples, together: 1, groups: 1, eps, scale, shift }
    }

    /// All samples together, the channels in `groups` of neighbours.
    pub fn of_groups(samples: usize, groups: usize, eps: f64, scale: Vec<f32>, shift: Vec<f32>) -> Self {
        Self { arch: Arch::new(), samples, together: samples, groups, eps, scale, shift }
    }
}

impl RowsLayer for Standardise {
    const NAME: &'static str = "standardise";

    fn inputs(&self) -> usize {
        self.samples * self.scale.len()
    }

    fn outputs(&self) -> usize {
        self.inputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        self.arch.dispatch(Pass { layer: self, input, output });
    }
}

/// One call. Not a closure, which the compiler may leave without the processor's vectors.
struct Pass<'a> {
    layer: &'a Standardise,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { layer: Standardise { together, groups, eps, scale, shift, .. }, input, output } = self;
        let channels = scale.len();
        let width = channels / groups;
        let count = (together * width) as f64;
        let blocks = input.chunks_exact(together * channels);
        for (x, y) in blocks.zip(output.chunks_exact_mut(together * channels)) {
            for first in (0..channels).step_by(width) {
                let of_group = || x.chunks_exact(channels).map(|sample| &sample[first..first + width]);
                // Twice over the numbers, in f64: the mean of squares less the square of the mean loses what
                // counts where the mean is large.
                let mean = of_group().map(|part| sum(part, f64::from)).sum::<f64>() / count;
                let squares = of_group().map(|part| sum(part, |x| (f64::from(x) - mean).powi(2)));
                let factor = 1.0 / (squares.sum::<f64>() / count + eps).sqrt();
                let (scale, shift) = (&scale[first..first + width], &shift[first..first + width]);
                for (x, y) in of_group().zip(y.chunks_exact_mut(channels)) {
                    let y = y[first..first + width].iter_mut().zip(x).zip(scale).zip(shift);
                    y.for_each(|(((y, x), scale), shift)| {
                        *y = ((f64::from(*x) - mean) * factor) as f32 * scale + shift;
                    });
                }
            }
        }
    }
}

#[inline(always)]
fn sum(numbers: &[f32], of: impl Fn(f32) -> f64) -> f64 {
    let mut sums = [0.0; SUMS];
    let (whole, rest) = numbers.as_chunks::<SUMS>();
    for numbers in whole {
        sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += of(*x));
    }
    sums.iter_mut().zip(rest).for_each(|(sum, x)| *sum += of(*x));
    sums.into_iter().sum()
}
