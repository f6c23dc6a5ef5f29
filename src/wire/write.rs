//! Results and errors as JSON, appended to a buffer that the caller reuses.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::client::StagesMs;
use crate::detection::{CONTRIBUTIONS, State};
use crate::inference::{Caller, Refusal, Stages};

/// Which members a result carries beyond the six of the contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Members {
    /// `model`: the model's name.
    pub model: bool,
    /// `model_version`.
    pub model_version: bool,
    /// `anomaly`: whether the prediction is at or above the model's threshold.
    pub anomaly: bool,
    /// `stages_ms`: uplink, queue, batch, inference, downlink.
    pub stages_ms: bool,
    /// `placement`: where the answer was made.
    pub placement: bool,
    /// `network`: how often the simulated network had been changed.
    pub network: bool,
    /// `reason`: why it was made there; of a hybrid placement only.
    pub reason: bool,
    /// `state`: whether the device is `learning`, `normal` or in `alarm`; of a model that detects only, as
    /// are those that follow.
    pub state: bool,
    /// `tail_probability`: how probable it is that a normal row is as unusual or more so.
    pub tail_probability: bool,
    /// `alarm_threshold`: the tail probability at and below which a row counts.
    pub alarm_threshold: bool,
    /// `contributions`: the features that contributed most, with their shares.
    pub contributions: bool,
}

/// Where it stands whether a member is carried.
type Member = fn(&mut Members) -> &mut bool;

impl Members {
    /// Every one with its name, on the wire and in settings.
    pub const NAMES: &[(&str, Member)] = &[
        ("model", |members| &mut members.model),
        ("model_version", |members| &mut members.model_version),
        ("anomaly", |members| &mut members.anomaly),
        ("stages_ms", |members| &mut members.stages_ms),
        ("placement", |members| &mut members.placement),
        ("network", |members| &mut members.network),
        ("reason", |members| &mut members.reason),
        ("state", |members| &mut members.state),
        ("tail_probability", |members| &mut members.tail_probability),
        ("alarm_threshold", |members| &mut members.alarm_threshold),
        ("contributions", |members| &mut members.contributions),
    ];
}

/// Everything a result can say; `None` leaves an optional member out.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The model's probability in `[0, 1]`.
    pub prediction: f32,
    /// The forward pass this request was part of, measured.
    pub inference: Duration,
    /// The delay that the simulated network decided for it, both ways.
    pub network: Duration,
    /// From arrival at the node to the result leaving, measured.
    pub total: Duration,
    /// The model's name.
    pub model: Option<&'a str>,
    /// The model's version.
    pub model_version: Option<&'a str>,
    /// Whether the prediction is at or above the threshold.
    pub anomaly: Option<bool>,
    /// Where the answer was made.
    pub placement: Option<&'a str>,
    /// Why it was made there.
    pub reason: Option<&'a str>,
    /// How long each stage took, measured.
    pub stages: Option<Stages>,
    /// The number of the simulated network that the request met.
    pub network_revision: Option<u64>,
    /// That of the one that the answer met, where it is another.
    pub network_back_revision: Option<u64>,
    /// What its device is in.
    pub state: Option<State>,
    /// How probable it is that a normal row is as unusual or more so.
    pub tail_probability: Option<f32>,
    /// The tail probability at and below which a row counts.
    pub alarm_threshold: Option<f32>,
    /// The features that contributed most.
    pub contributions: Option<Contributions<'a>>,
}

/// Features with their shares in a score, the largest first; those without a share are left out.
#[derive(Debug, Clone, Copy)]
pub struct Contributions<'a> {
    /// The names of all features.
    pub names: &'a [String],
    /// The number of a feature, and its share.
    pub shares: [(u16, f32); CONTRIBUTIONS],
}

/// An object whose members are features.
impl Serialize for Contributions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = |(feature, share): (u16, f32)| Some((self.names.get(usize::from(feature))?, share));
        serializer.collect_map(self.shares.into_iter().filter(|(_, share)| *share > 0.0).filter_map(named))
    }
}

/// Appends the result for `caller` to `json`.
pub fn write_result(json: &mut Vec<u8>, caller: &Caller, answer: &Answer<'_>) {
    let stages_ms = answer.stages.map(|stages| StagesMs {
        uplink: milliseconds(stages.uplink),
        queue: milliseconds(stages.queue),
        batch: milliseconds(stages.batch),
        inference: milliseconds(stages.inference),
        downlink: milliseconds(stages.downlink),
    });
    let body = ResultBody {
        device_id: caller.device_id.as_ref().map(|id| id.as_str()),
        timestamp_us: caller.timestamp_us,
        prediction: answer.prediction,
        inference_time_ms: milliseconds(answer.inference),
        cloud_latency_ms: milliseconds(answer.network),
        total_latency_ms: milliseconds(answer.total),
        request_id: caller.request_id.as_deref(),
        model: answer.model,
        model_version: answer.model_version,
        anomaly: answer.anomaly,
        placement: answer.placement,
        network: answer.network_revision,
        network_back: answer.network_back_revision,
        reason: answer.reason,
        stages_ms,
        state: answer.state.map(State::as_str),
        tail_probability: answer.tail_probability,
        alarm_threshold: answer.alarm_threshold,
        contributions: answer.contributions,
    };
    append(json, &body);
}

/// Appends the error for `caller` to `json`.
pub fn write_error(json: &mut Vec<u8>, caller: &Caller, refusal: &Refusal) {
    let body = ErrorBody {
        device_id: caller.device_id.as_ref().map(|id| id.as_str()),
        timestamp_us: caller.timestamp_us,
        request_id: caller.request_id.as_deref(),
        code: refusal.code.as_str(),
        error: &refusal.message,
        retryable: refusal.retryable,
    };
    append(json, &body);
}

fn append(json: &mut Vec<u8>, body: &impl Serialize) {
    serde_json::to_writer(json, body)
        .expect("plain structs of numbers and strings always serialise to memory");
}

/// Milliseconds with nanosecond digits: exact in an f64 for any time a request can take.
fn milliseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

#[derive(Serialize)]
struct ResultBody<'a> {
    device_id: Option<&'a str>,
    timestamp_us: Option<i64>,
    prediction: f32,
    inference_time_ms: f64,
    cloud_latency_ms: f64,
    total_latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anomaly: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_back: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages_ms: Option<StagesMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail_probability: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm_threshold: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contributions: Option<Contributions<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    device_id: Option<&'a str>,
    timestamp_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    code: &'static str,
    error: &'a str,
    retryable: bool,
}
