//! What a deployment has counted, as one JSON object: what `serve` prints at its end with `--log-format
//! json`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::ledger::{HybridStatistics, Statistics};

/// The counts of the deployment `name`, by the words of the lines for people.
pub fn json(name: &str, total: &Statistics) -> Value {
    let mut counts = json!({
        "deployment": name,
        "received": total.received,
        "inferences": total.answered,
        "errors": total.errors_total(),
        "left_behind": total.in_flight,
        "average_inference_time_ms": milliseconds(total.average_inference_time()),
        "average_total_latency_ms": milliseconds(total.average_total_latency()),
        "errors_by_code": total.errors,
        "undelivered": total.undelivered,
    });
    if let (Some(hybrid), Value::Object(counts)) = (&total.hybrid, &mut counts) {
        counts.insert("hybrid".to_owned(), of_hybrid(hybrid));
    }
    counts
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn of_hybrid(hybrid: &HybridStatistics) -> Value {
    let counts = &hybrid.counts;
    let mut results = Map::new();
    for (made, count) in hybrid.results.iter() {
        let of_site = results.entry(made.site.to_string()).or_insert_with(|| json!({}));
        of_site[made.reason.as_str()] = json!(count);
    }
    json!({
        "results": results,
        "asked": { "edge": counts.asked.edge, "cloud": counts.asked.cloud },
        "cloud_failures": counts.cloud_failures,
        "answers_not_needed": counts.dropped.edge + counts.dropped.cloud,
        "circuit_breaker": { "state": hybrid.breaker, "openings": hybrid.breaker_openings, "kept_back": counts.kept_back },
        "hedges": { "won": counts.hedges_won, "lost": counts.hedges_lost },
        "shadows": {
            "agreed": counts.shadow_agreed,
            "disagreed": counts.shadow_disagreed,
            "unanswered": counts.shadow_unanswered,
        },
    })
}
