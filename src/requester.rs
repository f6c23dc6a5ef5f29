//! The client's side of the wire: sends requests to a node through its broker and
//! pairs the answers with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::client::{Acknowledge, Client, Publisher, Remote, RemoteConfig, State, Subscriber};
use crate::deployment::Topics;
use crate::mqtt::{Message, Qos};

/// How long a broker may take to accept the connection and the subscriptions.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Answers that may wait to be looked at.
const ANSWERS_MAX: usize = 65_536;
/// Messages taken from the connection at once.
const RECEIVE_BATCH_MAX: usize = 256;

/// A connection that asks on behalf of devices.
pub struct Requester {
    client: Remote,
    sender: Sender,
    answers: Receiver<Answer>,
}

/// The sending half; clones share the connection.
#[derive(Clone)]
pub struct Sender {
    publisher: Arc<dyn Publisher>,
}

/// A result or an error, as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub topic: String,
    pub received_at: Instant,
    /// The payload's.
    pub bytes: usize,
    pub body: AnswerBody,
}

/// The members of results and errors that the commands use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AnswerBody {
    pub request_id: Option<String>,
    pub prediction: Option<f32>,
    pub inference_time_ms: Option<f64>,
    pub cloud_latency_ms: Option<f64>,
    pub total_latency_ms: Option<f64>,
    pub stages_ms: Option<StagesMs>,
    pub placement: Option<String>,
    pub reason: Option<String>,
    pub code: Option<String>,
    pub error: Option<String>,
}

/// The members of `stages_ms` that the commands use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StagesMs {
    pub queue: f64,
}

/// A request as it stands in the wire contract.
#[derive(Debug, Serialize)]
pub struct RequestBody<'a> {
    pub device_id: &'a str,
    pub timestamp_us: Option<i64>,
    pub request_id: &'a str,
    pub features: &'a [f32],
}

impl Requester {
    /// Connects and subscribes to the answers for `device` (`+` for all) under each of `topics`.
    pub fn connect(host: &str, port: u16, topics: &[Topics], device: &str) -> anyhow::Result<Self> {
        let client_id = format!("nearfar-requester-{:08x}", rand::random::<u32>());
        let mut config = RemoteConfig::new(host, port, client_id);
        // Nobody comes back for answers that were missed.
        config.session_expiry = Duration::ZERO;
        let client = Remote::new(config, None).context("connection")?;
        let mut filters = Vec::new();
        for topics in topics {
            filters.push(format!("{}/{device}", topics.result));
            filters.push(format!("{}/{device}", topics.error));
        }
        let conversation = client.open("answers", &filters, Acknowledge::OnReceipt)?;
        client.begin();
        let deadline = Instant::now() + CONNECT_WAIT_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.state() {
                State::Online => break,
                State::Offline(reason) if left.is_zero() => {
                    bail!("no MQTT 5 broker answers at {host}:{port}: {reason}")
                }
                State::Gone(reason) => bail!("the broker at {host}:{port} is gone: {reason}"),
                known @ State::Offline(_) => {
                    client.wait_for_change(&known, left);
                }
            }
        }
        let answers = collect(conversation.subscriber)?;
        Ok(Self { client, sender: Sender { publisher: conversation.publisher }, answers })
    }

    /// The same for a node in this process.
    pub fn connect_to(address: SocketAddr, topics: &[Topics], device: &str) -> anyhow::Result<Self> {
        Self::connect(&address.ip().to_string(), address.port(), topics, device)
    }

    /// The sending half.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The next answer, waiting at most `wait`; none when nothing came.
    pub fn next(&self, wait: Duration) -> anyhow::Result<Option<Answer>> {
        match self.answers.recv_timeout(wait) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the connection to the broker has ended"),
        }
    }
}

impl Sender {
    /// Sends one request at QoS 1. Returns how many bytes its payload has.
    pub fn send(&self, topic: &str, request: &RequestBody<'_>) -> anyhow::Result<usize> {
        let payload = serde_json::to_vec(request)?;
        let bytes = payload.len();
        self.publish(topic, payload)?;
        Ok(bytes)
    }

    /// Sends one message of any kind at QoS 1.
    pub fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()> {
        let mut message = Message::new(topic.to_owned(), payload);
        message.qos = Qos::AtLeastOnce;
        Ok(self.publisher.publish(&mut vec![message], CONNECT_WAIT_MAX)?)
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.client.close();
    }
}

/// Reads answers on a thread of their own, so that each is stamped when it arrives.
fn collect(mut subscriber: Box<dyn Subscriber>) -> anyhow::Result<Receiver<Answer>> {
    let (sender, answers) = sync_channel(ANSWERS_MAX);
    let receive = move || {
        let mut batch = Vec::new();
        while subscriber.receive(&mut batch, RECEIVE_BATCH_MAX).unwrap_or(false) {
            let received_at = Instant::now();
            for message in batch.drain(..) {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                let bytes = message.payload.len();
                let body = serde_json::from_slice(&message.payload).unwrap_or_else(|cause| AnswerBody {
                    error: Some(format!("unreadable answer: {cause}")),
                    ..AnswerBody::default()
                });
                if sender.send(Answer { topic, received_at, bytes, body }).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("answers".to_owned()).spawn(receive).context("thread")?;
    Ok(answers)
}
