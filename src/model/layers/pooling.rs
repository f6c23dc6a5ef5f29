//! What max and average pooling share: their windows, and the way over rows and windows.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::kernel::window::Window;
use crate::model::shape::{Misfit, Shape};

/// A kind of pooling.
pub trait Pool: Send + Sync + 'static {
    /// The layer's type, for errors.
    const NAME: &'static str;

    /// Makes of the `samples` of a window, which has room for `kernel` of them, one number for each channel;
    /// `pooled` holds zeros, and is as long as a sample.
    fn pool<S: Simd>(simd: S, samples: &[f32], kernel: usize, pooled: &mut [f32]);
}

/// How windows of samples go over a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Windows {
    fn over(self, samples: usize) -> Result<Window, Misfit> {
        Window::new(samples, self.kernel, self.stride, self.padding)
            .ok_or_else(|| Misfit::window(samples, self.kernel, self.padding))
    }

    /// What pooling makes of a sequence.
    pub fn shape(self, input: Shape) -> Result<Shape, Misfit> {
        let (channels, samples) = input.sequence()?;
        Ok(Shape::Sequence { channels, samples: self.over(samples)?.count })
    }

    /// Pooling of the kind `P`.
    pub fn load<P: Pool>(self, loading: &Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (channels, samples) = loading.input.sequence()?;
        Ok(Box::new(Operation(Pooling::<P>::new(self.over(samples)?, channels))))
    }
}

/// The pooling of sequences of one length.
pub struct Pooling<P> {
    arch: Arch,
    window: Window,
    channels: usize,
    kind: PhantomData<P>,
}

impl<P> Pooling<P> {
    pub fn new(window: Window, channels: usize) -> Self {
        Self { arch: Arch::new(), window, channels, kind: PhantomData }
    }
}

impl<P: Pool> RowsLayer for Pooling<P> {
    const NAME: &'static str = P::NAME;

    fn inputs(&self) -> usize {
        self.window.samples * self.channels
    }

    fn outputs(&self) -> usize {
        self.window.count * self.channels
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        self.arch.dispatch(Pass { layer: self, input, output });
    }
}

/// One call. Not a closure, which the compiler may leave without the processor's vectors.
struct Pass<'a, P> {
    layer: &'a Pooling<P>,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl<P: Pool> WithSimd for Pass<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer: layer @ Pooling { window, channels, .. }, input, output } = self;
        let Window { samples: all, kernel, stride, before, .. } = *window;
        let rows = input.chunks_exact(layer.inputs()).zip(output.chunks_exact_mut(layer.outputs()));
        for (samples, pooled) in rows {
            for (at, pooled) in pooled.chunks_exact_mut(*channels).enumerate() {
                let first = (at * stride).saturating_sub(before);
                let end = (at * stride + kernel).saturating_sub(before).min(all);
                P::pool(simd, &samples[first * channels..end * channels], kernel, pooled);
            }
        }
    }
}
