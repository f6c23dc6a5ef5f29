//! A transposition of each row: from channel after channel to sample after sample, or back.

use super::operation::RowsLayer;

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
