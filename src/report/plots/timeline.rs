//! The first repeat through its time, with what was different for a while.

use maud::{Markup, html};

use super::{drawn, figure_of_placements};
use crate::lab::findings::{PointFindings, TimeBin};
use crate::lab::observation::Mark;
use crate::lab::words::{self, plain};
use crate::report::MARKS_DRAWN_MAX;
use crate::report::drawing::{Frame, SERIES, Scale, line_class, tenths};

/// Median and 95th percentile over time, marks shaded; nothing with fewer than two
/// bins. `marks` are those of the point's first repeat, with their placements' names.
pub fn timeline(point: &PointFindings, marks: &[(&Mark, &str)], id: &str) -> Option<Markup> {
    let placements = drawn(point);
    let latencies =
        || placements.iter().flat_map(|placement| &placement.timeline).filter_map(|bin| bin.latency_ms);
    let until_s = placements.iter().filter_map(|placement| placement.timeline.last()).map(|bin| bin.until_s);
    let until_s = until_s.reduce(f64::max)?;
    if placements.iter().all(|placement| placement.timeline.len() < 2) || latencies().next().is_none() {
        return None;
    }
    let unanswered =
        placements.iter().flat_map(|placement| &placement.timeline).any(|bin| bin.unanswered > 0);
    let lanes = if unanswered { LANE * placements.len() as f64 + LANES_TITLE } else { 0.0 };
    let frame = Frame {
        id: id.to_owned(),
        title: "Latency through the first repeat".to_owned(),
        description: description(point, marks),
        x: Scale::exactly(0.0, until_s),
        x_title: "time since the beginning, s".to_owned(),
        y: Scale::of(latencies().flatten()),
        y_title: "latency, ms".to_owned(),
        below: lanes,
    };
    let shown = &marks[..marks.len().min(MARKS_DRAWN_MAX)];
    let inside = html! {
        (shades(&frame, point, shown))
        @for (at, placement) in placements.iter().enumerate().rev() {
            path class=(format!("band f{}", at % SERIES)) d=(band(&frame, &placement.timeline)) {}
            path class=(line_class(at)) d=(medians(&frame, &placement.timeline)) {}
        }
        @if unanswered { (silence(&frame, point)) }
    };
    let caption = html! {
        "Median (line) and up to the 95th percentile (shade) of the first repeat"
        @if !point.warm_up.is_zero() { "; the warm-up is grey and counts in no figure" }
        "."
        @if unanswered { " Bars below: requests without a result, the darker the more." }
        @if !shown.is_empty() {
            ol.marks {
                @for (mark, name) in shown { li { (said(mark, name)) } }
                @if marks.len() > shown.len() { li { "and " (words::count(marks.len() - shown.len())) " more" } }
            }
        }
    };
    Some(figure_of_placements("Through time", placements, &frame.draw(&inside), &caption))
}

const LANE: f64 = 10.0;
const LANES_TITLE: f64 = 8.0;

/// `cloud: outage of the uplink, 12 s to 18 s`.
fn said(mark: &Mark, name: &str) -> String {
    let seconds = |time: std::time::Duration| plain(time.as_secs_f64(), 4);
    let (from, until) = (seconds(mark.from), seconds(mark.until));
    if from == until {
        format!("{name}: {}, at {from} s", mark.what)
    } else {
        format!("{name}: {}, {from} s to {until} s", mark.what)
    }
}

fn description(point: &PointFindings, marks: &[(&Mark, &str)]) -> String {
    let of = |bins: &[TimeBin]| {
        let medians = || bins.iter().filter_map(|bin| bin.latency_ms).map(|[median, _]| median);
        let (least, most) = (medians().reduce(f64::min)?, medians().reduce(f64::max)?);
        Some(format!("medians between {} and {}", words::milliseconds(least), words::milliseconds(most)))
    };
    let placements = drawn(point).iter().map(|placement| {
        format!("{}: {}.", placement.name, of(&placement.timeline).unwrap_or_else(|| "no result".to_owned()))
    });
    let marks = marks.iter().take(MARKS_DRAWN_MAX).map(|(mark, name)| format!("{}.", said(mark, name)));
    placements.chain(marks).collect::<Vec<_>>().join(" ")
}

fn shades(frame: &Frame, point: &PointFindings, marks: &[(&Mark, &str)]) -> Markup {
    let height = tenths(frame.bottom() - frame.top());
    let warm_up = frame.x(point.warm_up.as_secs_f64()) - frame.left();
    html! {
        @if warm_up > 0.0 {
            rect.warm-up x=(frame.left()) y=(frame.top()) width=(tenths(warm_up)) height=(height) {}
        }
        @for (at, (mark, _)) in marks.iter().enumerate() {
            @let (from, until) = (frame.x(mark.from.as_secs_f64()), frame.x(mark.until.as_secs_f64()));
            // A moment is as wide as a line.
            rect.mark x=(tenths(from)) y=(frame.top()) width=(tenths((until - from).max(1.5))) height=(height) {}
            // Numbers that would overlap stand on two levels.
            text.note x=(tenths(f64::midpoint(from, until))) y=(tenths(frame.top() - 4.0 + 13.0 * (at % 2) as f64))
                text-anchor="middle" { (at + 1) }
        }
    }
}

/// The line of medians, interrupted where there was no result.
fn medians(frame: &Frame, bins: &[TimeBin]) -> String {
    let mut path = String::new();
    let mut is_down = false;
    for bin in bins {
        let Some([median, _]) = bin.latency_ms else {
            is_down = false;
            continue;
        };
        let (x, y) = (tenths(middle(frame, bin)), tenths(frame.y(median)));
        path += &format!("{}{x} {y}", if is_down { "L" } else { "M" });
        if !is_down {
            // A single bin is a dot as wide as the line.
            path += "h.1";
        }
        is_down = true;
    }
    path
}

/// From the median up to the 95th percentile.
fn band(frame: &Frame, bins: &[TimeBin]) -> String {
    let mut path = String::new();
    for stretch in bins.split(|bin| bin.latency_ms.is_none()).filter(|stretch| stretch.len() > 1) {
        let point = |bin: &TimeBin, which: usize| {
            let latency_ms = bin.latency_ms.map_or(0.0, |latencies| latencies[which]);
            format!("{} {}", tenths(middle(frame, bin)), tenths(frame.y(latency_ms)))
        };
        let there = stretch.iter().map(|bin| point(bin, 0));
        let back = stretch.iter().rev().map(|bin| point(bin, 1));
        path += &format!("M{}Z", there.chain(back).collect::<Vec<_>>().join("L"));
    }
    path
}

fn middle(frame: &Frame, bin: &TimeBin) -> f64 {
    frame.x(f64::midpoint(bin.from_s, bin.until_s))
}

/// A lane for each placement, dark where requests had no result.
fn silence(frame: &Frame, point: &PointFindings) -> Markup {
    let top = crate::report::drawing::HEIGHT - frame.below + LANES_TITLE;
    html! {
        @for (at, placement) in drawn(point).iter().enumerate() {
            @let y = top + LANE * at as f64;
            path.grid d=(format!("M{} {}H{}", frame.left(), tenths(y + LANE / 2.0 - 1.0), frame.right())) {}
            @for bin in placement.timeline.iter().filter(|bin| bin.unanswered > 0) {
                @let (from, until) = (frame.x(bin.from_s), frame.x(bin.until_s));
                @let share = bin.unanswered as f64 / bin.sent.max(1) as f64;
                rect class=(format!("f{}", at % SERIES)) x=(tenths(from)) y=(tenths(y)) width=(tenths(until - from))
                    height=(LANE - 2.0) opacity=(tenths(0.3 + 0.7 * share)) {}
            }
        }
    }
}
