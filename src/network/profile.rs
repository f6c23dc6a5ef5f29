//! What a simulated network is like, in each direction. What it does to messages is in `link`.

use std::sync::Arc;
use std::time::Duration;

use super::bandwidth::Bandwidth;
use super::delay::Delay;
use super::loss::Loss;
use super::outage::Outages;
use super::parameter::{ParameterError, at_most_delay_max, milliseconds, share};
use super::random;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the sensor to the model.
    Uplink,
    /// From the model to the sensor.
    Downlink,
}

/// A simulated network between sensors and a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// A constant latency, each way, for every message alike, which costs nothing to decide.
    Constant(Duration),
    Shaped(Arc<Shape>),
}

/// A network that is more than a constant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// What every decision is drawn from.
    pub seed: u64,
    /// The link's name: under one seed, links of different names decide differently.
    pub link: String,
    /// From the sensor to the model.
    pub uplink: LinkProfile,
    /// From the model to the sensor.
    pub downlink: LinkProfile,
}

/// What one direction of a link is like. The default carries everything at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkProfile {
    /// How long a message is under way.
    pub delay: Delay,
    /// Which messages are lost.
    pub loss: Loss,
    /// What a loss means for the requester.
    pub lost: Lost,
    /// How much it carries; any amount by default.
    pub bandwidth: Option<Bandwidth>,
    /// Which messages are held back so that later ones overtake them.
    pub reorder: Option<Reorder>,
    /// The share of messages that arrive twice.
    pub duplicates: f64,
    /// When it is down.
    pub outages: Option<Outages>,
}

impl Shape {
    /// When one direction is down until `until`, since the link began: from when and
    /// until when, the first thousand times.
    pub fn outages(&self, direction: Direction, until: Duration) -> Vec<(Duration, Duration)> {
        let profile = match direction {
            Direction::Uplink => &self.uplink,
            Direction::Downlink => &self.downlink,
        };
        let key = random::key(self.seed, &self.link, direction);
        profile.outages.as_ref().map(|outages| outages.spells(key, until)).unwrap_or_default()
    }
}

/// What a loss means for the requester.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lost {
    /// It hears nothing, as with a network that says nothing.
    #[default]
    Silence,
    /// It gets an error `NETWORK_LOST` when the message would have arrived: no network
    /// does that, but a client without a timeout of its own can be compared with it.
    Report,
}

impl Lost {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("silence", Self::Silence), ("report", Self::Report)];
}

/// Messages that are held back. All others keep the order of their sender.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    pub(crate) share: f64,
    pub(crate) held_back: Duration,
}

impl Reorder {
    /// Holds back `share` of the messages, each for a time of at most `held_back_ms`.
    ///
    /// # Errors
    /// When one is no share or the other no delay.
    pub fn new(share_: f64, held_back_ms: f64) -> Result<Self, ParameterError> {
        let held_back = Duration::from_secs_f64(milliseconds("held_back_ms", held_back_ms)?);
        Ok(Self { share: share("share", share_)?, held_back })
    }
}

impl LinkProfile {
    /// The share of messages that arrive twice.
    ///
    /// # Errors
    /// When it is no share.
    pub fn duplicating(self, duplicates: f64) -> Result<Self, ParameterError> {
        Ok(Self { duplicates: share("duplicates", duplicates)?, ..self })
    }

    /// The latency, if that is all there is to it.
    fn as_constant(&self) -> Option<Duration> {
        let delay = self.delay.as_constant()?;
        (*self == Self { delay: Delay::constant(delay), lost: self.lost, ..Self::default() }).then_some(delay)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::NONE
    }
}

impl Profile {
    /// No network at all: the edge.
    pub const NONE: Self = Self(Kind::Constant(Duration::ZERO));
    /// The cloud's default: 50 ms each way.
    pub const CLOUD: Self = Self(Kind::Constant(Duration::from_millis(50)));

    /// A network with a constant latency, each way, for every message alike; of at most
    /// [`DELAY_MAX`](super::DELAY_MAX), to which a longer one is cut.
    pub const fn constant(one_way: Duration) -> Self {
        Self(Kind::Constant(at_most_delay_max(one_way)))
    }

    /// A network of this shape; one that is constant after all is no dearer than [`Profile::constant`].
    pub fn shaped(shape: Shape) -> Self {
        match (shape.uplink.as_constant(), shape.downlink.as_constant()) {
            (Some(up), Some(down)) if up == down => Self::constant(up),
            _ => Self(Kind::Shaped(Arc::new(shape))),
        }
    }

    /// The latency, if it is the same for every message, each way, and nothing else happens to them.
    pub fn as_constant(&self) -> Option<Duration> {
        match &self.0 {
            Kind::Constant(one_way) => Some(*one_way),
            Kind::Shaped(_) => None,
        }
    }

    /// The shape of a network that is more than a constant.
    pub fn shape(&self) -> Option<&Arc<Shape>> {
        match &self.0 {
            Kind::Constant(_) => None,
            Kind::Shaped(shape) => Some(shape),
        }
    }

    /// Whether no message is ever delayed, so that no delay line is needed.
    pub fn is_instant(&self) -> bool {
        self.as_constant().is_some_and(|one_way| one_way.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_is_constant_becomes_a_constant() {
        let link = |milliseconds| LinkProfile {
            delay: Delay::constant(Duration::from_millis(milliseconds)),
            ..LinkProfile::default()
        };
        let shape = |up, down| Profile::shaped(Shape { uplink: up, downlink: down, ..Shape::default() });
        assert_eq!(shape(link(50), link(50)), Profile::CLOUD);
        assert!(shape(link(0), link(0)).is_instant());
        assert_eq!(shape(link(50), link(40)).as_constant(), None);
        let lossy = LinkProfile { loss: Loss::Independent(0.1), ..link(0) };
        assert!(!shape(lossy.clone(), lossy).is_instant());
    }
}
