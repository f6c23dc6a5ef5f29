//! The exposition in Prometheus' sense: a node's snapshot as metrics.

use std::iter;

use super::catalogue as all;
use super::hybrids;
use super::page::Page;
use super::process::Process;
use super::refusals::Refusals;
use crate::broker;
use crate::inference::{ErrorCode, Site};
use crate::ledger::{Durations, NANOSECONDS_PER_S};
use crate::node::{DeploymentSnapshot, Readiness, Snapshot};

/// Everything that is counted, in the text format.
///
/// # Errors
/// See [`Page::into_text`].
pub fn text(
    snapshot: &Snapshot,
    refusals: &Refusals,
    process: Option<&Process>,
) -> prometheus::Result<String> {
    let mut page = Page::default();
    page.values(&all::BUILD, [([env!("CARGO_PKG_VERSION")], 1.0)]);
    page.value(&all::READY, f64::from(u8::from(snapshot.readiness == Readiness::Ready)));
    let reloads = snapshot.reloads;
    let reloads = [("succeeded", reloads.succeeded), ("failed", reloads.failed)];
    page.values(&all::RELOADS, reloads.map(|(outcome, count)| ([outcome], count as f64)));
    page.values(&all::HTTP_REFUSED, refusals.iter().map(|(reason, count)| ([reason], count as f64)));
    if let Some(failures) = &snapshot.remote {
        let failures = failures.iter().map(|(reason, count)| ([reason], count as f64));
        page.values(&all::REMOTE_FAILURES, failures);
    }
    add_deployments(&mut page, &snapshot.deployments);
    hybrids::add(&mut page, &snapshot.deployments);
    if let Some(broker) = &snapshot.broker {
        add_broker(&mut page, broker);
    }
    if let Some(process) = process {
        add_process(&mut page, process);
    }
    page.into_text()
}

fn add_deployments(page: &mut Page, deployments: &[DeploymentSnapshot]) {
    let models = deployments.iter().flat_map(|one| {
        let edge = if one.cloud_model.is_some() { Site::Edge.as_str() } else { &one.placement };
        let cloud = one.cloud_model.iter().map(|model| (Site::Cloud.as_str(), model));
        iter::once((edge, &one.model)).chain(cloud).map(|(placement, model)| {
            let version = model.version.as_deref().unwrap_or_default();
            ([one.name.as_str(), placement, &model.name, version], 1.0)
        })
    });
    page.values(&all::MODEL, models);
    let mut count = |metric, of: fn(&DeploymentSnapshot) -> u64| {
        page.values(metric, deployments.iter().map(|one| ([one.name.as_str()], of(one) as f64)));
    };
    count(&all::RECEIVED, |one| one.statistics.received);
    count(&all::ANSWERED, |one| one.statistics.answered);
    count(&all::IN_FLIGHT, |one| one.statistics.in_flight);
    count(&all::QUEUED, |one| one.queued as u64);
    count(&all::UNDELIVERED, |one| one.statistics.undelivered);
    count(&all::RESPONSE_TOPICS_REFUSED, |one| one.statistics.response_topics_refused);
    count(&all::ANSWERS_DROPPED, |one| one.statistics.answers_dropped);
    count(&all::REPEATED, |one| one.statistics.repeated);
    count(&all::NETWORK_CHANGES, |one| one.statistics.network_changes);
    count(&all::NETWORK_CHANGES_REFUSED, |one| one.statistics.network_changes_refused);
    count(&all::MODEL_FAILING, |one| u64::from(one.health.failing.is_some()));
    count(&all::WORKERS_REPLACED, |one| one.health.workers_replaced);
    count(&all::INFERENCE_TIMEOUTS, |one| one.health.inference_timeouts);
    count(&all::FEATURES_FAR, |one| one.health.features_far);
    // Every code from the start: a rate can only be taken of what was there before.
    let errors = deployments.iter().flat_map(|one| {
        ErrorCode::ALL.map(|code| {
            let errors = one.statistics.errors.get(code.as_str()).copied().unwrap_or(0);
            ([one.name.as_str(), code.as_str()], errors as f64)
        })
    });
    page.values(&all::ERRORS, errors);
    let mut times = |metric, of: fn(&DeploymentSnapshot) -> &Durations| {
        let each = deployments.iter().map(|one| (one.name.as_str(), of(one)));
        page.histograms(metric, NANOSECONDS_PER_S, each);
    };
    times(&all::QUEUE_SECONDS, |one| &one.statistics.spread.queue);
    times(&all::INFERENCE_SECONDS, |one| &one.statistics.spread.inference);
    times(&all::NETWORK_SECONDS, |one| &one.statistics.spread.network);
    times(&all::REQUEST_SECONDS, |one| &one.statistics.spread.total);
    let batches = deployments.iter().map(|one| (one.name.as_str(), &one.statistics.spread.batch));
    page.histograms(&all::BATCH_REQUESTS, 1.0, batches);
}

fn add_broker(page: &mut Page, broker: &broker::Statistics) {
    for (metric, value) in [
        (&all::CONNECTIONS, broker.connections as u64),
        (&all::PARKED_SESSIONS, broker.parked_sessions as u64),
        (&all::FILTERS, broker.filters as u64),
        (&all::PUBLISHED, broker.published_messages),
        (&all::DROPPED, broker.dropped_messages),
        (&all::LOG_BYTES, broker.log_bytes),
        (&all::RETAINED_MESSAGES, broker.retained_messages as u64),
        (&all::RETAINED_BYTES, broker.retained_bytes as u64),
        (&all::RETAINED_REFUSED, broker.retained_refused),
        (&all::PUBLISHES_REFUSED, broker.refused_publishes),
        (&all::CONNECTIONS_REFUSED, broker.refused_connections),
    ] {
        page.value(metric, value as f64);
    }
    let memory = broker.memory.iter().map(|(kind, bytes)| ([kind], bytes as f64));
    page.values(&all::MEMORY_BYTES, memory);
    page.value(&all::MEMORY_MAX_BYTES, broker.memory_max as f64);
    let dropped = broker.dropped.iter().map(|(reason, count)| ([reason], count as f64));
    page.values(&all::DELIVERIES_DROPPED, dropped);
    let limits = broker.limits_reached.iter().map(|(limit, count)| ([limit], count as f64));
    page.values(&all::LIMITS_REACHED, limits);
    let shared = broker::Limit::SHARED.into_iter();
    page.values(&all::GAVE_WAY, shared.map(|limit| ([limit.name()], broker.gave_way.of(limit) as f64)));
    let refused = broker.refused.iter().map(|(what, reason, count)| ([what, reason], count as f64));
    page.values(&all::REFUSED, refused);
    page.values(&all::CONNECTIONS_ENDED, broker.ended.iter().map(|(reason, count)| ([reason], count as f64)));
}

fn add_process(page: &mut Page, process: &Process) {
    page.value(&all::CPU_SECONDS, process.cpu.as_secs_f64());
    page.value(&all::RESIDENT_BYTES, process.resident_bytes as f64);
    page.value(&all::VIRTUAL_BYTES, process.virtual_bytes as f64);
    page.value(&all::THREADS, process.threads as f64);
    page.value(&all::OPEN_FILES, process.open_files as f64);
    if let Some(max) = process.open_files_max {
        page.value(&all::OPEN_FILES_MAX, max as f64);
    }
    page.value(&all::STARTED_AT, process.started_at.as_secs_f64());
}
