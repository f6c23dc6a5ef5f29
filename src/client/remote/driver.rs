//! The connection's thread: connects, subscribes, hands messages out, and comes back after every loss.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use rand::SeedableRng;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, LastWill, Packet, Publish, SubAck, Subscribe, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Request};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::backoff::Backoff;
use super::routes::Routes;
use super::{Config, Shared};
use crate::client::{State, Status};
use crate::mqtt::{Message, Properties, Qos};

/// Starts the thread.
pub(super) fn start(
    config: Config,
    status: Option<Status>,
) -> std::io::Result<(Arc<Shared>, JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (client, events) = AsyncClient::new(options(&config, status.as_ref()), config.outbox_messages_max);
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        config,
        status,
        client,
        runtime: runtime.handle().clone(),
        routes: Routes::default(),
        state: Mutex::new(State::Offline("connecting".to_owned())),
        changed: Condvar::new(),
        stop,
    });
    let driver = Driver { shared: Arc::clone(&shared), events, carried: VecDeque::new(), announced: None };
    let thread = thread::Builder::new()
        .name("mqtt-remote".to_owned())
        .spawn(move || runtime.block_on(driver.run(stopped)))?;
    Ok((shared, thread))
}

/// Subscriptions at QoS 1: a request published at QoS 0 still arrives as such.
pub(super) fn subscription(filters: impl IntoIterator<Item = String>) -> Vec<Filter> {
    filters.into_iter().map(|filter| Filter::new(filter, QoS::AtLeastOnce)).collect()
}

fn options(config: &Config, status: Option<&Status>) -> MqttOptions {
    let mut options = MqttOptions::new(&config.client_id, &config.host, config.port);
    options.set_keep_alive(config.keep_alive);
    options.set_clean_start(true);
    options.set_max_packet_size(Some(config.packet_bytes_max));
    if let Some(Status { topic, offline, .. }) = status {
        options.set_last_will(LastWill::new(topic, offline.clone(), QoS::AtLeastOnce, true, None));
    }
    if let Some((user, password)) = &config.credentials {
        options.set_credentials(user, password);
    }
    options
}

struct Driver {
    shared: Arc<Shared>,
    events: EventLoop,
    /// Answers that were not acknowledged when the connection was lost. rumqttc forgets them when the broker has no
    /// session for us; we send them again as new.
    carried: VecDeque<Publish>,
    /// What was last said in the log, so that each change is said once.
    announced: Option<State>,
}

impl Driver {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(self.shared.config.reconnect_wait_max);
        let mut random = rand_chacha::ChaCha8Rng::from_rng(&mut rand::rng());
        let mut leaving = false;
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                _ = stopped.changed(), if !leaving => {
                    leaving = true;
                    if !self.leave() { break }
                    continue;
                }
            };
            match event {
                Ok(event) => self.on_event(event, &mut backoff).await,
                Err(_) if leaving => break,
                Err(cause) => {
                    self.on_loss(&cause);
                    let wait = backoff.next_wait(&mut random);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = stopped.changed() => break,
                    }
                }
            }
        }
        self.shared.routes.drop_all();
    }

    /// Asks for a clean disconnect behind everything that is queued. False when there is no connection to end.
    fn leave(&mut self) -> bool {
        *self.shared.lock_state() == State::Online && self.shared.client.try_disconnect().is_ok()
    }

    /// Queues carried answers again as room allows. Through the outbox and not as rumqttc's pending requests, which
    /// ignore the number of unacknowledged messages that the broker accepts.
    fn send_carried(&mut self) {
        while let Some(publish) = self.carried.pop_front() {
            let Publish { topic, qos, retain, payload, properties, .. } = publish.clone();
            let topic = String::from_utf8_lossy(&topic).into_owned();
            let properties = properties.unwrap_or_default();
            let sent =
                self.shared.client.try_publish_with_properties(topic, qos, retain, payload, properties);
            if sent.is_err() {
                self.carried.push_front(publish);
                return;
            }
        }
    }

    async fn on_event(&mut self, event: Event, backoff: &mut Backoff) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                backoff.reset();
                self.on_connected();
            }
            Event::Incoming(Packet::SubAck(ack)) => self.on_suback(&ack),
            Event::Incoming(Packet::UnsubAck(_)) => self.shared.routes.drop_closed(),
            Event::Incoming(Packet::Publish(publish)) => self.on_publish(publish).await,
            _ => {}
        }
        self.send_carried();
    }

    fn on_connected(&mut self) {
        self.shared.routes.connected();
        let filters = subscription(self.shared.routes.filters());
        // Ahead of every answer that waits: a request is worth nothing before the subscription stands.
        let pending = &mut self.events.pending;
        if let Some(status) = &self.shared.status {
            let payload = status.online.clone().into_bytes();
            let mut online = Publish::new(&status.topic, QoS::AtLeastOnce, payload, None);
            online.retain = true;
            pending.push_front(Request::Publish(online));
        }
        if filters.is_empty() {
            if self.shared.routes.suback() {
                self.announce(State::Online);
            }
        } else {
            pending.push_front(Request::Subscribe(Subscribe::new_many(filters, None)));
        }
    }

    fn on_suback(&mut self, ack: &SubAck) {
        let refused = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
        if let Some(code) = refused {
            let reason = format!("the broker refused a subscription: {code:?}");
            error!(broker = self.shared.config.address(), filters = ?self.shared.routes.filters(), "{reason}");
            self.announce(State::Offline(reason));
        } else if self.shared.routes.suback() {
            self.announce(State::Online);
        }
    }

    async fn on_publish(&mut self, publish: Publish) {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let receivers = self.shared.routes.receivers(&topic);
        let message = message(publish);
        for receiver in receivers {
            // The intake only drains and never waits for us, so this waits for it at most a moment.
            if receiver.send(message.clone()).await.is_err() {
                debug!(topic, "a conversation ended while a message for it was under way");
            }
        }
    }

    fn on_loss(&mut self, cause: &ConnectionError) {
        self.shared.routes.disconnected();
        self.shared.routes.drop_closed();
        let unsent = std::mem::take(&mut self.events.pending).into_iter();
        let room = self.shared.config.outbox_messages_max.saturating_sub(self.carried.len());
        self.carried.extend(unsent.filter_map(unsent_publish).take(room));
        self.announce(State::Offline(cause.to_string()));
    }

    fn announce(&mut self, state: State) {
        let broker = self.shared.config.address();
        let was_online = matches!(self.announced, Some(State::Online));
        match &state {
            State::Online if !was_online => info!(broker, "connected and subscribed"),
            State::Offline(reason) if was_online || self.announced.is_none() => {
                warn!(broker, reason, "the broker cannot be reached; trying again until it can");
            }
            _ => {}
        }
        self.announced = Some(state.clone());
        self.shared.set_state(state);
    }
}

/// What dies with its connection and what must be sent again.
fn unsent_publish(request: Request) -> Option<Publish> {
    match request {
        Request::Publish(publish) => Some(publish),
        _ => None,
    }
}

fn message(publish: Publish) -> Message {
    let qos = match publish.qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    };
    let properties = publish.properties.map(|properties| {
        Box::new(Properties {
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            message_expiry_s: properties.message_expiry_interval,
            content_type: properties.content_type,
            payload_format_indicator: properties.payload_format_indicator,
            user_properties: properties.user_properties,
        })
    });
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos,
        retain: publish.retain,
        properties,
        sender: None,
        is_duplicate: publish.dup,
        receipt: None,
    }
}
