//! In-process clients: publish and subscribe without a socket, and without losing a message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bus::Bus;
use super::work::Slice;
use crate::broker::bus::batch::Batch;
use crate::broker::bus::carrier::CarrierGone;
use crate::broker::bus::carrier::lane::{Kind, Lane, LaneReceiver};
use crate::broker::bus::hold::Registration;
use crate::broker::bus::publication::Publication;
use crate::broker::bus::retained::Walk;
use crate::broker::bus::subscriptions::Subscriber;
use crate::broker::limits::refused::{Cause, Who};
use crate::mqtt::{Message, TOPIC_BYTES_MAX, is_topic_filter};
use crate::sync::lock;

/// A large batch is published in parts of this size.
const PUSH_BYTES: u64 = 128 * 1024;

/// The broker has stopped, so the link has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker has stopped")]
pub struct LinkClosed;

impl From<CarrierGone> for LinkClosed {
    fn from(_: CarrierGone) -> Self {
        Self
    }
}

/// Why an in-process subscription was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Not a topic filter, or one that starts with `$`.
    #[error("`{filter}` is not a topic filter that can be subscribed to")]
    Filter {
        /// The filter.
        filter: String,
    },
    /// The broker has stopped.
    #[error(transparent)]
    Closed(#[from] LinkClosed),
}

impl From<CarrierGone> for SubscribeError {
    fn from(gone: CarrierGone) -> Self {
        Self::Closed(gone.into())
    }
}

/// A message whose topic cannot be published to.
struct TopicRefused;

/// What the two halves share.
struct Shared {
    lane: Arc<Lane>,
    subscribed: Mutex<Subscribed>,
}

#[derive(Default)]
struct Subscribed {
    filters: Vec<String>,
    registrations: Vec<Registration>,
    is_closed: bool,
}

/// The publishing half of an in-process client.
#[derive(Clone)]
pub struct LinkPublisher {
    bus: Arc<Bus>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for LinkPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkPublisher").finish_non_exhaustive()
    }
}

/// The subscribing half of an in-process client. Dropped, it leaves the broker.
pub struct LinkSubscriber {
    bus: Arc<Bus>,
    shared: Arc<Shared>,
    lane: LaneReceiver,
    /// New subscriptions that still get retained messages, each with its filter.
    walks: VecDeque<(String, Walk)>,
    /// What was taken from the store for them.
    retained: VecDeque<Message>,
    has_ended: bool,
}

impl std::fmt::Debug for LinkSubscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkSubscriber").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

/// Makes the two halves. Blocks until the router answers.
pub fn link(bus: &Arc<Bus>, is_answering: bool) -> Result<(LinkPublisher, LinkSubscriber), CarrierGone> {
    let lane = bus.lane(is_answering)?;
    let shared = Arc::new(Shared { lane: lane.lane.clone(), subscribed: Mutex::default() });
    let publisher = LinkPublisher { bus: bus.clone(), shared: shared.clone() };
    let subscriber = LinkSubscriber {
        bus: bus.clone(),
        shared,
        lane,
        walks: VecDeque::new(),
        retained: VecDeque::new(),
        has_ended: false,
    };
    Ok((publisher, subscriber))
}

impl Shared {
    /// Ends the subscriptions: what was published before is still received, then the end.
    fn close(&self, bus: &Bus) {
        let registrations = {
            let mut subscribed = lock(&self.subscribed);
            if std::mem::replace(&mut subscribed.is_closed, true) {
                return;
            }
            std::mem::take(&mut subscribed.registrations)
        };
        bus.close(&self.lane, registrations);
    }
}

impl LinkPublisher {
    /// Publishes every message of `batch`, in order, and empties it. Waits while the
    /// connections have much before them, but never for a subscriber.
    ///
    /// RETAIN, QoS and properties are honoured. A message's receipt is settled when the
    /// message is on its way to everybody. A message whose topic is not a topic name, or
    /// starts with `$`, is dropped with a log line; returns how many were.
    ///
    /// # Errors
    /// [`LinkClosed`] when the broker has stopped; the batch is emptied all the same.
    pub fn publish(&self, batch: &mut Vec<Message>) -> Result<usize, LinkClosed> {
        self.publish_within(batch, Duration::MAX)
    }

    /// Publishes every message of `batch`, in order, and empties it, but waits at most `wait`. Publishers
    /// that do not wait can outrun the connections; then messages are dropped, and counted in
    /// [`Statistics`](super::Statistics).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_within(&self, batch: &mut Vec<Message>, wait: Duration) -> Result<usize, LinkClosed> {
        let started = Instant::now();
        let (mut out, mut refused) = (Batch::with_capacity(batch.len()), 0);
        let mut messages = batch.drain(..).peekable();
        while let Some(message) = messages.next() {
            refused += usize::from(self.add(&mut out, message).is_err());
            if messages.peek().is_none() || out.load.bytes >= PUSH_BYTES {
                self.bus.connections.wait_for_room(wait.saturating_sub(started.elapsed()));
                self.bus.push(&mut out)?;
                self.bus.note_not_kept(std::mem::take(&mut out.not_kept), &Who::default());
            }
        }
        Ok(refused)
    }

    /// Whether the connections have so little before them that some more messages are
    /// published without waiting, and none is dropped.
    pub fn has_room(&self) -> bool {
        self.bus.connections.has_room_now()
    }

    fn add(&self, out: &mut Batch, message: Message) -> Result<(), TopicRefused> {
        if !is_publishable(&message.topic) {
            let topic = String::from_utf8_lossy(&message.topic);
            self.bus.refuse(Cause::InProcessTopic, "", &Who::default(), &topic);
            return Err(TopicRefused);
        }
        let publication = Publication::of_application(message, || self.bus.now_ms());
        let targets = self.bus.targets_now(&publication.topic);
        out.add(publication, targets, None);
        Ok(())
    }

    /// Ends the subscription: the subscriber still gets everything published before,
    /// then its `receive` says so.
    pub fn close(&self) {
        self.shared.close(&self.bus);
    }
}

fn is_publishable(topic: &[u8]) -> bool {
    topic.first().is_some_and(|&first| first != b'$')
        && topic.len() <= TOPIC_BYTES_MAX
        && !topic.iter().any(|byte| matches!(byte, 0 | b'+' | b'#'))
        && std::str::from_utf8(topic).is_ok()
}

impl LinkSubscriber {
    /// Subscribes to filters (`$share` is not for in-process links). Retained messages under
    /// them are received first. A message that several filters match is received once.
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
        let hold = self.bus.hold();
        let mut subscribed = lock(&self.shared.subscribed);
        if subscribed.is_closed || subscribed.filters.iter().any(|known| known == filter) {
            return Ok(());
        }
        subscribed.filters.push(filter.to_owned());
        subscribed.registrations.push(hold.subscribe(filter, Subscriber::Link(self.shared.lane.clone())));
        let walk = hold.walk(filter);
        drop((subscribed, hold));
        self.walks.push_back((filter.to_owned(), walk));
        if self.walks.len() == 1 {
            // What is not much is as it was when the subscription began.
            self.gather();
        }
        Ok(())
    }

    /// Takes a slice of the retained messages that new subscriptions still get: the store is free in between.
    fn gather(&mut self) {
        let Some((filter, walk)) = self.walks.front_mut() else { return };
        let now_ms = self.bus.now_ms();
        let found = self.bus.store_for(filter).gather(filter, walk, &mut Slice::new(), now_ms);
        if walk.is_over() {
            self.walks.pop_front();
        }
        let messages = found.into_iter().map(|(topic, kept)| {
            let message = kept.publication(topic).into_application(|| now_ms);
            Message { retain: true, ..message }
        });
        self.retained.extend(messages);
    }

    /// The next of them.
    fn next_retained(&mut self) -> Option<Message> {
        while self.retained.is_empty() && !self.walks.is_empty() {
            self.gather();
        }
        self.retained.pop_front()
    }

    /// From now on whoever receives here is watched under this name:
    /// [`Broker::stalled`](super::Broker::stalled) says so when nothing is received for too long.
    pub fn watch(&self, name: &str) {
        // The first name stays.
        let _known = self.shared.lane.watched.set(name.to_owned());
    }

    /// Waits for at least one message, and appends all that is ready to `batch`, at most
    /// `batch_max` messages.
    ///
    /// `false` when the link was closed and everything published before has been received. A message's
    /// `qos` is its publish's; `retain` is set only on what was retained before the subscription; an
    /// expired message is delivered with 0 seconds left, so that its sender can be answered.
    ///
    /// # Errors
    /// [`LinkClosed`] when the broker has stopped.
    pub fn receive(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> Result<bool, LinkClosed> {
        let before = batch.len();
        let full = before + batch_max.max(1);
        while batch.len() < full
            && let Some(message) = self.next_retained()
        {
            batch.push(message);
        }
        while batch.len() < full && !self.has_ended {
            let envelope = match self.lane.ready()? {
                Some(envelope) => envelope,
                None if batch.len() > before => break,
                None => self.lane.recv()?,
            };
            let Some(envelope) = envelope else { continue };
            match envelope.kind {
                Kind::Message => batch.push(envelope.publication.into_application(|| self.bus.now_ms())),
                Kind::Beat => self.shared.lane.beat.arrive(),
                Kind::End => self.has_ended = true,
            }
            self.shared.lane.frees_publishers();
        }
        Ok(batch.len() > before)
    }
}

impl Drop for LinkSubscriber {
    fn drop(&mut self) {
        self.shared.close(&self.bus);
    }
}
