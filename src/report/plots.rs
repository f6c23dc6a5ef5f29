//! The drawings of a report, each from the findings and nothing else.

mod accuracy;
mod latency;
mod stages;
mod sweep;
mod timeline;

pub use self::accuracy::accuracy;
pub use self::latency::{latency, latency_file};
pub use self::stages::stages;
pub use self::sweep::{Curve, curves};
pub use self::timeline::timeline;

use maud::Markup;

use super::PLACEMENTS_DRAWN_MAX;
use super::drawing::{self, Key, figure};
use crate::lab::findings::{PlacementFindings, PointFindings};

/// The placements that have a place in a drawing.
fn drawn(point: &PointFindings) -> &[PlacementFindings] {
    &point.placements[..point.placements.len().min(PLACEMENTS_DRAWN_MAX)]
}

fn names(placements: &[PlacementFindings]) -> Vec<&str> {
    placements.iter().map(|placement| placement.name.as_str()).collect()
}

fn figure_of_placements(
    heading: &str,
    placements: &[PlacementFindings],
    drawing: &Markup,
    caption: &Markup,
) -> Markup {
    figure(heading, &drawing::legend(&names(placements), Key::Line), drawing, caption)
}
