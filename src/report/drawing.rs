//! Axes, ticks and lines as inline SVG.
//!
//! Our own, and small, because colours have to follow the reader's light or dark setting: every colour
//! here is a class of the page's style. The common library for plots, `plotters`, writes colours into
//! each element; `poloto`, which is styled by classes, has had nineteen incompatible versions.

mod frame;
mod scale;

pub use self::frame::{Frame, HEIGHT, WIDTH, deadline_line};
pub use self::scale::Scale;

use maud::{Markup, html};

/// How many colours and dashes there are; then they begin again.
pub const SERIES: usize = 6;

/// The class of a line of series `at`: a colour, and dashes for those who do not tell colours apart.
pub fn line_class(at: usize) -> String {
    format!("line s{} d{}", at % SERIES, at % SERIES)
}

/// What stands for a series in a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A line.
    Line,
    /// A line with dots.
    DottedLine,
    /// Dots alone.
    Dot,
}

/// Which series is whose, beside a drawing.
pub fn legend(names: &[&str], key: Key) -> Markup {
    html! {
        ul.legend {
            @for (at, name) in names.iter().enumerate() {
                li {
                    svg.key viewBox="0 0 34 12" aria-hidden="true" {
                        @if key != Key::Dot { path class=(line_class(at)) d="M1 6H33" {} }
                        @if key != Key::Line { (dot(at, 17.0, 6.0)) }
                    }
                    span { (name) }
                }
            }
        }
    }
}

/// A drawing with its heading, its legend and what has to be said below it.
pub fn figure(heading: &str, legend: &Markup, drawing: &Markup, caption: &Markup) -> Markup {
    html! {
        figure {
            h4 { (heading) }
            (legend)
            (drawing)
            figcaption { (caption) }
        }
    }
}

/// A dot of series `at`, of a shape of its own.
pub fn dot(at: usize, x: f64, y: f64) -> Markup {
    let class = format!("dot f{}", at % SERIES);
    let (x, y) = (tenths(x), tenths(y));
    // Around the origin, 5 units to each side.
    let shape = match at % SERIES {
        0 => "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
        1 => "M-4 -4H4V4H-4Z",
        2 => "M0 -5.5L5 3.5H-5Z",
        3 => "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
        4 => "M0 5.5L5 -3.5H-5Z",
        _ => "M-5 -1.6H-1.6V-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5Z",
    };
    html! { path class=(class) transform=(format!("translate({x} {y})")) d=(shape) {} }
}

/// A coordinate, with as many decimals as one can see.
pub fn tenths(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // There is no negative zero in a drawing.
    format!("{}", rounded + 0.0)
}
