//! The asking side of the contract: a request as a client writes it, and an answer as it reads one.
//!
//! What each member means is on the page of the contract, `docs/wire.md`.

use serde::{Deserialize, Serialize};

use crate::inference::{ErrorCode, Refusal};

/// A request, as it stands in the payload of a message.
///
/// ```
/// use nearfar::wire::client::{AnswerBody, RequestBody};
///
/// let request = RequestBody { device_id: "pump-7", features: &[0.5; 32], ..RequestBody::default() };
/// assert!(request.to_json().starts_with(br#"{"device_id":"pump-7","timestamp_us":null,"features":[0.5,"#));
/// let answer = AnswerBody::parse(br#"{"device_id":"pump-7","timestamp_us":null,"prediction":0.85}"#)?;
/// assert_eq!(answer.prediction, Some(0.85));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RequestBody<'a> {
    /// Who asks: a level of the answer's topic.
    pub device_id: &'a str,
    /// When the values were measured, in microseconds on whatever clock the device has.
    pub timestamp_us: Option<i64>,
    /// What identifies the request in its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// How urgent the request is, in a word such as `high`, for a hybrid that goes by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<&'a str>,
    /// As many finite numbers as the model has inputs, in the units that the model names.
    pub features: &'a [f32],
}

impl RequestBody<'_> {
    /// The payload.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise to memory")
    }
}

/// A result or an error, as it stands in the payload of a message. A result has a `prediction`, an error a
/// `code`; a member that the payload does not have is `None`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AnswerBody {
    /// Who asked.
    pub device_id: Option<String>,
    /// When the values were measured, as the request said.
    pub timestamp_us: Option<i64>,
    /// What identifies the request, where it said that.
    pub request_id: Option<String>,
    /// The model's probability, from 0 to 1.
    pub prediction: Option<f32>,
    /// The forward pass that the request was part of, measured, in milliseconds.
    pub inference_time_ms: Option<f64>,
    /// The delay that the simulated network gave the request, there and back, in milliseconds.
    pub cloud_latency_ms: Option<f64>,
    /// From the request's arrival at the node to its result leaving, measured, in milliseconds.
    pub total_latency_ms: Option<f64>,
    /// How long each stage took, where the deployment tells that.
    pub stages_ms: Option<StagesMs>,
    /// The name of the model that answered, where the deployment tells that.
    pub model: Option<String>,
    /// The version of the model that answered, where the deployment tells that.
    pub model_version: Option<String>,
    /// Whether the prediction is at or above the model's threshold, where the deployment tells that.
    pub anomaly: Option<bool>,
    /// Where the answer was made, such as `edge`, where the deployment tells that.
    pub placement: Option<String>,
    /// Why a hybrid had the answer made there, in a word such as `deadline`, where the deployment tells that.
    pub reason: Option<String>,
    /// How often the simulated network had been changed when the request set out, where
    /// the deployment tells that.
    pub network: Option<u64>,
    /// How often the simulated network had been changed when the answer set out, where
    /// that is another number.
    pub network_back: Option<u64>,
    /// An error's code, such as `OVERLOADED`.
    pub code: Option<String>,
    /// What is wrong, for people.
    pub error: Option<String>,
    /// Whether the same request may succeed later, where this is an error.
    pub retryable: Option<bool>,
}

impl AnswerBody {
    /// Reads a payload. Members that are not known are ignored.
    ///
    /// # Errors
    /// When it is not JSON, or a member is of another type than the contract says.
    pub fn parse(payload: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(payload)
    }

    /// The prediction, or why there is none. A code of another version is [`ErrorCode::Internal`] here; its
    /// name is in [`code`](Self::code).
    ///
    /// # Errors
    /// The refusal that it is.
    pub fn outcome(&self) -> Result<f32, Refusal> {
        if let Some(prediction) = self.prediction {
            return Ok(prediction);
        }
        let code = self.code.as_deref().and_then(|code| code.parse().ok()).unwrap_or(ErrorCode::Internal);
        let message = self.error.as_deref().unwrap_or("the answer has no prediction and no error");
        let refusal = Refusal::new(code, message);
        Err(Refusal { retryable: self.retryable.unwrap_or(refusal.retryable), ..refusal })
    }
}

/// How long each stage of a request took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StagesMs {
    /// The simulated network to the model.
    pub uplink: f64,
    /// Waiting for the model.
    pub queue: f64,
    /// Putting a batch together.
    pub batch: f64,
    /// The forward pass that the request was part of.
    pub inference: f64,
    /// The simulated network back.
    pub downlink: f64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inference::{Caller, DeviceId, Stages};
    use crate::wire::{Answer, Limits, parse_request, write_error, write_result};

    fn caller() -> Caller {
        Caller { device_id: DeviceId::new("pump-7").ok(), timestamp_us: Some(-3), ..Caller::default() }
    }

    #[test]
    fn what_is_asked_here_is_read_there() {
        let request = RequestBody {
            device_id: "pump-7",
            timestamp_us: Some(5),
            request_id: Some("a"),
            urgency: Some("high"),
            features: &[0.1, -2.0],
        };
        let read = parse_request(&request.to_json(), 2, Limits::default()).unwrap();
        assert_eq!(read.caller.device_id.unwrap().as_str(), "pump-7");
        assert_eq!((read.caller.timestamp_us, read.caller.request_id.as_deref()), (Some(5), Some("a")));
        assert_eq!((read.features.as_slice(), read.urgency.is_some()), (&[0.1, -2.0][..], true));
        assert_eq!(
            RequestBody::default().to_json(),
            br#"{"device_id":"","timestamp_us":null,"features":[]}"#
        );
    }

    #[test]
    fn every_member_of_a_result_is_read() {
        let ms = Duration::from_millis;
        let stages = Stages { uplink: ms(1), queue: ms(2), batch: ms(3), inference: ms(4), downlink: ms(5) };
        let answer = Answer {
            prediction: 0.5,
            inference: ms(4),
            network: ms(6),
            total: ms(15),
            model: Some("m"),
            model_version: Some("1"),
            anomaly: Some(true),
            placement: Some("edge"),
            reason: Some("deadline"),
            stages: Some(stages),
            network_revision: Some(1),
            network_back_revision: Some(2),
            state: None,
            tail_probability: None,
            alarm_threshold: None,
            contributions: None,
        };
        let mut json = Vec::new();
        write_result(&mut json, &caller(), &answer);
        let text = |text: &str| Some(text.to_owned());
        let expected = AnswerBody {
            device_id: text("pump-7"),
            timestamp_us: Some(-3),
            prediction: Some(0.5),
            inference_time_ms: Some(4.0),
            cloud_latency_ms: Some(6.0),
            total_latency_ms: Some(15.0),
            stages_ms: Some(StagesMs { uplink: 1.0, queue: 2.0, batch: 3.0, inference: 4.0, downlink: 5.0 }),
            model: text("m"),
            model_version: text("1"),
            anomaly: Some(true),
            placement: text("edge"),
            reason: text("deadline"),
            network: Some(1),
            network_back: Some(2),
            ..AnswerBody::default()
        };
        assert_eq!(AnswerBody::parse(&json).unwrap(), expected);
        assert_eq!(expected.outcome(), Ok(0.5));
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let mut json = Vec::new();
        write_error(&mut json, &caller(), &Refusal::new(ErrorCode::Overloaded, "the queue is full"));
        let answer = AnswerBody::parse(&json).unwrap();
        assert_eq!((answer.prediction, answer.retryable), (None, Some(true)));
        assert_eq!(answer.outcome(), Err(Refusal::new(ErrorCode::Overloaded, "the queue is full")));
        assert_eq!(
            (answer.code.as_deref(), answer.error.as_deref()),
            (Some("OVERLOADED"), Some("the queue is full"))
        );
    }
}
