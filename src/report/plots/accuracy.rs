//! What accuracy costs in latency, and which placements no other beats in both.

use maud::{Markup, html};

use super::{drawn, names};
use crate::lab::findings::{Findings, PointFindings};
use crate::lab::words::{milliseconds, number};
use crate::report::drawing::{Frame, Key, Scale, dot, figure, legend, tenths};

/// The most dots.
const DOTS_MAX: usize = 240;

/// A placement at a point of the sweeps.
#[derive(Clone, Copy)]
struct Dot {
    series: usize,
    latency_ms: f64,
    f1: f64,
}

/// Median latency and F1 of every placement at every point, with the Pareto front;
/// nothing where the truth is not known.
pub fn accuracy(findings: &Findings, id: &str) -> Option<Markup> {
    let first = findings.points.first()?;
    let mut dots: Vec<_> = findings.points.iter().flat_map(dots_of).collect();
    dots.truncate(DOTS_MAX);
    let least = dots.iter().map(|dot| dot.f1).reduce(f64::min)?;
    let most = dots.iter().map(|dot| dot.f1).fold(least, f64::max);
    // Differences of a few per cent are what one looks for, so the axis does not begin at 0.
    let room = ((most - least) * 0.15).max(0.02);
    let frame = Frame {
        id: id.to_owned(),
        title: "Accuracy against latency".to_owned(),
        description: description(first, &dots),
        x: Scale::of(dots.iter().map(|dot| dot.latency_ms)),
        x_title: "median latency, ms".to_owned(),
        y: Scale::linear((least - room).max(0.0), (most + room).min(1.0)),
        y_title: "F1".to_owned(),
        below: 0.0,
    };
    let front = front(&dots);
    let inside = html! {
        path.front d=(steps(&frame, &front)) {}
        @for each in &dots { (dot(each.series, frame.x(each.latency_ms), frame.y(each.f1))) }
    };
    let caption = html! {
        "Up and to the left is better. The line is the Pareto front: nothing beats what is on it in both. The upper axis does not \
         begin at 0."
    };
    let legend = legend(&names(drawn(first)), Key::Dot);
    Some(figure("Accuracy against latency", &legend, &frame.draw(&inside), &caption))
}

fn dots_of(point: &PointFindings) -> impl Iterator<Item = Dot> + '_ {
    drawn(point).iter().enumerate().filter_map(|(series, placement)| {
        let latency = placement.latency_ms.as_ref()?;
        let latency_ms = latency.percentile(50.0)?.value;
        let f1 = placement.accuracy.as_ref()?.confusion.f1()?;
        Some(Dot { series, latency_ms, f1 })
    })
}

/// What no other dot beats, from the fastest on.
fn front(dots: &[Dot]) -> Vec<Dot> {
    let mut sorted = dots.to_vec();
    sorted
        .sort_by(|one, other| one.latency_ms.total_cmp(&other.latency_ms).then(other.f1.total_cmp(&one.f1)));
    let mut front: Vec<Dot> = Vec::new();
    for dot in sorted {
        if front.last().is_none_or(|best| dot.f1 > best.f1) {
            front.push(dot);
        }
    }
    front
}

fn steps(frame: &Frame, front: &[Dot]) -> String {
    let mut path = String::new();
    for (at, dot) in front.iter().enumerate() {
        let (x, y) = (tenths(frame.x(dot.latency_ms)), tenths(frame.y(dot.f1)));
        path += &if at == 0 { format!("M{x} {}V{y}", tenths(frame.bottom())) } else { format!("H{x}V{y}") };
    }
    path + &format!("H{}", tenths(frame.right()))
}

fn description(point: &PointFindings, dots: &[Dot]) -> String {
    let names = names(drawn(point));
    let said = dots.iter().take(names.len()).map(|dot| {
        let name = names.get(dot.series).copied().unwrap_or_default();
        format!("{name}: F1 {} at {}.", number(dot.f1, 3), milliseconds(dot.latency_ms))
    });
    said.collect::<Vec<_>>().join(" ")
}
