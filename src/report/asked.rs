//! What was asked: placements and their networks in words, sensors, load, what was varied.

use maud::{Markup, html};

use super::Report;
use super::page::breakable;
use crate::lab::scenario::{Arrivals, Scenario, Sensor, Source};
use crate::lab::words::{count, plain};

/// The section of the page.
pub fn asked(report: &Report<'_>) -> Markup {
    let scenario = &report.run.scenario;
    html! {
        section {
            h2 { "What was asked" }
            div.scroll {
                table {
                    thead { tr { th scope="col" { "placement" } th scope="col" { "network to the model" } th scope="col" { "model" } th.n scope="col" { "threshold" } } }
                    tbody {
                        @for placement in &scenario.placements {
                            tr {
                                th scope="row" { (placement.name) }
                                td.words { (placement.network.words()) }
                                td { code { (placement.model.display()) } }
                                td.n { (threshold(placement.threshold)) }
                            }
                            @if let Some(hybrid) = &placement.hybrid {
                                tr {
                                    th scope="row" { (placement.name) ", its cloud, by the policy " (hybrid.placement.policy) }
                                    td.words { (hybrid.network.words()) }
                                    td { code { (hybrid.model_beside(placement).display()) } }
                                    td.n { (threshold(hybrid.threshold_beside(placement))) }
                                }
                            }
                        }
                    }
                }
            }
            dl.facts {
                dt { "Requests" } dd { (requests(scenario)) }
                dt { "Time" } dd { (times(scenario)) }
                @if let Some(deadline) = scenario.deadline { dt { "Deadline" } dd { (plain(deadline.as_secs_f64() * 1e3, 4)) " ms" } }
                @for sweep in &scenario.sweeps {
                    dt { "Varied" }
                    dd { code { (breakable(&sweep.key)) } ": " (values(&sweep.values)) }
                }
            }
            @if !scenario.remarks.is_empty() {
                details {
                    summary { "What of the scenario was not done, or done in another way" }
                    ul { @for remark in &scenario.remarks { li { "Line " (remark.line) ", " (remark.subject) ": " (remark.remark) } } }
                }
            }
        }
    }
}

fn threshold(threshold: Option<f64>) -> String {
    threshold.map_or("the model's".to_owned(), |threshold| plain(threshold, 4))
}

fn requests(scenario: &Scenario) -> String {
    let sensors: Vec<_> = scenario.sensors.iter().take(SENSORS_SAID).map(sensor).collect();
    let mut text = if sensors.is_empty() { "no sensor".to_owned() } else { sensors.join("; ") };
    if scenario.sensors.len() > SENSORS_SAID {
        text += &format!("; and {} more kinds of sensors", scenario.sensors.len() - SENSORS_SAID);
    }
    if let Some(load) = scenario.load {
        let arrivals = match load.arrivals {
            Arrivals::Regular => "at equal distances",
            Arrivals::Poisson => "as a Poisson process",
        };
        text += &format!(
            "; together {} requests a second, {arrivals}, in place of their own pace",
            plain(load.requests_per_s, 4)
        );
    }
    text
}

const SENSORS_SAID: usize = 12;

fn sensor(sensor: &Sensor) -> String {
    let Sensor { id, count: devices, source } = sensor;
    let each = if *devices == 1 { "" } else { " each" };
    let devices =
        if *devices == 1 { id.clone() } else { format!("{id}, {} of them", count(*devices as usize)) };
    match source {
        Source::Bearing { rate_hz, .. } => {
            format!("{devices}: simulated bearings, {} requests a second{each}", plain(*rate_hz, 4))
        }
        Source::Recorded { file, speed, .. } if *speed == 1.0 => {
            format!("{devices}: recorded in {}", file.display())
        }
        Source::Recorded { file, speed, .. } => {
            format!("{devices}: recorded in {}, replayed {} times as fast", file.display(), plain(*speed, 4))
        }
    }
}

fn times(scenario: &Scenario) -> String {
    let mut text = format!("{} s", plain(scenario.duration.as_secs_f64(), 6));
    if !scenario.warm_up.is_zero() {
        text += &format!(", of which the first {} s do not count", plain(scenario.warm_up.as_secs_f64(), 6));
    }
    if scenario.repeats > 1 {
        text += &format!("; {} repeats, each with another seed", scenario.repeats);
    }
    text
}

/// All values, or the ends of many.
fn values(values: &[f64]) -> String {
    match values {
        [first, .., last] if values.len() > VALUES_SAID => {
            format!("{} to {} in {} steps", plain(*first, 4), plain(*last, 4), values.len())
        }
        values => values.iter().map(|value| plain(*value, 4)).collect::<Vec<_>>().join(", "),
    }
}

const VALUES_SAID: usize = 12;
