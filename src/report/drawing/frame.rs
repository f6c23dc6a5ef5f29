//! A drawing with two axes.

use maud::{Markup, html};

use super::{Scale, tenths};

/// The drawing's width, in its own units; on a page it is as wide as there is room.
pub const WIDTH: f64 = 520.0;
/// Its height.
pub const HEIGHT: f64 = 320.0;

/// Two axes and what is around them. There is room for labels half as large again, for narrow screens.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Names its parts; one of a page.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What it shows in a sentence or two, for those who do not see it.
    pub description: String,
    /// Along the bottom.
    pub x: Scale,
    /// What is along the bottom.
    pub x_title: String,
    /// Upwards.
    pub y: Scale,
    /// What goes upwards.
    pub y_title: String,
    /// Room below the x axis, besides that of its labels.
    pub below: f64,
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 62.0;

impl Frame {
    /// Where a value of the x axis is.
    pub fn x(&self, value: f64) -> f64 {
        LEFT + self.x.at(value) * (self.right() - LEFT)
    }

    /// Where a value of the y axis is.
    pub fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.at(value) * (self.bottom() - TOP)
    }

    /// The left end of the x axis.
    pub fn left(&self) -> f64 {
        LEFT
    }

    /// The right end of the x axis.
    pub fn right(&self) -> f64 {
        WIDTH - RIGHT
    }

    /// The upper end of the y axis.
    pub fn top(&self) -> f64 {
        TOP
    }

    /// The lower end of the y axis.
    pub fn bottom(&self) -> f64 {
        HEIGHT - BOTTOM - self.below
    }

    /// The drawing: axes, and `inside` above them.
    pub fn draw(&self, inside: &Markup) -> Markup {
        html! {
            svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
                aria-labelledby=(format!("{}-title {}-description", self.id, self.id)) {
                (self.contents(inside))
            }
        }
    }

    /// What is in the drawing, for those who write the element around it.
    pub fn contents(&self, inside: &Markup) -> Markup {
        let (left, right, top, bottom) = (self.left(), self.right(), self.top(), self.bottom());
        let logarithmic = |scale: &Scale| if scale.is_log() { " (logarithmic)" } else { "" };
        html! {
            title id=(format!("{}-title", self.id)) { (self.title) }
            desc id=(format!("{}-description", self.id)) { (self.description) }
            @for (value, label) in self.y.ticks() {
                @let y = self.y(value);
                path.grid d=(format!("M{left} {}H{right}", tenths(y))) {}
                text.tick x=(left - 8.0) y=(tenths(y)) dy="0.35em" text-anchor="end" { (label) }
            }
            @for (value, label) in self.x.ticks() {
                @let x = self.x(value);
                path.grid d=(format!("M{} {top}V{}", tenths(x), bottom + 5.0)) {}
                text.tick x=(tenths(x)) y=(bottom + 23.0) text-anchor="middle" { (label) }
            }
            path.axis d=(format!("M{left} {bottom}H{right}")) {}
            text.axis-title x="4" y="14" { (self.y_title) (logarithmic(&self.y)) }
            text.axis-title x=(right) y=(HEIGHT - self.below - 12.0) text-anchor="end" { (self.x_title) (logarithmic(&self.x)) }
            (inside)
        }
    }
}

/// A line up from the deadline, with its name where there is more room; nothing when it is outside.
pub fn deadline_line(frame: &Frame, deadline_ms: Option<f64>) -> Markup {
    let Some(deadline_ms) = deadline_ms.filter(|deadline_ms| frame.x.holds(*deadline_ms)) else {
        return html! {};
    };
    let x = frame.x(deadline_ms);
    let (at, anchor) =
        if x > (frame.left() + frame.right()) / 2.0 { (x - 6.0, "end") } else { (x + 6.0, "start") };
    html! {
        path.deadline d=(format!("M{} {}V{}", tenths(x), frame.top(), frame.bottom())) {}
        text.note x=(tenths(at)) y=(frame.top() - 5.0) text-anchor=(anchor) { "deadline" }
    }
}
