//! The page: its parts in the order in which they are read.

use maud::{Markup, html};

use super::{JudgementReport, curve, devices, figures, methods, sentences};
use crate::report::document::document;

/// The most files that are named.
const FILES_NAMED_MAX: usize = 20;

/// The whole page.
pub fn page(report: &JudgementReport<'_>) -> Markup {
    let JudgementReport { judgement, about } = report;
    let name = about.detector.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("detector");
    let main = html! {
        header {
            p.kicker { "nearfar · detector, judged" }
            h1 { (name) }
            p.facts {
                "budget " (judgement.options.budget.to_string()) " · " (files(&about.data))
                @if !about.version.is_empty() { " · nearfar " (about.version) }
            }
        }
        section.answer aria-label="The answer" {
            p.sentence { (sentences::answer(judgement)) }
            ul { @for sentence in sentences::verdicts(judgement) { li { (sentence) } } }
        }
        @if !judgement.cautions.is_empty() {
            section.cautions aria-label="To be kept in mind" {
                ul { @for caution in &judgement.cautions { li { (sentences::caution(caution)) } } }
            }
        }
        (figures::figures(judgement))
        (curve::curve(judgement))
        (devices::devices(judgement))
        (methods::repeat(about))
        (methods::methods(judgement))
        footer { p { "Written by nearfar " (about.version) ". All figures, and more of them, are in " code { "judgement.json" } "." } }
    };
    document(&format!("Judged: {name}"), &main)
}

fn files(data: &[String]) -> String {
    match data {
        [] => "no file named".to_owned(),
        data if data.len() <= FILES_NAMED_MAX => data.join(", "),
        [first, ..] => format!("{first} and {} more files", data.len() - 1),
    }
}
