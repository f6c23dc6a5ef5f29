//! The lanes: one to all connections together, and one to each in-process link.

use std::sync::{Arc, Mutex};

use super::lane::{Lane, LaneLimits, LaneReceiver};
use super::rumqttd::LINKS_MAX;
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
const CONNECTIONS_NAME: &str = "lane-0001";

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
        let carrier = Carrier::start(limits, (CONNECTIONS_NAME, CONNECTIONS_LANE.log));
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
        let name = lane_name(number).ok_or(CarrierGone)?;
        let lane = Arc::new(Lane::new(name, limits, sent_messages, is_answering));
        // Given back where the carrier has no room.
        let slot = Slot { number, lane: lane.clone(), slots: self.slots.clone() };
        let outlet = self.carrier.outlet(name)?;
        Ok(LaneReceiver::new(lane, outlet, slot))
    }
}

/// Every lane's name: `lane-0001` and so on. They stand in the program, for the carrier clones a
/// lane's name several times for each message: one in memory has a counter, at which all threads met.
static NAMES: [[u8; NAME_BYTES]; LINKS_MAX + 1] = names();
const NAME_BYTES: usize = 9;

const fn names() -> [[u8; NAME_BYTES]; LINKS_MAX + 1] {
    let mut names = [*b"lane-0000"; LINKS_MAX + 1];
    let mut number = 0;
    while number <= LINKS_MAX {
        let (mut at, mut left) = (NAME_BYTES, number);
        while left > 0 {
            at -= 1;
            names[number][at] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        number += 1;
    }
    names
}

/// The name of a lane; none where there are as many as the carrier takes.
fn lane_name(number: usize) -> Option<&'static str> {
    std::str::from_utf8(NAMES.get(number)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_a_name_of_its_own() {
        let names: Vec<_> = (0..=LINKS_MAX).map(|number| lane_name(number).unwrap()).collect();
        assert_eq!((names[1], names[87], names[LINKS_MAX]), ("lane-0001", "lane-0087", "lane-1024"));
        assert!(names.is_sorted_by(|one, next| one < next));
        assert_eq!(lane_name(LINKS_MAX + 1), None);
    }
}
