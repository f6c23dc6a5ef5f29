//! rumqttd's router as the carrier: how it is started, how parcels go in, and how they come out of it.
//!
//! It only ever knows one topic for each lane, so that neither its memory nor its work grows with clients,
//! filters and topics. It gets at most one event for each batch of packets, and `Disconnect` exactly once
//! from each link, as the last thing.

mod poison;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PingReq, Publish, QoS, RetainForwardRule, Subscribe,
};
use rumqttd::{Notification, RouterConfig, SegmentConfig, Strategy};

use super::{CarrierGone, poll_now};
use crate::broker::config::{RouterLimits, SegmentLimits};

/// Links of the router: one for each lane, and the feed.
pub const LINKS_MAX: usize = 1_024;
/// How long the router may take to answer a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of the one subscription of a lane's link.
const SUBSCRIBE_ID: u16 = 1;

/// What the router's log counts for a message: as much as the lane does, but no more
/// than this, for the log holds nothing of it.
const STAND_IN_BYTES_MAX: usize = 16 * 1024;
static STAND_IN: [u8; STAND_IN_BYTES_MAX] = [0; STAND_IN_BYTES_MAX];
/// What the log counts beside it: the lane's topic and some lengths. A message never
/// counts for more there than in the lane.
const FRAME_BYTES: usize = 32;

type MakeLink = dyn Fn(&str) -> Result<(LinkTx, LinkRx), CarrierGone> + Send + Sync;

/// The router, as far as it makes links.
pub struct Carrier {
    make: Box<MakeLink>,
}

impl Carrier {
    /// Starts its thread. One lane has a log of its own size.
    pub fn start(limits: &RouterLimits, own: (&str, SegmentLimits)) -> Self {
        // The channel's event type cannot be named outside its crate, but a closure can hold it.
        let router = rumqttd::Router::new(0, router_config(limits, own)).spawn();
        let make: Box<MakeLink> =
            Box::new(move |name| match LinkBuilder::new(name, router.clone()).clean_session(true).build() {
                Ok((tx, rx, _connack)) => Ok((tx, rx)),
                Err(_) => Err(CarrierGone),
            });
        Self { make }
    }

    /// The one way in. Blocks until the router answers.
    pub fn feed(&self) -> Result<(Feed, Answers), CarrierGone> {
        let (tx, rx) = (self.make)("ingress")?;
        Ok((Feed { tx }, Answers { rx }))
    }

    /// The way out of the lane of this name. Blocks until the router answers.
    pub fn outlet(&self, lane: &str) -> Result<Outlet, CarrierGone> {
        let (tx, rx) = (self.make)(lane)?;
        let mut outlet = Outlet { tx, rx };
        push_one(&mut outlet.tx, subscribe_packet(lane))?;
        await_suback(&mut outlet.rx)?;
        Ok(outlet)
    }
}

/// What is carried.
pub struct Parcel(Packet);

impl Parcel {
    /// Stands for a message on a lane that counts for so many bytes there.
    pub fn of(lane: Bytes, load_bytes: u64) -> Self {
        let bytes = usize::try_from(load_bytes).unwrap_or(usize::MAX).saturating_sub(FRAME_BYTES);
        let stand_in = Bytes::from_static(&STAND_IN[..bytes.min(STAND_IN_BYTES_MAX)]);
        Self(Packet::Publish(Publish::new(lane, stand_in, false), None))
    }

    /// Is answered when everything before it has been read.
    pub fn ping() -> Self {
        Self(Packet::PingReq(PingReq))
    }
}

/// Parcels that go in together.
pub struct Parcels<'a>(&'a mut VecDeque<Packet>);

impl Parcels<'_> {
    pub fn push(&mut self, parcel: Parcel) {
        self.0.push_back(parcel.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The one way into the router.
pub struct Feed {
    tx: LinkTx,
}

impl Feed {
    /// Lets `fill` hand parcels to the router, with one event for all of them.
    pub fn push(&mut self, fill: impl FnOnce(&mut Parcels<'_>)) -> Result<(), CarrierGone> {
        push_with(&mut self.tx, |packets| fill(&mut Parcels(packets)))
    }

    /// Asks the router's thread to end; it drops everything that it holds.
    pub fn end(&mut self) -> Result<(), CarrierGone> {
        push_one(&mut self.tx, poison::packet())
    }
}

/// The router's answers to pings.
pub struct Answers {
    rx: LinkRx,
}

impl Answers {
    /// Waits for the next thing that the router says. Returns whether it answers a ping; an error means that
    /// the router has ended.
    pub async fn next(&mut self) -> Result<bool, CarrierGone> {
        match self.rx.next().await.map_err(|_| CarrierGone)? {
            Some(Notification::DeviceAck(ack)) => Ok(matches!(Packet::from(ack), Packet::PingResp(_))),
            _ => Ok(false),
        }
    }
}

/// The way out of one lane. Dropping it disconnects its link, exactly once and last.
pub struct Outlet {
    tx: LinkTx,
    rx: LinkRx,
}

/// A parcel that has come out.
pub struct Arrival {
    /// Its place in the lane's log. Whatever the log has forgotten before it does not come any more.
    pub number: Option<u64>,
}

impl Outlet {
    /// Waits for the next thing that the router has; `None` when that was no parcel.
    pub async fn next(&mut self) -> Result<Option<Arrival>, CarrierGone> {
        let notification = self.rx.next().await.map_err(|_| CarrierGone)?;
        self.note(notification)
    }

    /// Takes what the router has without waiting; the outer `None` when there is nothing.
    pub fn ready(&mut self) -> Result<Option<Option<Arrival>>, CarrierGone> {
        match poll_now(self.rx.next()) {
            None => Ok(None),
            Some(Ok(notification)) => self.note(notification).map(Some),
            Some(Err(_)) => Err(CarrierGone),
        }
    }

    /// Does what [`next`](Self::next) does, on a thread that may block.
    pub fn recv(&mut self) -> Result<Option<Arrival>, CarrierGone> {
        let notification = self.rx.recv().map_err(|_| CarrierGone)?;
        self.note(notification)
    }

    fn note(&mut self, notification: Option<Notification>) -> Result<Option<Arrival>, CarrierGone> {
        match notification {
            Some(Notification::Forward(forward)) => {
                Ok(Some(Arrival { number: forward.cursor.map(|(_segment, offset)| offset) }))
            }
            Some(Notification::Unschedule) => self.go_on(),
            _ => Ok(None),
        }
    }

    /// The router waits for this after every full buffer; the link is alive, for we hold it.
    #[cold]
    fn go_on(&mut self) -> Result<Option<Arrival>, CarrierGone> {
        self.rx.ready().map_err(|_| CarrierGone).map(|()| None)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // An error means that the router is gone, and the link with it.
        let _gone = push_one(&mut self.tx, disconnect_packet());
    }
}

/// Lets `push` hand packets to the router, with at most one event, and none while an
/// earlier one is unprocessed: the router takes the whole buffer for each event.
fn push_with(tx: &mut LinkTx, push: impl FnOnce(&mut VecDeque<Packet>)) -> Result<(), CarrierGone> {
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
        _ => Err(CarrierGone),
    }
}

fn push_one(tx: &mut LinkTx, packet: Packet) -> Result<(), CarrierGone> {
    push_with(tx, |buffer| buffer.push_back(packet))
}

fn disconnect_packet() -> Packet {
    Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None)
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

fn await_suback(rx: &mut LinkRx) -> Result<(), CarrierGone> {
    let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
    loop {
        if let Some(Notification::DeviceAck(ack)) = rx.recv_deadline(deadline).map_err(|_| CarrierGone)?
            && matches!(Packet::from(ack), Packet::SubAck(..))
        {
            return Ok(());
        }
    }
}

fn router_config(limits: &RouterLimits, (own_lane, own_log): (&str, SegmentLimits)) -> RouterConfig {
    let log = limits.log();
    let own_log = SegmentConfig {
        max_segment_size: own_log.segment_bytes_max,
        max_segment_count: own_log.segments_max,
    };
    RouterConfig {
        max_connections: LINKS_MAX,
        max_outgoing_packet_count: limits.outgoing_packets_max,
        max_segment_size: log.segment_bytes_max,
        max_segment_count: log.segments_max,
        custom_segment: Some([(own_lane.to_owned(), own_log)].into()),
        initialized_filters: None,
        // Shared subscriptions are ours; the router never sees one.
        shared_subscriptions_strategy: Strategy::default(),
    }
}
