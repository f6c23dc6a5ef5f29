//! The course of a device: its score, the threshold in force and its alarms over time, with the truth shaded.

use maud::{Markup, html};

use super::units::time_unit;
use crate::judgement::{Column, DeviceFigures, Trace, Unit};
use crate::lab::words::count;
use crate::report::drawing::{Frame, HEIGHT, Scale, figure, tenths};

/// The height of the lane of alarms.
const LANE: f64 = 10.0;
/// The room above it.
const ABOVE_LANE: f64 = 8.0;
/// The room below it.
const BELOW_LANE: f64 = 2.0;

/// The drawing of a device, the `at`th of the page.
pub fn course(device: &DeviceFigures, at: usize) -> Markup {
    let Trace { columns, unit } = &device.trace;
    let span = columns.last().map_or(0.0, |column| column.until);
    let (x_title, scale) = match unit {
        Unit::Days => {
            let (name, seconds) = time_unit(span);
            (format!("time since the first row, {name}"), seconds)
        }
        Unit::ThousandRows => ("row".to_owned(), 1.0),
    };
    let frame = Frame {
        id: format!("device-{at}"),
        title: format!("Score and alarms of {}", device.device),
        description: description(device),
        x: Scale::exactly(0.0, span / scale),
        x_title,
        y: height(columns),
        y_title: "score".to_owned(),
        below: LANE + ABOVE_LANE + BELOW_LANE,
    };
    let x = |place: f64| frame.x(place / scale);
    let shaded = |is: fn(&Column) -> bool| {
        stretches(columns, is)
            .into_iter()
            .map(ends)
            .map(|(from, until)| (x(from), x(until)))
            .collect::<Vec<_>>()
    };
    let (top, height) = (frame.top(), tenths(frame.bottom() - frame.top()));
    let lane = HEIGHT - LANE - BELOW_LANE;
    // A moment is as wide as a line.
    let width = |from: f64, until: f64| tenths((until - from).max(1.5));
    let inside = html! {
        @for (from, until) in shaded(|column| column.is_learning) {
            rect.warm-up x=(tenths(from)) y=(top) width=(width(from, until)) height=(height) {}
        }
        @for (from, until) in shaded(|column| column.is_wrong) {
            rect.mark x=(tenths(from)) y=(top) width=(width(from, until)) height=(height) {}
        }
        path.front d=(line(columns, x, |column| column.threshold.map(|threshold| frame.y(threshold)))) {}
        path.range.s0 d=(line(columns, x, |column| column.score.map(|score| frame.y(score)))) {}
        path.grid d=(format!("M{} {}H{}", frame.left(), tenths(lane + LANE / 2.0), frame.right())) {}
        @for columns in stretches(columns, |column| column.is_alarm) {
            @let (from, until) = ends(columns);
            @let (from, until) = (x(from), x(until));
            rect class=(if columns[0].begins_false > 0 { "f1" } else { "f2" }) x=(tenths(from)) y=(tenths(lane))
                width=(width(from, until)) height=(LANE) {}
        }
    };
    let has_threshold = columns.iter().any(|column| column.threshold.is_some());
    let has_warm_up = columns.iter().any(|column| column.is_learning);
    let caption = html! {
        "Where several rows share a place the highest score is drawn. " (said(device)) "."
    };
    figure(&device.device, &legend(has_threshold, has_warm_up), &frame.draw(&inside), &caption)
}

fn legend(has_threshold: bool, has_warm_up: bool) -> Markup {
    let shade = |class: &str| html! { svg.key viewBox="0 0 34 12" aria-hidden="true" { rect class=(class) width="34" height="12" {} } };
    html! {
        ul.legend {
            li { svg.key viewBox="0 0 34 12" aria-hidden="true" { path.range.s0 d="M1 6H33" {} } span { "score" } }
            @if has_threshold {
                li { svg.key viewBox="0 0 34 12" aria-hidden="true" { path.front d="M1 6H33" {} } span { "threshold" } }
            }
            li { (shade("f2")) span { "alarm, below" } }
            li { (shade("f1")) span { "alarm that began where nothing was wrong" } }
            li { (shade("mark")) span { "something was wrong" } }
            @if has_warm_up { li { (shade("warm-up")) span { "warm-up" } } }
        }
    }
}

/// An axis for all scores and thresholds.
fn height(columns: &[Column]) -> Scale {
    let values = columns.iter().flat_map(|column| [column.score, column.threshold]).flatten();
    let least = values.clone().fold(f64::INFINITY, f64::min);
    // A scale of its own for what is negative: the usual one begins at 0.
    if least < 0.0 { Scale::linear(least, values.fold(least, f64::max)) } else { Scale::of(values) }
}

/// The maximal runs of columns in which `is` holds.
fn stretches(columns: &[Column], is: fn(&Column) -> bool) -> Vec<&[Column]> {
    columns.chunk_by(|one, other| is(one) == is(other)).filter(|columns| is(&columns[0])).collect()
}

/// Where some columns, of which there are some, begin and end.
fn ends(columns: &[Column]) -> (f64, f64) {
    (columns[0].from, columns[columns.len() - 1].until)
}

/// A line through the middles of the columns, interrupted where there is no value.
fn line(columns: &[Column], x: impl Fn(f64) -> f64, y: impl Fn(&Column) -> Option<f64>) -> String {
    let mut path = String::new();
    let mut is_down = false;
    for column in columns {
        let Some(y) = y(column) else {
            is_down = false;
            continue;
        };
        let x = tenths(x(f64::midpoint(column.from, column.until)));
        path += &format!("{}{x} {}", if is_down { "L" } else { "M" }, tenths(y));
        if !is_down {
            // A single place is a dot as wide as the line.
            path += "h.1";
        }
        is_down = true;
    }
    path
}

/// `2 of 3 events found, 1 false episode`.
fn said(device: &DeviceFigures) -> String {
    let tally = &device.tally;
    let found = match tally.events {
        0 => "No event".to_owned(),
        events => format!("{} of {} events found", count(tally.found), count(events)),
    };
    let be = if tally.false_episodes == 1 { "false episode" } else { "false episodes" };
    format!("{found}, {} {be}", count(tally.false_episodes))
}

fn description(device: &DeviceFigures) -> String {
    let columns = &device.trace.columns;
    let alarms = stretches(columns, |column| column.is_alarm).len();
    let wrong = stretches(columns, |column| column.is_wrong).len();
    format!(
        "{}. {} stretches in alarm, {} in which something was wrong, in {} rows.",
        said(device),
        count(alarms),
        count(wrong),
        count(device.counted.rows)
    )
}
