//! The page: its parts in the order in which they are read.

use maud::{Markup, html};
use time::OffsetDateTime;

use super::document::document;
use super::{Report, asked, details, methods, sweeps};
use crate::lab::observation::Clock;

/// The whole page.
pub fn page(report: &Report<'_>) -> Markup {
    let Report { run, findings, .. } = report;
    let answer = &findings.answer;
    let main = html! {
        header {
            p.kicker { "nearfar · placement experiment" }
            h1 { (name(&run.source)) }
            p.facts { (facts(report)) }
        }
        section.answer aria-label="The answer" {
            p.sentence { (breakable(&answer.sentence)) }
            @if !answer.further.is_empty() {
                ul { @for sentence in &answer.further { li { (breakable(sentence)) } } }
            }
        }
        @if !answer.cautions.is_empty() {
            section.cautions aria-label="To be kept in mind" {
                ul { @for caution in &answer.cautions { li { (caution) } } }
            }
        }
        (asked::asked(report))
        (details::details(report))
        (sweeps::sweeps(report))
        (methods::repeat(report))
        (methods::methods(report))
        footer { p { "Written by nearfar " (run.version) ". All figures, and more of them, are in " code { "summary.json" } "." } }
    };
    document(&format!("Experiment: {}", name(&run.source)), &main)
}

/// A text whose dotted keys may be broken at their dots, where a line is too short for them.
pub fn breakable(text: &str) -> Markup {
    let is_within_a_key = |at: usize| {
        text[..at].ends_with(char::is_alphanumeric) && text[at + 1..].starts_with(char::is_alphabetic)
    };
    let mut from = 0;
    let mut parts = Vec::new();
    for (at, _) in text.match_indices('.').filter(|(at, _)| is_within_a_key(*at)) {
        parts.push(&text[from..=at]);
        from = at + 1;
    }
    html! { @for part in parts { (part) wbr; } (text[from..]) }
}

/// A source's last part.
fn name(source: &str) -> &str {
    source.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(source)
}

fn facts(report: &Report<'_>) -> Markup {
    let run = report.run;
    let began = match run.clock {
        Clock::Real => date(run.began_us),
        Clock::Virtual(_) => "On a simulated clock".to_owned(),
    };
    html! {
        (began)
        @if !run.machine.is_empty() { " · " (run.machine) }
        " · nearfar " (run.version) " · seed " (run.scenario.seed)
        @if run.scenario.repeats > 1 { " · " (run.scenario.repeats) " repeats" }
    }
}

/// `2026-03-01 12:30 UTC`.
fn date(since_1970_us: u64) -> String {
    let seconds = i64::try_from(since_1970_us / 1_000_000).ok();
    match seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) {
        Some(time) => format!(
            "{}-{:02}-{:02} {:02}:{:02} UTC",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute()
        ),
        None => format!("{since_1970_us} µs after 1970"),
    }
}
