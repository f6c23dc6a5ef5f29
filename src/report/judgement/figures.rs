//! The tables of the detector beside the controls.

use maud::{Markup, html};

use super::rows::{self, Cell, Columns};
use super::sentences;
use super::units::name;
use crate::judgement::Judgement;
use crate::report::table::{column, first_column, table};

/// The section of the page.
pub fn figures(judgement: &Judgement) -> Markup {
    html! {
        section {
            h2 { "Figures, beside those of alarms that need no detector" }
            @for columns in rows::tables(judgement.unit) { (one(judgement, &columns)) }
            p.hint { (sentences::counted(judgement)) " " (sentences::intervals(judgement)) }
        }
    }
}

fn one(judgement: &Judgement, columns: &Columns) -> Markup {
    let head = html! { (first_column("who")) @for head in &columns.heads { (column(head)) } };
    let body = html! {
        @for entry in &judgement.entries {
            tr {
                th scope="row" { (name(entry.who)) }
                @for each in (columns.cells)(&entry.figures, judgement.unit) { (cell(&each)) }
            }
        }
    };
    let note = match columns.title {
        "Events" => html! {
            "Found: an alarm was on at some row of the event. False: an alarm that began where nothing was wrong. Delay, lead: the \
             first row of an alarm in an event after its onset, before its last row; lasting lead: from where the alarm began that \
             is on at that last row. Medians of events. In small print: intervals."
        },
        "Rows" => {
            html! { "False alarm rate: of rows in which nothing was wrong. Missed rate: of rows of events." }
        }
        _ => html! {
            "Means over devices. ROC AUC is to be read beside the healthy drift, which is 0.5 for scores that do not rise with age: \
             on runs to failure the row number has 1 in both. By chance AUC-PR is the share of event rows and affiliation about one half. \
             Affiliation is of the alarms, the others are of the scores."
        },
    };
    table(columns.title, &head, &body, &note)
}

/// A cell with what is said beside it below.
pub fn cell(cell: &Cell) -> Markup {
    html! { td.n { (cell.value) @if !cell.aside.is_empty() { small { (cell.aside) } } } }
}
