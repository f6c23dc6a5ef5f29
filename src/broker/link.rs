//! In-process clients: publish and subscribe without a socket, and without losing a message.

use super::BrokerError;
use super::batch::Batch;
use super::bus::{Bus, LinkControl, RouterGone, lock, logged, poll_now};
use super::gate::Gate;
use super::tag::{self, Meta};
use super::topic;
use crate::mqtt::{Message, TOPIC_BYTES_MAX, filter_matches, is_topic_filter};
use bytes::Bytes;
use rumqttd::local::LinkRx;
use rumqttd::protocol::Packet;
use rumqttd::{Forward, Notification};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the router may take to answer a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The broker has stopped, so the link has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped")]
pub struct LinkClosed;

impl From<RouterGone> for LinkClosed {
    fn from(_: RouterGone) -> Self {
        Self
    }
}

/// Why an in-process subscription was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Not a topic filter, or one that starts with `$`.
    #[error("`{filter}` is not a topic filter that can be subscribed to")]
    Filter {
        /// The filter.
        filter: String,
    },
    /// The broker knows as many filters as it may.
    #[error(
        "`{filter}` would be a new filter, but the broker knows {filters_max} already (its limit `filters_max`)"
    )]
    Quota {
        /// The filter.
        filter: String,
        /// The limit.
        filters_max: usize,
    },
    /// The broker has stopped.
    #[error(transparent)]
    Closed(#[from] LinkClosed),
}

impl From<RouterGone> for SubscribeError {
    fn from(gone: RouterGone) -> Self {
        Self::Closed(gone.into())
    }
}

/// A message whose topic cannot be published to.
struct TopicRefused;

/// What the two halves share.
struct Shared {
    /// Taken by the subscriber when it ends, which disconnects the link.
    control: Mutex<Option<LinkControl>>,
    gates: Mutex<Gated>,
}

#[derive(Default)]
struct Gated {
    gates: Vec<Arc<Gate>>,
    is_closed: bool,
}

/// The publishing half of an in-process client.
#[derive(Clone)]
pub struct LinkPublisher {
    bus: Arc<Bus>,
    shared: Arc<Shared>,
}

/// The subscribing half of an in-process client. Dropped, it leaves the broker.
pub struct LinkSubscriber {
    bus: Arc<Bus>,
    shared: Arc<Shared>,
    rx: LinkRx,
    /// The subscriptions, by the id that the router knows them by.
    gates: Vec<Arc<Gate>>,
    /// The place in each one's log that comes next.
    next_offsets: Vec<Option<u64>>,
    /// What arrived while a subscription was being answered.
    early: VecDeque<Notification>,
    /// Retained messages of new subscriptions.
    retained: VecDeque<Message>,
    sequence: u16,
}

/// Makes the two halves. Blocks until the router answers.
pub(super) fn link(bus: &Arc<Bus>) -> Result<(LinkPublisher, LinkSubscriber), BrokerError> {
    let link = bus.link().map_err(|_| BrokerError::Router)?;
    let shared = Arc::new(Shared { control: Mutex::new(Some(link.control)), gates: Mutex::default() });
    let publisher = LinkPublisher { bus: bus.clone(), shared: shared.clone() };
    let subscriber = LinkSubscriber {
        bus: bus.clone(),
        shared,
        rx: link.rx,
        gates: Vec::new(),
        next_offsets: Vec::new(),
        early: VecDeque::new(),
        retained: VecDeque::new(),
        sequence: 0,
    };
    Ok((publisher, subscriber))
}

impl LinkPublisher {
    /// Publishes every message of `batch`, in order, and empties it. Never waits for a subscriber.
    ///
    /// RETAIN, QoS and properties are honoured. A message whose topic is not a topic name, starts with `$`, or would be
    /// one topic too many for the broker (`topics_max`) is dropped with a log line; returns how many were.
    ///
    /// # Errors
    /// [`LinkClosed`] when the broker has stopped; the batch is emptied all the same.
    pub fn publish(&self, batch: &mut Vec<Message>) -> Result<usize, LinkClosed> {
        let mut out = Batch::default();
        let refused = batch.drain(..).filter_map(|message| self.add(&mut out, message).err()).count();
        self.bus.push(&mut out)?;
        Ok(refused)
    }

    fn add(&self, out: &mut Batch, message: Message) -> Result<(), TopicRefused> {
        let routed = topic::escape_bytes(&message.topic);
        if !is_publishable(&message.topic) {
            tracing::warn!(topic = %String::from_utf8_lossy(&message.topic), "in-process publish dropped: topic refused");
            return Err(TopicRefused);
        }
        // Topics of answers hold names that clients chose, so this must not fill the log.
        if let Err(limit) = self.bus.topics.admit(&routed) {
            self.bus.reached.note(limit, "an in-process client");
            return Err(TopicRefused);
        }
        let expiry_s = message.properties.as_ref().and_then(|properties| properties.message_expiry_s);
        let deadline_ms = expiry_s.map(|s| self.bus.now_ms() + u64::from(s) * 1_000);
        let meta = Meta { qos: message.qos, retain: message.retain, origin: None, deadline_ms, sender: None };
        let properties = message.properties.map(|properties| tag::to_codec(*properties));
        out.add(&routed, message.payload, meta, properties);
        Ok(())
    }

    /// Ends the subscription: the subscriber still gets everything published before, then its `receive` says so.
    pub fn close(&self) {
        {
            let mut gated = lock(&self.shared.gates);
            if std::mem::replace(&mut gated.is_closed, true) {
                return;
            }
            self.bus.close_gates(&gated.gates);
        }
        if let Some(control) = lock(&self.shared.control).as_mut() {
            // An error means that the router is gone, which wakes the subscriber too.
            let _gone = control.ping();
        }
    }
}

fn is_publishable(topic: &[u8]) -> bool {
    topic.first().is_some_and(|&first| first != b'$')
        && topic.len() <= TOPIC_BYTES_MAX
        && !topic.iter().any(|byte| matches!(byte, 0 | b'+' | b'#'))
        && std::str::from_utf8(topic).is_ok()
}

impl LinkSubscriber {
    /// Subscribes to filters (`$share` is not for in-process links), and waits until the router has done so.
    /// Retained messages under them are received first. A message that several filters match is received once.
    ///
    /// # Errors
    /// [`SubscribeError`]; filters before the refused one stay subscribed.
    pub fn subscribe(&mut self, filters: &[String]) -> Result<(), SubscribeError> {
        for filter in filters {
            self.subscribe_one(filter)?;
        }
        Ok(())
    }

    fn subscribe_one(&mut self, filter: &str) -> Result<(), SubscribeError> {
        if !is_topic_filter(filter) || filter.starts_with('$') {
            return Err(SubscribeError::Filter { filter: filter.to_owned() });
        }
        let routed = topic::escape(filter);
        if self.gates.iter().any(|gate| gate.filter == routed) {
            return Ok(());
        }
        if self.bus.filters.admit(routed.as_bytes()).is_err() {
            let filters_max = self.bus.filters.len();
            return Err(SubscribeError::Quota { filter: filter.to_owned(), filters_max });
        }
        let gate = self.bus.gate(routed.clone());
        let bus = self.bus.clone();
        bus.subscribe_gated(std::slice::from_ref(&gate), || self.subscribe_at_router(routed.clone()))?;
        self.gates.push(gate.clone());
        self.next_offsets.push(None);
        let mut gated = lock(&self.shared.gates);
        gated.gates.push(gate);
        if gated.is_closed {
            bus.close_gates(&gated.gates);
        }
        drop(gated);
        for (topic, kept) in bus.retained(&routed) {
            let properties =
                tag::from_codec(kept.properties.map(|own| *own), self.expiry_s(kept.deadline_ms));
            let topic = topic::unescape(&Bytes::from(topic));
            let qos = kept.qos;
            // Who published it is not kept with it.
            let message =
                Message { topic, payload: kept.payload, qos, retain: true, properties, sender: None };
            self.retained.push_back(message);
        }
        Ok(())
    }

    fn subscribe_at_router(&mut self, routed: String) -> Result<(), LinkClosed> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        // Ids start at 1: MQTT knows no subscription id 0.
        let filters = vec![(routed, self.gates.len() + 1)];
        lock(&self.shared.control).as_mut().ok_or(LinkClosed)?.subscribe(self.sequence, filters)?;
        let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
        loop {
            let Some(notification) = self.rx.recv_deadline(deadline).map_err(|_| LinkClosed)? else {
                continue;
            };
            if self.is_suback(&notification) {
                return Ok(());
            }
            self.early.push_back(notification);
        }
    }

    fn is_suback(&self, notification: &Notification) -> bool {
        let Notification::DeviceAck(ack) = notification else { return false };
        matches!(Packet::from(ack.clone()), Packet::SubAck(ack, _) if ack.pkid == self.sequence)
    }

    /// Waits for at least one message, and appends all that is ready to `batch`, at most `batch_max` messages.
    ///
    /// `false` when the link was closed and everything published before has been received. A message's `qos` is its
    /// publish's; `retain` is set only on what was retained before the subscription; an expired message is delivered
    /// with 0 seconds left, so that its sender can be answered.
    ///
    /// # Errors
    /// [`LinkClosed`] when the broker has stopped.
    pub fn receive(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> Result<bool, LinkClosed> {
        let before = batch.len();
        loop {
            while batch.len() < before + batch_max.max(1) {
                match self.ready_message()? {
                    Ready::Message(message) => batch.push(message),
                    Ready::Nothing => break,
                    Ready::Ignored => {}
                }
            }
            if batch.len() > before {
                return Ok(true);
            }
            if self.has_ended() {
                return Ok(false);
            }
            match self.rx.recv() {
                Ok(notification) => self.early.extend(notification),
                Err(_) => return Err(LinkClosed),
            }
        }
    }

    /// What can be had without waiting.
    fn ready_message(&mut self) -> Result<Ready, LinkClosed> {
        if let Some(message) = self.retained.pop_front() {
            return Ok(Ready::Message(message));
        }
        let notification = match self.early.pop_front() {
            Some(notification) => notification,
            None => match poll_now(self.rx.next()) {
                None => return Ok(Ready::Nothing),
                Some(Ok(None)) => return Ok(Ready::Ignored),
                Some(Ok(Some(notification))) => notification,
                Some(Err(_)) => return Err(LinkClosed),
            },
        };
        match notification {
            Notification::Forward(forward) => Ok(self.accept(forward)),
            // The router waits for this after every full buffer; the link is alive, for we hold it.
            Notification::Unschedule => {
                self.rx.ready().map_err(|_| LinkClosed)?;
                Ok(Ready::Ignored)
            }
            _ => Ok(Ready::Ignored),
        }
    }

    fn accept(&mut self, forward: Forward) -> Ready {
        let untagged = tag::untag(forward.properties);
        let Some(index) = untagged.subscription.and_then(|id| id.checked_sub(1)) else {
            return Ready::Ignored;
        };
        let Some(gate) = self.gates.get(index).cloned() else { return Ready::Ignored };
        self.note_offset(index, forward.cursor);
        let is_in_time = gate.count_taken(logged(&forward.publish));
        if gate.is_unsettled() {
            self.bus.settle_gate(&gate);
        }
        if gate.frees_a_publisher() {
            self.bus.note_progress();
        }
        if !is_in_time || self.comes_through_an_older(index, &forward.publish.topic) {
            return Ready::Ignored;
        }
        Ready::Message(Message {
            topic: topic::unescape(&forward.publish.topic),
            payload: forward.publish.payload,
            qos: untagged.meta.qos,
            retain: false,
            properties: tag::from_codec(untagged.properties, self.expiry_s(untagged.meta.deadline_ms)),
            sender: untagged.meta.sender,
        })
    }

    /// Counts what the router skipped before this place.
    fn note_offset(&mut self, index: usize, cursor: Option<(u64, u64)>) {
        let Some((_segment, offset)) = cursor else { return };
        let skipped = self.next_offsets[index].map_or(0, |next| offset.saturating_sub(next));
        self.next_offsets[index] = Some(offset + 1);
        if skipped > 0 {
            self.gates[index].count_skipped(skipped);
            let total = self.bus.skipped.fetch_add(skipped, Ordering::Relaxed) + skipped;
            tracing::warn!(
                skipped,
                total,
                "in-process publishers outran an in-process subscriber; messages lost"
            );
        }
    }

    /// An older subscription sees every message that a younger one sees, so the oldest delivers it.
    fn comes_through_an_older(&self, index: usize, topic: &[u8]) -> bool {
        let Ok(topic) = std::str::from_utf8(topic) else { return false };
        self.gates[..index].iter().any(|gate| filter_matches(&gate.filter, topic))
    }

    fn expiry_s(&self, deadline_ms: Option<u64>) -> Option<u32> {
        let left_ms = deadline_ms?.saturating_sub(self.bus.now_ms());
        Some(u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX))
    }

    fn has_ended(&self) -> bool {
        let gated = lock(&self.shared.gates);
        gated.is_closed && gated.gates.iter().all(|gate| gate.is_drained())
    }
}

enum Ready {
    Message(Message),
    /// Something for the link itself.
    Ignored,
    Nothing,
}

impl Drop for LinkSubscriber {
    fn drop(&mut self) {
        self.bus.close_gates(&self.gates);
        lock(&self.shared.control).take();
    }
}
