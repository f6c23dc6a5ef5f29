//! A run's figures, for people, for machines, and as a histogram.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use base64ct::{Base64, Encoding};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::Serialize;

use super::load::Outcome;
use super::target::Usage;
use crate::growing_file::GrowingFile;

/// Points of the percentile distribution in each half of what is left of it, as
/// HdrHistogram's own tools print.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The figures of one run. Names are those of the JSON.
#[derive(Serialize)]
pub struct Report {
    pub target: String,
    pub pace: String,
    pub seconds: f64,
    pub sent: u64,
    pub answered: u64,
    pub answers_per_s: f64,
    pub errors: BTreeMap<String, u64>,
    pub refused: u64,
    pub unanswered: u64,
    pub strays: u64,
    pub latency_ms: Latency,
    /// None where the system does not tell.
    pub node: Option<Used>,
    pub generator: Option<Used>,
    /// From the start of the node's process to its ready line; None for a broker that ran already.
    pub ready_after_ms: Option<f64>,
    /// All latencies in nanoseconds, in HdrHistogram's V2 encoding: histograms of several runs can be added.
    pub histogram_v2_base64: String,
}

#[derive(Serialize)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What a process used during a run.
#[derive(Serialize)]
pub struct Used {
    pub cpu_s: f64,
    /// Of one core.
    pub cpu_share: f64,
    pub resident_mib: f64,
}

impl Used {
    pub fn between(before: Option<Usage>, after: Option<Usage>, seconds: f64) -> Option<Self> {
        let (before, after) = (before?, after?);
        let cpu_s = after.cpu_s - before.cpu_s;
        Some(Self { cpu_s, cpu_share: cpu_s / seconds, resident_mib: after.resident_mib })
    }

    fn line(&self, who: &str) -> String {
        format!(
            "{who:<10} {:.2} s of CPU ({:.0} % of a core), {:.1} MiB resident",
            self.cpu_s,
            self.cpu_share * 100.0,
            self.resident_mib
        )
    }
}

impl Report {
    /// # Errors
    /// When the histogram cannot be encoded.
    pub fn new(
        target: String,
        ready_after: Option<Duration>,
        pace: String,
        outcome: &Outcome,
        node: Option<Used>,
        generator: Option<Used>,
    ) -> anyhow::Result<Self> {
        let tally = &outcome.tally;
        let mut encoded = Vec::new();
        V2Serializer::new().serialize(&tally.latency_ns, &mut encoded).context("the histogram")?;
        let ms = |quantile| tally.latency_ns.value_at_quantile(quantile) as f64 / 1e6;
        Ok(Self {
            target,
            pace,
            seconds: outcome.took.as_secs_f64(),
            sent: tally.sent,
            answered: tally.answered,
            answers_per_s: outcome.answers_per_s(),
            errors: tally.errors.clone(),
            refused: tally.refused,
            unanswered: outcome.unanswered(),
            strays: tally.strays,
            latency_ms: Latency {
                mean: tally.latency_ns.mean() / 1e6,
                p50: ms(0.5),
                p90: ms(0.9),
                p99: ms(0.99),
                p999: ms(0.999),
                max: tally.latency_ns.max() as f64 / 1e6,
            },
            node,
            generator,
            ready_after_ms: ready_after.map(|after| after.as_secs_f64() * 1e3),
            histogram_v2_base64: Base64::encode_string(&encoded),
        })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let latency = &self.latency_ms;
        let mut lines = vec![
            format!("{}, {}", self.target, self.pace),
            format!(
                "answers    {:.0} a second: {} in {:.2} s",
                self.answers_per_s, self.answered, self.seconds
            ),
            format!(
                "latency    p50 {:.3} ms, p90 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3} (mean {:.3})",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max, latency.mean
            ),
        ];
        lines.extend(self.errors.iter().map(|(code, count)| format!("errors     {count} {code}")));
        for (count, what) in [
            (self.refused, "refused by the broker"),
            (self.unanswered, "unanswered"),
            (self.strays, "answers to nothing that was open"),
        ] {
            if count > 0 {
                lines.push(format!("requests   {count} {what}"));
            }
        }
        lines.extend(self.ready_after_ms.map(|ms| format!("start      ready after {ms:.1} ms")));
        lines.extend(self.node.as_ref().map(|used| used.line("node")));
        lines.extend(self.generator.as_ref().map(|used| used.line("generator")));
        lines
    }
}

/// Writes the percentile distribution of `latency_ns`, in milliseconds, in the text
/// format of HdrHistogram's plotter.
///
/// # Errors
/// When the file cannot be written.
pub fn write_hgrm(latency_ns: &Histogram<u64>, path: &Path) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(GrowingFile::create_unfinished(path)?);
        writeln!(
            file,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        let mut total = 0;
        for point in latency_ns.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
            total += point.count_since_last_iteration();
            let (value, quantile) = (point.value_iterated_to() as f64 / 1e6, point.quantile_iterated_to());
            if quantile < 1.0 {
                writeln!(file, "{value:12.6} {quantile:.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))?;
            } else {
                writeln!(file, "{value:12.6} {quantile:.12} {total:10}")?;
            }
        }
        writeln!(
            file,
            "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]",
            latency_ns.mean() / 1e6,
            latency_ns.stdev() / 1e6
        )?;
        writeln!(
            file,
            "#[Max     = {:12.6}, Total count    = {:12}]",
            latency_ns.max() as f64 / 1e6,
            latency_ns.len()
        )?;
        writeln!(file, "#[Buckets = {:12}, SubBuckets     = {:12}]", latency_ns.buckets(), 2_048)?;
        file.into_inner().map_err(|error| error.into_error())?.complete()
    };
    Ok(write()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_that_has_no_room_is_named() {
        let mut latency_ns = Histogram::new(3).unwrap();
        latency_ns.record(5).unwrap();
        let refused = write_hgrm(&latency_ns, Path::new("/dev/full")).unwrap_err().to_string();
        assert!(refused.starts_with("/dev/full: cannot be written: No space left"), "{refused}");
    }
}
