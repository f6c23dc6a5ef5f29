//! A table on a page, and its cells.

use maud::{Markup, html};

use crate::lab::words::estimate;
use crate::statistics::Interval;

/// A table with a heading, in a container of its own that scrolls where it is narrow.
pub fn table(caption: &str, head: &Markup, body: &Markup, note: &Markup) -> Markup {
    html! {
        div.table {
            h4 { (caption) }
            div.scroll tabindex="0" role="region" aria-label=(caption) { table { thead { tr { (head) } } tbody { (body) } } }
            @let note = note.clone().into_string();
            @if !note.is_empty() { p.hint { (maud::PreEscaped(note)) } }
        }
    }
}

/// The head of a column of figures.
pub fn column(name: &str) -> Markup {
    html! { th.n scope="col" { (name) } }
}

/// The head of a column of names.
pub fn first_column(name: &str) -> Markup {
    html! { th scope="col" { (name) } }
}

/// A cell with a value and its interval below it.
pub fn with_interval(value: f64, interval: Interval) -> Markup {
    let (value, interval) = estimate(value, interval);
    html! { td.n { (value) small { (interval) } } }
}

/// A cell for what there is not.
pub fn none() -> Markup {
    html! { td.n { "–" } }
}
