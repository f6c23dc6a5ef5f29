//! Context propagation: the trace that a request belongs to (W3C Trace Context), as MQTT 5 user properties
//! carry it.
//!
//! It goes from a request to its answer as it came: whether it means anything is for those who trace.

use tracing::Span;

use crate::mqtt::{Properties, UserProperties};
use crate::telemetry;

/// The names of the user properties, as the W3C's note on MQTT gives them.
const NAMES: [&str; 2] = [PARENT, STATE];
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// The longest value that goes back; the standard wants no more of a `tracestate`,
/// and a `traceparent` has 55 bytes.
const VALUE_BYTES_MAX: usize = 512;

/// The request's place in its trace.
pub fn parent(request: &Properties) -> Option<&str> {
    find(request, PARENT)
}

/// Makes `span` part of the trace that its request belongs to.
pub fn continue_in(span: &Span, request: &Properties) {
    if !span.is_disabled() {
        telemetry::continue_trace(span, find(request, PARENT), find(request, STATE));
    }
}

/// The user properties for its answer: each of the two at most once.
pub fn echoed(request: &Properties) -> UserProperties {
    NAMES.into_iter().filter_map(|name| Some((name, find(request, name)?))).collect()
}

fn find<'a>(request: &'a Properties, wanted: &str) -> Option<&'a str> {
    let mut pairs = request.user_properties.iter();
    let (_, value) = pairs.find(|&(name, value)| name == wanted && value.len() <= VALUE_BYTES_MAX)?;
    Some(value)
}
