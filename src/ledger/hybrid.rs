//! What a hybrid deployment counts beside its requests: which site made the answers,
//! and what became of those that were not needed.

use std::time::Duration;

use crate::inference::{Decision, PerSite, Reason, Site};
use crate::placement::Counts;

/// How many results each site made, and why there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Results(PerSite<[u64; Reason::ALL.len()]>);

impl Results {
    /// Those of `site` for `reason`.
    pub fn of(&self, site: Site, reason: Reason) -> u64 {
        self.0[site][reason as usize]
    }

    /// All of them: as many as the deployment has answered.
    pub fn total(&self) -> u64 {
        self.0.iter().flat_map(|(_, counts)| counts).sum()
    }

    /// Those that are there, by site and reason.
    pub fn iter(&self) -> impl Iterator<Item = (Decision, u64)> {
        let all = Site::ALL.into_iter().flat_map(|site| Reason::ALL.map(|reason| Decision { site, reason }));
        all.map(|decision| (decision, self.of(decision.site, decision.reason)))
            .filter(|(_, count)| *count > 0)
    }

    pub(crate) fn count(&mut self, decision: Decision) {
        self.0[decision.site][decision.reason as usize] += 1;
    }
}

/// What a hybrid deployment counts beside its requests. A leg is a request as one site sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HybridStatistics {
    /// Results by site and reason; together as many as `answered`.
    pub results: Results,
    /// What the choosing between the sites has counted.
    pub counts: Counts,
    /// The circuit breaker's state, as of the last request: `closed`, `half_open` or `open`.
    pub breaker: &'static str,
    /// How often it has opened.
    pub breaker_openings: u64,
    /// The 95th percentile of the cloud's recent answer times; none without recent
    /// answers, [`Duration::MAX`] when more than one in twenty did not come.
    pub cloud_p95: Option<Duration>,
}
