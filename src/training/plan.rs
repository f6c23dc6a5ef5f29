//! What is to be trained.

use super::network::Convolution;
use crate::detection::{Budget, Fusion};

/// What is to be trained, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What the model is to be called.
    pub name: String,
    /// The detectors; chosen among those that suit the data where there are none.
    pub detectors: Vec<Choice>,
    /// How several become one.
    pub fusion: Fusion,
    /// How many false alarms a device may have.
    pub false_alarms: Budget,
    /// Whether that is for all devices together, and not for each.
    pub is_together: bool,
    /// So many rows of a device are learnt from before anything is said of it; by the detectors where nothing
    /// is said.
    pub warm_up: Option<u64>,
    /// Whether logarithms of the features are taken; found out where nothing is said.
    pub log: Option<bool>,
    /// Where a row is a sequence, the convolution that a network begins with.
    pub convolution: Option<Convolution>,
    /// What every draw comes from.
    pub seed: u64,
}

/// A detector that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Exponentially weighted mean and variance of each feature.
    Baseline,
    /// Hotelling's T² on a window's mean.
    T2,
    /// The residual against what is usual at a time of the day.
    Seasonal,
    /// The distance to the most similar stretch of the past.
    Discord,
    /// What an autoregression did not foresee.
    Linear,
    /// What suits one feature of which nothing else is known: several of these, the rarest decides.
    Univariate,
    /// A network: a classifier where rows have labels, else an autoencoder.
    Network,
}

impl Choice {
    /// Each with its name.
    pub const NAMES: &[(&str, Self)] = &[
        ("baseline", Self::Baseline),
        ("t2", Self::T2),
        ("seasonal", Self::Seasonal),
        ("discord", Self::Discord),
        ("linear", Self::Linear),
        ("network", Self::Network),
        ("univariate", Self::Univariate),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }
}
