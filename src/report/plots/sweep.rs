//! What changes along a key of the sweeps, with intervals.

use maud::{Markup, html};

use crate::lab::findings::{Findings, PlacementFindings, PointFindings};
use crate::lab::words::{number, plain};
use crate::report::drawing::{self, Frame, Key, Scale, dot, figure, line_class, tenths};
use crate::report::{CURVE_POINTS_MAX, PLACEMENTS_DRAWN_MAX};
use crate::statistics::Interval;

/// What a curve shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// The mean latency.
    Latency,
    /// The share of requests without a result in time.
    Misses,
    /// The share of requests without a result.
    Unanswered,
}

/// A value along a key, with its interval.
struct Step {
    key: f64,
    value: f64,
    interval: Interval,
}

/// Curves of one figure along `key`; nothing when there are fewer than two values of it anywhere.
pub fn curves(findings: &Findings, key: &str, curve: Curve, id: &str) -> Option<Markup> {
    let along = thinned(findings.along(key));
    let (_, first) = along.first()?;
    let names: Vec<_> =
        first.placements.iter().take(PLACEMENTS_DRAWN_MAX).map(|placement| placement.name.as_str()).collect();
    let level = findings.options.bootstrap.level;
    let series = |at: usize| {
        let step = |(key, point): &(f64, &PointFindings)| {
            let (value, interval) = figure_of(point.placements.get(at)?, curve, level)?;
            Some(Step { key: *key, value, interval })
        };
        along.iter().filter_map(step).collect::<Vec<_>>()
    };
    let series: Vec<Vec<Step>> = (0..names.len()).map(series).collect();
    if series.iter().all(|steps| steps.len() < 2) {
        return None;
    }
    let (heading, y_title) = match curve {
        Curve::Latency => ("Mean latency", "mean latency, ms"),
        Curve::Misses => ("Deadline missed", "requests without a result in time, %"),
        Curve::Unanswered => ("Without a result", "requests without a result, %"),
    };
    let all = || series.iter().flatten();
    let y = match curve {
        Curve::Latency => {
            Scale::of(all().flat_map(|step| [step.value, step.interval.low, step.interval.high]))
        }
        _ => Scale::linear(0.0, all().map(|step| step.interval.high).fold(0.0, f64::max)),
    };
    let frame = Frame {
        id: id.to_owned(),
        title: format!("{heading} along {key}"),
        description: description(&names, &series),
        x: along_scale(all().map(|step| step.key)),
        x_title: shortened(key),
        y,
        y_title: y_title.to_owned(),
        below: 0.0,
    };
    let inside = html! { @for (at, steps) in series.iter().enumerate().rev() { (line(&frame, at, steps)) } };
    let level = plain(level * 100.0, 4);
    let caption = html! { "Along " code { (key) } ", with " (level) " % intervals." };
    Some(figure(heading, &drawing::legend(&names, Key::DottedLine), &frame.draw(&inside), &caption))
}

/// A key's values need not begin at 0.
fn along_scale(values: impl Iterator<Item = f64> + Clone) -> Scale {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let scale = Scale::of(values);
    if scale.is_log() { scale } else { Scale::exactly(least, most) }
}

fn thinned(along: Vec<(f64, &PointFindings)>) -> Vec<(f64, &PointFindings)> {
    if along.len() <= CURVE_POINTS_MAX {
        return along;
    }
    (0..CURVE_POINTS_MAX).map(|at| along[at * (along.len() - 1) / (CURVE_POINTS_MAX - 1)]).collect()
}

fn figure_of(placement: &PlacementFindings, curve: Curve, level: f64) -> Option<(f64, Interval)> {
    let share = match curve {
        Curve::Latency => {
            let latency = placement.latency_ms.as_ref()?;
            return Some((latency.mean, latency.mean_interval));
        }
        Curve::Misses => placement.deadline_misses?.all,
        Curve::Unanswered => placement.unanswered(),
    };
    if share.all == 0 {
        return None;
    }
    let Interval { low, high } = share.interval(level);
    Some((share.share() * 100.0, Interval { low: low * 100.0, high: high * 100.0 }))
}

fn line(frame: &Frame, at: usize, steps: &[Step]) -> Markup {
    let points: Vec<_> = steps
        .iter()
        .map(|step| format!("{} {}", tenths(frame.x(step.key)), tenths(frame.y(step.value))))
        .collect();
    html! {
        @for step in steps {
            @let x = tenths(frame.x(step.key));
            @let (low, high) = (tenths(frame.y(step.interval.low)), tenths(frame.y(step.interval.high)));
            path class=(format!("range s{}", at % drawing::SERIES))
                d=(format!("M{x} {low}V{high}m-4 0h8M{x} {low}m-4 0h8")) {}
        }
        @if points.len() > 1 { path class=(line_class(at)) d=(format!("M{}", points.join("L"))) {} }
        @for step in steps { (dot(at, frame.x(step.key), frame.y(step.value))) }
    }
}

fn description(names: &[&str], series: &[Vec<Step>]) -> String {
    let of = |(name, steps): (&&str, &Vec<Step>)| match (steps.first(), steps.last()) {
        (Some(first), Some(last)) => format!(
            "{name}: {} at {}, {} at {}.",
            number(first.value, 3),
            plain(first.key, 4),
            number(last.value, 3),
            plain(last.key, 4)
        ),
        _ => format!("{name}: no figure."),
    };
    names.iter().zip(series).map(of).collect::<Vec<_>>().join(" ")
}

/// A key's last levels, where all of it would not fit below an axis.
fn shortened(key: &str) -> String {
    let fits = |text: &str| text.chars().count() <= KEY_CHARACTERS_MAX;
    if fits(key) {
        return key.to_owned();
    }
    let levels = key.match_indices('.').map(|(at, _)| &key[at + 1..]);
    match levels.into_iter().find(|rest| fits(rest)) {
        Some(rest) => format!("… {rest}"),
        None => format!("{}…", key.chars().take(KEY_CHARACTERS_MAX).collect::<String>()),
    }
}

const KEY_CHARACTERS_MAX: usize = 26;
