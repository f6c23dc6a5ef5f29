//! When the score first stayed above the threshold, and how scores go with labels.

use std::collections::BTreeMap;

use crate::sensors::recorded::Row;

/// Finds the first row from which enough rows in a row score at or above the threshold.
pub struct AlarmRule {
    threshold: f32,
    rows_needed: u32,
    run: Option<Start>,
    length: u32,
    raised: Option<Start>,
    last_timestamp_us: Option<i64>,
}

#[derive(Clone, Copy)]
struct Start {
    number: u64,
    timestamp_us: Option<i64>,
}

impl AlarmRule {
    pub fn new(threshold: f32, rows_needed: u32) -> Self {
        Self { threshold, rows_needed, run: None, length: 0, raised: None, last_timestamp_us: None }
    }

    /// The next row's score.
    pub fn see(&mut self, number: u64, row: &Row, score: f32) {
        self.last_timestamp_us = row.timestamp_us.or(self.last_timestamp_us);
        if score < self.threshold {
            self.length = 0;
            return;
        }
        if self.length == 0 {
            self.run = Some(Start { number, timestamp_us: row.timestamp_us });
        }
        self.length += 1;
        if self.length == self.rows_needed && self.raised.is_none() {
            self.raised = self.run;
        }
    }

    /// What a person wants to know.
    pub fn sentence(&self, rows: u64) -> String {
        let Some(start) = self.raised else {
            return format!(
                "no alarm: no {} rows in a row scored at or above {}",
                self.rows_needed, self.threshold
            );
        };
        let percent = 100.0 * start.number as f64 / rows.max(1) as f64;
        let left = rows - start.number;
        let mut sentence = format!(
            "alarm: the score first stayed at or above {} for {} rows from row {} ({percent:.1} % of the recording), \
             {left} rows before its end",
            self.threshold,
            self.rows_needed,
            start.number + 1,
        );
        if let (Some(from), Some(to)) = (start.timestamp_us, self.last_timestamp_us) {
            sentence.push_str(&format!(", {:.0} s before its last row", (to - from) as f64 / 1e6));
        }
        sentence
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(timestamp_us: i64) -> Row {
        Row {
            line: 1,
            timestamp_us: Some(timestamp_us),
            features: Vec::new(),
            label: None,
            record: csv::StringRecord::new(),
        }
    }

    #[test]
    fn the_alarm_is_where_the_score_first_stays_up() {
        let mut rule = AlarmRule::new(0.5, 3);
        for (number, score) in [0.1, 0.9, 0.9, 0.1, 0.5, 0.6, 0.7, 0.1].into_iter().enumerate() {
            rule.see(number as u64, &row(number as i64 * 10_000_000), score);
        }
        let sentence = rule.sentence(8);
        assert!(sentence.contains("from row 5 (50.0 %") && sentence.contains("30 s before"), "{sentence}");
    }

    #[test]
    fn short_excursions_are_no_alarm() {
        let mut rule = AlarmRule::new(0.5, 3);
        for (number, score) in [0.9, 0.9, 0.1, 0.9, 0.9].into_iter().enumerate() {
            rule.see(number as u64, &row(0), score);
        }
        assert!(rule.sentence(5).starts_with("no alarm"));
    }
}
