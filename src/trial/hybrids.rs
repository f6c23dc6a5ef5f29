//! What is different for hybrid placements: their deployment, and what is to be known of them beforehand.

use std::time::Duration;

use super::models::Thresholds;
use crate::deployment::{Config, Hybrid};
use crate::inference::ErrorCode;
use crate::lab::scenario::{HybridPlacement, Placement, Scenario};
use crate::placement::Policy;
use crate::trial::virtual_time::{self, CostModel, Path, WorkerModel};

/// The deployment of a hybrid, of which `edge` says everything but the cloud. Its
/// results say where they were made and why.
///
/// It keeps the scenario's `deadline` only where its policy goes by one. Any other would gain
/// nothing by it, and late requests would end as errors that are results at all other placements.
pub fn deployment(mut edge: Config, hybrid: &HybridPlacement, deadline: Option<Duration>) -> Config {
    edge.members.placement = true;
    edge.members.reason = true;
    edge.deadline = self::deadline(hybrid, deadline);
    let cloud = Hybrid {
        network: hybrid.network.clone(),
        placement: hybrid.placement,
        ..Hybrid::new(hybrid.placement.policy)
    };
    edge.hybrid(cloud)
}

/// A hybrid's cloud on a simulated clock, where a pass there takes what its `cost` says.
pub fn simulated(
    hybrid: &HybridPlacement,
    thresholds: Thresholds,
    (cost, path): (CostModel, Path),
    scenario: &Scenario,
) -> virtual_time::Hybrid {
    let deadline = deadline(hybrid, scenario.deadline);
    let thresholds = [thresholds.model, thresholds.cloud.unwrap_or(thresholds.model)];
    let worker = WorkerModel::like_a_node(cost);
    virtual_time::Hybrid { path, ..virtual_time::Hybrid::of(hybrid, worker, thresholds, deadline) }
}

/// What may surprise of a placement, where it is a hybrid.
pub fn remarks(placement: &Placement, deadline: Option<Duration>) -> Vec<String> {
    let Some(hybrid) = &placement.hybrid else { return Vec::new() };
    let timeout = hybrid.placement.cloud_timeout;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let remark = match (hybrid.placement.policy, deadline) {
        (Policy::Deadline(_), None) => {
            "it goes by the deadline, and there is no deadline_ms: once it knows the cloud, every request goes there".to_owned()
        }
        (Policy::Deadline(_), Some(deadline)) if timeout >= deadline => format!(
            "its cloud may be silent for {} ms (cloud_timeout_ms), and the deadline is {} ms: what the cloud loses ends as {}",
            ms(timeout),
            ms(deadline),
            ErrorCode::DeadlineExceeded.as_str()
        ),
        (Policy::Urgency { default_site, .. }, _) => {
            format!("requests of an experiment do not say how urgent they are: all go to its default site, the {default_site}")
        }
        _ => return Vec::new(),
    };
    vec![remark]
}

/// The deadline of a hybrid's requests, if they have one.
fn deadline(hybrid: &HybridPlacement, of_scenario: Option<Duration>) -> Option<Duration> {
    of_scenario.filter(|_| matches!(hybrid.placement.policy, Policy::Deadline(_)))
}
