//! Every metric: its name, type, labels and meaning, once. `docs/metrics.md` is held equal to it by a test.
//!
//! Names follow Prometheus' rules: base units, `_total` for counters. No label has
//! values that clients choose.

/// A metric.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// The labels' names, in the order in which samples give their values.
    pub labels: &'static [&'static str],
    /// What it means, for people.
    pub help: &'static str,
}

/// What kind of metric it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

const DEPLOYMENT: &[&str] = &["deployment"];

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, help }
}

pub const BUILD: Metric = metric("nearfar_build_info", Gauge, &["version"], "1, with the program's version");
pub const READY: Metric = metric(
    "nearfar_ready",
    Gauge,
    &[],
    "1 while requests are answered, otherwise 0; /health/ready tells why",
);
pub const MODEL: Metric = metric(
    "nearfar_model_info",
    Gauge,
    &["deployment", "placement", "model", "version"],
    "1, with what a deployment serves; version is empty where the model states none",
);

pub const RELOADS: Metric = metric(
    "nearfar_reloads_total",
    Counter,
    &["outcome"],
    "How often the node was told to read its files again: succeeded, or failed where something could not be used",
);
pub const HTTP_REFUSED: Metric = metric(
    "nearfar_http_refused_total",
    Counter,
    &["reason"],
    "What was asked over this port and not answered, by the reason",
);
pub const REMOTE_FAILURES: Metric = metric(
    "nearfar_remote_failures_total",
    Counter,
    &["reason"],
    "How often the connection to a broker elsewhere could not be made, or has ended, by the reason",
);

pub const RECEIVED: Metric = metric(
    "nearfar_requests_received_total",
    Counter,
    DEPLOYMENT,
    "Requests that arrived, valid or not; always equal to answered, errors and in flight added up",
);
pub const ANSWERED: Metric =
    metric("nearfar_requests_answered_total", Counter, DEPLOYMENT, "Requests that ended in a result");
pub const ERRORS: Metric = metric(
    "nearfar_request_errors_total",
    Counter,
    &["deployment", "code"],
    "Requests that ended in an error, by its code on the wire",
);
pub const IN_FLIGHT: Metric =
    metric("nearfar_requests_in_flight", Gauge, DEPLOYMENT, "Requests that have not ended");
pub const QUEUED: Metric =
    metric("nearfar_queue_requests", Gauge, DEPLOYMENT, "Requests that wait for the model");
pub const UNDELIVERED: Metric = metric(
    "nearfar_answers_undelivered_total",
    Counter,
    DEPLOYMENT,
    "Answers that could not be handed to the broker; their requests are counted as ended",
);
pub const RESPONSE_TOPICS_REFUSED: Metric = metric(
    "nearfar_response_topics_refused_total",
    Counter,
    DEPLOYMENT,
    "Response topics that were refused; the answer went to its ordinary topic only",
);
pub const ANSWERS_DROPPED: Metric = metric(
    "nearfar_own_messages_dropped_total",
    Counter,
    DEPLOYMENT,
    "Answers that came on a request topic, of this node or another one, and were dropped; they are no requests",
);
pub const REPEATED: Metric = metric(
    "nearfar_requests_repeated_total",
    Counter,
    DEPLOYMENT,
    "Requests that came again and got the answer of the first time; they are received and answered too",
);
pub const NETWORK_CHANGES: Metric = metric(
    "nearfar_network_changes_total",
    Counter,
    DEPLOYMENT,
    "Changes of the simulated network while the node ran",
);
pub const NETWORK_CHANGES_REFUSED: Metric = metric(
    "nearfar_network_changes_refused_total",
    Counter,
    DEPLOYMENT,
    "Messages on the network topic that could not be used",
);
pub const QUEUE_SECONDS: Metric =
    metric("nearfar_queue_seconds", Histogram, DEPLOYMENT, "How long answered requests waited for the model");
pub const BATCH_REQUESTS: Metric =
    metric("nearfar_batch_requests", Histogram, DEPLOYMENT, "Requests in one forward pass");
pub const INFERENCE_SECONDS: Metric =
    metric("nearfar_inference_seconds", Histogram, DEPLOYMENT, "How long forward passes took");
pub const NETWORK_SECONDS: Metric = metric(
    "nearfar_simulated_network_seconds",
    Histogram,
    DEPLOYMENT,
    "The delay that the simulated network decided for answered requests, both ways together",
);
pub const REQUEST_SECONDS: Metric = metric(
    "nearfar_request_seconds",
    Histogram,
    DEPLOYMENT,
    "From the arrival of answered requests to the result leaving",
);
pub const MODEL_FAILING: Metric = metric(
    "nearfar_model_failing",
    Gauge,
    DEPLOYMENT,
    "1 while the model fails or hangs so often that the node is not ready, otherwise 0",
);
pub const WORKERS_REPLACED: Metric = metric(
    "nearfar_workers_replaced_total",
    Counter,
    DEPLOYMENT,
    "Workers that were replaced, because their model panicked or hung",
);
pub const INFERENCE_TIMEOUTS: Metric = metric(
    "nearfar_inference_timeouts_total",
    Counter,
    DEPLOYMENT,
    "Forward passes that took longer than inference_timeout_ms",
);
pub const FEATURES_FAR: Metric = metric(
    "nearfar_model_features_far",
    Gauge,
    DEPLOYMENT,
    "Features that are far from what the model was normalised with in every request that was looked at: swapped, or other units?",
);

pub const PLACEMENT_RESULTS: Metric = metric(
    "nearfar_placement_results_total",
    Counter,
    &["deployment", "site", "reason"],
    "Results of a hybrid, by the site that made them and why there; together as many as were answered",
);
pub const PLACEMENT_ASKED: Metric = metric(
    "nearfar_placement_asked_total",
    Counter,
    &["deployment", "site"],
    "Requests that a hybrid sent to a site; one that both were asked counts at both",
);
pub const PLACEMENT_DROPPED: Metric = metric(
    "nearfar_placement_answers_dropped_total",
    Counter,
    &["deployment", "site"],
    "Answers and errors of a site that came when a hybrid had answered already",
);
pub const PLACEMENT_PROBES: Metric = metric(
    "nearfar_placement_probes_total",
    Counter,
    DEPLOYMENT,
    "Requests of which the cloud got a copy, to see how it is",
);
pub const PLACEMENT_ESCALATIONS: Metric = metric(
    "nearfar_placement_escalations_total",
    Counter,
    DEPLOYMENT,
    "Requests that were escalated to the cloud, because the edge's score was near its threshold",
);
pub const PLACEMENT_HEDGES: Metric = metric(
    "nearfar_placement_hedges_total",
    Counter,
    &["deployment", "outcome"],
    "Requests that both sites were asked, by whether the one asked second was first: won or lost",
);
pub const PLACEMENT_SHADOWS: Metric = metric(
    "nearfar_placement_shadows_total",
    Counter,
    &["deployment", "outcome"],
    "Requests of which the cloud was the shadow: agreed and disagreed with the edge, or unanswered",
);
pub const CLOUD_FAILURES: Metric = metric(
    "nearfar_cloud_failures_total",
    Counter,
    DEPLOYMENT,
    "Requests that a hybrid's cloud lost, refused, or was silent about for too long",
);
pub const CLOUD_P95_SECONDS: Metric = metric(
    "nearfar_cloud_recent_p95_seconds",
    Gauge,
    DEPLOYMENT,
    "The 95th percentile of the cloud's recent answer times; infinite when too many did not come, absent without any",
);
pub const BREAKER_STATE: Metric = metric(
    "nearfar_breaker_state",
    Gauge,
    DEPLOYMENT,
    "The circuit breaker before a hybrid's cloud: 0 closed, 1 half open, 2 open",
);
pub const BREAKER_OPENINGS: Metric =
    metric("nearfar_breaker_openings_total", Counter, DEPLOYMENT, "How often the circuit breaker has opened");
pub const BREAKER_KEPT_BACK: Metric = metric(
    "nearfar_breaker_kept_back_total",
    Counter,
    DEPLOYMENT,
    "Requests that the circuit breaker kept from the cloud",
);

pub const CONNECTIONS: Metric = metric("nearfar_broker_connections", Gauge, &[], "Clients online");
pub const PARKED_SESSIONS: Metric =
    metric("nearfar_broker_parked_sessions", Gauge, &[], "Sessions kept for clients that are away");
pub const FILTERS: Metric =
    metric("nearfar_broker_filters", Gauge, &[], "Distinct topic filters subscribed to");
pub const PUBLISHED: Metric = metric(
    "nearfar_broker_messages_published_total",
    Counter,
    &[],
    "Messages published, by clients and by the node itself",
);
pub const DROPPED: Metric = metric(
    "nearfar_broker_messages_dropped_total",
    Counter,
    &[],
    "Deliveries that were dropped, whatever the cause; nearfar_broker_deliveries_dropped_total tells them apart",
);
pub const LOG_BYTES: Metric =
    metric("nearfar_broker_log_bytes", Gauge, &[], "Messages on their way through the router's log");
pub const RETAINED_MESSAGES: Metric =
    metric("nearfar_broker_retained_messages", Gauge, &[], "Retained messages");
pub const MEMORY_BYTES: Metric = metric(
    "nearfar_broker_memory_bytes",
    Gauge,
    &["kind"],
    "Memory that the embedded broker's buffers take, overheads included, by what for",
);
pub const MEMORY_MAX_BYTES: Metric =
    metric("nearfar_broker_memory_max_bytes", Gauge, &[], "What all of that may take together (memory_max)");
pub const RETAINED_BYTES: Metric = metric(
    "nearfar_broker_retained_bytes",
    Gauge,
    &[],
    "Memory that retained messages take: topics, payloads, properties and what it takes to keep them",
);
pub const RETAINED_REFUSED: Metric = metric(
    "nearfar_broker_retained_refused_total",
    Counter,
    &[],
    "Messages that were delivered but not retained, because the store was full",
);
pub const LIMITS_REACHED: Metric = metric(
    "nearfar_broker_limits_reached_total",
    Counter,
    &["limit"],
    "How often a limit on clients was reached; docs/metrics.md says which key each of them is",
);
pub const DELIVERIES_DROPPED: Metric = metric(
    "nearfar_broker_deliveries_dropped_total",
    Counter,
    &["reason"],
    "Deliveries that were dropped, by the reason; together nearfar_broker_messages_dropped_total",
);
pub const GAVE_WAY: Metric = metric(
    "nearfar_broker_gave_way_total",
    Counter,
    &["limit"],
    "How often the user or address that had most of what a limit bounds gave something up for another that had less",
);
pub const PUBLISHES_REFUSED: Metric = metric(
    "nearfar_broker_publishes_refused_total",
    Counter,
    &[],
    "Publishes that the access rules refused, or to topics of the broker's own; not those beyond a limit",
);
pub const CONNECTIONS_REFUSED: Metric = metric(
    "nearfar_broker_connections_refused_total",
    Counter,
    &[],
    "Connections that were not let in, whatever the cause, also before CONNECT; nearfar_broker_refused_total tells them apart",
);
pub const REFUSED: Metric = metric(
    "nearfar_broker_refused_total",
    Counter,
    &["what", "reason"],
    "What clients were refused, a connection, publish or subscription, or that a message is retained, by the reason",
);
pub const CONNECTIONS_ENDED: Metric = metric(
    "nearfar_broker_connections_ended_total",
    Counter,
    &["reason"],
    "Connections of clients that were let in, by why they ended",
);

pub const CPU_SECONDS: Metric =
    metric("process_cpu_seconds_total", Counter, &[], "User and system time of all threads");
pub const RESIDENT_BYTES: Metric =
    metric("process_resident_memory_bytes", Gauge, &[], "Memory that the process has in RAM");
pub const VIRTUAL_BYTES: Metric =
    metric("process_virtual_memory_bytes", Gauge, &[], "Memory that the process has addresses for");
pub const THREADS: Metric = metric("process_threads", Gauge, &[], "Threads that run");
pub const OPEN_FILES: Metric = metric("process_open_fds", Gauge, &[], "Files and sockets that are open");
pub const OPEN_FILES_MAX: Metric =
    metric("process_max_fds", Gauge, &[], "Files and sockets that may be open; absent without a limit");
pub const STARTED_AT: Metric =
    metric("process_start_time_seconds", Gauge, &[], "When the process started, in seconds since 1970");
