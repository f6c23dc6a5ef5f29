//! The shape of what goes from layer to layer: plain features, or a sequence of samples with channels.

use std::fmt;

use serde::Serialize;

use super::ModelError;
use crate::settings::{Entry, SettingError};

/// In which order a row's features form a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// All samples of the first channel, then those of the second: what PyTorch's convolutions take.
    ChannelsSamples,
    /// All channels of the first sample, then those of the second: what PyTorch's LSTM
    /// takes with `batch_first`.
    SamplesChannels,
}

impl Order {
    pub(crate) const NAMES: &[(&str, Self)] =
        &[("channels_samples", Self::ChannelsSamples), ("samples_channels", Self::SamplesChannels)];
}

/// How a row's features form a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Which of the two runs slower.
    pub order: Order,
    /// Numbers in one sample, such as the axes of a sensor.
    pub channels: usize,
    /// Points in time.
    pub samples: usize,
}

impl Layout {
    /// Reads what `entry` says about a row of `inputs` features.
    pub(crate) fn read(entry: &Entry<'_>, inputs: usize) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let order = table.find_choice("order", Order::NAMES)?;
        let (channels, samples) = (table.find("channels"), table.find("samples"));
        table.refuse_others()?;
        let order = table.required("order", order)?;
        let channels: usize = table.required("channels", channels)?.number(..)?;
        let samples: usize = table.required("samples", samples)?.number(..)?;
        if channels.checked_mul(samples) == Some(inputs) {
            return Ok(Self { order, channels, samples });
        }
        let found = format!("{channels} channels x {samples} samples");
        Err(entry.invalid(format!("found {found}, expected {inputs} inputs, as inputs says")))
    }
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
    /// A row of `inputs` as it comes to the first layer.
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

    /// What a linear layer makes of it: `width` features, for a sequence at each sample.
    pub fn with_width(self, width: usize) -> Self {
        match self {
            Self::Flat(_) => Self::Flat(width),
            Self::Sequence { samples, .. } => Self::Sequence { channels: width, samples },
        }
    }

    /// The channels and the samples of a sequence.
    pub fn sequence(self) -> Result<(usize, usize), Misfit> {
        match self {
            Self::Flat(_) => Err(Misfit::NoSequence),
            Self::Sequence { channels, samples } => Ok((channels, samples)),
        }
    }

    /// How many plain features there are.
    pub fn features(self) -> Result<usize, Misfit> {
        match self {
            Self::Flat(features) => Ok(features),
            Self::Sequence { .. } => Err(Misfit::Sequence),
        }
    }

    /// Checks the width that `member` of a layer states.
    pub fn check_width(self, member: &'static str, stated: usize) -> Result<(), Misfit> {
        let width = self.width();
        if stated == width { Ok(()) } else { Err(Misfit::Width { member, stated, width }) }
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

/// Why a layer cannot take what comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum Misfit {
    /// It works on a sequence, and a row without an order in time came.
    #[error("it needs a sequence")]
    NoSequence,
    /// It works on plain features, and a sequence came.
    #[error("it needs plain features")]
    Sequence,
    /// Its window is longer than the sequence.
    #[error("its window has {kernel} samples, the sequence {longest} with padding")]
    Window {
        kernel: usize,
        /// The most that it could have.
        longest: usize,
    },
    /// It is made for rows, or samples, of another width.
    #[error("its {member} is {stated}, and {width} numbers come")]
    Width {
        /// What states the width in `config.json`.
        member: &'static str,
        stated: usize,
        width: usize,
    },
    /// A number that it states is too large for what comes.
    #[error("its {member} is {stated}, expected at most {most}: {why}")]
    Beyond {
        /// What states the number in `config.json`.
        member: &'static str,
        stated: usize,
        most: usize,
        why: &'static str,
    },
    /// The sequence is too long for it.
    #[error("{samples} samples come, expected at most {most}, {why}")]
    Samples { samples: usize, most: usize, why: &'static str },
    /// What is to be added up has more than one shape.
    #[error("its layers give {inner}, and {round} are added to that")]
    Branches { inner: Shape, round: Shape },
}

impl Misfit {
    /// A window of `kernel` samples over fewer `samples`.
    pub fn window(samples: usize, kernel: usize, padding: usize) -> Self {
        Self::Window { kernel, longest: samples.saturating_add(2 * padding) }
    }
}

impl From<Misfit> for ModelError {
    fn from(misfit: Misfit) -> Self {
        Self::Forward(format!("a layer does not fit: {misfit}"))
    }
}
