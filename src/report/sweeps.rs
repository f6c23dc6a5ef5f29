//! What was varied: curves along every key, and a table of all points.

use maud::{Markup, html};

use super::page::breakable;
use super::plots::{self, Curve, curves};
use super::{KEYS_DRAWN_MAX, Report, SWEEP_ROWS_MAX, details, tables};
use crate::lab::findings::{Findings, PlacementFindings, PointFindings};
use crate::lab::words::{count, estimate, figure, percent, plain};
use crate::statistics::Proportion;

/// The section of the page; nothing without sweeps.
pub fn sweeps(report: &Report<'_>) -> Markup {
    let findings = report.findings;
    let Some(first) = findings.points.first().filter(|_| findings.points.len() > 1) else { return html! {} };
    let keys: Vec<_> = first.settings.iter().map(|(key, _)| key.as_str()).collect();
    html! {
        section {
            h2 { "What was varied" }
            @if keys.len() > 1 { p.hint { "Along each key the others have their first values." } }
            @for (at, key) in keys.iter().take(KEYS_DRAWN_MAX).enumerate() {
                @if keys.len() > 1 { h3 { code { (breakable(key)) } } }
                div.figures { @for drawing in drawings(findings, key, at) { (drawing) } }
            }
            @if keys.len() > KEYS_DRAWN_MAX { p.hint { (keys.len() - KEYS_DRAWN_MAX) " further keys have no curves here." } }
            @if let Some(accuracy) = plots::accuracy(findings, "accuracy") { div.figures { (accuracy) } }
            (table(findings))
        }
    }
}

fn drawings(findings: &Findings, key: &str, at: usize) -> Vec<Markup> {
    let placements = || findings.points.iter().flat_map(|point| &point.placements);
    let has_deadline = placements().any(|placement| placement.deadline_misses.is_some());
    let has_losses = placements().any(|placement| placement.unanswered().cases > 0);
    let shares = [(Curve::Misses, has_deadline), (Curve::Unanswered, has_losses)];
    let wanted = [(Curve::Latency, true)].into_iter().chain(shares).filter(|(_, is_there)| *is_there);
    wanted
        .enumerate()
        .filter_map(|(which, (curve, _))| curves(findings, key, curve, &format!("sweep-{at}-{which}")))
        .collect()
}

fn table(findings: &Findings) -> Markup {
    let rows: usize = findings.points.iter().map(|point| point.placements.len()).sum();
    let all = findings.points.iter().flat_map(|point| {
        point.placements.iter().enumerate().map(move |(at, placement)| (point, at, placement))
    });
    html! {
        details open[rows <= OPEN_ROWS_MAX] {
            summary { "All points" }
            div.scroll tabindex="0" role="region" aria-label="All points" {
                table {
                    thead { tr {
                        th scope="col" { "point" } th scope="col" { "placement" } th.n scope="col" { "with a result" }
                        th.n scope="col" { "mean, ms" } th.n scope="col" { "p50, ms" } th.n scope="col" { "p99, ms" }
                        th.n scope="col" { "deadline missed" } th scope="col" { "latency against the first" }
                    } }
                    tbody { @for (point, at, placement) in all.take(SWEEP_ROWS_MAX) { (row(point, at, placement)) } }
                }
            }
            @if rows > SWEEP_ROWS_MAX {
                p.hint { (count(rows - SWEEP_ROWS_MAX)) " further rows are in " code { "summary.json" } "." }
            }
        }
    }
}

/// The table stands open up to so many rows.
const OPEN_ROWS_MAX: usize = 30;

fn row(point: &PointFindings, at: usize, placement: &PlacementFindings) -> Markup {
    let answered = Proportion { cases: placement.counts.answered, all: placement.counts.sent };
    let percentile = |wanted: f64| {
        let latency = placement.latency_ms.as_ref()?;
        latency.percentile(wanted).map(|found| figure(found.value))
    };
    let none = || "–".to_owned();
    let contrast =
        at.checked_sub(1).and_then(|at| point.contrasts.get(at)).and_then(|contrast| contrast.latency_ms);
    html! {
        tr {
            td.words { @if at == 0 { (breakable(&settings(point))) } }
            th scope="row" { (placement.name) }
            td.n { (percent(answered)) }
            @match &placement.latency_ms {
                Some(latency) => {
                    @let (mean, interval) = estimate(latency.mean, latency.mean_interval);
                    td.n { (mean) small { (interval) } }
                }
                None => td.n { "–" },
            }
            td.n { (percentile(50.0).unwrap_or_else(none)) }
            td.n { (percentile(99.0).unwrap_or_else(none)) }
            td.n { @match placement.deadline_misses { Some(misses) => (percent(misses.all)), None => "–" } }
            td { @if let Some(difference) = contrast { (tables::verdict(difference.verdict)) } }
        }
    }
}

/// Values alone where there is one key: its name stands above the curves.
fn settings(point: &PointFindings) -> String {
    match point.settings.as_slice() {
        [(_, value)] => plain(*value, 4),
        _ => details::settings(point),
    }
}
