//! A broker elsewhere: what the node sees of it. The connection itself is in [`driver`].
//!
//! A request is acknowledged only when the broker has acknowledged its answer. What
//! that promises, and what it does not, is in `docs/cluster.md`.

mod arrivals;
mod backoff;
mod codec;
mod config;
mod connection;
mod driver;
mod failures;
mod link;
mod outage;
mod partition;
mod pulse;
mod queue;
mod receiving;
mod routes;
mod session;
mod settlements;
mod transport;

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tracing::warn;

pub use self::config::{Config, Protocol, Tls};
use self::failures::FailureCounters;
pub use self::failures::{Failures, Trouble};
pub use self::partition::{NotAPartition, Partition};
use self::pulse::{Pulse, Taker};
use self::queue::NotTaken;
use self::routes::{Audience, Routes};
pub use self::transport::TlsError;
use super::{Acknowledge, Client, ClientError, Conversation, Publisher, State, Status, Subscriber};
use crate::mqtt::Message;
use crate::sync::{after, lock, wait_while};

/// A connection to a broker elsewhere that comes back by itself.
pub struct Remote {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("broker", &self.shared.config.address())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// What the connection's thread and everybody else share.
struct Shared {
    config: Config,
    status: Option<Status>,
    /// What the status says while the node is there, where that has changed since.
    online: Mutex<Option<String>>,
    outbox: queue::Sender,
    runtime: Handle,
    routes: Routes,
    state: Mutex<State>,
    changed: Condvar,
    phase: watch::Sender<Phase>,
    /// Wakes the connection: routes have changed, or a message has been settled.
    wake: Arc<Notify>,
    pulse: Arc<Pulse>,
    failures: FailureCounters,
}

/// What the connection's thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing yet: conversations are being opened, and a message for one that is not open would be nobody's.
    Preparing,
    Connecting,
    Leaving,
}

/// The longest [`Client::close`] waits for the last messages to leave, and for their acknowledgements.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Why there can be no connection to a broker elsewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A file of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The operating system starts no more threads.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Remote {
    /// Prepares a connection that announces `status` where there is one. It is made once
    /// [`Client::begin`] is called, and whether the broker answers is for [`Client::state`] to say.
    ///
    /// # Errors
    /// [`RemoteError`] when a file of TLS cannot be used, or the operating system starts no more threads.
    pub fn new(config: Config, status: Option<Status>) -> Result<Self, RemoteError> {
        let (shared, thread) = driver::start(config, status)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }
}

impl Client for Remote {
    fn open(
        &self,
        name: &str,
        filters: &[String],
        acknowledge: Acknowledge,
    ) -> Result<Conversation, ClientError> {
        let taker = self.shared.pulse.watch(format!("the intake of deployment {name}"));
        self.converse(name, filters, acknowledge, Audience::OneOfUs, Some(taker))
    }

    fn follow(&self, name: &str, topics: &[String]) -> Result<Conversation, ClientError> {
        self.converse(name, topics, Acknowledge::OnReceipt, Audience::AllOfUs, None)
    }

    fn begin(&self) {
        self.shared.phase.send_if_modified(|phase| {
            let is_preparing = *phase == Phase::Preparing;
            if is_preparing {
                *phase = Phase::Connecting;
            }
            is_preparing
        });
    }

    fn state(&self) -> State {
        lock(&self.shared.state).clone()
    }

    fn wait_for_change(&self, known: &State, wait: Duration) -> State {
        let same = |state: &mut State| *state == *known;
        wait_while(&self.shared.changed, lock(&self.shared.state), wait, same).clone()
    }

    fn stalled(&self) -> Option<String> {
        let config = &self.shared.config;
        self.shared.pulse.stalled(&config.address(), config.stalled_after)
    }

    fn failures(&self) -> Option<Failures> {
        Some(self.shared.failures.snapshot())
    }

    fn announce(&self, online: String) {
        let Some(status) = &self.shared.status else { return };
        // What comes after this says it when it begins, what is there behind what waits.
        let message = status.message(&online);
        *lock(&self.shared.online) = Some(online);
        if self.shared.publish(message, Duration::ZERO).is_err() {
            warn!("the node's status could not be published, and is old until the next connection");
        }
    }

    fn close(&self) {
        let Some(thread) = lock(&self.thread).take() else { return };
        if let Some(status) = &self.shared.status
            && *lock(&self.shared.state) == State::Online
        {
            // Where it cannot be said now, the will says it.
            self.shared.publish(status.message(&status.offline), CLOSE_WAIT_MAX).ok();
        }
        self.shared.phase.send_replace(Phase::Leaving);
        if thread.join().is_err() {
            warn!("the connection's thread panicked");
        }
        self.shared.set_state(State::Gone("closed".to_owned()));
    }
}

impl Remote {
    fn converse(
        &self,
        name: &str,
        filters: &[String],
        acknowledge: Acknowledge,
        audience: Audience,
        taker: Option<Arc<Taker>>,
    ) -> Result<Conversation, ClientError> {
        let config = &self.shared.config;
        let (sender, receiver) = queue::queue(config.inbox_messages_max, config.inbox_bytes_max);
        self.shared.routes.add(name, filters, acknowledge, audience, sender)?;
        self.shared.wake.notify_one();
        let publisher = RemotePublisher { shared: Arc::clone(&self.shared), name: name.to_owned() };
        Ok(Conversation {
            publisher: Arc::new(publisher),
            subscriber: Box::new(RemoteSubscriber { receiver, taker }),
        })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// What is said of the node when a connection begins.
    fn greeting(&self) -> Option<Message> {
        let online = lock(&self.online);
        self.status.as_ref().map(|status| status.message(online.as_deref().unwrap_or(&status.online)))
    }

    fn set_state(&self, state: State) {
        let mut current = lock(&self.state);
        if !matches!(*current, State::Gone(_)) {
            *current = state;
        }
        self.changed.notify_all();
    }

    /// Queues one message, waiting at most `wait` for room.
    fn publish(&self, message: Message, wait: Duration) -> Result<(), ClientError> {
        let full = self.full(1);
        let message = match self.outbox.try_send(message) {
            Ok(()) => return Ok(()),
            Err(NotTaken::Full(message)) if !wait.is_zero() => message,
            Err(_) => return Err(full),
        };
        let send = self.outbox.send(message);
        match self.runtime.block_on(async { tokio::time::timeout(wait, send).await }) {
            Ok(true) => Ok(()),
            _ => Err(full),
        }
    }

    fn full(&self, dropped: usize) -> ClientError {
        let Config { outbox_messages_max, outbox_bytes_max, .. } = self.config;
        ClientError::OutboxFull { dropped, outbox_messages_max, outbox_bytes_max }
    }
}

struct RemotePublisher {
    shared: Arc<Shared>,
    name: String,
}

impl Publisher for RemotePublisher {
    fn publish(&self, batch: &mut Vec<Message>, wait: Duration) -> Result<(), ClientError> {
        let deadline = after(Instant::now(), wait);
        let mut dropped = 0;
        for message in batch.drain(..) {
            let left = deadline.saturating_duration_since(Instant::now());
            dropped += usize::from(self.shared.publish(message, left).is_err());
        }
        if dropped == 0 { Ok(()) } else { Err(self.shared.full(dropped)) }
    }

    fn has_room_for(&self, messages: usize) -> bool {
        self.shared.outbox.has_ample_room_for(messages)
    }

    fn stop_receiving(&self) {
        self.shared.routes.close(&self.name);
        let is_online = *lock(&self.shared.state) == State::Online;
        if self.shared.config.leaves_for_good() && is_online {
            // The broker may have more for us: the connection ends the conversation once it has it.
            self.shared.wake.notify_one();
        } else {
            // What is still at the broker stays there until the next start.
            self.shared.routes.end_closed();
        }
    }
}

struct RemoteSubscriber {
    receiver: queue::Receiver,
    /// Who receives, where that is watched.
    taker: Option<Arc<Taker>>,
}

impl Subscriber for RemoteSubscriber {
    fn receive(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> Result<bool, ClientError> {
        self.taker.iter().for_each(|taker| taker.wait());
        let count = self.receiver.blocking_recv_many(batch, batch_max);
        self.taker.iter().for_each(|taker| taker.take());
        Ok(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_whose_thread_is_blocked_is_told_until_it_goes_on() {
        let stalled_after = Duration::from_secs(2);
        let remote =
            Remote::new(Config { stalled_after, ..Config::new("here", 1883, "node") }, None).unwrap();
        let (until, blocks) = std::sync::mpsc::channel::<()>();
        remote.shared.runtime.spawn(async move { blocks.recv().ok() });
        let wait_until = |is_stalled: bool| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while remote.stalled().is_some_and(|reason| reason.contains("connection to here:1883"))
                != is_stalled
            {
                assert!(Instant::now() < deadline, "{:?}", remote.stalled());
                std::thread::yield_now();
            }
        };
        wait_until(true);
        drop(until);
        wait_until(false);
    }
}
