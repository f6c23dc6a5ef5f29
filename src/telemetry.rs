//! Logs: structured, on standard error, filtered by `--log` or `RUST_LOG`. With the feature
//! `opentelemetry` also traces, to a collector that OpenTelemetry's own environment variables name.

#[cfg(feature = "opentelemetry")]
mod traces;

use std::io::{self, IsTerminal};

use tracing::Span;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::suggestion;

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a service logs when nothing else is asked for: our own messages.
pub const SERVICE_FILTER: &str = "warn,nearfar=info";
/// What a command that ends by itself logs: what is wrong.
pub const COMMAND_FILTER: &str = "warn";
/// Stands before every filter: rumqttd's router logs only where it is named. It would report every client,
/// and spells out the topic of every message for its spans, which takes longer than the message does.
const ROUTER_FILTER: &str = "rumqttd=off";

/// The levels of a filter, from the least that is said to the most.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const EXPECTED: &str =
    "a level (off, error, warn, info, debug, trace), or levels for targets, as in warn,nearfar=debug";
/// What the names of targets begin with that may stand alone.
const OUR_TARGETS: [&str; 2] = ["nearfar", "rumqtt"];

/// Gives the filter.
const FILTER_FLAG: &str = "--log";
/// Holds a filter where none is given.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// Writes a log line, which comes with its end.
pub type WriteLine = fn(&[u8]) -> io::Result<()>;

/// What was started. When it is dropped, traces that have not been sent are.
#[must_use = "traces that have not been sent are sent when it is dropped"]
#[derive(Default)]
pub struct Telemetry {
    #[cfg(feature = "opentelemetry")]
    _traces: Option<traces::Traces>,
}

/// Why logging, or sending traces, did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter says something that is no level and no target.
    #[error("{origin}: found {found:?}, expected {EXPECTED}{}", in_words(*.meant))]
    Filter {
        /// `--log` or `RUST_LOG`.
        origin: &'static str,
        /// The part of it that is wrong.
        found: String,
        /// The level that was probably meant.
        meant: Option<&'static str>,
    },
    /// The collector's address, or another of OpenTelemetry's variables, cannot be used.
    #[cfg(feature = "opentelemetry")]
    #[error("OTEL_EXPORTER_OTLP_*: {0}")]
    Traces(String),
}

/// Starts logging: `write` puts lines on standard error, or elsewhere. `filter` is in `RUST_LOG`'s
/// syntax, levels for all or for targets, and wins over it, and both over `default`. With the
/// feature `opentelemetry` spans go to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` or
/// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` names; without either, or without the feature, to none.
///
/// # Errors
/// [`TelemetryError`] when `filter` does not parse, or the collector's address cannot be used.
pub fn start(
    filter: Option<&str>,
    default: &str,
    format: LogFormat,
    write: WriteLine,
) -> Result<Telemetry, TelemetryError> {
    let from_environment = std::env::var(FILTER_VARIABLE).ok().filter(|value| !value.is_empty());
    let (origin, wanted) = match (filter, from_environment.as_deref()) {
        (Some(filter), _) => (FILTER_FLAG, filter),
        (None, Some(filter)) => (FILTER_VARIABLE, filter),
        (None, None) => (FILTER_FLAG, default),
    };
    let filter = filter_of(origin, wanted)?;
    #[cfg(feature = "opentelemetry")]
    if let Some(traces) = traces::Traces::from_environment()? {
        traces.subscribe(filter, format, write);
        return Ok(Telemetry { _traces: Some(traces) });
    }
    let filtered = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(move || Lines(write));
    let started = match format {
        LogFormat::Text => filtered.with(lines.with_ansi(io::stderr().is_terminal())).try_init(),
        LogFormat::Json => filtered.with(lines.json()).try_init(),
    };
    // An application that embeds this library may have its own subscriber; then that one stays.
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(Telemetry::default())
}

/// The subscriber writes every event at once.
struct Lines(WriteLine);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (self.0)(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes `span` part of the trace that a request says it belongs to (W3C Trace
/// Context). Where no traces are sent, nothing.
pub fn continue_trace(span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) {
    #[cfg(feature = "opentelemetry")]
    traces::set_parent(span, traceparent, tracestate);
    #[cfg(not(feature = "opentelemetry"))]
    let _unsent = (span, traceparent, tracestate);
}

/// The filter that `origin` says.
fn filter_of(origin: &'static str, wanted: &str) -> Result<Targets, TelemetryError> {
    for part in wanted.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = part.split_once('=').map_or(("", part), |(target, level)| (target, level));
        // `warning` is what others call it.
        let longer = || LEVELS.into_iter().find(|known| known.len() > 3 && level.starts_with(known));
        let meant = suggestion::meant(level, LEVELS).or_else(longer);
        let is_known = level.parse::<LevelFilter>().is_ok();
        // A target alone is all of it, and nothing of the rest: where it is none of ours the log would be
        // silent. The variable may be there for others too, and then say a level for them.
        let is_target =
            target.is_empty() && !part.contains('=') && OUR_TARGETS.iter().any(|ours| part.starts_with(ours));
        if !is_known && !is_target {
            return Err(TelemetryError::Filter { origin, found: part.to_owned(), meant });
        }
    }
    let wrong = |_| TelemetryError::Filter { origin, found: wanted.to_owned(), meant: None };
    format!("{ROUTER_FILTER},{wanted}").parse().map_err(wrong)
}

fn in_words(meant: Option<&str>) -> String {
    meant.map(|level| format!("; did you mean `{level}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_logs_only_where_it_is_named() {
        for (wanted, is_heard) in [(SERVICE_FILTER, false), ("debug", false), ("warn,rumqttd=error", true)] {
            let subscriber = tracing_subscriber::registry().with(filter_of(FILTER_FLAG, wanted).unwrap());
            tracing::subscriber::with_default(subscriber, || {
                assert_eq!(
                    tracing::enabled!(target: "rumqttd::router", tracing::Level::ERROR),
                    is_heard,
                    "{wanted}"
                );
                assert!(tracing::enabled!(target: "elsewhere", tracing::Level::WARN), "{wanted}");
            });
        }
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused_with_the_levels() {
        let said =
            |origin, wanted: &str| filter_of(origin, wanted).map(|_| ()).map_err(|error| error.to_string());
        for (wanted, found, meant) in [
            ("inf", "\"inf\"", "did you mean `info`?"),
            ("nearfar=loudly", "\"nearfar=loudly\"", "trace"),
            ("warn,nearfar=debgu", "\"nearfar=debgu\"", "did you mean `debug`?"),
            ("verbose", "\"verbose\"", "trace"),
        ] {
            let problem = said(FILTER_FLAG, wanted).unwrap_err();
            assert!(
                problem.starts_with(&format!("--log: found {found}, expected a level (off, error")),
                "{problem}"
            );
            assert!(problem.contains(meant), "{problem}");
        }
        for wanted in
            ["info", "WARN", "off", "debug,rumqttd=info", "nearfar::broker=trace", "nearfar", "3", ""]
        {
            said(FILTER_FLAG, wanted).unwrap();
        }
        for silent in ["inf", "warning", "verbose", "somebodys_crate", "info,somebodys_crate", "garbage[["] {
            assert!(said(FILTER_VARIABLE, silent).unwrap_err().starts_with("RUST_LOG: found"), "{silent}");
        }
        said(FILTER_VARIABLE, "info,somebodys_crate=trace,other=info").unwrap();
    }
}
