//! How to repeat it, how the figures were made, and what is a model rather than a measurement.

use maud::{Markup, html};

use super::{Report, SOURCE_CHARACTERS_MAX};
use crate::lab::findings::{
    LATENESS_INTERVAL_SHARE_MAX, LATENESS_LATENCY_SHARE_MAX, LATENESS_MEDIAN_SHARE_MAX,
    RESAMPLES_TOGETHER_MAX,
};
use crate::lab::observation::{Clock, Cost};
use crate::lab::words::{count, number, plain};
use crate::statistics::{EnergyModel, MEAN_GROUPS_MAX};

/// Command, machine, scenario.
pub fn repeat(report: &Report<'_>) -> Markup {
    let run = report.run;
    let text = match run.source_text.char_indices().nth(SOURCE_CHARACTERS_MAX) {
        Some((at, _)) => &run.source_text[..at],
        None => &run.source_text,
    };
    html! {
        section {
            h2 { "To repeat it" }
            div.scroll tabindex="0" role="region" aria-label="Command" { pre { code { (report.command) } } }
            p { "Where the experiment was run; RESULTS is the directory of this page, AGAIN another one." }
            dl.facts {
                dt { "Scenario" } dd { code { (run.source) } }
                dt { "Program" } dd { "nearfar " (run.version) }
                dt { "Seed" } dd { (run.scenario.seed) }
                dt { "Machine" }
                dd {
                    @if let Clock::Virtual(_) = run.clock { "does not matter: time was simulated" }
                    @else if run.machine.is_empty() { "not known" }
                    @else { (run.machine) }
                }
            }
            details {
                summary { "The scenario's text" }
                div.scroll tabindex="0" role="region" aria-label="The scenario's text" { pre { code { (text) } } }
                @if text.len() < run.source_text.len() { p.hint { "It goes on in the file." } }
            }
        }
    }
}

/// Definitions, sources, models.
pub fn methods(report: &Report<'_>) -> Markup {
    let options = &report.findings.options;
    let bootstrap = options.bootstrap;
    html! {
        section {
            h2 { "How the figures were made" }
            dl.methods {
                dt { "Clock" }
                dd { (clock(report)) }
                dt { "Latency" }
                dd { "From when a request was due, not from when it was sent, to its answer: a generator or a placement that falls behind \
                      cannot hide it. The page says so where the generator made more than " (in_percent(LATENESS_LATENCY_SHARE_MAX)) " of it, of the \
                      medians or of the 99th percentiles, or where the 99th percentile of its lateness is more than "
                     (in_percent(LATENESS_INTERVAL_SHARE_MAX)) " of the mean time between two requests and more than "
                     (in_percent(LATENESS_MEDIAN_SHARE_MAX)) " of the median latency." }
                dt { "Percentiles" }
                dd { "Linear between the two samples next to them: definition 7 of Hyndman and Fan, 1996." }
                dt { "Intervals" }
                dd {
                    (plain(bootstrap.level * 100.0, 4)) " %, by " (count(bootstrap.resamples)) " resamples with seed " (bootstrap.seed)
                    ". Means: bias-corrected and accelerated (Efron, 1987), with blocks of neighbours (Politis and Romano, 1992). \
                     Percentiles: the percentile interval by order statistics. Shares: Wilson, 1927. Of more than "
                    (count(MEAN_GROUPS_MAX)) " samples neighbours are averaged first, to at most so many. All points and placements \
                     together have at most " (count(RESAMPLES_TOGETHER_MAX)) " resamples a figure."
                }
                dt { "Differences" }
                dd {
                    "The mean over pairs of the same point, repeat and input. All of the interval on one side is better or worse, otherwise \
                     there is no difference"
                    @if options.margin_ms > 0.0 { "; differences of at most " (plain(options.margin_ms, 4)) " ms do not matter" }
                    ". Two equal placements are told apart once in " (number(1.0 / (1.0 - bootstrap.level), 2)) " times. With fewer than \
                     half in pairs the means are compared as a whole."
                }
                dt { "Missed deadlines" }
                dd { "Results that came later, and requests without a result. All requests count." }
                dt { "Distance" }
                dd { "Kolmogorov-Smirnov: the greatest difference between the shares of both that are at most some latency, 0 to 1." }
                dt { "Simulated networks" }
                dd { "Decided from a seed, not measured: the delay of a message, and whether it is lost, are the same whenever the same \
                      scenario runs." }
                dt { "Energy" }
                dd {
                    "A model: " (plain(options.energy.joules_per_cpu_second, 4)) " J for a second of processor time and "
                    (microjoules(options.energy)) " µJ for a byte that a simulated network carried. "
                    @if options.energy == EnergyModel::default() { (EnergyModel::SOURCE) "." } @else { "Both as they were set for this report." }
                    " What idles, cools and stores is not in it."
                }
            }
        }
    }
}

fn microjoules(energy: EnergyModel) -> String {
    plain(energy.joules_per_byte * 1e6, 4)
}

fn clock(report: &Report<'_>) -> Markup {
    let Clock::Virtual(costs) = &report.run.clock else {
        return html! { "Everything but the simulated networks was measured as it happened." };
    };
    let names: Vec<_> =
        report.run.scenario.placements.iter().map(|placement| placement.name.as_str()).collect();
    html! {
        "Simulated. A forward pass takes what its cost model says; the way through client and broker takes what is said beside it, or no time."
        ul {
            @for (at, of) in costs.iter().enumerate() {
                @let name = names.get(at).copied().unwrap_or_default();
                @let site = if of.cloud.is_some() { ", edge" } else { "" };
                li { (name) (site) ": " (cost(&of.edge)) }
                @if let Some(cloud) = &of.cloud {
                    li { (name) ", cloud: " (cost(cloud)) }
                }
            }
        }
    }
}

fn cost(cost: &Cost) -> Markup {
    html! {
        (number(cost.model.per_batch.as_secs_f64() * 1e6, 3)) " µs a pass and "
        (number(cost.model.per_row.as_secs_f64() * 1e6, 3)) " µs a row, " (cost.basis) "."
    }
}

fn in_percent(share: f64) -> String {
    format!("{} %", plain(share * 100.0, 3))
}
