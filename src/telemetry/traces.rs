//! Traces to an OpenTelemetry collector: a span for each request.
//!
//! Everything about them is set by OpenTelemetry's own environment variables: where
//! they go, how many are sampled, and how many may wait to be sent
//! (`OTEL_BSP_MAX_QUEUE_SIZE`, 2,048; what comes beyond that is dropped).

use std::io::IsTerminal;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Lines, LogFormat, TelemetryError, WriteLine};

/// Either of them turns traces on.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Where requests have their spans, at debug.
const SPANS: &str = "nearfar::deployment";

/// Sends spans from a thread of its own; the last ones when it is dropped.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// To the collector that the environment names; none where it names none.
    ///
    /// # Errors
    /// [`TelemetryError::Traces`] when the collector's address cannot be used.
    pub fn from_environment() -> Result<Option<Self>, TelemetryError> {
        if ENDPOINTS.iter().all(|name| std::env::var_os(name).is_none_or(|value| value.is_empty())) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| TelemetryError::Traces(error.to_string()))?;
        let mut resource = Resource::builder();
        if std::env::var_os(SERVICE_NAME).is_none() {
            resource = resource.with_service_name("nearfar");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self { provider }))
    }

    /// Starts logging and sending. Requests have spans then, whatever is logged.
    pub fn subscribe(&self, filter: Targets, format: LogFormat, write: WriteLine) {
        let logs = tracing_subscriber::fmt::layer().with_writer(move || Lines(write));
        let logs = match format {
            LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => logs.json().boxed(),
        };
        let spans = tracing_opentelemetry::layer().with_tracer(self.provider.tracer("nearfar"));
        let ours = Targets::new().with_target(SPANS, Level::DEBUG);
        let subscriber =
            tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans.with_filter(ours));
        // An application that embeds this library may have its own subscriber; then that one stays.
        if subscriber.try_init().is_err() {
            tracing::debug!("logging was started before");
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// See [`super::continue_trace`].
pub fn set_parent(span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) {
    if traceparent.is_none() || span.is_disabled() {
        return;
    }
    let context = TraceContextPropagator::new().extract(&Headers { traceparent, tracestate });
    if let Err(error) = span.set_parent(context) {
        tracing::trace!(?error, "a request's trace is not continued");
    }
}

/// The two headers of W3C Trace Context.
struct Headers<'a> {
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent,
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
