//! The lanes: one to all connections together, and one to each in-process link.

use std::sync::{Arc, Mutex};

use super::lane::{Lane, LaneLimits, LaneReceiver};
use super::{Answers, Carrier, CarrierGone, Feed};
use crate::broker::config::{RouterLimits, SegmentLimits};
use crate::sync::lock;

/// The lane to the connections, which is always drained at once.
const CONNECTIONS_LANE: LaneLimits = LaneLimits {
    log: SegmentLimits { segment_bytes_max: 512 * 1024, segments_max: 4 },
    copies_max: 256,
    share_max: u64::MAX,
    turn_least: 1,
};
/// Messages before an in-process link while which connections that publish wait.
const LINK_COPIES_MAX: u64 = 1_024;
/// Messages of one connection there while which it waits, so that what others
/// publish is not long behind one that floods.
const LINK_SHARE_MAX: u64 = 256;
/// Where many wait, one that is let in may send this many at once: waking it costs
/// as much as two messages or three.
const LINK_TURN_LEAST: u64 = 8;
/// The lane of the connections is the first one.
const CONNECTIONS_NUMBER: usize = 1;

/// Makes lanes.
pub struct Lanes {
    carrier: Carrier,
    slots: Arc<Mutex<Slots>>,
    /// The log of an in-process link.
    link_log: SegmentLimits,
}

/// The numbers that name lanes, with how many messages each has carried. They are used
/// again, because the router frees none.
#[derive(Default)]
struct Slots {
    free: Vec<(usize, u64)>,
    used: usize,
}

/// A lane's number, which another lane gets when this one has ended.
pub struct Slot {
    number: usize,
    lane: Arc<Lane>,
    slots: Arc<Mutex<Slots>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.slots).free.push((self.number, self.lane.sent_messages()));
    }
}

impl Lanes {
    /// Starts the carrier.
    pub fn start(limits: &RouterLimits) -> Self {
        let carrier = Carrier::start(limits, (lane_name(CONNECTIONS_NUMBER), CONNECTIONS_LANE.log));
        Self { carrier, slots: Arc::default(), link_log: limits.log() }
    }

    /// The way by which everything is published. Blocks until the carrier answers, as the others do.
    pub fn feed(&self) -> Result<(Feed, Answers), CarrierGone> {
        self.carrier.feed()
    }

    /// The lane to all connections, which must be the first one that is made.
    pub fn connections(&self) -> Result<LaneReceiver, CarrierGone> {
        self.lane(CONNECTIONS_LANE, true)
    }

    /// A lane to an in-process link, which answers what it gets or does not.
    pub fn link(&self, is_answering: bool) -> Result<LaneReceiver, CarrierGone> {
        let limits = LaneLimits {
            log: self.link_log,
            copies_max: LINK_COPIES_MAX,
            share_max: LINK_SHARE_MAX,
            turn_least: LINK_TURN_LEAST,
        };
        self.lane(limits, is_answering)
    }

    fn lane(&self, limits: LaneLimits, is_answering: bool) -> Result<LaneReceiver, CarrierGone> {
        let (number, sent_messages) = {
            let mut known = lock(&self.slots);
            known.free.pop().unwrap_or_else(|| {
                known.used += 1;
                (known.used, 0)
            })
        };
        let name = lane_name(number);
        let lane = Arc::new(Lane::new(name.clone(), limits, sent_messages, is_answering));
        // Given back where the carrier has no room.
        let slot = Slot { number, lane: lane.clone(), slots: self.slots.clone() };
        let outlet = self.carrier.outlet(&name)?;
        Ok(LaneReceiver::new(lane, outlet, slot))
    }
}

fn lane_name(number: usize) -> String {
    format!("lane-{number}")
}
