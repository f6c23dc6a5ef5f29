//! The detector device by device: a table, and the course of each.

use maud::{Markup, html};

use super::units::time;
use super::{DEVICES_DRAWN_MAX, DEVICES_SHOWN_MAX, course};
use crate::judgement::{DeviceFigures, Judgement, Unit};
use crate::lab::words::{count, number, percent};
use crate::report::table::{column, first_column, none, table};
use crate::statistics::Proportion;

/// The section of the page.
pub fn devices(judgement: &Judgement) -> Markup {
    let devices = &judgement.devices;
    let drawn = &devices[..devices.len().min(DEVICES_DRAWN_MAX)];
    html! {
        section {
            h2 { "Device by device" }
            (all(judgement))
            @if drawn.len() < devices.len() {
                p.hint { "Of " (count(devices.len())) " devices the first " (count(drawn.len())) " are drawn." }
            }
            div.figures { @for (at, device) in drawn.iter().enumerate() { (course::course(device, at)) } }
        }
    }
}

fn all(judgement: &Judgement) -> Markup {
    let shown = &judgement.devices[..judgement.devices.len().min(DEVICES_SHOWN_MAX)];
    let head = html! {
        (first_column("device")) (column("rows that count")) (column("events found")) (column("false episodes"))
        (column("delay")) (column("lasting lead")) (column("false alarm rate")) (column("missed rate"))
        (column("VUS-PR")) (column("ROC AUC")) (column("healthy drift AUC"))
    };
    let body = html! { @for device in shown { (row(device, judgement.unit)) } };
    let note = html! {
        "Delay and lasting lead: medians of its events."
        @if shown.len() < judgement.devices.len() {
            " The other " (count(judgement.devices.len() - shown.len())) " devices are in " code { "judgement.json" } "."
        }
    };
    table("The detector's figures", &head, &body, &note)
}

fn row(device: &DeviceFigures, unit: Unit) -> Markup {
    let DeviceFigures { device, counted, tally, ranking, .. } = device;
    let middle = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).map_or_else(none, |middle| html! { td.n { (time(*middle, unit)) } })
    };
    let area = |area: Option<f64>| area.map_or_else(none, |area| html! { td.n { (number(area, 3)) } });
    let share = |cases, all| percent(Proportion { cases, all });
    html! {
        tr {
            th scope="row" { (device) }
            td.n { (count(counted.judged)) }
            td.n { @if tally.events == 0 { "–" } @else { (count(tally.found)) " of " (count(tally.events)) } }
            td.n { (count(tally.false_episodes)) }
            (middle(&tally.delays))
            (middle(&tally.lasting_leads))
            td.n { (share(tally.false_rows, tally.healthy_rows)) }
            td.n { (share(tally.missed_rows, tally.event_rows)) }
            (area(ranking.vus_pr)) (area(ranking.roc_auc)) (area(ranking.healthy_drift))
        }
    }
}
