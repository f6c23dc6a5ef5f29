//! Topics on which whoever may publish changes a running deployment: `{topic}/{deployment}`, and what became
//! of it on a topic below.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::{error, warn};

use super::NodeError;
use crate::client::{Client, Publisher, Subscriber};
use crate::mqtt::{Message, Qos, is_topic_name};
use crate::settings::SettingError;

/// The most messages taken at once.
const RECEIVE_BATCH_MAX: usize = 16;

/// How long an answer may wait for room towards the broker before it is dropped.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5);

/// One deployment that can be changed in some way.
pub trait Control: Send {
    /// Whether a message that was retained before anybody followed the topic counts: it is a state that is to
    /// be, or else it is a command that was meant for then.
    const TAKES_RETAINED: bool;

    /// Its name.
    fn deployment(&self) -> &str;

    /// Does what `payload` asks for; returns the topic's last level for what became of it, and members that
    /// say more.
    fn take(&self, payload: &[u8]) -> Result<(&'static str, Map<String, Value>), Refused>;
}

/// Why a message cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key that is wrong; empty where it is the whole.
    pub key: String,
    /// What was found and what was expected.
    pub problem: String,
}

impl From<SettingError> for Refused {
    fn from(mut error: SettingError) -> Self {
        // The line, too, where it is not the only one.
        Self { key: std::mem::take(&mut error.key), problem: error.to_string() }
    }
}

/// The thread that follows a topic.
pub struct ControlTopic {
    publisher: Arc<dyn Publisher>,
    thread: JoinHandle<()>,
}

struct Follower<C> {
    /// What the topic is for, in a word.
    what: &'static str,
    topic: String,
    node_id: String,
    controls: Vec<C>,
    publisher: Arc<dyn Publisher>,
}

impl ControlTopic {
    /// Follows `{topic}/{deployment}` for each of `controls`, on a thread that is called after `what` they
    /// are.
    ///
    /// # Errors
    /// [`NodeError::ControlTopic`] when it is no topic, the broker refuses it, or there is no thread for it.
    pub fn follow(
        what: &'static str,
        topic: &str,
        node_id: &str,
        controls: Vec<impl Control + 'static>,
        client: &dyn Client,
    ) -> Result<Self, NodeError> {
        let failed = |cause: String| NodeError::ControlTopic { what, topic: topic.to_owned(), cause };
        if !is_topic_name(topic) || topic.starts_with('$') {
            return Err(failed(
                "expected a topic without '+' and '#' that does not start with '$'".to_owned(),
            ));
        }
        let topics: Vec<_> = controls.iter().map(|one| format!("{topic}/{}", one.deployment())).collect();
        let conversation =
            client.follow(&format!("{what}-topic"), &topics).map_err(|error| failed(error.to_string()))?;
        let publisher = conversation.publisher;
        let (topic, node_id) = (topic.to_owned(), node_id.to_owned());
        let follower = Follower { what, topic, node_id, controls, publisher: Arc::clone(&publisher) };
        let thread = thread::Builder::new()
            .name(format!("{what}-topic"))
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
            error!("a thread that follows a control topic panicked");
        }
    }
}

impl<C: Control> Follower<C> {
    fn run(self, mut subscriber: Box<dyn Subscriber>) {
        let mut messages = Vec::with_capacity(RECEIVE_BATCH_MAX);
        loop {
            match subscriber.receive(&mut messages, RECEIVE_BATCH_MAX) {
                Ok(true) => messages.drain(..).for_each(|message| self.take(&message)),
                Ok(false) => return,
                Err(cause) => {
                    return warn!(topic = self.topic, what = self.what, %cause, "a control topic is no longer followed");
                }
            }
        }
    }

    fn take(&self, message: &Message) {
        let addressed = |one: &&C| {
            let name = message.topic.strip_prefix(self.topic.as_bytes());
            name.and_then(|name| name.strip_prefix(b"/")) == Some(one.deployment().as_bytes())
        };
        // The broker sends nothing else.
        let Some(control) = self.controls.iter().find(addressed) else { return };
        let deployment = control.deployment();
        if message.retain && !C::TAKES_RETAINED {
            return warn!(
                deployment,
                topic = self.topic,
                "a retained message is no command, and is left alone"
            );
        }
        let (what, mut body) = control.take(&message.payload).unwrap_or_else(|Refused { key, problem }| {
            warn!(
                deployment,
                topic = self.topic,
                key,
                problem,
                "a message on a control topic cannot be used; all stays as it is"
            );
            let members = [("key", key.into()), ("error", problem.into())];
            (
                "error",
                members.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect(),
            )
        });
        body.insert("node_id".to_owned(), self.node_id.clone().into());
        let topic = format!("{}/{deployment}/{what}", self.topic);
        let mut message = Message::new(topic.clone(), Value::Object(body).to_string());
        message.qos = Qos::AtLeastOnce;
        if let Err(cause) = self.publisher.publish(&mut vec![message], PUBLISH_WAIT_MAX) {
            warn!(topic, %cause, "could not be published");
        }
    }
}
