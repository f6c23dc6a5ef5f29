//! A page of metrics as it is put together; the text format itself is the `prometheus` crate's.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Written, LabelPair, Metric as Sample, MetricFamily, MetricType,
};

use super::catalogue::{Kind, Metric};
use crate::ledger::Histogram;

/// Metrics with their values, in the order they were added.
#[derive(Default)]
pub struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    /// Adds `metric`, which has no labels.
    pub fn value(&mut self, metric: &Metric, value: f64) {
        self.values(metric, [([], value)]);
    }

    /// Adds a counter or gauge: for each sample the values of its labels, in the
    /// catalogue's order, and its own.
    pub fn values<'a, L: IntoIterator<Item = &'a str>>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, value)| {
            let mut sample = Sample::from_label(label_pairs(metric, labels));
            if metric.kind == Kind::Counter {
                let mut counter = Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            sample
        });
        self.family(metric, samples.collect());
    }

    /// Adds a histogram, whose values are divided by `unit`.
    pub fn histograms<'a, const N: usize>(
        &mut self,
        metric: &Metric,
        unit: f64,
        samples: impl IntoIterator<Item = (&'a str, &'a Histogram<N>)>,
    ) {
        let samples = samples.into_iter().map(|(label, histogram)| {
            let mut sample = Sample::from_label(label_pairs(metric, [label]));
            sample.set_histogram(written(histogram, unit));
            sample
        });
        self.family(metric, samples.collect());
    }

    /// The page in the text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric has no name, which the catalogue does not have.
    pub fn into_text(self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.families)
    }

    /// A metric without samples is left out: the format has no way to say that there are none.
    fn family(&mut self, metric: &Metric, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(samples);
        self.families.push(family);
    }
}

fn label_pairs<'a>(metric: &Metric, values: impl IntoIterator<Item = &'a str>) -> Vec<LabelPair> {
    let pair = |(name, value): (&&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}

fn written<const N: usize>(histogram: &Histogram<N>, unit: f64) -> Written {
    let bucket = |(bound, below): (u64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound as f64 / unit);
        // Prometheus' buckets are cumulative: how many values were at most the bound. The last, without a
        // bound, is the count, which the encoder adds.
        bucket.set_cumulative_count(below);
        bucket
    };
    let mut written = Written::default();
    written.set_bucket(histogram.cumulative().map(bucket).collect());
    written.set_sample_count(histogram.count());
    written.set_sample_sum(histogram.sum() as f64 / unit);
    written
}
