//! How many requests have a result within a time.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use super::{drawn, figure_of_placements, names};
use crate::lab::findings::{PlacementFindings, PointFindings};
use crate::lab::words;
use crate::report::document::STYLE;
use crate::report::drawing::{Frame, HEIGHT, SERIES, Scale, WIDTH, deadline_line, line_class, tenths};

/// The distribution on the page; nothing when nothing was answered.
pub fn latency(point: &PointFindings, id: &str) -> Option<Markup> {
    let frame = frame(point, id)?;
    let drawing = frame.draw(&inside(&frame, point));
    let caption = html! {
        "Share of all requests that have a result within a time. A curve that ends below 100 % lacks requests without a result."
    };
    Some(figure_of_placements("Latency", drawn(point), &drawing, &caption))
}

/// The drawing of the latencies as a file of its own, with its legend and its style inside.
pub fn latency_file(point: &PointFindings) -> Option<Markup> {
    let frame = frame(point, "latency")?;
    let names = names(drawn(point));
    let legend_height = LEGEND_ROW * names.len() as f64 + 10.0;
    let height = HEIGHT + legend_height;
    Some(html! {
        svg.plot xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH * 1.4)
            height=(height * 1.4) role="img" aria-labelledby="latency-title latency-description" {
            style { (PreEscaped(STYLE)) }
            rect.paper width=(WIDTH) height=(height) {}
            @for (at, name) in names.iter().enumerate() {
                @let y = LEGEND_ROW * (at as f64 + 0.5) + 6.0;
                path class=(line_class(at)) d=(format!("M62 {}h34", tenths(y))) {}
                text.tick x="106" y=(tenths(y)) dy="0.35em" { (name) }
            }
            g transform=(format!("translate(0 {legend_height})")) { (frame.contents(&inside(&frame, point))) }
        }
    })
}

const LEGEND_ROW: f64 = 20.0;

fn frame(point: &PointFindings, id: &str) -> Option<Frame> {
    let placements = drawn(point);
    let ends = placements.iter().flat_map(|placement| {
        let ends = [placement.cdf.first(), placement.cdf.last()];
        ends.into_iter().flatten().map(|(latency_ms, _)| *latency_ms)
    });
    let ends: Vec<_> = ends.collect();
    if ends.is_empty() {
        return None;
    }
    Some(Frame {
        id: id.to_owned(),
        title: format!("Distribution of latencies of {}", words::list(&owned(&names(placements)))),
        description: description(placements),
        x: Scale::of(ends),
        x_title: "latency, ms".to_owned(),
        y: Scale::exactly(0.0, 100.0),
        y_title: "requests with a result, %".to_owned(),
        below: 0.0,
    })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn description(placements: &[PlacementFindings]) -> String {
    let of = |placement: &PlacementFindings| match &placement.latency_ms {
        Some(latency) => {
            let at = |wanted: f64| {
                words::milliseconds(latency.percentile(wanted).map_or(f64::NAN, |found| found.value))
            };
            format!("{}: half of its results within {}, 99 % within {}.", placement.name, at(50.0), at(99.0))
        }
        None => format!("{}: no result.", placement.name),
    };
    placements.iter().map(of).collect::<Vec<_>>().join(" ")
}

fn inside(frame: &Frame, point: &PointFindings) -> Markup {
    html! {
        (deadline_line(frame, point.deadline_ms))
        // The first one above the others.
        @for (at, placement) in drawn(point).iter().enumerate().rev() {
            @if !placement.cdf.is_empty() {
                path class=(line_class(at % SERIES)) d=(steps(frame, &placement.cdf)) {}
            }
        }
    }
}

/// Up at every latency, and flat to the right edge behind the last.
fn steps(frame: &Frame, cdf: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut last = (String::new(), String::new());
    for (at, (latency_ms, share)) in cdf.iter().enumerate() {
        let (x, y) = (tenths(frame.x(*latency_ms)), tenths(frame.y(share * 100.0)));
        if at == 0 {
            let _ = write!(path, "M{x} {}V{y}", tenths(frame.bottom()));
        } else {
            // What one cannot see is not drawn.
            if x != last.0 {
                let _ = write!(path, "H{x}");
            }
            if y != last.1 {
                let _ = write!(path, "V{y}");
            }
        }
        last = (x, y);
    }
    let _ = write!(path, "H{}", tenths(frame.right()));
    path
}
