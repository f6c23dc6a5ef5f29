//! A comparison as text for people.

use std::fmt::Write;

use crate::lab::comparison::{Comparison, Contrast, Options, PlacementFigures};
use crate::lab::words;
use crate::statistics::{Interval, Summary, Verdict};

/// The table, the contrasts in sentences, and how both were made.
pub fn comparison(comparison: &Comparison, options: &Options) -> String {
    let mut text = String::new();
    let placements = &comparison.placements;
    for (title, of) in [
        ("total_latency_ms", (|placement| &placement.total_ms) as fn(&PlacementFigures) -> &Summary),
        ("inference_time_ms", |placement| &placement.inference_ms),
        ("cloud_latency_ms", |placement| &placement.network_ms),
    ] {
        line(&mut text, title, placements.iter().map(|placement| placement.name.clone()));
        let summaries: Vec<_> = placements.iter().map(of).collect();
        rows(&mut text, &summaries);
        text.push('\n');
    }
    if let Some(deadline_ms) = options.deadline_ms {
        let misses = |placement: &PlacementFigures| {
            placement.deadline_misses.map_or(String::new(), |misses| {
                let Interval { low, high } = misses.interval(options.bootstrap.level);
                let percent = |share: f64| number(share * 100.0);
                format!("{} % [{}, {}]", percent(misses.share()), percent(low), percent(high))
            })
        };
        line(&mut text, &format!("over {} ms", plain(deadline_ms)), placements.iter().map(misses));
        text.push('\n');
    }
    for contrast in &comparison.contrasts {
        text.push_str(&sentence(contrast));
        text.push('\n');
    }
    text.push_str(&notes(comparison, options));
    text
}

pub fn rows(text: &mut String, summaries: &[&Summary]) {
    let cells =
        |of: &dyn Fn(&Summary) -> String| summaries.iter().map(|summary| of(summary)).collect::<Vec<_>>();
    line(text, "  samples", cells(&|summary| summary.count.to_string()));
    line(text, "  mean", cells(&|summary| estimate(summary.mean, summary.mean_interval)));
    line(text, "  min", cells(&|summary| number(summary.min)));
    let percentiles = summaries.first().map_or(0, |summary| summary.percentiles.len());
    for at in 0..percentiles {
        let percent = summaries[0].percentiles[at].percent;
        let cell = |summary: &Summary| {
            let one = summary.percentiles[at];
            estimate(one.value, one.interval)
        };
        line(text, &format!("  p{percent}"), cells(&cell));
    }
    line(text, "  max", cells(&|summary| number(summary.max)));
}

fn sentence(contrast: &Contrast) -> String {
    let Contrast { first, second, total_ms, distance, unpaired } = contrast;
    let Interval { low, high } = total_ms.interval;
    let than = match total_ms.verdict {
        Verdict::Better => format!("{second} is better than {first}"),
        Verdict::Worse => format!("{second} is worse than {first}"),
        Verdict::NoDifference => format!("there is no difference between {first} and {second}"),
    };
    let how = match total_ms.pairs {
        Some(pairs) if *unpaired > 0 => format!("{pairs} pairs; {unpaired} measurements have no counterpart"),
        Some(pairs) => format!("{pairs} pairs"),
        None => "compared as a whole: devices and time stamps do not match".to_owned(),
    };
    let mean = signed(total_ms.mean);
    let (low, high) = (signed(low), signed(high));
    format!(
        "{than}: {second} less {first} is {mean} ms on average [{low}, {high}] ({how}; Kolmogorov-Smirnov distance {})",
        number(*distance)
    )
}

fn notes(comparison: &Comparison, options: &Options) -> String {
    let mut text = String::new();
    let bootstrap = &options.bootstrap;
    let _ = writeln!(
        text,
        "\n[..] are {} % intervals by bootstrap, {} resamples, seed {}; percentiles are linear between samples (type 7)",
        plain(bootstrap.level * 100.0),
        bootstrap.resamples,
        bootstrap.seed
    );
    if comparison.totals_are_sums {
        text.push_str(
            "note: total_latency_ms is inference_time_ms + cloud_latency_ms in every row: it was computed, not measured, \
             and holds no time in a queue\n",
        );
    }
    text.trim_end().to_owned()
}

/// One row: a name and a cell for each placement.
pub fn line(text: &mut String, name: &str, cells: impl IntoIterator<Item = String>) {
    let _ = write!(text, "{name:<20}");
    for cell in cells {
        let _ = write!(text, " {cell:<32}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn estimate(value: f64, interval: Interval) -> String {
    format!("{} [{}, {}]", number(value), number(interval.low), number(interval.high))
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

pub fn number(value: f64) -> String {
    words::number(value, SIGNIFICANT_DIGITS)
}

fn plain(value: f64) -> String {
    words::plain(value, SIGNIFICANT_DIGITS)
}

const SIGNIFICANT_DIGITS: i32 = 4;
