//! How to repeat it, how the figures were made, and what they cannot show.

use maud::{Markup, html};

use super::About;
use crate::judgement::{Judgement, Unit};
use crate::lab::words::count;

/// The command.
pub fn repeat(about: &About) -> Markup {
    if about.command.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "To repeat it" }
            div.scroll tabindex="0" role="region" aria-label="Command" { pre { code { (about.command) } } }
        }
    }
}

/// The protocol, its sources, and what it cannot show.
pub fn methods(judgement: &Judgement) -> Markup {
    html! {
        section {
            h2 { "The protocol" }
            dl.methods {
                dt { "Causal" }
                dd { "Each row is answered from it and the rows of its device before it. Nothing is smoothed, centred or chosen afterwards." }
                dt { "Warm-up" }
                dd { "Rows of which too little was known to say anything never alarm and count in no figure, of the detector or of a \
                      control. Rows without a label count nowhere. Rows of a machine said to be stopped count as quiet." }
                dt { "Events" }
                dd { "Maximal runs of rows labelled as wrong. An alarm that begins before its event is false, though it finds the event. \
                      Nothing is adjusted to whole events, and there is no F1." }
                dt { "False episodes" }
                dd { "Alarms that begin where nothing was wrong, over the time in which nothing was" (time(judgement.unit)) " Where there is none, it \
                      is at most 3 in that time (Hanley and Lippman-Hand, 1983)." }
                dt { "Controls" }
                dd {
                    "Never; always; the row number: an alarm from one row number on, the same for all devices, chosen in its favour with the \
                     truth in sight to find most events with no more false episodes than the budget allows; an alarm of one row at every 5 % \
                     of the rows that count; an alarm from the middle of those to the end. What is not better than these has found nothing, \
                     or the data can be found without looking."
                }
                dt { "Better" }
                dd { "In its alarms: unless a control finds as many events, with no more false episodes and no more false rows. Row by row: \
                      by false alarm rate and missed rate, added, which are 1 for what does not look. In its scores: by VUS-PR. For the last \
                      two the interval of the difference has to be above 0." }
                dt { "Healthy drift" }
                dd { "ROC AUC of the later half of the rows of a device in which nothing was wrong against the earlier half: the mean over \
                      devices. 0.5 is ideal." }
                dt { "VUS" }
                dd { "Volumes under the surface (Paparrizos and others, PVLDB 2022), labels widened by up to " (count(judgement.options.width_max)) " rows, \
                      as the package vus 0.0.6 computes them." }
                dt { "AUC-PR, affiliation" }
                dd { "Average precision as scikit-learn's; affiliation precision and recall of alarms (Huet, Navarro and Rossi, KDD 2022)." }
                dt { "Intervals" }
                dd { "By drawing devices anew, for rows and events of one device are not independent. Where all events are found, or none, \
                      the exact interval (Clopper and Pearson, 1934)." }
            }
        }
        section {
            h2 { "What these figures cannot show" }
            ul {
                li { "How it would be on devices unlike these: an interval holds for devices drawn from where these were." }
                li { "Whether the detector, its settings or its budget were chosen with these files in sight. Then the figures are too good." }
                li { "Whether the labels are right: where an event really began, and whether what looks healthy was." }
                li { "What an alarm is worth: a lead of an hour is much to one owner and nothing to another." }
            }
        }
    }
}

fn time(unit: Unit) -> &'static str {
    match unit {
        Unit::Days => {
            ", by the devices' own clocks. A step of more than ten usual ones is a pause, and counts as one."
        }
        Unit::ThousandRows => ", in rows.",
    }
}
