//! An experiment as a page for people and as JSON for programs. It shows what
//! `lab::findings` found and computes no figure of its own.
//!
//! The page is one file: its style and its drawings are inside, it needs no script
//! and asks no network, and it follows the reader's light or dark setting. Every
//! text from a scenario is escaped. The same run gives the same bytes.
//!
//! ```no_run
//! use nearfar::lab::findings::{Findings, Options};
//! use nearfar::report::Report;
//! use nearfar::trial::{self, Changes, Plan, Timing};
//!
//! let plan = Plan::read("pumps.yaml".as_ref(), Changes::default())?;
//! let run = trial::run(plan, Timing::Real)?;
//! let findings = Findings::of(&run, &Options::default());
//! let report = Report { run: &run, findings: &findings, command: "nearfar compare pumps.yaml" };
//! std::fs::write("pumps.html", report.html())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asked;
mod details;
mod document;
mod drawing;
pub(crate) mod json;
mod judgement;
mod methods;
mod page;
mod plots;
mod summary;
mod sweeps;
mod table;
mod tables;

pub use self::judgement::{About, JUDGEMENT_FORMAT, JudgementReport};

use crate::lab::findings::Findings;
use crate::lab::observation::Run;

/// The version of `summary.json`: it changes when a member changes its meaning or
/// goes, not when one is added.
pub const FORMAT: u32 = 1;
/// The most points of the sweeps that have tables and drawings of their own; all of them
/// are in the table of the sweeps, up to [`SWEEP_ROWS_MAX`], and in `summary.json`.
pub(crate) const POINTS_DRAWN_MAX: usize = 4;
/// The most rows of the table of the sweeps.
pub(crate) const SWEEP_ROWS_MAX: usize = 300;
/// The most placements in a drawing; the tables have all of them.
pub(crate) const PLACEMENTS_DRAWN_MAX: usize = 12;
/// The most swept keys that have curves.
pub(crate) const KEYS_DRAWN_MAX: usize = 6;
/// The most values of a key in a curve; of more, some at equal distances.
pub(crate) const CURVE_POINTS_MAX: usize = 100;
/// The most outages and other marks in a drawing.
pub(crate) const MARKS_DRAWN_MAX: usize = 40;
/// The most characters of the scenario's text on the page.
pub(crate) const SOURCE_CHARACTERS_MAX: usize = 100_000;

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The experiment.
    pub run: &'a Run,
    /// What it says.
    pub findings: &'a Findings,
    /// The command that repeats it.
    pub command: &'a str,
}

impl Report<'_> {
    /// The page `report.html`.
    pub fn html(&self) -> String {
        page::page(self).into_string()
    }

    /// The text of `summary.json`.
    pub fn summary_json(&self) -> String {
        summary::summary(self)
    }

    /// The distribution of the latencies of the first point as an SVG file of its own;
    /// nothing when nothing was answered.
    pub fn latency_svg(&self) -> Option<String> {
        let point = self.findings.points.first()?;
        Some(plots::latency_file(point)?.into_string())
    }
}
