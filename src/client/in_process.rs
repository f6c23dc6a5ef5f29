//! The embedded broker's own link: no socket, no copy, a quarter of a loopback connection's latency.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{Acknowledge, Client, ClientError, Conversation, Publisher, State, Status, Subscriber};
use crate::broker::{Broker, LinkPublisher, LinkSubscriber};
use crate::mqtt::Message;
use crate::sync::{lock, wait_while};

/// A client inside the broker's process.
pub struct InProcess {
    broker: Arc<Broker>,
    announcer: Option<Announcer>,
    health: Arc<Health>,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Who tells whether the node is there.
struct Announcer {
    status: Status,
    publisher: LinkPublisher,
}

impl Announcer {
    fn announce(broker: &Broker, status: Status) -> Result<Self, ClientError> {
        let (publisher, _) = broker.link("nearfar-status").map_err(gone)?;
        publisher.publish(&mut vec![status.message(&status.online)]).map_err(gone)?;
        Ok(Self { status, publisher })
    }
}

struct Health {
    state: Mutex<State>,
    changed: Condvar,
}

impl Health {
    fn end(&self, reason: String) {
        *lock(&self.state) = State::Gone(reason);
        self.changed.notify_all();
    }
}

impl InProcess {
    /// Joins `broker` and announces the node there, if it has a status.
    ///
    /// # Errors
    /// [`ClientError::Gone`] when the broker does not accept a link any more.
    pub fn join(broker: Arc<Broker>, status: Option<Status>) -> Result<Self, ClientError> {
        let announcer = status.map(|status| Announcer::announce(&broker, status)).transpose()?;
        let health = Arc::new(Health { state: Mutex::new(State::Online), changed: Condvar::new() });
        let watched = Arc::clone(&health);
        broker.on_death(move |cause| watched.end(format!("the embedded broker has died: {cause}")));
        Ok(Self { broker, announcer, health })
    }
}

impl Client for InProcess {
    fn open(
        &self,
        deployment: &str,
        filters: &[String],
        acknowledge: Acknowledge,
    ) -> Result<Conversation, ClientError> {
        let name = format!("nearfar-{deployment}");
        let link = match acknowledge {
            Acknowledge::OnAnswer => self.broker.answering_link(&name),
            Acknowledge::OnReceipt => self.broker.link(&name),
        };
        let (publisher, subscriber) = link.map_err(gone)?;
        subscriber.watch(&format!("the intake of deployment {deployment}"));
        converse(publisher, subscriber, filters)
    }

    fn follow(&self, name: &str, topics: &[String]) -> Result<Conversation, ClientError> {
        let (publisher, subscriber) = self.broker.link(&format!("nearfar-{name}")).map_err(gone)?;
        converse(publisher, subscriber, topics)
    }

    fn state(&self) -> State {
        lock(&self.health.state).clone()
    }

    fn wait_for_change(&self, known: &State, wait: Duration) -> State {
        let state = lock(&self.health.state);
        let same = |state: &mut State| *state == *known;
        wait_while(&self.health.changed, state, wait, same).clone()
    }

    fn stalled(&self) -> Option<String> {
        self.broker.stalled()
    }

    fn announce(&self, online: String) {
        if let Some(Announcer { status, publisher }) = &self.announcer {
            // A broker that died has nobody to tell.
            publisher.publish(&mut vec![status.message(&online)]).ok();
        }
    }

    fn close(&self) {
        if let Some(Announcer { status, publisher }) = &self.announcer {
            // A broker that died has nobody to tell.
            publisher.publish(&mut vec![status.message(&status.offline)]).ok();
        }
    }
}

impl Publisher for LinkPublisher {
    fn publish(&self, batch: &mut Vec<Message>, wait: Duration) -> Result<(), ClientError> {
        match self.publish_within(batch, wait).map_err(gone)? {
            0 => Ok(()),
            dropped => Err(ClientError::TopicsRefused { dropped }),
        }
    }

    fn has_room_for(&self, _messages: usize) -> bool {
        self.has_room()
    }

    fn stop_receiving(&self) {
        self.close();
    }
}

impl Subscriber for LinkSubscriber {
    fn receive(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> Result<bool, ClientError> {
        LinkSubscriber::receive(self, batch, batch_max).map_err(gone)
    }
}

fn converse(
    publisher: LinkPublisher,
    mut subscriber: LinkSubscriber,
    filters: &[String],
) -> Result<Conversation, ClientError> {
    subscriber.subscribe(filters).map_err(gone)?;
    Ok(Conversation { publisher: Arc::new(publisher), subscriber: Box::new(subscriber) })
}

fn gone(cause: impl std::fmt::Display) -> ClientError {
    ClientError::Gone(cause.to_string())
}
