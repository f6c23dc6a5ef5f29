//! The router behind a narrow door: how it is started, the lanes by which messages
//! come out of it, and how packets go in.
//!
//! It only ever knows a lane for all connections together and one for each in-process link, so that
//! neither its memory nor its work grows with clients, filters and topics. It gets at most one event
//! for each batch of packets, and `Disconnect` exactly once from each link, as the last thing.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, QoS, RetainForwardRule, Subscribe,
};
use rumqttd::{Notification, RouterConfig, SegmentConfig, Strategy};

use super::lane::{Lane, LaneLimits, LaneReceiver};
use crate::broker::config::{Config, SegmentLimits};
use crate::sync::lock;

/// Links of the router: one for each in-process link, the ingress, and the connections' own.
const LINKS_MAX: usize = 1_024;
/// How long the router may take to answer a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
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
const CONNECTIONS_SLOT: usize = 1;
/// Number of the one subscription of a lane's link.
const SUBSCRIBE_ID: u16 = 1;

/// The router's thread has ended, or it has no room for another link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker's router has ended")]
pub struct RouterGone;

/// Polls a future once and never suspends.
pub fn poll_now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Lets `push` hand packets to the router, with at most one event, and none while an
/// earlier one is unprocessed: the router takes the whole buffer for each event.
pub fn push_with(tx: &mut LinkTx, push: impl FnOnce(&mut VecDeque<Packet>)) -> Result<(), RouterGone> {
    let last = {
        let mut buffer = tx.buffer();
        let before = buffer.len();
        push(&mut buffer);
        if before == 0 { buffer.pop_back() } else { None }
    };
    let Some(last) = last else { return Ok(()) };
    // Its event. `send` is async in name only: it awaits nothing.
    match poll_now(tx.send(last)) {
        Some(Ok(_buffered)) => Ok(()),
        _ => Err(RouterGone),
    }
}

pub fn push_one(tx: &mut LinkTx, packet: Packet) -> Result<(), RouterGone> {
    push_with(tx, |buffer| buffer.push_back(packet))
}

fn disconnect_packet() -> Packet {
    Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None)
}

/// The numbers that name the router's lanes, with how many messages each has
/// carried. They are used again, because the router frees none.
#[derive(Default)]
struct Slots {
    free: Vec<(usize, u64)>,
    used: usize,
}

/// The sending half of a lane's link. Dropping it disconnects the link, exactly once and last.
pub struct LinkControl {
    tx: LinkTx,
    slot: usize,
    lane: Arc<Lane>,
    slots: Arc<Mutex<Slots>>,
}

impl Drop for LinkControl {
    fn drop(&mut self) {
        // An error means that the router is gone, and the link with it.
        let _gone = push_one(&mut self.tx, disconnect_packet());
        lock(&self.slots).free.push((self.slot, self.lane.sent_messages()));
    }
}

impl LinkControl {
    fn subscribe(&mut self, topic: &str) -> Result<(), RouterGone> {
        push_one(&mut self.tx, subscribe_packet(topic))
    }
}

fn subscribe_packet(topic: &str) -> Packet {
    let filter = Filter {
        path: topic.to_owned(),
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::Never,
    };
    Packet::Subscribe(Subscribe { pkid: SUBSCRIBE_ID, filters: vec![filter] }, None)
}

type MakeLink = dyn Fn(&str) -> Result<(LinkTx, LinkRx), RouterGone> + Send + Sync;

/// The router, as far as it makes links.
pub struct Router {
    make: Box<MakeLink>,
    slots: Arc<Mutex<Slots>>,
    /// The log of an in-process link.
    link_log: SegmentLimits,
}

impl Router {
    /// Starts its thread.
    pub fn start(config: &Config) -> Self {
        // The channel's event type cannot be named outside its crate, but a closure can hold it.
        let router = rumqttd::Router::new(0, router_config(config)).spawn();
        let make: Box<MakeLink> =
            Box::new(move |name| match LinkBuilder::new(name, router.clone()).clean_session(true).build() {
                Ok((tx, rx, _connack)) => Ok((tx, rx)),
                Err(_) => Err(RouterGone),
            });
        Self { make, slots: Arc::default(), link_log: config.router.log() }
    }

    /// The link through which everything is published. Blocks until the router answers, as the others do.
    pub fn ingress(&self) -> Result<(LinkTx, LinkRx), RouterGone> {
        (self.make)("ingress")
    }

    /// The lane to all connections, which must be the first one that is made.
    pub fn connections(&self) -> Result<LaneReceiver, RouterGone> {
        self.lane(CONNECTIONS_LANE, true)
    }

    /// A lane to an in-process link, which answers what it gets or does not.
    pub fn link(&self, is_answering: bool) -> Result<LaneReceiver, RouterGone> {
        let limits = LaneLimits {
            log: self.link_log,
            copies_max: LINK_COPIES_MAX,
            share_max: LINK_SHARE_MAX,
            turn_least: LINK_TURN_LEAST,
        };
        self.lane(limits, is_answering)
    }

    /// Makes a lane, which is one link with one subscription.
    fn lane(&self, limits: LaneLimits, is_answering: bool) -> Result<LaneReceiver, RouterGone> {
        let slots = &self.slots;
        let (slot, sent_messages) = {
            let mut known = lock(slots);
            known.free.pop().unwrap_or_else(|| {
                known.used += 1;
                (known.used, 0)
            })
        };
        let topic = lane_topic(slot);
        match (self.make)(&topic) {
            Ok((tx, mut rx)) => {
                let lane = Arc::new(Lane::new(topic.clone(), limits, sent_messages, is_answering));
                let mut control = LinkControl { tx, slot, lane: lane.clone(), slots: slots.clone() };
                control.subscribe(&topic)?;
                await_suback(&mut rx)?;
                Ok(LaneReceiver::new(lane, control, rx))
            }
            Err(error) => {
                lock(slots).free.push((slot, sent_messages));
                Err(error)
            }
        }
    }
}

fn lane_topic(slot: usize) -> String {
    format!("lane-{slot}")
}

fn await_suback(rx: &mut LinkRx) -> Result<(), RouterGone> {
    let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
    loop {
        if let Some(Notification::DeviceAck(ack)) = rx.recv_deadline(deadline).map_err(|_| RouterGone)?
            && matches!(Packet::from(ack), Packet::SubAck(..))
        {
            return Ok(());
        }
    }
}

fn router_config(config: &Config) -> RouterConfig {
    let log = config.router.log();
    let connections_log = SegmentConfig {
        max_segment_size: CONNECTIONS_LANE.log.segment_bytes_max,
        max_segment_count: CONNECTIONS_LANE.log.segments_max,
    };
    RouterConfig {
        max_connections: LINKS_MAX,
        max_outgoing_packet_count: config.router.outgoing_packets_max,
        max_segment_size: log.segment_bytes_max,
        max_segment_count: log.segments_max,
        custom_segment: Some([(lane_topic(CONNECTIONS_SLOT), connections_log)].into()),
        initialized_filters: None,
        // Shared subscriptions are ours; the router never sees one.
        shared_subscriptions_strategy: Strategy::default(),
    }
}
