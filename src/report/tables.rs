//! Tables of the figures of one point.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::table::{column, first_column, none, table, with_interval};
use crate::lab::findings::{PlacementFindings, PointFindings};
use crate::lab::words::{count, figure, milliseconds, number, percent, plain};
use crate::statistics::{Difference, Interval, PERCENTILES, Proportion, Verdict};

fn share(share: Proportion, level: f64) -> Markup {
    let Interval { low, high } = share.interval(level);
    let bound = |share: f64| plain(share * 100.0, 3);
    html! { td.n { (percent(share)) @if share.all > 0 { small { (bound(low)) " to " (bound(high)) " %" } } } }
}

/// How sure intervals are, for notes.
fn sure(level: f64) -> Markup {
    html! { "In small print: " (plain(level * 100.0, 4)) " % intervals." }
}

/// Latencies, milliseconds.
pub fn latencies(point: &PointFindings, level: f64) -> Markup {
    let head = html! {
        (first_column("placement")) (column("results")) (column("mean"))
        @for percentile in PERCENTILES { (column(&format!("p{percentile}"))) }
        (column("least")) (column("most"))
    };
    let body = html! {
        @for placement in &point.placements {
            tr {
                th scope="row" { (placement.name) }
                @match &placement.latency_ms {
                    Some(latency) => {
                        td.n { (count(latency.count)) }
                        (with_interval(latency.mean, latency.mean_interval))
                        @for one in &latency.percentiles { (with_interval(one.value, one.interval)) }
                        td.n { (figure(latency.min)) }
                        td.n { (figure(latency.max)) }
                    }
                    None => { td.n { "0" } td.words colspan="8" { "no result, so there is no latency" } }
                }
            }
        }
    };
    let note =
        html! { "From when a request was due to its answer; of requests with a result. " (sure(level)) };
    table("Latency, ms", &head, &body, &note)
}

/// How requests ended.
pub fn ends(point: &PointFindings, level: f64) -> Markup {
    let codes: BTreeSet<_> =
        point.placements.iter().flat_map(|placement| placement.counts.refused.keys().copied()).collect();
    let has_silent = point.placements.iter().any(|placement| placement.counts.silent > 0);
    let head = html! {
        (first_column("placement")) (column("sent")) (column("with a result"))
        @for code in &codes { th.n scope="col" { code { (code) } } }
        @if has_silent { (column("no word")) }
        @if let Some(deadline_ms) = point.deadline_ms { (column(&format!("later than {} ms", plain(deadline_ms, 4)))) (column("deadline missed")) }
        (column("sent late, p99"))
    };
    let body = html! {
        @for placement in &point.placements {
            @let counts = &placement.counts;
            tr {
                th scope="row" { (placement.name) }
                td.n { (count(counts.sent)) }
                td.n { (count(counts.answered)) small { (percent(Proportion { cases: counts.answered, all: counts.sent })) } }
                @for code in &codes { td.n { (count(counts.refused.get(code).copied().unwrap_or_default())) } }
                @if has_silent { td.n { (count(counts.silent)) } }
                @if let Some(misses) = placement.deadline_misses { td.n { (count(misses.late)) } (share(misses.all, level)) }
                @match placement.lateness_ms { Some(late) => td.n { (number(late.p99, 3)) " ms" }, None => (none()) }
            }
        }
    };
    let warm_up: usize = point.placements.iter().map(|placement| placement.counts.warm_up).sum();
    let note = html! {
        @if warm_up > 0 { (count(warm_up)) " requests of the warm-up are left out. " }
        @if point.deadline_ms.is_some() { "Requests without a result miss their deadline too. " (sure(level)) " " }
        "Sent late: by the generator, which is no fault of the placement but is part of its latency."
    };
    table("What became of the requests", &head, &body, &note)
}

/// Every placement against the first.
pub fn contrasts(point: &PointFindings, level: f64) -> Markup {
    let Some(first) = point.contrasts.first().map(|contrast| contrast.first.as_str()) else {
        return html! {};
    };
    let has_deadline = point.contrasts.iter().any(|contrast| contrast.deadline_misses.is_some());
    let has_losses = point.contrasts.iter().any(|contrast| contrast.both_answered < contrast.inputs);
    let has_decisions = point.contrasts.iter().any(|contrast| contrast.disagreements.is_some());
    let head = html! {
        (first_column("placement")) (column("latency, ms")) (first_column("verdict")) (column("pairs")) (column("KS distance"))
        @if has_deadline { (column("deadline missed, points")) }
        @if has_losses && !has_deadline { (column("no result, points")) }
        @if has_decisions { (column("decides otherwise")) }
    };
    let points = |difference: Option<Difference>| match difference {
        Some(Difference { mean, interval: Interval { low, high }, .. }) => {
            with_interval(mean * 100.0, Interval { low: low * 100.0, high: high * 100.0 })
        }
        None => none(),
    };
    let body = html! {
        @for contrast in &point.contrasts {
            tr {
                th scope="row" { (contrast.second) }
                @match contrast.latency_ms {
                    Some(difference) => {
                        (with_interval(difference.mean, difference.interval))
                        td { (verdict(difference.verdict)) }
                        td.n { @match difference.pairs { Some(pairs) => (count(pairs)), None => "none: compared as a whole" } }
                    }
                    None => { (none()) td { "one of them answered nothing" } (none()) }
                }
                @match contrast.ks_distance { Some(distance) => td.n { (number(distance, 3)) }, None => (none()) }
                @if has_deadline { (points(contrast.deadline_misses)) }
                @if has_losses && !has_deadline { (points(contrast.unanswered)) }
                @if has_decisions {
                    @match contrast.disagreements { Some(disagreements) => (share(disagreements, level)), None => (none()) }
                }
            }
        }
    };
    let note = html! {
        "Its figures less those of " (first) ", over pairs of the same input; points are percentage points. " (sure(level))
    };
    table(&format!("Against {first}"), &head, &body, &note)
}

/// A verdict that needs no colour to be read.
pub fn verdict(verdict: Verdict) -> Markup {
    let (class, sign) = match verdict {
        Verdict::Better => ("better", "▼"),
        Verdict::Worse => ("worse", "▲"),
        Verdict::NoDifference => ("same", "="),
    };
    html! { span class=(format!("verdict {class}")) { span aria-hidden="true" { (sign) } " " (verdict.as_str()) } }
}

/// How right decisions are; nothing where the truth is not known.
pub fn accuracy(point: &PointFindings, level: f64) -> Markup {
    if point.placements.iter().all(|placement| placement.accuracy.is_none()) {
        return html! {};
    }
    let head = html! {
        (first_column("placement")) (column("precision")) (column("recall")) (column("F1")) (column("ROC AUC"))
        (column("recall of all")) (column("anomalies found")) (column("delay"))
    };
    let share_of =
        |share: Option<f64>| share.map_or_else(none, |share| html! { td.n { (number(share, 3)) } });
    let body = html! {
        @for placement in &point.placements {
            @if let Some(accuracy) = &placement.accuracy {
                tr {
                    th scope="row" { (placement.name) }
                    (share_of(accuracy.confusion.precision()))
                    (share_of(accuracy.confusion.recall()))
                    (share_of(accuracy.confusion.f1()))
                    (share_of(accuracy.roc_auc))
                    @match accuracy.recall_of_all() { Some(recall) => (share(recall, level)), None => (none()) }
                    @match accuracy.detection {
                        Some(detection) => {
                            td.n { (count(detection.found)) " of " (count(detection.anomalies)) }
                            @match detection.delay_s {
                                Some([_, median, most]) => td.n { (milliseconds(median * 1e3)) small { "at most " (milliseconds(most * 1e3)) } },
                                None => (none()),
                            }
                        }
                        None => { (none()) (none()) }
                    }
                }
            }
        }
    };
    let note = html! {
        "Of requests with a result; recall of all counts anomalies without one as missed. Found and delay: one anomaly for each device \
         and repeat that has one, from its first anomalous request to the first alarm that arrives; the delay is a median."
    };
    table("Decisions against the truth", &head, &body, &note)
}

/// Where results were made and why; nothing for placements that do not choose.
pub fn choices(point: &PointFindings) -> Markup {
    let choosing: Vec<&PlacementFindings> =
        point.placements.iter().filter(|placement| !placement.choices.is_empty()).collect();
    if choosing.is_empty() {
        return html! {};
    }
    let head = html! { (first_column("placement")) (first_column("made by")) (first_column("why")) (column("results")) (column("share")) };
    let body = html! {
        @for placement in choosing {
            @let all: usize = placement.choices.iter().map(|choice| choice.count).sum();
            @for choice in placement.choices.iter().take(CHOICES_SHOWN_MAX) {
                tr {
                    th scope="row" { (placement.name) }
                    td { (choice.choice.made_by) }
                    td { (choice.choice.reason) }
                    td.n { (count(choice.count)) }
                    td.n { (percent(Proportion { cases: choice.count, all })) }
                }
            }
        }
    };
    table("Where it chose to compute", &head, &body, &html! {})
}

/// The most rows of choices of one placement.
const CHOICES_SHOWN_MAX: usize = 40;

/// Bytes, processor time, and energy by a model.
pub fn consumption(point: &PointFindings) -> Markup {
    let head = html! {
        (first_column("placement")) (column("requests, kB")) (column("answers, kB")) (column("over the network, kB"))
        (column("CPU, s")) (column("CPU a result, µs")) (column("energy, J (model)")) (column("energy a result, mJ (model)"))
    };
    let kilobytes = |bytes: u64| figure(bytes as f64 / 1e3);
    let body = html! {
        @for placement in &point.placements {
            @let used = &placement.consumption;
            @let each = |value: f64| if used.answered > 0 { figure(value / used.answered as f64) } else { "–".to_owned() };
            tr {
                th scope="row" { (placement.name) }
                td.n { (kilobytes(used.request_bytes)) }
                td.n { (kilobytes(used.answer_bytes)) }
                td.n { (kilobytes(used.network_bytes)) }
                @match used.cpu {
                    Some(cpu) => { td.n { (figure(cpu.as_secs_f64())) } td.n { (each(cpu.as_secs_f64() * 1e6)) } }
                    None => { (none()) (none()) }
                }
                td.n { (figure(used.energy_j())) @if used.cpu_energy_j.is_none() { small { "without the processor" } } }
                td.n { (each(used.energy_j() * 1e3)) }
            }
        }
    };
    let note = html! {
        "Of whole repeats, the warm-up included. Bytes are topics and payloads, without the headers below them. Over \
         the network a hybrid's probes and other second legs are taken to have as many as the leg that made the result. Energy is a model's, not \
         a measurement: see the methods."
    };
    table("What it used", &head, &body, &note)
}

/// Every repeat on its own; nothing when there is only one.
pub fn repeats(point: &PointFindings) -> Markup {
    if point.placements.iter().all(|placement| placement.repeats.len() < 2) {
        return html! {};
    }
    let head = html! {
        (first_column("placement")) (column("repeat")) (column("sent")) (column("with a result")) (column("mean, ms"))
        (column("p50, ms")) (column("p99, ms"))
        @if point.deadline_ms.is_some() { (column("deadline missed")) }
    };
    let body = html! {
        @for placement in &point.placements {
            @for repeat in placement.repeats.iter().take(REPEATS_SHOWN_MAX) {
                tr {
                    th scope="row" { (placement.name) }
                    td.n { (usize::from(repeat.repeat) + 1) }
                    td.n { (count(repeat.sent)) }
                    td.n { (count(repeat.answered)) }
                    @match repeat.latency_ms {
                        Some(latency) => @for value in latency { td.n { (figure(value)) } },
                        None => @for _ in 0..3 { (none()) },
                    }
                    @if let Some(misses) = repeat.deadline_misses { td.n { (percent(misses)) } }
                }
            }
        }
    };
    let table = table("Repeat by repeat", &head, &body, &html! {});
    html! { details { summary { "Repeat by repeat" } (table) } }
}

/// The most repeats of one placement in the table.
const REPEATS_SHOWN_MAX: usize = 30;
