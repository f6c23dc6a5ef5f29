//! An MQTT client that asks on behalf of devices: sends requests to a node through its broker, and stamps
//! what comes back. It is the small client that a test of a node over MQTT needs, too: [`Requester::ask`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fmt, io, iter};

use crate::client::{
    Acknowledge, Client, ClientError, Publisher, Remote, RemoteConfig, RemoteError, State, Subscriber,
};
use crate::deployment::Topics;
use crate::inference::{DeviceId, Refusal};
use crate::mqtt::{Message, Qos, is_topic_name};
use crate::sync::{after, lock};
use crate::wire::client::{AnswerBody, RequestBody};

/// How long a broker may take to accept the connection and the subscriptions, unless told otherwise; and how
/// long what is sent may wait for room.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Answers that may wait to be looked at.
const ANSWERS_MAX: usize = 65_536;
/// Messages taken from the connection at once.
const RECEIVE_BATCH_MAX: usize = 256;

/// A connection that asks on behalf of devices. It comes back by itself: [`state`](Self::state) says whether
/// it is there, and what is sent while it is not waits for it.
///
/// One request and its answer, as a test has them:
/// ```
/// use std::time::Duration;
///
/// use nearfar::deployment::{Config, Topics};
/// use nearfar::inference::ErrorCode;
/// use nearfar::requester::Requester;
/// use nearfar::wire::client::RequestBody;
/// use nearfar::{Detector, Node};
///
/// let node = Node::builder().deployment(Config::edge(), Detector::shipped()?).start()?;
/// let address = node.mqtt_address().expect("an embedded broker has an address");
/// let requester = Requester::connect_to(address, &[Topics::default()], "+")?;
/// let wait = Duration::from_secs(10);
/// let score = requester.ask("pump-7", &[0.5; 32], wait)?.body.outcome()?;
/// assert!((0.0..=1.0).contains(&score));
/// let refusal = requester.ask("pump-7", &[0.5; 31], wait)?.body.outcome().unwrap_err();
/// assert_eq!(refusal.code, ErrorCode::ShapeMismatch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// Many at once, and their answers as they come:
/// ```
/// # use std::time::Duration;
/// # use nearfar::deployment::{Config, Topics};
/// # use nearfar::requester::Requester;
/// # use nearfar::wire::client::RequestBody;
/// # use nearfar::{Detector, Node};
/// # let node = Node::builder().deployment(Config::edge(), Detector::shipped()?).start()?;
/// # let address = node.mqtt_address().expect("an embedded broker has an address");
/// # let requester = Requester::connect_to(address, &[Topics::default()], "+")?;
/// for device_id in ["pump-1", "pump-2", "pump-3"] {
///     let request = RequestBody { device_id, features: &[0.5; 32], ..RequestBody::default() };
///     requester.sender().send("ml/inference/request", &request)?;
/// }
/// let answers: Vec<_> = requester.answers(Duration::from_secs(10)).take(3).collect();
/// assert!(answers.iter().all(|answer| answer.body.prediction.is_some()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Requester {
    client: Remote,
    sender: Sender,
    answers: Receiver<Answer>,
    /// Answers that came while another one was waited for.
    kept: Mutex<VecDeque<Answer>>,
    /// Where [`ask`](Requester::ask) asks: the first topic of requests that is no filter.
    request_topic: Option<String>,
    /// Tells this requester's requests from those of others.
    tag: u64,
    asked: AtomicU64,
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
    /// It asks as nobody who can be answered.
    #[error(transparent)]
    Device(#[from] Refusal),
    /// Nobody has answered.
    #[error("no answer to {device_id:?} within {waited:?}; the connection is {connection}")]
    NoAnswer {
        device_id: String,
        waited: Duration,
        /// What has become of it, in words.
        connection: String,
    },
    /// There is nowhere to ask.
    #[error("found no topics, or nothing but filters to ask on; expected a topic without '+' and '#'")]
    NoTopic,
    /// The connection has ended, so that no more answers come.
    #[error("the connection to the broker has ended")]
    Ended,
}

impl Requester {
    /// Connects and subscribes to the answers for `device` (`+` for all) under each of `topics`. A broker
    /// that does not answer, or refuses connections, is tried again for 10 s, for it may be about to start;
    /// [`connect_within`](Self::connect_within) says how long.
    ///
    /// # Errors
    /// When there is no broker that speaks MQTT 5 by then, or it refuses a subscription.
    pub fn connect(host: &str, port: u16, topics: &[Topics], device: &str) -> Result<Self, RequesterError> {
        Self::connect_within(CONNECT_WAIT_MAX, host, port, topics, device)
    }

    /// Connects as [`connect`](Self::connect) does, and gives up after `wait`.
    ///
    /// # Errors
    /// When there is no broker that speaks MQTT 5 by then, or it refuses a subscription.
    pub fn connect_within(
        wait: Duration,
        host: &str,
        port: u16,
        topics: &[Topics],
        device: &str,
    ) -> Result<Self, RequesterError> {
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
        let deadline = after(Instant::now(), wait);
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
        let mut asked_on = topics.iter().flat_map(|topics| &topics.request);
        Ok(Self {
            client,
            sender: Sender { publisher: conversation.publisher },
            answers,
            kept: Mutex::default(),
            request_topic: asked_on.find(|topic| is_topic_name(topic)).cloned(),
            tag: rand::random(),
            asked: AtomicU64::new(0),
        })
    }

    /// Connects to the broker at `address`, such as that of a node in this process, as
    /// [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// When there is no broker that speaks MQTT 5, or it refuses a subscription.
    pub fn connect_to(address: SocketAddr, topics: &[Topics], device: &str) -> Result<Self, RequesterError> {
        Self::connect(&address.ip().to_string(), address.port(), topics, device)
    }

    /// Asks as `device_id` on the first topic of requests, and waits for the answer to that for at most
    /// `wait`. Other answers that come meanwhile are the [`next`](Self::next) ones.
    ///
    /// # Errors
    /// [`RequesterError::NoAnswer`] when nobody has answered by then; an error that a node has answered with
    /// is an answer. When `device_id` is none, there is no topic to ask on, or the request cannot be sent.
    pub fn ask(&self, device_id: &str, features: &[f32], wait: Duration) -> Result<Answer, RequesterError> {
        DeviceId::new(device_id)?;
        let topic = self.request_topic.as_deref().ok_or(RequesterError::NoTopic)?;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("{:016x}-{number}", self.tag);
        let deadline = after(Instant::now(), wait);
        let request =
            RequestBody { device_id, request_id: Some(&request_id), features, ..RequestBody::default() };
        self.sender.send(topic, &request)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left)? {
                Some(answer) if answer.body.request_id.as_ref() == Some(&request_id) => return Ok(answer),
                Some(other) => self.keep(other),
                None => {
                    let connection = match self.state() {
                        State::Online => "there".to_owned(),
                        State::Offline(reason) | State::Gone(reason) => format!("not there: {reason}"),
                    };
                    let device_id = device_id.to_owned();
                    return Err(RequesterError::NoAnswer { device_id, waited: wait, connection });
                }
            }
        }
    }

    /// Whether the broker can be reached now, and why not. While it cannot no answers come, the connection is
    /// tried again and again, and what is sent waits for it.
    pub fn state(&self) -> State {
        self.client.state()
    }

    /// The sending half.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The answers as they come, until none has come for `wait`.
    pub fn answers(&self, wait: Duration) -> impl Iterator<Item = Answer> + '_ {
        iter::from_fn(move || self.next(wait).ok().flatten())
    }

    /// The next answer, waiting at most `wait`; none when nothing came, be it because nobody answered or
    /// because the broker cannot be reached now, which [`state`](Self::state) says.
    ///
    /// # Errors
    /// When the connection has ended for good, which it does not by itself.
    pub fn next(&self, wait: Duration) -> Result<Option<Answer>, RequesterError> {
        let kept = lock(&self.kept).pop_front();
        if kept.is_some() { Ok(kept) } else { self.receive(wait) }
    }

    /// Keeps an answer for later; the oldest gives way, where nobody has looked at any for long.
    fn keep(&self, answer: Answer) {
        let mut kept = lock(&self.kept);
        if kept.len() == ANSWERS_MAX {
            kept.pop_front();
        }
        kept.push_back(answer);
    }

    fn receive(&self, wait: Duration) -> Result<Option<Answer>, RequesterError> {
        match self.answers.recv_timeout(wait) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RequesterError::Ended),
        }
    }
}

impl Sender {
    /// Sends one request at QoS 1, or keeps it until the broker can be reached again. Returns how many bytes
    /// its payload has.
    ///
    /// # Errors
    /// When so much waits to be sent that there is no room for 10 s.
    pub fn send(&self, topic: &str, request: &RequestBody<'_>) -> Result<usize, ClientError> {
        let payload = request.to_json();
        let bytes = payload.len();
        self.publish(topic, payload)?;
        Ok(bytes)
    }

    /// Sends one message of any kind at QoS 1, or keeps it until the broker can be reached again.
    ///
    /// # Errors
    /// When so much waits to be sent that there is no room for 10 s.
    pub fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), ClientError> {
        let mut message = Message::new(topic.to_owned(), payload);
        message.qos = Qos::AtLeastOnce;
        self.publisher.publish(&mut vec![message], CONNECT_WAIT_MAX)
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
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
