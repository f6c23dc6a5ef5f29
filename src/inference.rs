//! The vocabulary of inference: a request, what became of it, how long each stage took.
//!
//! Plain data: nothing here knows JSON, MQTT, candle or tokio.

mod prediction;
mod site;
mod whole;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use compact_str::CompactString;

pub use self::prediction::{Author, Authored, Outcome, Prediction};
pub use self::site::{Decision, PerSite, Reason, Site};
pub use self::whole::whole_number;

/// The longest device id, in bytes of UTF-8.
pub const DEVICE_ID_BYTES_MAX: usize = 128;
/// The longest request id, in bytes of UTF-8.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// A device's name, fit to stand as one level of a topic.
///
/// 1 to 128 bytes of UTF-8 without `/`, `+`, `#`, NUL or control characters, not
/// starting with `$`: anything else would let one device write to another's topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceId(CompactString);

impl DeviceId {
    /// Takes `name` as a device id, or says why it cannot be one.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Refusal> {
        let name = name.as_ref();
        let problem = if name.is_empty() {
            "device_id is empty".to_owned()
        } else if name.len() > DEVICE_ID_BYTES_MAX {
            format!("device_id has {} bytes, at most {DEVICE_ID_BYTES_MAX} are allowed", name.len())
        } else if name.starts_with('$') {
            "device_id starts with '$', which MQTT reserves".to_owned()
        } else if let Some(bad) = name.chars().find(|c| matches!(c, '/' | '+' | '#') || c.is_control()) {
            format!("device_id contains {bad:?}, which cannot stand in a topic level")
        } else {
            return Ok(Self(name.into()));
        };
        Err(Refusal::new(ErrorCode::InvalidDeviceId, problem))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What identifies a request to its sender; echoed in every answer. Each part is what could be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caller {
    /// Absent only when no usable device id could be read.
    pub device_id: Option<DeviceId>,
    /// Microseconds on the device's own clock.
    pub timestamp_us: Option<i64>,
    /// The sender's own name for the request.
    pub request_id: Option<String>,
}

/// Of whom a row is, and of when: what a model goes by that remembers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// The device; absent for nobody in particular.
    pub device: Option<DeviceId>,
    /// Microseconds on the device's own clock, where it says so.
    pub timestamp_us: Option<i64>,
}

/// One valid request: as many finite numbers as the model has inputs, in the units
/// the model's `config.json` names.
///
/// Numbers alone are a request of nobody in particular; of whom it is, and how urgent, is said beside them:
/// ```
/// use nearfar::inference::{DeviceId, Request, Urgency};
///
/// let anybody = Request::from([0.5; 32]);
/// let press = Request::new([0.5; 32]).of(DeviceId::new("press-7")?).urgent(Urgency::High);
/// assert_eq!(press.features, anybody.features);
/// # Ok::<(), nearfar::inference::Refusal>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Who asks.
    pub caller: Caller,
    /// The model's input.
    pub features: Vec<f32>,
    /// How urgent it says it is, where it says so in a word that is known.
    pub urgency: Option<Urgency>,
}

impl Request {
    /// A request of nobody in particular.
    pub fn new(features: impl Into<Vec<f32>>) -> Self {
        Self { features: features.into(), ..Self::default() }
    }

    /// The request as one of `device`, whose requests have their turn among those of others, and their order.
    pub fn of(mut self, device: DeviceId) -> Self {
        self.caller.device_id = Some(device);
        self
    }

    /// The request, as urgent as it says.
    pub fn urgent(self, urgency: Urgency) -> Self {
        Self { urgency: Some(urgency), ..self }
    }
}

/// A request of nobody in particular.
impl From<Vec<f32>> for Request {
    fn from(features: Vec<f32>) -> Self {
        Self::new(features)
    }
}

/// A request of nobody in particular.
impl From<&Vec<f32>> for Request {
    fn from(features: &Vec<f32>) -> Self {
        Self::new(features.as_slice())
    }
}

/// A request of nobody in particular.
impl From<&[f32]> for Request {
    fn from(features: &[f32]) -> Self {
        Self::new(features)
    }
}

/// A request of nobody in particular.
impl<const N: usize> From<[f32; N]> for Request {
    fn from(features: [f32; N]) -> Self {
        Self::new(features)
    }
}

/// A request of nobody in particular.
impl<const N: usize> From<&[f32; N]> for Request {
    fn from(features: &[f32; N]) -> Self {
        Self::new(*features)
    }
}

/// How urgent a request says it is, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// It may take its time.
    Low,
    /// It is like most requests.
    Normal,
    /// An answer is wanted soon.
    High,
    /// An answer is wanted as soon as can be.
    Critical,
}

impl Urgency {
    /// Every urgency, in rising order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];
    /// Every one with its word, on the wire and in settings.
    pub const NAMES: &[(&str, Self)] =
        &[("low", Self::Low), ("normal", Self::Normal), ("high", Self::High), ("critical", Self::Critical)];

    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The urgency that `word` stands for, if it is one of the four.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|urgency| urgency.as_str() == word)
    }
}

/// Why a request got no prediction. The names on the wire are a contract with clients.
///
/// ```
/// use nearfar::inference::{ErrorCode, Refusal};
///
/// let refusal = Refusal::new(ErrorCode::Overloaded, "the queue is full");
/// let wait = match refusal.code {
///     ErrorCode::Overloaded | ErrorCode::ModelNotReady => true,
///     code => code.retryable(),
/// };
/// assert!(wait && refusal.retryable);
/// assert_eq!("OVERLOADED".parse(), Ok(ErrorCode::Overloaded));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// Not UTF-8, not JSON, wrong types, nesting or size over the limit.
    InvalidJson,
    /// Missing, empty or not fit for a topic level.
    InvalidDeviceId,
    /// Features missing or of another length than the model's inputs.
    ShapeMismatch,
    /// NaN, infinite, or beyond f32; or the model's output is not finite.
    NonFinite,
    /// No model can answer now: the node stops, or every worker hangs and none could be replaced.
    ModelNotReady,
    /// The bounded queue is full.
    Overloaded,
    /// The request's deadline passed before its batch started.
    DeadlineExceeded,
    /// A newer request of its device came while it waited, and the queue's policy is to keep the newest.
    Superseded,
    /// The simulated network dropped it.
    NetworkLost,
    /// The placement it was routed to cannot be reached.
    UpstreamUnavailable,
    /// A fault of ours; logged with the cause.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of the wire contract.
    pub const ALL: [Self; 11] = [
        Self::InvalidJson,
        Self::InvalidDeviceId,
        Self::ShapeMismatch,
        Self::NonFinite,
        Self::ModelNotReady,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::Superseded,
        Self::NetworkLost,
        Self::UpstreamUnavailable,
        Self::Internal,
    ];

    /// The code's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidDeviceId => "INVALID_DEVICE_ID",
            Self::ShapeMismatch => "SHAPE_MISMATCH",
            Self::NonFinite => "NON_FINITE",
            Self::ModelNotReady => "MODEL_NOT_READY",
            Self::Overloaded => "OVERLOADED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Superseded => "SUPERSEDED",
            Self::NetworkLost => "NETWORK_LOST",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether a request that is refused so may succeed when it is sent again; a [`Refusal`] may know better.
    pub fn retryable(self) -> bool {
        match self {
            Self::InvalidJson
            | Self::InvalidDeviceId
            | Self::ShapeMismatch
            | Self::NonFinite
            | Self::Superseded => false,
            Self::ModelNotReady
            | Self::Overloaded
            | Self::DeadlineExceeded
            | Self::NetworkLost
            | Self::UpstreamUnavailable
            | Self::Internal => true,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The code that a name on the wire stands for.
impl FromStr for ErrorCode {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        let named = Self::ALL.into_iter().find(|code| code.as_str() == name);
        named.ok_or_else(|| UnknownCode(name.to_owned()))
    }
}

/// A name that no [`ErrorCode`] has: of another version, or none at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found the error code {0:?}, expected one of {known}", known = ErrorCode::ALL.map(ErrorCode::as_str).join(", "))]
pub struct UnknownCode(pub String);

/// A request's end without a prediction: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The machine's half.
    pub code: ErrorCode,
    /// What was wrong, where, and what was expected.
    pub message: String,
    /// Whether the same request may succeed when it is sent again.
    pub retryable: bool,
}

impl Refusal {
    /// A refusal with `code`, explained by `message`; whether it may be otherwise the
    /// next time, the code says.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: code.retryable() }
    }

    /// A refusal with `code` of a request that would be refused again.
    pub fn permanent(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { retryable: false, ..Self::new(code, message) }
    }
}

/// How long a request spent where, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// On the simulated way to the model.
    pub uplink: Duration,
    /// Waiting for the worker.
    pub queue: Duration,
    /// From leaving the queue to the forward pass: forming the batch.
    pub batch: Duration,
    /// The forward pass that the request was part of.
    pub inference: Duration,
    /// On the simulated way back.
    pub downlink: Duration,
}
