//! A request payload becomes a [`Request`], in one pass and without copying what is not kept.
//!
//! Nearly all are in the plain form, which is [read](super::plain) in a third of the
//! time. The others are read by serde_json, which here only accepts; when it fails,
//! [`diagnose`](super::diagnose) looks again to say what was wrong.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::diagnose::diagnose;
use super::plain;
use crate::inference::{
    Caller, DeviceId, ErrorCode, REQUEST_ID_BYTES_MAX, Refusal, Request, Urgency, whole_number,
};

/// The bounds on a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload read, in bytes. Default 256 KiB: more than 10,000 features.
    pub payload_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload_bytes_max: 256 * 1024 }
    }
}

/// A payload that is no valid request: why, and what could be read of who sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Each part that could be read.
    pub caller: Caller,
    /// The error to answer with.
    pub refusal: Refusal,
}

/// Reads a request for a model with `inputs` features.
///
/// # Errors
/// [`Rejected`] with `INVALID_JSON`, `INVALID_DEVICE_ID`, `SHAPE_MISMATCH` or `NON_FINITE`, carrying
/// whatever of the caller could be read, so that the error reaches the device it belongs to.
pub fn parse_request(payload: &[u8], inputs: usize, limits: Limits) -> Result<Request, Box<Rejected>> {
    parse(payload, inputs, limits, None)
}

/// Reads a request where it is known which device asks: the payload must say so too, or say nothing.
///
/// # Errors
/// [`Rejected`] as [`parse_request`] has it, and with `INVALID_DEVICE_ID` when the payload names another
/// device. The error is always `device`'s.
pub fn parse_request_of(
    device: &DeviceId,
    payload: &[u8],
    inputs: usize,
    limits: Limits,
) -> Result<Request, Box<Rejected>> {
    parse(payload, inputs, limits, Some(device)).map_err(|mut rejected| {
        // Whatever it says, it must not put an error before another device.
        rejected.caller.device_id = Some(device.clone());
        rejected
    })
}

fn parse(
    payload: &[u8],
    inputs: usize,
    limits: Limits,
    device: Option<&DeviceId>,
) -> Result<Request, Box<Rejected>> {
    if payload.len() > limits.payload_bytes_max {
        let message = format!(
            "payload has {} bytes, at most {} are allowed (payload_bytes_max)",
            payload.len(),
            limits.payload_bytes_max
        );
        let refusal = Refusal::new(ErrorCode::InvalidJson, message);
        return Err(Box::new(Rejected { caller: Caller::default(), refusal }));
    }
    if let Some(draft) = plain::read(payload, inputs) {
        return accept(draft, inputs, device);
    }
    match serde_json::from_slice::<Draft<'_>>(payload) {
        Ok(draft) => accept(draft, inputs, device),
        Err(error) => Err(Box::new(diagnose(payload, inputs, device, &error))),
    }
}

/// The members as they stand in the payload, their types right, their values unchecked.
#[derive(Debug, Default, PartialEq)]
pub struct Draft<'a> {
    pub device_id: Option<Cow<'a, str>>,
    pub timestamp_us: Option<i64>,
    pub request_id: Option<Cow<'a, str>>,
    pub features: Option<Vec<f32>>,
    pub urgency: Option<Urgency>,
}

/// Its own name is in the error's `device_id`.
const OTHER_DEVICE: &str = "device_id must be the sender's own name here, or be left out";

/// Checks the values, device id first: it decides whom an error reaches.
pub fn accept(draft: Draft<'_>, inputs: usize, device: Option<&DeviceId>) -> Result<Request, Box<Rejected>> {
    let (device_id, unusable) = match draft.device_id {
        Some(name) if device.is_some_and(|device| device.as_str() != name) => {
            (None, Some(Refusal::new(ErrorCode::InvalidDeviceId, OTHER_DEVICE)))
        }
        _ if device.is_some() => (device.cloned(), None),
        Some(name) => match DeviceId::new(name) {
            Ok(id) => (Some(id), None),
            Err(refusal) => (None, Some(refusal)),
        },
        None => (None, Some(Refusal::new(ErrorCode::InvalidDeviceId, "device_id is missing"))),
    };
    let mut caller = Caller { device_id, timestamp_us: draft.timestamp_us, request_id: None };
    if let Some(refusal) = unusable {
        return Err(Box::new(Rejected { caller, refusal }));
    }
    if let Some(id) = draft.request_id {
        if id.len() > REQUEST_ID_BYTES_MAX {
            let message =
                format!("request_id has {} bytes, at most {REQUEST_ID_BYTES_MAX} are allowed", id.len());
            return Err(Box::new(Rejected {
                caller,
                refusal: Refusal::new(ErrorCode::InvalidJson, message),
            }));
        }
        caller.request_id = Some(id.into_owned());
    }
    match check_features(draft.features, inputs) {
        Ok(features) => Ok(Request { caller, features, urgency: draft.urgency }),
        Err(refusal) => Err(Box::new(Rejected { caller, refusal })),
    }
}

fn check_features(features: Option<Vec<f32>>, inputs: usize) -> Result<Vec<f32>, Refusal> {
    let Some(features) = features else {
        let message = format!("features are missing, expected {inputs} numbers");
        return Err(Refusal::new(ErrorCode::ShapeMismatch, message));
    };
    if features.len() != inputs {
        let message = format!("expected {inputs} features, got {}", features.len());
        return Err(Refusal::new(ErrorCode::ShapeMismatch, message));
    }
    match features.iter().position(|value| !value.is_finite()) {
        None => Ok(features),
        Some(at) => {
            let message = format!("features[{at}] is beyond f32 (largest magnitude {:e})", f32::MAX);
            Err(Refusal::new(ErrorCode::NonFinite, message))
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Draft<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor)
    }
}

struct DraftVisitor;

impl<'de> Visitor<'de> for DraftVisitor {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with device_id, timestamp_us and features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft<'de>, A::Error> {
        let mut draft = Draft::default();
        let mut seen = [false; 4];
        let mut once = |member: usize| match std::mem::replace(&mut seen[member], true) {
            true => Err(A::Error::custom(format_args!("member {:?} appears twice", MEMBERS[member]))),
            false => Ok(()),
        };
        while let Some(Text(name)) = map.next_key()? {
            match MEMBERS.iter().position(|member| *member == name) {
                Some(DEVICE_ID) => {
                    once(DEVICE_ID)?;
                    draft.device_id = map.next_value::<Option<Text<'de>>>()?.map(|t| t.0);
                }
                Some(TIMESTAMP_US) => {
                    once(TIMESTAMP_US)?;
                    draft.timestamp_us = microseconds(map.next_value::<&RawValue>()?.get())?;
                }
                Some(FEATURES) => {
                    once(FEATURES)?;
                    draft.features = map.next_value::<Option<Features>>()?.map(|f| f.0);
                }
                Some(REQUEST_ID) => {
                    once(REQUEST_ID)?;
                    draft.request_id = map.next_value::<Option<Text<'de>>>()?.map(|t| t.0);
                }
                None if name == URGENCY => {
                    draft.urgency = map.next_value::<Skipped>()?.0;
                }
                _ => {
                    map.next_value::<Skipped>()?;
                }
            }
        }
        Ok(draft)
    }
}

/// A time as it stands in the payload: digits decide, for a float has not room for all of them.
fn microseconds<E: Error>(text: &str) -> Result<Option<i64>, E> {
    match text {
        "null" => Ok(None),
        _ => whole_number(text)
            .map(Some)
            .ok_or_else(|| E::custom("timestamp_us must be a whole number of microseconds within 64 bits")),
    }
}

pub const MEMBERS: [&str; 4] = ["device_id", "timestamp_us", "features", "request_id"];
pub const DEVICE_ID: usize = 0;
pub const TIMESTAMP_US: usize = 1;
pub const FEATURES: usize = 2;
pub const REQUEST_ID: usize = 3;
/// Not one of them: whatever stands there, the request is valid, as it was before the member had a meaning.
const URGENCY: &str = "urgency";

/// A string, borrowed from the payload unless it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Features(Vec<f32>);

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FeaturesVisitor)
    }
}

struct FeaturesVisitor;

/// What most models take; the vector grows when a request holds more.
const FEATURES_EXPECTED: usize = 32;

impl<'de> Visitor<'de> for FeaturesVisitor {
    type Value = Features;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Features, A::Error> {
        let mut features = Vec::with_capacity(FEATURES_EXPECTED);
        // Read as f64 and rounded once more, which is how numpy and PyTorch turn a Python float into f32.
        while let Some(value) = values.next_element::<f64>()? {
            features.push(value as f32);
        }
        Ok(Features(features))
    }
}

/// A member that may be anything. Walked rather than skipped, so that the nesting limit
/// and UTF-8 hold in it too. Of what stands there only a word for an urgency is kept.
struct Skipped(Option<Urgency>);

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Skipped(None))
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Skipped;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Skipped, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Skipped, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Skipped, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Skipped, E> {
        Ok(self)
    }

    fn visit_str<E>(self, text: &str) -> Result<Skipped, E> {
        Ok(Skipped(Urgency::named(text)))
    }

    fn visit_unit<E>(self) -> Result<Skipped, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Skipped, A::Error> {
        while values.next_element::<Skipped>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Skipped, A::Error> {
        while members.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(self)
    }
}
