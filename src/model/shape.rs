//! The shape of what goes from layer to layer: plain features, or a sequence of samples with channels.

use std::fmt;

use serde::Deserialize;

use super::layers::{Layer, Returns};

/// In which order a row's features form a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// All samples of the first channel, then those of the second: what PyTorch's convolutions take.
    ChannelsSamples,
    /// All channels of the first sample, then those of the second: what PyTorch's LSTM
    /// takes with `batch_first`.
    SamplesChannels,
}

/// How a row's features form a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Which of the two runs slower.
    pub order: Order,
    /// Numbers in one sample, such as the axes of a sensor.
    pub channels: usize,
    /// Points in time.
    pub samples: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, samples, .. } = self;
        match self.order {
            Order::ChannelsSamples => write!(f, "{channels} channels x {samples} samples"),
            Order::SamplesChannels => write!(f, "{samples} samples x {channels} channels"),
        }
    }
}

/// What one row is between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Features without an order in time.
    Flat(usize),
    /// `samples` points in time, each of `channels` numbers.
    Sequence { channels: usize, samples: usize },
}

impl Shape {
    pub fn of_input(inputs: usize, layout: Option<Layout>) -> Self {
        match layout {
            None => Self::Flat(inputs),
            Some(Layout { channels, samples, .. }) => Self::Sequence { channels, samples },
        }
    }

    /// All numbers of a row; saturates.
    pub fn values(self) -> usize {
        match self {
            Self::Flat(features) => features,
            Self::Sequence { channels, samples } => channels.saturating_mul(samples),
        }
    }

    /// The features that a linear layer meets: those of a row, or of each sample.
    pub fn width(self) -> usize {
        match self {
            Self::Flat(width) | Self::Sequence { channels: width, .. } => width,
        }
    }

    fn with_width(self, width: usize) -> Self {
        match self {
            Self::Flat(_) => Self::Flat(width),
            Self::Sequence { samples, .. } => Self::Sequence { channels: width, samples },
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat(1) => f.write_str("1 number"),
            Self::Flat(features) => write!(f, "{features} numbers"),
            Self::Sequence { channels, samples } => {
                write!(f, "a sequence of {samples} samples of {channels} channels")
            }
        }
    }
}

/// What `layer` makes of `shape`; absent where it cannot take it: a layer for sequences met a row
/// without an order in time, or the other way round, or a window is longer than the sequence.
pub fn shape_after(layer: &Layer, shape: Shape) -> Option<Shape> {
    use Shape::{Flat, Sequence};
    Some(match (layer, shape) {
        (Layer::Linear { outputs, .. }, shape) => shape.with_width(*outputs),
        (Layer::BatchNorm { .. } | Layer::Activation(_), shape) => shape,
        (Layer::Conv1d { outputs, kernel, stride, padding, .. }, Sequence { samples, .. }) => {
            Sequence { channels: *outputs, samples: windows(samples, *kernel, *stride, *padding)? }
        }
        (Layer::MaxPool1d { kernel, stride, padding }, Sequence { channels, samples }) => {
            Sequence { channels, samples: windows(samples, *kernel, *stride, *padding)? }
        }
        (Layer::GlobalAveragePool, Sequence { channels, .. }) => Flat(channels),
        (Layer::Flatten, Sequence { .. }) => Flat(shape.values()),
        (Layer::Lstm { hidden, returns: Returns::Last, .. }, Sequence { .. }) => Flat(*hidden),
        (Layer::Lstm { hidden, .. }, Sequence { samples, .. }) => Sequence { channels: *hidden, samples },
        (Layer::Repeat { samples }, Flat(channels)) => Sequence { channels, samples: *samples },
        _ => return None,
    })
}

/// How many windows of `kernel` samples there are, `stride` apart, in `samples` with
/// `padding` more on either side.
pub fn windows(samples: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let room = samples.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
    room.checked_div(stride)?.checked_add(1)
}
