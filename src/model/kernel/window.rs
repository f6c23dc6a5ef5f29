//! A sliding window over a sequence, as convolution and pooling have it.

/// How a window goes over a sequence, in samples. There is at least one.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub samples: usize,
    pub kernel: usize,
    pub stride: usize,
    /// From one sample of a window to the next.
    pub dilation: usize,
    /// Samples added before the first.
    pub before: usize,
    /// Samples added after the last.
    pub after: usize,
    /// How many windows there are.
    pub count: usize,
}

impl Window {
    /// Windows of `kernel` samples, `stride` apart, in `samples` with `padding` more on either side;
    /// none where one is longer than all of that.
    pub fn new(samples: usize, kernel: usize, stride: usize, padding: usize) -> Option<Self> {
        Self::dilated(samples, kernel, stride, 1, (padding, padding))
    }

    /// Windows whose samples are `dilation` apart, in `samples` with the two numbers of `padding` before and
    /// after them.
    pub fn dilated(
        samples: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        (before, after): (usize, usize),
    ) -> Option<Self> {
        let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
        let room = samples.checked_add(before)?.checked_add(after)?.checked_sub(reach)?;
        let count = room.checked_div(stride)?.checked_add(1)?;
        Some(Self { samples, kernel, stride, dilation, before, after, count })
    }

    /// Samples with the padding.
    pub fn padded(&self) -> usize {
        self.before + self.samples + self.after
    }
}
