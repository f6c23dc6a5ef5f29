//! A sliding window over a sequence, as convolution and pooling have it.

/// How a window goes over a sequence, in samples. There is at least one.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub samples: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// How many windows there are.
    pub count: usize,
}

impl Window {
    /// Windows of `kernel` samples, `stride` apart, in `samples` with `padding` more on either side;
    /// none where one is longer than all of that.
    pub fn new(samples: usize, kernel: usize, stride: usize, padding: usize) -> Option<Self> {
        let room = samples.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
        let count = room.checked_div(stride)?.checked_add(1)?;
        Some(Self { samples, kernel, stride, padding, count })
    }
}
