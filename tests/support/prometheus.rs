//! A reader for Prometheus' text format, and the rules of Prometheus' own checker.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::http::get;

/// One metric of a scrape.
#[derive(Debug, Default)]
pub struct Family {
    pub name: String,
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// One line of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// With a histogram's suffix.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Family {
    /// Its labels' names; a histogram's `le` belongs to the format.
    pub fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|sample| sample.labels.keys());
        names.map(String::as_str).filter(|name| *name != "le").collect()
    }
}

/// Reads a page of metrics.
///
/// # Panics
/// When it does not keep to the text format, version 0.0.4.
pub fn scrape(address: SocketAddr) -> Vec<Family> {
    let reply = get(address, "/metrics");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    parse(&reply.body)
}

pub fn parse(text: &str) -> Vec<Family> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help has a text");
            families.push(Family { name: name.to_owned(), help: help.to_owned(), ..Family::default() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type has a name");
            let family = families.last_mut().expect("a help comes before its type");
            assert_eq!(family.name, name, "the type of another metric");
            family.kind = kind.to_owned();
        } else {
            let family = families.last_mut().expect("help and type come before a sample");
            family.samples.push(sample(line));
        }
    }
    families
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut rest = labels.strip_suffix('}').expect("labels end with a brace");
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").expect("a label has a value in quotes");
        let (value, behind) = unescaped(behind);
        labels.insert(name.to_owned(), value);
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    Sample { name: name.to_owned(), labels, value: value.parse().expect("a value is a number") }
}

/// The text up to the closing quote, and what is behind that.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                other => panic!("{other:?} needs no escape"),
            },
            c => value.push(c),
        }
    }
    panic!("a label's value has no end: {text:?}");
}

/// What is wrong with a metric by the rules of Prometheus' own checker.
pub fn faults(family: &Family) -> Vec<String> {
    let Family { name, kind, help, samples } = family;
    let mut faults = Vec::new();
    let mut check = |is_kept: bool, rule: &str| {
        if !is_kept {
            faults.push(format!("{name}: {rule}"));
        }
    };
    let words: Vec<_> = name.split('_').collect();
    let has_any = |list: &[&str]| list.iter().any(|word| words.contains(word));
    check(!help.is_empty(), "help is missing");
    check(
        name.starts_with("nearfar_") || name.starts_with("process_"),
        "the application's prefix is missing",
    );
    check(
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
        "expected lower case and underscores",
    );
    check(name.ends_with("_total") == (kind == "counter"), "counters and nothing else end in _total");
    check(
        !["_count", "_sum", "_bucket", "_le"].iter().any(|suffix| name.ends_with(suffix)),
        "the suffix belongs to histograms",
    );
    check(!has_any(&["counter", "gauge", "histogram", "summary"]), "the type is not part of the name");
    check(!has_any(&["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb"]), "units are not abbreviated");
    check(
        !has_any(&[
            "milliseconds",
            "microseconds",
            "nanoseconds",
            "minutes",
            "hours",
            "kilobytes",
            "bits",
            "percent",
        ]),
        "expected the base unit",
    );
    check(["counter", "gauge", "histogram"].contains(&kind.as_str()), "the type is unknown");
    check(!samples.is_empty(), "there are no samples");
    let series: BTreeSet<_> = samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
    check(series.len() == samples.len(), "a series comes twice");
    check(
        samples
            .iter()
            .flat_map(|sample| sample.labels.keys())
            .all(|label| label == "le" || !label.contains("device")),
        "a label must not have as many values as there are devices",
    );
    if kind == "histogram" {
        check(is_sound_histogram(family), "buckets must ascend and end with +Inf, which equals the count");
    } else {
        let is_plain = |sample: &Sample| sample.name == *name && !sample.labels.contains_key("le");
        check(samples.iter().all(is_plain), "only histograms have suffixes and le");
    }
    faults
}

fn is_sound_histogram(family: &Family) -> bool {
    let mut series: BTreeMap<Vec<_>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let labels = sample.labels.iter().filter(|(name, _)| *name != "le");
        series.entry(labels.collect()).or_default().push(sample);
    }
    series.values().all(|samples| {
        let (mut buckets, mut count, mut has_sum) = (Vec::new(), None, false);
        for sample in samples {
            match sample.name.strip_prefix(&family.name) {
                Some("_bucket") => buckets.push((sample.labels["le"].parse::<f64>().unwrap(), sample.value)),
                Some("_count") => count = Some(sample.value),
                Some("_sum") => has_sum = true,
                _ => return false,
            }
        }
        let ascends = buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
        let last = buckets.last().copied();
        has_sum && ascends && last.is_some_and(|(le, all)| le == f64::INFINITY && Some(all) == count)
    })
}
