//! What hybrid deployments count, as metrics.

use std::time::Duration;

use super::catalogue as all;
use super::page::Page;
use crate::inference::{PerSite, Reason, Site};
use crate::ledger::HybridStatistics;
use crate::node::DeploymentSnapshot;

/// What hybrids count; nothing where there is none.
pub fn add(page: &mut Page, deployments: &[DeploymentSnapshot]) {
    let hybrids: Vec<_> = deployments.iter().filter_map(hybrid).collect();
    if hybrids.is_empty() {
        return;
    }
    let mut count = |metric, of: fn(&HybridStatistics) -> u64| {
        page.values(metric, hybrids.iter().map(|(name, one)| ([*name], of(one) as f64)));
    };
    count(&all::PLACEMENT_PROBES, |one| one.counts.probes);
    count(&all::PLACEMENT_ESCALATIONS, |one| one.counts.escalations);
    count(&all::CLOUD_FAILURES, |one| one.counts.cloud_failures);
    count(&all::BREAKER_OPENINGS, |one| one.breaker_openings);
    count(&all::BREAKER_KEPT_BACK, |one| one.counts.kept_back);
    count(&all::BREAKER_STATE, |one| match one.breaker {
        "open" => 2,
        "half_open" => 1,
        _ => 0,
    });
    let results = hybrids.iter().flat_map(|(name, one)| {
        let all = Site::ALL.into_iter().flat_map(|site| Reason::ALL.map(|reason| (site, reason)));
        all.map(move |(site, reason)| {
            ([*name, site.as_str(), reason.as_str()], one.results.of(site, reason) as f64)
        })
    });
    page.values(&all::PLACEMENT_RESULTS, results);
    let mut by_site = |metric, of: fn(&HybridStatistics) -> PerSite<u64>| {
        let each = hybrids
            .iter()
            .flat_map(|(name, one)| Site::ALL.map(|site| ([*name, site.as_str()], of(one)[site] as f64)));
        page.values(metric, each);
    };
    by_site(&all::PLACEMENT_ASKED, |one| one.counts.asked);
    by_site(&all::PLACEMENT_DROPPED, |one| one.counts.dropped);
    let hedges = hybrids.iter().flat_map(|(name, one)| {
        let outcomes = [("won", one.counts.hedges_won), ("lost", one.counts.hedges_lost)];
        outcomes.map(|(outcome, count)| ([*name, outcome], count as f64))
    });
    page.values(&all::PLACEMENT_HEDGES, hedges);
    let shadows = hybrids.iter().flat_map(|(name, one)| {
        let outcomes = [
            ("agreed", one.counts.shadow_agreed),
            ("disagreed", one.counts.shadow_disagreed),
            ("unanswered", one.counts.shadow_unanswered),
        ];
        outcomes.map(|(outcome, count)| ([*name, outcome], count as f64))
    });
    page.values(&all::PLACEMENT_SHADOWS, shadows);
    let p95 = hybrids.iter().filter_map(|(name, one)| {
        let seconds = match one.cloud_p95? {
            Duration::MAX => f64::INFINITY,
            p95 => p95.as_secs_f64(),
        };
        Some(([*name], seconds))
    });
    page.values(&all::CLOUD_P95_SECONDS, p95);
}

fn hybrid(deployment: &DeploymentSnapshot) -> Option<(&str, &HybridStatistics)> {
    Some((&deployment.name, deployment.statistics.hybrid.as_deref()?))
}
