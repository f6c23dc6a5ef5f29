//! Everything about single points of the sweeps: tables and drawings.

use maud::{Markup, html};

use super::page::breakable;
use super::{POINTS_DRAWN_MAX, Report, plots, tables};
use crate::lab::findings::PointFindings;
use crate::lab::observation::Mark;
use crate::lab::words::{count, plain};

/// A section for the only point, or several that can be opened, the first of them open.
pub fn details(report: &Report<'_>) -> Markup {
    let points = &report.findings.points;
    if let [only] = points.as_slice() {
        return html! { section { h2 { "Figures" } (figures(report, 0, only)) } };
    }
    let drawn = drawn(points.len());
    html! {
        section {
            h2 { "Figures" }
            @if drawn.len() < points.len() {
                p.hint { "Of " (count(points.len())) " points " (drawn.len()) " are shown in full; the sweeps below and "
                    code { "summary.json" } " have more." }
            }
            @for at in drawn {
                @let point = &points[at];
                details.point open[at == 0] {
                    summary { (breakable(&settings(point))) }
                    (figures(report, at, point))
                }
            }
        }
    }
}

/// The first, the last, and some between them.
fn drawn(points: usize) -> Vec<usize> {
    if points <= POINTS_DRAWN_MAX {
        return (0..points).collect();
    }
    (0..POINTS_DRAWN_MAX).map(|at| at * (points - 1) / (POINTS_DRAWN_MAX - 1)).collect()
}

/// `networks.plant.loss = 0.02, sensors.press.rate_hz = 5`.
pub fn settings(point: &PointFindings) -> String {
    let settings = point.settings.iter().map(|(key, value)| format!("{key} = {}", plain(*value, 4)));
    let settings = settings.collect::<Vec<_>>().join(", ");
    if settings.is_empty() { "as the scenario says".to_owned() } else { settings }
}

fn figures(report: &Report<'_>, at: usize, point: &PointFindings) -> Markup {
    let level = report.findings.options.bootstrap.level;
    let marks = marks(report, at);
    let drawings = [
        plots::latency(point, &format!("latency-{at}")),
        plots::timeline(point, &marks, &format!("time-{at}")),
        plots::stages(point, &format!("stages-{at}")),
        // With sweeps its place is beside the curves, for it shows all points.
        (report.findings.points.len() == 1).then(|| plots::accuracy(report.findings, "accuracy")).flatten(),
    ];
    html! {
        (tables::contrasts(point, level))
        (tables::latencies(point, level))
        @if drawings.iter().any(Option::is_some) {
            div.figures { @for drawing in drawings.into_iter().flatten() { (drawing) } }
        } @else {
            p.hint { "Nothing was answered, so that there is nothing to draw." }
        }
        (tables::ends(point, level))
        (tables::accuracy(point, level))
        (tables::choices(point))
        (tables::consumption(point))
        (tables::repeats(point))
    }
}

/// What was different in the point's first repeat, with the placements' names.
fn marks<'a>(report: &'a Report<'_>, at: usize) -> Vec<(&'a Mark, &'a str)> {
    let placements = &report.run.scenario.placements;
    let of_first = report.run.marks.iter().filter(|mark| usize::from(mark.point) == at && mark.repeat == 0);
    let mut marks: Vec<_> = of_first
        .map(|mark| {
            (
                mark,
                placements.get(usize::from(mark.placement)).map_or("", |placement| placement.name.as_str()),
            )
        })
        .collect();
    marks.sort_by_key(|(mark, _)| (mark.from, mark.placement));
    marks
}
