//! Found against false alarms as the budget varies.

use maud::{Markup, html};

use super::figures::cell;
use super::units::{a_unit, name};
use super::{POINTS_SHOWN_MAX, rows};
use crate::judgement::{CurvePoint, Entry, Judgement, Rate, Share};
use crate::lab::words::number;
use crate::report::drawing::{Frame, Key, Scale, dot, figure, legend, line_class, tenths};
use crate::report::table::{column, first_column, table};

/// The section of the page; nothing where the budget was not varied.
pub fn curve(judgement: &Judgement) -> Markup {
    let points = &judgement.curve[..judgement.curve.len().min(POINTS_SHOWN_MAX)];
    if points.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "As the budget varies" }
            @if judgement.counted.events > 0 { div.figures { (drawing(judgement, points)) } }
            (points_table(judgement, points))
            @if points.len() < judgement.curve.len() {
                p.hint { (judgement.curve.len() - points.len()) " further budgets are in " code { "judgement.json" } "." }
            }
        }
    }
}

fn points_table(judgement: &Judgement, points: &[CurvePoint]) -> Markup {
    let head = html! {
        (first_column("budget")) (column("events found")) (column(&format!("false episodes {}", a_unit(judgement.unit))))
        (column("of the budget")) (column("false alarm rate")) (column("missed rate"))
    };
    let body = html! {
        @for point in points {
            tr {
                th scope="row" { (point.budget.to_string()) }
                (cell(&rows::found(point.found)))
                (cell(&rows::false_episodes(point.false_episodes)))
                (cell(&rows::of_budget(point.false_episodes)))
                (cell(&rows::row_share(point.false_alarm_rate)))
                (cell(&rows::row_share(point.missed_rate)))
            }
        }
    };
    table(
        "Budgets",
        &head,
        &body,
        &html! { "The detection was run again at each budget, from its beginning." },
    )
}

/// A place in the drawing: false episodes a unit, events found in per cent.
fn place(rate: Rate, found: Share) -> Option<(f64, f64)> {
    Some((rate.per_unit()?, found.share()? * 100.0))
}

fn drawing(judgement: &Judgement, points: &[CurvePoint]) -> Markup {
    let mut line: Vec<(f64, f64)> =
        points.iter().filter_map(|point| place(point.false_episodes, point.found)).collect();
    line.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    // The detector's own place is on its line.
    let controls = || judgement.entries.iter().skip(1);
    let of = |entry: &Entry| place(entry.figures.false_episodes, entry.figures.found);
    let dots: Vec<_> = controls().map(of).collect();
    let xs = line.iter().copied().chain(dots.iter().copied().flatten()).map(|(x, _)| x).filter(|x| *x > 0.0);
    let frame = Frame {
        id: "budgets".to_owned(),
        title: "Events found against false episodes as the budget varies".to_owned(),
        description: description(&line, judgement),
        x: Scale::of(xs),
        x_title: format!("false episodes {}", a_unit(judgement.unit)),
        y: Scale::exactly(0.0, 100.0),
        y_title: "events found, %".to_owned(),
        below: 0.0,
    };
    let at = |(x, y): (f64, f64)| (frame.x(x), frame.y(y));
    let path: Vec<String> =
        line.iter().map(|place| at(*place)).map(|(x, y)| format!("{} {}", tenths(x), tenths(y))).collect();
    let inside = html! {
        @if path.len() > 1 { path class=(line_class(0)) d=(format!("M{}", path.join("L"))) {} }
        @for place in &line { @let (x, y) = at(*place); (dot(0, x, y)) }
        @for (series, place) in dots.iter().enumerate() {
            @if let Some(place) = place { @let (x, y) = at(*place); (dot(series + 1, x, y)) }
        }
    };
    let names: Vec<&str> = judgement.entries.iter().map(|entry| name(entry.who)).collect();
    let caption = html! {
        "Up and to the left is better. What has no false episode stands at the left end, though it is only known to have at most 3 in \
         the time."
    };
    figure("Found against false", &legend(&names, Key::Dot), &frame.draw(&inside), &caption)
}

fn description(line: &[(f64, f64)], judgement: &Judgement) -> String {
    let said = |(x, y): &(f64, f64)| {
        format!("{} % found at {} false episodes {}", number(*y, 3), number(*x, 3), a_unit(judgement.unit))
    };
    match line {
        [] => "No point.".to_owned(),
        [only] => format!("{}.", said(only)),
        [first, .., last] => format!("From {} to {}.", said(first), said(last)),
    }
}
