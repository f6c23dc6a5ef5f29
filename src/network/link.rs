//! Network emulation, one link: what it does to a message, when it arrives, whether it is lost, whether it
//! arrives twice.
//!
//! A decision depends on the profile, its seed, and the message's number; on its size
//! where the profile has a bandwidth, and on the time where it has a bandwidth, outages
//! or a time series. Times are arguments. A message takes its steps in this order, as
//! Linux's netem does: loss, outage, queue and transmission, delay, holding back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bandwidth::{Sent, Transmitter};
use super::outage::Policy;
use super::profile::{Direction, LinkProfile, Lost, Shape};
use super::random::{self, Purpose, Stream};
use crate::sync::lock;

/// A link between sensors and a model, in use. Threads may share it.
pub struct Link {
    shape: Arc<Shape>,
    uplink: OneWay,
    downlink: OneWay,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A message as a link sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    /// Its number on this link: what is decided at random depends on it.
    pub number: u64,
    /// A number for its sender on the uplink, its receiver on the downlink. Messages of one keep their order.
    pub party: u64,
    /// How many bytes of topic and payload it has.
    pub bytes: usize,
    /// When it is sent, since the link began.
    pub at: Duration,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// From being sent to arriving, or to the moment when it would have arrived.
    pub delay: Duration,
    /// Whether it does not arrive, and what the requester hears of that.
    pub lost: Option<Lost>,
    /// When a second copy arrives, if there is one, from being sent.
    pub duplicate: Option<Duration>,
}

struct OneWay {
    key: u64,
    state: Mutex<State>,
}

/// What a link remembers of the messages before.
#[derive(Default)]
struct State {
    transmitter: Transmitter,
    /// When the last message of each party arrives that keeps its order.
    arrivals: HashMap<u64, Duration>,
    /// At how many parties those are forgotten whose messages have all arrived.
    forget_at: usize,
}

/// Fewer parties than this are not worth forgetting.
const PARTIES_MIN: usize = 1_024;

impl Link {
    /// A link of this shape, at its beginning.
    pub fn new(shape: Arc<Shape>) -> Self {
        let one_way = |direction| OneWay {
            key: random::key(shape.seed, &shape.link, direction),
            state: Mutex::default(),
        };
        Self { uplink: one_way(Direction::Uplink), downlink: one_way(Direction::Downlink), shape }
    }

    /// A link that follows another one, which messages of some parties have not left yet: nothing of such a
    /// party arrives before the time that `uplink` or `downlink` has for it, counted since this link began.
    pub fn following(
        shape: Arc<Shape>,
        uplink: HashMap<u64, Duration>,
        downlink: HashMap<u64, Duration>,
    ) -> Self {
        let link = Self::new(shape);
        lock(&link.uplink.state).arrivals = uplink;
        lock(&link.downlink.state).arrivals = downlink;
        link
    }

    /// Decides what becomes of a message. Where there is a bandwidth, messages must come
    /// in the order they are sent.
    pub fn decide(&self, direction: Direction, letter: Letter) -> Verdict {
        match direction {
            Direction::Uplink => self.uplink.decide(&self.shape.uplink, letter),
            Direction::Downlink => self.downlink.decide(&self.shape.downlink, letter),
        }
    }

    /// Whether the size of messages matters in `direction`.
    pub fn weighs(&self, direction: Direction) -> bool {
        match direction {
            Direction::Uplink => self.shape.uplink.bandwidth.is_some(),
            Direction::Downlink => self.shape.downlink.bandwidth.is_some(),
        }
    }
}

impl OneWay {
    fn decide(&self, profile: &LinkProfile, letter: Letter) -> Verdict {
        let Letter { number, at, .. } = letter;
        // Loss comes first, and what is lost takes no bandwidth: netem drops before it queues.
        let mut lost = profile.loss.loses(self.key, number);
        let mut sets_out = at;
        if let Some(outages) = profile.outages.as_ref().filter(|_| !lost) {
            let up = outages.up_from(self.key, at);
            match outages.policy {
                Policy::Wait => sets_out = up,
                Policy::Fail => lost = up > at,
            }
        }
        let mut chance = Stream::new(self.key, Purpose::Duplicate, number);
        let twice = !lost && profile.duplicates > 0.0 && chance.unit() < profile.duplicates;
        let mut second = twice.then_some(sets_out);
        if let Some(bandwidth) = profile.bandwidth.as_ref().filter(|_| !lost) {
            let transmitter = &mut lock(&self.state).transmitter;
            match transmitter.send(bandwidth, letter.bytes, sets_out) {
                Sent::At(sent) => sets_out = sent,
                Sent::Dropped(sent) => (sets_out, lost, second) = (sent, true, None),
            }
            // A second copy that finds the queue full is no copy.
            second = second.and_then(|at| match transmitter.send(bandwidth, letter.bytes, at) {
                Sent::At(sent) => Some(sent),
                Sent::Dropped(_) => None,
            });
        }
        let arrives = sets_out + profile.delay.of(self.key, Purpose::Delay, number, sets_out);
        let arrives = if lost { arrives } else { self.in_order(profile, letter, arrives) };
        let second = second.map(|at| at + profile.delay.of(self.key, Purpose::DuplicateDelay, number, at));
        Verdict {
            delay: arrives - at,
            lost: lost.then_some(profile.lost),
            // Whichever comes first is the message to its receiver: so the copy is never that.
            duplicate: second.map(|second| second.max(arrives) - at),
        }
    }

    /// When a message arrives that must not overtake an earlier one of its party, unless it is held back.
    fn in_order(&self, profile: &LinkProfile, letter: Letter, arrives: Duration) -> Duration {
        if let Some(reorder) = &profile.reorder {
            let mut chance = Stream::new(self.key, Purpose::Reorder, letter.number);
            if chance.unit() < reorder.share {
                // Not for no time at all: (0, 1].
                return arrives + reorder.held_back.mul_f64(1.0 - chance.unit());
            }
        }
        // Even where the delay is constant: an earlier network may have had another, and answers of
        // one batch are sent out of order by as much as the delay line was late with their requests.
        lock(&self.state).in_order(letter.party, letter.at, arrives)
    }
}

impl State {
    fn in_order(&mut self, party: u64, now: Duration, arrives: Duration) -> Duration {
        if self.arrivals.len() >= self.forget_at.max(PARTIES_MIN) {
            self.arrivals.retain(|_, last| *last > now);
            // The cost of looking through all is shared by as many messages.
            self.forget_at = 2 * self.arrivals.len();
        }
        let last = self.arrivals.entry(party).or_default();
        *last = arrives.max(*last);
        *last
    }
}

#[cfg(test)]
mod tests;
