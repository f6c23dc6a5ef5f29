//! `--dry-run`: what would be run, and what is wrong with it.

use std::path::Path;
use std::time::Duration;

use crate::cli::output;
use crate::config::ConfigError;
use crate::lab::experiment::requests_expected;
use crate::lab::scenario::{Arrivals, Placement, Scenario, Sensor, Source};
use crate::network::{LinkProfile, Profile};
use crate::trial::{Plan, Preparation, Repeat, Thresholds, in_words};

/// Prints the plan and every point's faults.
///
/// # Errors
/// When there are faults.
pub fn print(plan: &Plan, is_virtual: bool) -> anyhow::Result<()> {
    let scenario = plan.scenario();
    let mut preparation = Preparation::default();
    let mut requests = 0.0;
    let mut faults: Vec<String> = Vec::new();
    let mut example: Option<Repeat> = None;
    for point in 0..plan.points().len() {
        match preparation.repeat(plan, point, 0) {
            Ok((repeat, _)) => {
                let Scenario { duration, repeats, .. } = repeat.scenario;
                requests += requests_expected(&repeat.fleet.groups, duration) * f64::from(repeats);
                example.get_or_insert(repeat);
            }
            Err(fault) => faults.push(at_point(plan, point, &format!("{fault}"))),
        }
    }
    faults.dedup();
    preparation.remarks.iter().for_each(|remark| output::complain(remark));
    output::line(&format!("{}, seed {}", plan.file(), scenario.seed))?;
    for (at, placement) in scenario.placements.iter().enumerate() {
        let thresholds = example.as_ref().map(|repeat| repeat.thresholds[at]);
        output::line(&describe_placement(plan, placement, thresholds))?;
    }
    for sensor in &scenario.sensors {
        output::line(&describe_sensor(sensor, scenario))?;
    }
    output::line(&totals(plan, requests, is_virtual))?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Override { origin: plan.file().to_string(), problem: faults.join("; ") }.into())
}

fn at_point(plan: &Plan, point: usize, fault: &str) -> String {
    match plan.points()[point].as_slice() {
        [] => fault.to_owned(),
        point => format!("{fault} (at {})", in_words(point)),
    }
}

fn describe_placement(plan: &Plan, placement: &Placement, thresholds: Option<Thresholds>) -> String {
    let threshold = thresholds.map(|thresholds| thresholds.model);
    let site = describe_site(plan, &placement.model, threshold, &placement.network);
    let Some(hybrid) = &placement.hybrid else { return format!("placement {}: {site}", placement.name) };
    let threshold = thresholds.and_then(|thresholds| thresholds.cloud);
    let cloud = describe_site(plan, hybrid.model_beside(placement), threshold, &hybrid.network);
    let policy = hybrid.placement.policy;
    format!("placement {}: hybrid, policy {policy}; edge: {site}; cloud: {cloud}", placement.name)
}

/// A model, and the network before it.
fn describe_site(plan: &Plan, model: &Path, threshold: Option<f32>, network: &Profile) -> String {
    let model = match plan.paths.model(model) {
        Ok(found) => found.path.map_or("the shipped model".to_owned(), |path| path.display().to_string()),
        Err(_) => format!("{} (missing)", model.display()),
    };
    let threshold = threshold.map(|threshold| format!(", threshold {threshold}")).unwrap_or_default();
    format!("{model}{threshold}, network: {}", describe_network(network))
}

fn describe_network(network: &Profile) -> String {
    match (network.as_constant(), network.shape()) {
        (Some(one_way), _) if one_way.is_zero() => "none".to_owned(),
        (Some(one_way), _) => format!("{} ms each way", one_way.as_secs_f64() * 1e3),
        (None, Some(shape)) => format!(
            "{} (uplink: {}; downlink: {})",
            shape.link,
            describe_link(&shape.uplink),
            describe_link(&shape.downlink)
        ),
        (None, None) => "none".to_owned(),
    }
}

/// What a direction has, by name.
fn describe_link(link: &LinkProfile) -> String {
    let plain = LinkProfile::default();
    let parts = [
        ("delay", link.delay != plain.delay),
        ("loss", link.loss != plain.loss),
        ("outages", link.outages.is_some()),
        ("bandwidth", link.bandwidth.is_some()),
        ("reorder", link.reorder.is_some()),
        ("duplicates", link.duplicates > 0.0),
    ];
    let has: Vec<_> = parts.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    if has.is_empty() { "nothing".to_owned() } else { has.join(", ") }
}

fn describe_sensor(sensor: &Sensor, scenario: &Scenario) -> String {
    let Sensor { id, count, source } = sensor;
    let pace = match (source, scenario.load) {
        (_, Some(_)) => String::new(),
        (Source::Bearing { rate_hz, .. }, None) => format!(", {rate_hz} requests a second each"),
        (Source::Recorded { speed, .. }, None) => format!(", {speed} times its own pace"),
    };
    match source {
        Source::Bearing { noise_level, .. } => {
            format!("sensor {id}: {count} simulated, noise level {noise_level}{pace}")
        }
        Source::Recorded { file, .. } => format!("sensor {id}: {count} of {}{pace}", file.display()),
    }
}

fn totals(plan: &Plan, requests: f64, is_virtual: bool) -> String {
    let scenario = plan.scenario();
    let (points, repeats, placements) = (plan.points().len(), scenario.repeats, scenario.placements.len());
    let load = scenario.load.map_or(String::new(), |load| {
        let arrivals = match load.arrivals {
            Arrivals::Regular => "regular",
            Arrivals::Poisson => "Poisson",
        };
        format!("load: {} requests a second, {arrivals}\n", load.requests_per_s)
    });
    let clock = match is_virtual {
        true => "in virtual time".to_owned(),
        false => {
            let runs = u32::try_from(plan.runs()).unwrap_or(u32::MAX);
            format!("some {} s", seconds(scenario.duration.saturating_mul(runs)))
        }
    };
    format!(
        "{load}{}, {} of {} s ({} s of them warm-up): some {requests:.0} inputs to each of {}, {clock}",
        counted(points, "point"),
        counted(repeats as usize, "repeat"),
        seconds(scenario.duration),
        seconds(scenario.warm_up),
        counted(placements, "placement"),
    )
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}
