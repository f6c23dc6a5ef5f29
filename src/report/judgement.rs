//! What was found of a detector, as text for the terminal, as JSON for programs and as a page for people. It
//! shows what `judgement` found and computes no figure of its own.
//!
//! The page is like that of an experiment: one file without scripts, which asks no network and follows the
//! reader's light or dark setting; every text of others is escaped; its size is bounded.

mod course;
mod curve;
mod devices;
mod figures;
mod json;
mod methods;
mod page;
mod rows;
mod sentences;
mod text;
mod units;

use crate::judgement::Judgement;

/// The version of the JSON: it changes when a member changes its meaning or goes, not when one is added.
pub const JUDGEMENT_FORMAT: u32 = 1;
/// The most devices whose course is drawn.
pub(crate) const DEVICES_DRAWN_MAX: usize = 60;
/// The most devices in the table of devices; the JSON has all of them.
pub(crate) const DEVICES_SHOWN_MAX: usize = 1_000;
/// The most points of the curve that are shown.
pub(crate) const POINTS_SHOWN_MAX: usize = 50;

/// What a judgement is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The detector, such as the directory of its model.
    pub detector: String,
    /// The files that were judged.
    pub data: Vec<String>,
    /// The command that repeats it.
    pub command: String,
    /// The program's version.
    pub version: String,
}

/// What a report of a judgement is made of.
#[derive(Debug, Clone, Copy)]
pub struct JudgementReport<'a> {
    /// What was found.
    pub judgement: &'a Judgement,
    /// Of what.
    pub about: &'a About,
}

impl JudgementReport<'_> {
    /// Tables and sentences for the terminal.
    pub fn text(&self) -> String {
        text::text(self.judgement)
    }

    /// The text of `judgement.json`; docs/judge.md lists the members.
    pub fn json(&self) -> String {
        json::json(self)
    }

    /// The page `judgement.html`.
    pub fn html(&self) -> String {
        page::page(self).into_string()
    }
}

#[cfg(test)]
mod tests;
