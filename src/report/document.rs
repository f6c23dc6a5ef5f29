//! What all pages have around what they say.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style of pages and drawings. A file of ours: it stands in a page unescaped.
pub const STYLE: &str = include_str!("page.css");

/// A page with its title and what stands in it.
pub fn document(title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing is fetched, whatever a text may have smuggled in.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (main) } }
        }
    }
}
