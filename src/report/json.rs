//! Statistics as JSON, for `summary.json` and whoever else writes some.

use serde_json::{Map, Value, json};

use crate::statistics::{Interval, Percentile, Proportion, Summary};

/// `count`, `min`, `max`, and an estimate each of `mean`, `p50` and so on.
pub fn figures(summary: &Summary) -> Value {
    let mut object = Map::new();
    object.insert("count".to_owned(), json!(summary.count));
    object.insert("mean".to_owned(), estimate(summary.mean, summary.mean_interval));
    object.insert("min".to_owned(), json!(summary.min));
    object.insert("max".to_owned(), json!(summary.max));
    for &Percentile { percent, value, interval } in &summary.percentiles {
        object.insert(format!("p{percent}"), estimate(value, interval));
    }
    Value::Object(object)
}

/// A value with its interval.
pub fn estimate(value: f64, range: Interval) -> Value {
    json!({ "value": value, "interval": interval(range) })
}

/// The interval's ends, the lower first.
pub fn interval(interval: Interval) -> Value {
    json!([interval.low, interval.high])
}

/// How many cases of how many, the share, and an interval for it that holds with probability `level`.
pub fn proportion(proportion: Proportion, level: f64) -> Value {
    json!({
        "cases": proportion.cases,
        "all": proportion.all,
        "share": proportion.share(),
        "interval": interval(proportion.interval(level)),
    })
}
