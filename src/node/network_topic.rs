//! The network topic: whoever may publish on it changes the simulated networks of
//! the node's deployments while they run.

mod wish;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use tracing::{error, info, warn};

use self::wish::Refused;
use super::NodeError;
use crate::client::{Client, Publisher, Subscriber};
use crate::deployment::{Change, NetworkControl};
use crate::mqtt::{Message, Qos, is_topic_name};

/// The most messages taken at once.
const RECEIVE_BATCH_MAX: usize = 16;

/// How long an answer may wait for room towards the broker before it is dropped.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5);

/// The thread that follows the topic.
pub struct NetworkTopic {
    publisher: Arc<dyn Publisher>,
    thread: JoinHandle<()>,
}

struct Follower {
    topic: String,
    node_id: String,
    networks: Vec<NetworkControl>,
    publisher: Arc<dyn Publisher>,
}

impl NetworkTopic {
    /// Follows `{topic}/{deployment}` for each of `networks`.
    ///
    /// # Errors
    /// [`NodeError::NetworkTopic`] when it is no topic, the broker refuses it, or there is no thread for it.
    pub fn follow(
        topic: &str,
        node_id: &str,
        networks: Vec<NetworkControl>,
        client: &dyn Client,
    ) -> Result<Self, NodeError> {
        let failed = |cause: String| NodeError::NetworkTopic { topic: topic.to_owned(), cause };
        if !is_topic_name(topic) || topic.starts_with('$') {
            return Err(failed(
                "expected a topic without '+' and '#' that does not start with '$'".to_owned(),
            ));
        }
        let topics: Vec<_> = networks.iter().map(|one| format!("{topic}/{}", one.deployment())).collect();
        let conversation =
            client.follow("network-topic", &topics).map_err(|error| failed(error.to_string()))?;
        let publisher = conversation.publisher;
        let (topic, node_id) = (topic.to_owned(), node_id.to_owned());
        let follower = Follower { topic, node_id, networks, publisher: Arc::clone(&publisher) };
        let thread = thread::Builder::new()
            .name("network-topic".to_owned())
            .spawn(move || follower.run(conversation.subscriber))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { publisher, thread })
    }

    /// Takes no more messages.
    pub fn stop(&self) {
        self.publisher.stop_receiving();
    }

    /// Waits for the thread, which ends when it was stopped or the client was closed.
    pub fn join(self) {
        if self.thread.join().is_err() {
            error!("the thread that follows the network topic panicked");
        }
    }
}

impl Follower {
    fn run(self, mut subscriber: Box<dyn Subscriber>) {
        let mut messages = Vec::with_capacity(RECEIVE_BATCH_MAX);
        loop {
            match subscriber.receive(&mut messages, RECEIVE_BATCH_MAX) {
                Ok(true) => messages.drain(..).for_each(|message| self.take(&message)),
                Ok(false) => return,
                Err(cause) => return warn!(%cause, "networks can no longer be changed over MQTT"),
            }
        }
    }

    fn take(&self, message: &Message) {
        let addressed = |one: &&NetworkControl| {
            let name = message.topic.strip_prefix(self.topic.as_bytes());
            name.and_then(|name| name.strip_prefix(b"/")) == Some(one.deployment().as_bytes())
        };
        // The broker sends nothing else.
        let Some(network) = self.networks.iter().find(addressed) else { return };
        let changed = wish::read(&message.payload, network.deployment()).and_then(|wish| {
            network
                .put_instead(wish)
                .map_err(|error| Refused { key: String::new(), problem: error.to_string() })
        });
        match changed {
            Ok(change) => self.tell_of_change(network, change),
            Err(refused) => self.tell_of_refusal(network, &refused),
        }
    }

    fn tell_of_change(&self, network: &NetworkControl, change: Change) {
        let deployment = network.deployment();
        let Change { revision, is_new, is_configured } = change;
        if is_new {
            info!(deployment, revision, is_configured, "the simulated network was changed over MQTT");
        }
        let body = json!({
            "node_id": self.node_id, "revision": revision, "changed": is_new, "configured": is_configured
        });
        self.publish(deployment, "changed", &body);
    }

    fn tell_of_refusal(&self, network: &NetworkControl, refused: &Refused) {
        let deployment = network.deployment();
        network.count_refused();
        let Refused { key, problem } = refused;
        warn!(
            deployment,
            key, problem, "a message on the network topic cannot be used; the network stays as it is"
        );
        let body = json!({ "node_id": self.node_id, "key": key, "error": problem });
        self.publish(deployment, "error", &body);
    }

    fn publish(&self, deployment: &str, what: &str, body: &serde_json::Value) {
        let topic = format!("{}/{deployment}/{what}", self.topic);
        let mut message = Message::new(topic.clone(), body.to_string());
        message.qos = Qos::AtLeastOnce;
        if let Err(cause) = self.publisher.publish(&mut vec![message], PUBLISH_WAIT_MAX) {
            warn!(topic, %cause, "could not be published");
        }
    }
}
