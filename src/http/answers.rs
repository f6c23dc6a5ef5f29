//! The routes: what is answered to which request.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tracing::error;

use super::exposition;
use super::process::Process;
use super::refusals::Refusals;
use crate::node::{Observer, Readiness};

/// Whether the process should go on: status 200, or 503 when a restart helps: it has
/// failed, or makes no progress.
pub const LIVE: &str = "/health/live";
/// Whether requests are answered: status 200, or 503 with the reason.
pub const READY: &str = "/health/ready";
/// Everything that is counted, in Prometheus' text format.
pub const METRICS: &str = "/metrics";

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

type Answer = Response<Full<Bytes>>;

/// Answers `request`, whose body is not read.
pub fn answer<B>(request: &Request<B>, observer: &Observer, refusals: &Refusals) -> Answer {
    let tell: fn(&Observer, &Refusals) -> Answer = match request.uri().path() {
        "/" => |_, _| plain(StatusCode::OK, index()),
        LIVE => |observer, _| live(observer),
        READY => |observer, _| ready(observer),
        METRICS => metrics,
        _ => {
            let known = format!("there is nothing here; there are {LIVE}, {READY} and {METRICS}\n");
            return plain(StatusCode::NOT_FOUND, known);
        }
    };
    // A HEAD is answered as a GET would be, without the content, which hyper leaves out (RFC 9110, section
    // 9.3.2).
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return tell(observer, refusals);
    }
    let mut refused =
        plain(StatusCode::METHOD_NOT_ALLOWED, "this can only be read: GET or HEAD\n".to_owned());
    // A 405 has to say what is allowed (RFC 9110, section 15.5.6).
    refused.headers_mut().insert(ALLOW, METHODS);
    refused
}

fn index() -> String {
    format!(
        "nearfar {}\n\n\
         {LIVE}   200 while the process should go on, 503 when a restart helps\n\
         {READY}  200 while requests are answered, otherwise 503 and the reason\n\
         {METRICS}       everything that is counted, in Prometheus' text format\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn live(observer: &Observer) -> Answer {
    match observer.readiness() {
        Readiness::Ready | Readiness::NotReady(_) => plain(StatusCode::OK, "alive\n".to_owned()),
        lasting => unavailable(&lasting),
    }
}

fn ready(observer: &Observer) -> Answer {
    match observer.readiness() {
        Readiness::Ready => plain(StatusCode::OK, "ready\n".to_owned()),
        not_ready => unavailable(&not_ready),
    }
}

fn unavailable(readiness: &Readiness) -> Answer {
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{readiness}\n"))
}

fn metrics(observer: &Observer, refusals: &Refusals) -> Answer {
    match exposition::text(&observer.snapshot(), refusals, Process::this().as_ref()) {
        Ok(text) => response(StatusCode::OK, EXPOSITION, text),
        Err(cause) => {
            error!(%cause, "metrics cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be written: {cause}\n"))
        }
    }
}

fn plain(status: StatusCode, text: String) -> Answer {
    response(status, PLAIN, text)
}

fn response(status: StatusCode, content_type: HeaderValue, text: String) -> Answer {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    // A proxy that kept "alive" for a minute would hide a node that has failed (RFC 9111, section 5.2.2.5).
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}
