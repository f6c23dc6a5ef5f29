//! How scores go with labels: detections, counted for each value of the recording's label column.

use std::collections::BTreeMap;

/// The most different labels that are counted; a column with more is no label.
const LABELS_MAX: usize = 100;

/// Counts detections for each label.
pub struct Labels {
    threshold: f32,
    counts: BTreeMap<String, (u64, u64)>,
}

impl Labels {
    pub fn new(threshold: f32) -> Self {
        Self { threshold, counts: BTreeMap::new() }
    }

    /// The next row's label and score.
    pub fn see(&mut self, label: Option<&str>, score: f32) {
        let Some(label) = label else { return };
        if self.counts.len() >= LABELS_MAX && !self.counts.contains_key(label) {
            return;
        }
        let (rows, found) = self.counts.entry(label.to_owned()).or_default();
        *rows += 1;
        *found += u64::from(score >= self.threshold);
    }

    /// One line for each label.
    pub fn lines(&self) -> Vec<String> {
        let line = |(label, (rows, found)): (&String, &(u64, u64))| {
            format!(
                "label {label}: {found} of {rows} rows at or above the threshold ({:.1} %)",
                100.0 * *found as f64 / *rows as f64
            )
        };
        let mut lines: Vec<_> = self.counts.iter().map(line).collect();
        if self.counts.len() >= LABELS_MAX {
            lines.push(format!("only the first {LABELS_MAX} labels were counted"));
        }
        lines
    }
}
