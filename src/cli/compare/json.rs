//! A comparison as JSON.

use serde_json::{Value, json};

use crate::lab::comparison::{Comparison, Options};
use crate::report::json::{figures, interval, proportion};

/// One object: how it was made, every placement, every contrast.
pub fn comparison(comparison: &Comparison, options: &Options) -> Value {
    let level = options.bootstrap.level;
    let placements = comparison.placements.iter().map(|placement| {
        json!({
            "placement": placement.name,
            "samples": placement.total_ms.count,
            "total_latency_ms": figures(&placement.total_ms),
            "inference_time_ms": figures(&placement.inference_ms),
            "cloud_latency_ms": figures(&placement.network_ms),
            "deadline_misses": placement.deadline_misses.map(|misses| proportion(misses, level)),
        })
    });
    let contrasts = comparison.contrasts.iter().map(|contrast| {
        json!({
            "first": contrast.first,
            "second": contrast.second,
            "pairs": contrast.total_ms.pairs,
            "unpaired": contrast.unpaired,
            "mean_difference_ms": contrast.total_ms.mean,
            "interval_ms": interval(contrast.total_ms.interval),
            "verdict": contrast.total_ms.verdict.as_str(),
            "ks_distance": contrast.distance,
        })
    });
    json!({
        "level": level,
        "resamples": options.bootstrap.resamples,
        "seed": options.bootstrap.seed,
        "deadline_ms": options.deadline_ms,
        "margin_ms": options.margin_ms,
        "totals_are_sums": comparison.totals_are_sums,
        "placements": placements.collect::<Vec<_>>(),
        "contrasts": contrasts.collect::<Vec<_>>(),
    })
}
