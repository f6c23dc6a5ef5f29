//! Where a request's answer goes: back over MQTT, or to whoever asks in this process (a future, or a thread
//! that waits).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::trace_context;
use crate::inference::{Author, Decision, ErrorCode, Prediction, Refusal, Stages};
use crate::mqtt::{Properties, Qos, Receipt};
use crate::sync::after;

/// Where an answer goes.
#[derive(Debug, Default)]
pub enum Reply {
    /// To nobody: a hybrid's leg, or a copy that the simulated network has made of a request that was
    /// asked in this process.
    #[default]
    Nobody,
    /// To the topics of the deployment, and what the request wants beside that.
    Mqtt(ReplyTo),
    /// To whoever waits for it in this process.
    Local(Waiter),
}

impl Reply {
    /// What it takes of memory beside itself.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Mqtt(reply_to) => reply_to.bytes(),
            Self::Nobody | Self::Local(_) => 0,
        }
    }

    /// What its sender knows a request by, over MQTT.
    pub fn correlation_data(&self) -> Option<&Bytes> {
        let Self::Mqtt(ReplyTo { properties, .. }) = self else { return None };
        properties.as_ref()?.correlation_data.as_ref()
    }

    /// Where the answer to a copy of the request goes. Its sender waits for the first alone.
    pub fn of_a_copy(&self) -> Self {
        match self {
            Self::Mqtt(ReplyTo { qos, properties, .. }) => {
                Self::Mqtt(ReplyTo { qos: *qos, properties: properties.clone(), receipt: None })
            }
            Self::Nobody | Self::Local(_) => Self::Nobody,
        }
    }

    /// Whether whoever asked has left. Nobody leaves over MQTT, where an answer may be for many.
    pub fn has_left(&self) -> bool {
        matches!(self, Self::Local(waiter) if waiter.0.is_closed())
    }
}

/// Where an answer goes beside its ordinary topic, and how.
#[derive(Debug, Default)]
pub struct ReplyTo {
    /// The request's own QoS, which its answer gets too.
    pub qos: Qos,
    /// MQTT 5 response topic, correlation data and trace: what the answer needs of the
    /// request's properties, and nothing else.
    pub properties: Option<Box<Properties>>,
    /// What its sender waits for.
    pub receipt: Option<Receipt>,
}

impl ReplyTo {
    /// For a request with these properties, of which it keeps what the answer needs: the
    /// request may be under way for long.
    pub fn new(qos: Qos, properties: Option<Box<Properties>>, receipt: Option<Receipt>) -> Self {
        let properties = properties.and_then(|mut own| {
            *own = Properties {
                response_topic: own.response_topic.take(),
                correlation_data: own.correlation_data.take(),
                // Correlation data goes back as it came (5.0, 4.10.1); other user properties are their
                // sender's, whose meaning in an answer nobody knows.
                user_properties: trace_context::echoed(&own),
                ..Properties::default()
            };
            (*own != Properties::default()).then_some(own)
        });
        Self { qos, properties, receipt }
    }

    fn bytes(&self) -> usize {
        let Some(own) = &self.properties else { return 0 };
        let topic = own.response_topic.as_ref().map_or(0, String::capacity);
        let correlation = own.correlation_data.as_ref().map_or(0, Bytes::len);
        size_of::<Properties>() + topic + correlation + own.user_properties.bytes()
    }
}

/// An answer to whoever asked in this process.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// What the model says, without any of the corrections that results on the wire may have.
    pub prediction: Prediction,
    /// Whose prediction it is.
    pub by: Arc<Author>,
    /// Which site of a hybrid answered, and why that; `None` where there is one site.
    pub decision: Option<Decision>,
    /// How long each stage took, measured.
    pub stages: Stages,
    /// The delay that the simulated network decided, both ways.
    pub network: Duration,
    /// From the question to its answer, measured.
    pub total: Duration,
}

/// The end at which an answer is given.
#[derive(Debug)]
pub struct Waiter(oneshot::Sender<Result<Answered, Refusal>>);

impl Waiter {
    /// Gives the answer, if whoever asked still waits.
    pub fn tell(self, said: Result<Answered, Refusal>) {
        self.0.send(said).ok();
    }
}

/// An answer that is to come, for a thread to [wait](Self::wait) for or for a task to await. It always comes:
/// should the deployment end before, as a refusal. Who drops it has left: the request ends all the
/// same, without the model if that has not begun with it.
#[must_use = "whoever drops it has left, and is not answered"]
pub struct Pending(oneshot::Receiver<Result<Answered, Refusal>>);

/// An answer that is to come: the end at which it is given, and the one at which it is waited for.
pub fn pending() -> (Waiter, Pending) {
    let (sender, receiver) = oneshot::channel();
    (Waiter(sender), Pending(receiver))
}

impl Pending {
    /// Waits on this thread, for at most so long, and leaves then. Async code awaits instead.
    ///
    /// # Errors
    /// The request's refusal; `DEADLINE_EXCEEDED` when there is no answer by then.
    pub fn wait(mut self, at_most: Duration) -> Result<Answered, Refusal> {
        let deadline = after(Instant::now(), at_most);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(said) = Pin::new(&mut self).poll(&mut context) {
                return said;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!("no answer within {at_most:?}");
                return Err(Refusal::new(ErrorCode::DeadlineExceeded, message));
            }
            thread::park_timeout(left);
        }
    }
}

impl Future for Pending {
    type Output = Result<Answered, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = |_| Err(Refusal::new(ErrorCode::ModelNotReady, "the deployment ended before its answer"));
        Pin::new(&mut self.0).poll(context).map(|said| said.unwrap_or_else(ended))
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("is_answered", &!self.0.is_empty()).finish()
    }
}

/// Wakes a thread that waits for an answer.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
