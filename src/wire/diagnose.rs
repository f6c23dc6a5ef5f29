//! Why a payload that the fast path refused is no request, in the words of the wire contract.
//!
//! The slow path: it reads the whole payload into a JSON value, so that a device id
//! beside a broken member is still found and the error reaches its device.

use std::borrow::Cow;

use serde_json::Value;

use super::parse::{Draft, MEMBERS, Rejected, accept};
use crate::inference::{Caller, DeviceId, ErrorCode, Refusal, whole_number};
use crate::text;

/// The error for `payload`, which the fast path refused with `cause`.
pub fn diagnose(
    payload: &[u8],
    inputs: usize,
    device: Option<&DeviceId>,
    cause: &serde_json::Error,
) -> Rejected {
    let invalid = |caller: Caller, message: String| Rejected {
        caller,
        refusal: Refusal::new(ErrorCode::InvalidJson, message),
    };
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("payload is not UTF-8 at byte {}", error.valid_up_to());
            return invalid(Caller::default(), message);
        }
    };
    let (finite, infinite) = without_non_finite(text);
    let members = match serde_json::from_str(&finite) {
        Ok(Value::Object(members)) => members,
        Ok(other) => {
            let message = format!("expected an object with {}, found {}", MEMBERS.join(", "), kind(&other));
            return invalid(Caller::default(), message);
        }
        Err(_) => return invalid(Caller::default(), no_json(cause)),
    };
    let caller = readable_caller(&members);
    match draft(&members) {
        Err(message) => invalid(caller, message),
        Ok(draft) => match (accept(draft, inputs, device), infinite) {
            (Err(rejected), _) => *rejected,
            (Ok(_), Some(token)) => Rejected {
                caller,
                refusal: Refusal::new(ErrorCode::NonFinite, format!("{token} is not a finite f32")),
            },
            // The value is sound, so the text is not: a member stands in it twice, for example.
            (Ok(_), None) => invalid(caller, no_json(cause)),
        },
    }
}

fn no_json(cause: &serde_json::Error) -> String {
    format!("payload is not valid JSON: {}", text::in_plain_words(&cause.to_string()))
}

/// What can be read of who sent it, whatever is wrong with the rest.
fn readable_caller(members: &serde_json::Map<String, Value>) -> Caller {
    Caller {
        device_id: members.get("device_id").and_then(Value::as_str).and_then(|name| DeviceId::new(name).ok()),
        timestamp_us: members.get("timestamp_us").and_then(microseconds),
        request_id: None,
    }
}

/// The members, or the sentence that says which has a wrong type.
fn draft(members: &serde_json::Map<String, Value>) -> Result<Draft<'_>, String> {
    let member = |name: &str| members.get(name).filter(|value| !value.is_null());
    let text = |name: &str| match member(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(Cow::Borrowed(text.as_str()))),
        Some(other) => Err(format!("{name} must be a string, found {}", kind(other))),
    };
    let timestamp_us = match member("timestamp_us") {
        None => None,
        Some(value) => Some(microseconds(value).ok_or_else(|| {
            let found = if value.is_number() { value.to_string() } else { kind(value).to_owned() };
            format!("timestamp_us must be a whole number of microseconds within 64 bits, found {found}")
        })?),
    };
    let features = match member("features") {
        None => None,
        Some(Value::Array(values)) => Some(numbers(values)?),
        Some(other) => return Err(format!("features must be an array of numbers, found {}", kind(other))),
    };
    let (device_id, request_id) = (text("device_id")?, text("request_id")?);
    Ok(Draft { device_id, timestamp_us, request_id, features, urgency: None })
}

fn microseconds(value: &Value) -> Option<i64> {
    value.is_number().then(|| whole_number(&value.to_string()))?
}

fn numbers(values: &[Value]) -> Result<Vec<f32>, String> {
    let number = |(at, value): (usize, &Value)| match value.as_f64() {
        Some(number) => Ok(number as f32),
        None => Err(format!("features[{at}] must be a number, found {}", kind(value))),
    };
    values.iter().enumerate().map(number).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `text` with every bare token that is a number but not a finite one replaced by 0,
/// and the first such token.
///
/// Python's and JavaScript's encoders write `NaN`, `Infinity` and `-Infinity`, which
/// JSON does not have, and any encoder may write `1e999`. Clients are owed the right
/// code for them, so they are told apart from plain bad JSON here.
fn without_non_finite(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let mut clean = String::new();
    let mut first = None;
    let mut copied = 0;
    for token in bare_tokens(text) {
        let word = &text[token.clone()];
        let non_finite =
            matches!(word, "NaN" | "nan" | "Infinity" | "-Infinity" | "inf" | "-inf") || overflows(word);
        if non_finite {
            clean.push_str(&text[copied..token.start]);
            clean.push('0');
            copied = token.end;
            first.get_or_insert(word);
        }
    }
    if first.is_none() {
        return (Cow::Borrowed(text), None);
    }
    clean.push_str(&text[copied..]);
    (Cow::Owned(clean), first)
}

fn overflows(word: &str) -> bool {
    word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && word.parse::<f64>().is_ok_and(|number| number.is_infinite())
}

/// The ranges of everything outside strings that is not punctuation or space.
fn bare_tokens(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            match bytes[at] {
                b'"' => at = end_of_string(bytes, at),
                byte if is_bare(byte) => {
                    let start = at;
                    at += bytes[at..].iter().take_while(|byte| is_bare(**byte)).count();
                    return Some(start..at);
                }
                _ => at += 1,
            }
        }
        None
    })
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// The position behind the string that opens at `start`; the end of the text when it never closes.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
