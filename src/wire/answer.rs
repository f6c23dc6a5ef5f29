//! Knows an answer from a request, so that a node that is brought its own answers,
//! or another node's, does not answer them.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// No answer is longer; what is longer is not looked at.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What every answer has, and no request.
#[derive(Deserialize)]
struct Shape {
    features: Option<IgnoredAny>,
    prediction: Option<IgnoredAny>,
    inference_time_ms: Option<IgnoredAny>,
    cloud_latency_ms: Option<IgnoredAny>,
    total_latency_ms: Option<IgnoredAny>,
    code: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
    retryable: Option<IgnoredAny>,
}

impl Shape {
    fn is_result(&self) -> bool {
        self.prediction.is_some()
            && self.inference_time_ms.is_some()
            && self.cloud_latency_ms.is_some()
            && self.total_latency_ms.is_some()
    }

    fn is_error(&self) -> bool {
        self.code.is_some() && self.error.is_some() && self.retryable.is_some()
    }
}

/// Whether a payload is a result or an error, of this node or another one: it has
/// the members that all of them have, and no features.
///
/// Nothing else tells them from requests everywhere: a broker in between may be one of
/// MQTT 3.1.1, which carries no properties, and the answer may be that of another node.
pub fn is_answer(payload: &[u8]) -> bool {
    // Features come last in most requests, and nothing that ends so is an answer. This
    // is asked of every message, so it is quick.
    if payload.ends_with(b"]}") || payload.len() > ANSWER_BYTES_MAX {
        return false;
    }
    std::str::from_utf8(payload).is_ok_and(|text| !text.contains("\"features\":") && has_shape(text))
}

fn has_shape(text: &str) -> bool {
    serde_json::from_str(text)
        .is_ok_and(|shape: Shape| shape.features.is_none() && (shape.is_result() || shape.is_error()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inference::{Caller, DeviceId, ErrorCode, Refusal, Stages};
    use crate::wire::{Answer, write_error, write_result};

    fn result(full: bool) -> Vec<u8> {
        let time = Duration::from_millis(1);
        let answer = Answer {
            prediction: 0.5,
            inference: time,
            network: Duration::ZERO,
            total: time,
            model: full.then_some("m"),
            model_version: full.then_some("1"),
            anomaly: full.then_some(true),
            placement: full.then_some("edge"),
            reason: full.then_some("deadline"),
            stages: full.then(Stages::default),
            network_revision: full.then_some(1),
            network_back_revision: full.then_some(2),
            state: None,
            tail_probability: None,
            alarm_threshold: None,
            contributions: None,
        };
        let mut json = Vec::new();
        write_result(&mut json, &Caller::default(), &answer);
        json
    }

    #[test]
    fn every_answer_that_is_written_is_known() {
        assert!(is_answer(&result(false)) && is_answer(&result(true)));
        let device_id = DeviceId::new("features").ok();
        for caller in [Caller::default(), Caller { device_id, ..Caller::default() }] {
            for code in ErrorCode::ALL {
                let mut json = Vec::new();
                write_error(&mut json, &caller, &Refusal::new(code, "no \"features\", not [1]}"));
                assert!(is_answer(&json), "{}", String::from_utf8_lossy(&json));
            }
        }
    }

    #[test]
    fn what_asks_or_means_nothing_is_no_answer() {
        for payload in [
            r#"{"device_id":"a","features":[1]}"#,
            r#"{"features":[1],"device_id":"a"}"#,
            r#"{"features":[1],"prediction":1,"code":1,"error":"e","retryable":true}"#,
            r#"{"feat\u0075res":[1],"code":1,"error":"e","retryable":true}"#,
            r#"{"device_id":"a","prediction":1}"#,
            r#"{"device_id":"a","error":"e"}"#,
            r#"{"code":1,"error":"e","retryable":true"#,
            "[]",
            "",
        ] {
            assert!(!is_answer(payload.as_bytes()), "{payload}");
        }
        assert!(!is_answer(b"\xff"));
    }
}
