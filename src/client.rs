//! The local client: how a deployment reaches a broker. It carries bytes and topics,
//! and knows no model and no JSON.
//!
//! One trait, two implementations: [`InProcess`] over the embedded broker's own link, [`Remote`] to a broker
//! elsewhere, in rumqttc's packets. A deployment cannot tell them apart.
//!
//! A node that uses a broker elsewhere says so itself; whoever wants to ask a node has
//! [`requester`](crate::requester).
//! ```no_run
//! use std::time::Duration;
//!
//! use nearfar::client::RemoteConfig;
//! use nearfar::{Detector, Node, deployment};
//!
//! let broker = RemoteConfig::new("broker.example", 1883, "node-1");
//! let node = Node::builder()
//!     .remote_broker(broker)
//!     .deployment(deployment::Config::edge(), Detector::shipped()?)
//!     .start()?;
//! node.wait_until_ready(Duration::from_secs(10))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod in_process;
mod remote;

use std::sync::Arc;
use std::time::Duration;

pub use self::in_process::InProcess;
pub use self::remote::{Config as RemoteConfig, Tls as RemoteTls, TlsError as RemoteTlsError};
pub use self::remote::{Failures, NotAPartition, Partition, Protocol, Remote, RemoteError, Trouble};

use crate::mqtt::Message;

/// A node's connection to one broker.
pub trait Client: Send + Sync {
    /// Subscribes to `filters` under `name`, and opens the two halves of a conversation.
    /// Requests that want an acknowledgement get it when `acknowledge` says.
    ///
    /// # Errors
    /// [`ClientError`] when the broker is gone or refuses. A broker that is merely away
    /// for now is no error: see [`state`](Self::state).
    fn open(
        &self,
        name: &str,
        filters: &[String],
        acknowledge: Acknowledge,
    ) -> Result<Conversation, ClientError>;

    /// Opens a conversation for messages on `topics` that are for every node alike, so that no share group
    /// and no partition keeps some of them away. They are acknowledged when they have come.
    ///
    /// # Errors
    /// [`ClientError`] when the broker is gone or refuses.
    fn follow(&self, name: &str, topics: &[String]) -> Result<Conversation, ClientError>;

    /// Every conversation is open: requests may come. Before this no broker elsewhere is
    /// connected to, because it may have kept requests for a conversation that is not open yet.
    fn begin(&self) {}

    /// Whether requests can arrive now.
    fn state(&self) -> State;

    /// Waits until the state differs from `known`, or `wait` has passed, and returns the state then.
    fn wait_for_change(&self, known: &State, wait: Duration) -> State;

    /// What makes no progress, in words, although that takes no broker: a thread of the
    /// client's, or whoever receives requests. A restart would help.
    fn stalled(&self) -> Option<String> {
        None
    }

    /// How often its connection could not be made or has ended, by the reason; `None`
    /// where there is none that could.
    fn failures(&self) -> Option<Failures> {
        None
    }

    /// Says something else of the node from now on while it is there, if it has a status.
    fn announce(&self, _online: String) {}

    /// Says goodbye: the status becomes offline, the connection ends.
    fn close(&self);
}

/// When a QoS 1 or 2 request is acknowledged to its sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// When it has been answered: it carries a [`Receipt`](crate::mqtt::Receipt), which
    /// the answer takes back. If the node fails before, the sender sends it again.
    #[default]
    OnAnswer,
    /// When the broker has it.
    OnReceipt,
}

impl Acknowledge {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("on_answer", Self::OnAnswer), ("on_receipt", Self::OnReceipt)];
}

/// The two halves of what [`Client::open`] opens: one to send answers, one to receive requests.
pub struct Conversation {
    /// Sends; shared by every thread that answers.
    pub publisher: Arc<dyn Publisher>,
    /// Receives; owned by the intake thread.
    pub subscriber: Box<dyn Subscriber>,
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").finish_non_exhaustive()
    }
}

/// Sends messages.
pub trait Publisher: Send + Sync {
    /// Hands every message to the broker, in order, and leaves `batch` empty. A
    /// message's receipt is settled once the broker has it for good. Waits at most
    /// `wait` for room in a full outbox; the intake thread must not wait at all.
    ///
    /// # Errors
    /// [`ClientError`] when some could not be handed over; they are gone.
    fn publish(&self, batch: &mut Vec<Message>, wait: Duration) -> Result<(), ClientError>;

    /// Whether so many messages would be handed over now without waiting.
    fn has_room_for(&self, messages: usize) -> bool;

    /// Ends the subscription: the subscriber still receives what arrived before, then the end.
    fn stop_receiving(&self);
}

/// Receives messages.
pub trait Subscriber: Send {
    /// Waits for messages and appends all that are ready to `batch`, at most `batch_max`. False at the end.
    ///
    /// # Errors
    /// [`ClientError`] when the broker is gone for good.
    fn receive(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> Result<bool, ClientError>;
}

/// Whether a broker can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Connected and subscribed.
    Online,
    /// Not now; the reason in words. The client keeps trying.
    Offline(String),
    /// Never again: the broker died or the client was closed.
    Gone(String),
}

/// Why the local client cannot do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum ClientError {
    /// The broker is gone for good.
    #[error("the broker is gone: {0}")]
    Gone(String),
    /// The broker refused a subscription.
    #[error("the broker refused the subscription to {filter:?}: {reason}")]
    SubscriptionRefused { filter: String, reason: String },
    /// The broker takes no messages for such topics.
    #[error("{dropped} messages were dropped: theirs are no topics that can be published to")]
    TopicsRefused { dropped: usize },
    /// The bounded outbox towards the broker is full.
    #[error(
        "{dropped} messages were dropped: the outbox to the broker is full ({outbox_messages_max} messages or {outbox_bytes_max} bytes)"
    )]
    OutboxFull {
        dropped: usize,
        /// The most messages that the outbox holds.
        outbox_messages_max: usize,
        /// The most bytes that messages in the outbox take.
        outbox_bytes_max: usize,
    },
}

/// What a client announces about its node: retained on `topic`, online while connected, offline as the will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The status topic.
    pub topic: String,
    /// The payload while the node is there.
    pub online: String,
    /// The payload once it is not.
    pub offline: String,
}

impl Status {
    fn message(&self, payload: &str) -> Message {
        let mut message = Message::new(self.topic.clone(), payload.to_owned());
        message.retain = true;
        message.qos = crate::mqtt::Qos::AtLeastOnce;
        message
    }
}
