//! An MQTT client that asks on behalf of devices: sends requests to a node through
//! its broker, and stamps what comes back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::client::{
    Acknowledge, Client, ClientError, Publisher, Remote, RemoteConfig, RemoteError, State, Subscriber,
};
use crate::deployment::Topics;
use crate::mqtt::{Message, Qos};
use crate::wire::client::{AnswerBody, RequestBody};

/// How long a broker may take to accept the connection and the subscriptions.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Answers that may wait to be looked at.
const ANSWERS_MAX: usize = 65_536;
/// Messages taken from the connection at once.
const RECEIVE_BATCH_MAX: usize = 256;

/// A connection that asks on behalf of devices.
///
/// ```
/// use std::time::Duration;
///
/// use nearfar::deployment::{Config, Topics};
/// use nearfar::requester::Requester;
/// use nearfar::wire::client::RequestBody;
/// use nearfar::Node;
///
/// let node = Node::builder().deployment(Config::edge(), "models/anomaly_detector").start()?;
/// let address = node.mqtt_address().expect("an embedded broker has an address");
/// let requester = Requester::connect_to(address, &[Topics::default()], "+")?;
/// let request = RequestBody { device_id: "pump-7", features: &[0.5; 32], ..RequestBody::default() };
/// requester.sender().send("ml/inference/request", &request)?;
/// let answer = requester.next(Duration::from_secs(10))?.expect("the node answers");
/// assert!(answer.body.prediction.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Requester {
    client: Remote,
    sender: Sender,
    answers: Receiver<Answer>,
}

/// The sending half of a [`Requester`]; clones share the connection.
#[derive(Clone)]
pub struct Sender {
    publisher: Arc<dyn Publisher>,
}

/// A result or an error, as it came.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// Where it was published.
    pub topic: String,
    /// When it arrived.
    pub received_at: Instant,
    /// How many bytes its payload has.
    pub bytes: usize,
    /// What it says; a payload that is no answer is an error without a code.
    pub body: AnswerBody,
}

/// Why requests cannot be sent, or their answers not be received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum RequesterError {
    /// The connection cannot be set up.
    #[error("connection: {0}")]
    Remote(RemoteError),
    /// The broker takes no subscription or no message.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nobody answers there.
    #[error("no MQTT 5 broker answers at {host}:{port}: {reason}")]
    Silent {
        /// The host, as it was given.
        host: String,
        port: u16,
        /// What happened last, in words.
        reason: String,
    },
    /// The broker has ended the connection for good.
    #[error("the broker at {host}:{port} is gone: {reason}")]
    Gone {
        /// The host, as it was given.
        host: String,
        port: u16,
        /// The broker's reason, in words.
        reason: String,
    },
    /// There is no thread to receive answers.
    #[error("thread: {0}")]
    Thread(io::Error),
    /// The connection has ended, so that no more answers come.
    #[error("the connection to the broker has ended")]
    Ended,
}

impl Requester {
    /// Connects and subscribes to the answers for `device` (`+` for all) under each of `topics`.
    ///
    /// # Errors
    /// When there is no broker that speaks MQTT 5, or it refuses a subscription.
    pub fn connect(host: &str, port: u16, topics: &[Topics], device: &str) -> Result<Self, RequesterError> {
        let client_id = format!("nearfar-requester-{:08x}", rand::random::<u32>());
        let mut config = RemoteConfig::new(host, port, client_id);
        // Nobody comes back for answers that were missed.
        config.session_expiry = Duration::ZERO;
        let client = Remote::new(config, None).map_err(RequesterError::Remote)?;
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
                    return Err(RequesterError::Silent { host: host.to_owned(), port, reason });
                }
                State::Gone(reason) => {
                    return Err(RequesterError::Gone { host: host.to_owned(), port, reason });
                }
                known @ State::Offline(_) => {
                    client.wait_for_change(&known, left);
                }
            }
        }
        let answers = collect(conversation.subscriber)?;
        Ok(Self { client, sender: Sender { publisher: conversation.publisher }, answers })
    }

    /// Connects to the broker at `address`, such as that of a node in this process, as
    /// [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// When there is no broker that speaks MQTT 5, or it refuses a subscription.
    pub fn connect_to(address: SocketAddr, topics: &[Topics], device: &str) -> Result<Self, RequesterError> {
        Self::connect(&address.ip().to_string(), address.port(), topics, device)
    }

    /// The sending half.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The next answer, waiting at most `wait`; none when nothing came.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn next(&self, wait: Duration) -> Result<Option<Answer>, RequesterError> {
        match self.answers.recv_timeout(wait) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RequesterError::Ended),
        }
    }
}

impl Sender {
    /// Sends one request at QoS 1. Returns how many bytes its payload has.
    ///
    /// # Errors
    /// When the broker is gone, or takes nothing for long.
    pub fn send(&self, topic: &str, request: &RequestBody<'_>) -> Result<usize, ClientError> {
        let payload = request.to_json();
        let bytes = payload.len();
        self.publish(topic, payload)?;
        Ok(bytes)
    }

    /// Sends one message of any kind at QoS 1.
    ///
    /// # Errors
    /// When the broker is gone, or takes nothing for long.
    pub fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), ClientError> {
        let mut message = Message::new(topic.to_owned(), payload);
        message.qos = Qos::AtLeastOnce;
        self.publisher.publish(&mut vec![message], CONNECT_WAIT_MAX)
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.client.close();
    }
}

/// Reads answers on a thread of their own, so that each is stamped when it arrives.
fn collect(mut subscriber: Box<dyn Subscriber>) -> Result<Receiver<Answer>, RequesterError> {
    let (sender, answers) = sync_channel(ANSWERS_MAX);
    let receive = move || {
        let mut batch = Vec::new();
        while subscriber.receive(&mut batch, RECEIVE_BATCH_MAX).unwrap_or(false) {
            let received_at = Instant::now();
            for message in batch.drain(..) {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                let bytes = message.payload.len();
                let body = AnswerBody::parse(&message.payload).unwrap_or_else(|cause| AnswerBody {
                    error: Some(format!("unreadable answer: {cause}")),
                    ..AnswerBody::default()
                });
                if sender.send(Answer { topic, received_at, bytes, body }).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("answers".to_owned()).spawn(receive).map_err(RequesterError::Thread)?;
    Ok(answers)
}
