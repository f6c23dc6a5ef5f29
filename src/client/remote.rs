//! A broker elsewhere, through rumqttc (MQTT 5): what the node sees of it. The connection itself is in [`driver`].

mod backoff;
mod driver;
mod routes;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use self::routes::Routes;
use super::{Acknowledge, Client, ClientError, Conversation, Publisher, State, Status, Subscriber};
use crate::mqtt::{Message, Properties, Qos};

/// How to reach a broker elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// MQTT client id; unique among the broker's clients.
    pub client_id: String,
    /// User name and password, where the broker wants them.
    pub credentials: Option<(String, String)>,
    /// Seconds without traffic before a ping.
    pub keep_alive: Duration,
    /// The longest wait between two attempts to connect.
    pub reconnect_wait_max: Duration,
    /// The largest packet accepted, in bytes.
    pub packet_bytes_max: u32,
    /// Received requests that wait for the intake.
    pub inbox_messages_max: usize,
    /// Answers that wait for the connection.
    pub outbox_messages_max: usize,
}

impl Config {
    /// The broker at `host:port`, with defaults for everything else.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            credentials: None,
            keep_alive: Duration::from_secs(30),
            reconnect_wait_max: Duration::from_secs(30),
            packet_bytes_max: 1024 * 1024,
            inbox_messages_max: 16_384,
            outbox_messages_max: 65_536,
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the credentials: a Debug output ends up in logs.
        f.debug_struct("Config")
            .field("address", &self.address())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A connection to a broker elsewhere that comes back by itself.
pub struct Remote {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the connection's thread and everybody else share.
struct Shared {
    config: Config,
    status: Option<Status>,
    client: AsyncClient,
    runtime: Handle,
    routes: Routes,
    state: Mutex<State>,
    changed: Condvar,
    stop: watch::Sender<bool>,
}

/// The longest [`Client::close`] waits for the last messages to leave.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

impl Remote {
    /// Starts connecting, and announces `status` where there is one. Returns at once: whether the broker answers is for
    /// [`Client::state`] to say.
    ///
    /// # Errors
    /// When the operating system starts no more threads.
    pub fn connect(config: Config, status: Option<Status>) -> std::io::Result<Self> {
        let (shared, thread) = driver::start(config, status)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }
}

impl Client for Remote {
    fn open(
        &self,
        name: &str,
        filters: &[String],
        _acknowledge: Acknowledge,
    ) -> Result<Conversation, ClientError> {
        let (sender, receiver) = mpsc::channel(self.shared.config.inbox_messages_max);
        self.shared.routes.add(name, filters, sender)?;
        self.shared.subscribe(filters);
        let publisher = RemotePublisher { shared: Arc::clone(&self.shared), name: name.to_owned() };
        Ok(Conversation {
            publisher: Arc::new(publisher),
            subscriber: Box::new(RemoteSubscriber { receiver }),
        })
    }

    fn state(&self) -> State {
        self.shared.lock_state().clone()
    }

    fn wait_for_change(&self, known: &State, wait: Duration) -> State {
        let same = |state: &mut State| *state == *known;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock_state(), wait, same);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if let Some(status) = &self.shared.status
            && *self.shared.lock_state() == State::Online
        {
            // Where it cannot be said now, the will says it.
            self.shared.publish(status.message(&status.offline), CLOSE_WAIT_MAX).ok();
        }
        self.shared.stop.send_replace(true);
        if thread.join().is_err() {
            warn!("the connection's thread panicked");
        }
        self.shared.set_state(State::Gone("closed".to_owned()));
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: State) {
        let mut current = self.lock_state();
        if !matches!(*current, State::Gone(_)) {
            *current = state;
        }
        self.changed.notify_all();
    }

    /// Subscribes now when connected; otherwise the connection does so when it comes.
    fn subscribe(&self, filters: &[String]) {
        if !self.routes.expect_suback() {
            return;
        }
        self.set_state(State::Offline("subscribing".to_owned()));
        let wanted = driver::subscription(filters.iter().cloned());
        if self.client.try_subscribe_many(wanted).is_err() {
            warn!(
                broker = self.config.address(),
                "outbox full, the subscription waits for the next connection"
            );
        }
    }

    /// Queues one message, waiting at most `wait` for room.
    fn publish(&self, message: Message, wait: Duration) -> Result<(), ClientError> {
        let full =
            ClientError::OutboxFull { dropped: 1, outbox_messages_max: self.config.outbox_messages_max };
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        let properties = publish_properties(message.properties);
        let (qos, retain, payload) = (rumqttc_qos(message.qos), message.retain, message.payload);
        let sent = self.client.try_publish_with_properties(
            topic.clone(),
            qos,
            retain,
            payload.clone(),
            properties.clone(),
        );
        if sent.is_ok() {
            return Ok(());
        }
        if wait.is_zero() {
            return Err(full);
        }
        let send = self.client.publish_with_properties(topic, qos, retain, payload, properties);
        match self.runtime.block_on(async { tokio::time::timeout(wait, send).await }) {
            Ok(Ok(())) => Ok(()),
            _ => Err(full),
        }
    }
}

struct RemotePublisher {
    shared: Arc<Shared>,
    name: String,
}

impl Publisher for RemotePublisher {
    fn publish(&self, batch: &mut Vec<Message>, wait: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + wait;
        let mut dropped = 0;
        for message in batch.drain(..) {
            let left = deadline.saturating_duration_since(Instant::now());
            dropped += usize::from(self.shared.publish(message, left).is_err());
        }
        let outbox_messages_max = self.shared.config.outbox_messages_max;
        if dropped == 0 { Ok(()) } else { Err(ClientError::OutboxFull { dropped, outbox_messages_max }) }
    }

    fn stop_receiving(&self) {
        let filters = self.shared.routes.close(&self.name);
        // Only the broker's acknowledgement proves that nothing is under way; without a connection nothing is.
        if self.state_is_online() {
            let mut queued = true;
            for filter in filters {
                queued &= self.shared.client.try_unsubscribe(filter).is_ok();
            }
            if queued {
                return;
            }
        }
        self.shared.routes.drop_closed();
    }
}

impl RemotePublisher {
    fn state_is_online(&self) -> bool {
        *self.shared.lock_state() == State::Online
    }
}

struct RemoteSubscriber {
    receiver: mpsc::Receiver<Message>,
}

impl Subscriber for RemoteSubscriber {
    fn receive(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> Result<bool, ClientError> {
        Ok(self.receiver.blocking_recv_many(batch, batch_max) > 0)
    }
}

fn rumqttc_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn publish_properties(properties: Option<Box<Properties>>) -> PublishProperties {
    let Some(properties) = properties else { return PublishProperties::default() };
    PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.message_expiry_s,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: properties.user_properties,
        content_type: properties.content_type,
        ..PublishProperties::default()
    }
}
