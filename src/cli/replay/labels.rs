//! How scores go with labels: detections, counted for each value of the recording's label column, and how
//! good they are where the labels say what is true.

use std::collections::BTreeMap;

use crate::alarm::{Alarm, AlarmRule};
use crate::sensors::recorded::{Labels, UnknownLabel};
use crate::statistics::Confusion;
use crate::suggestion;

/// The most different labels that are counted; a column with more is no label.
const LABELS_MAX: usize = 100;

/// Counts detections for each label, and against the truth.
pub struct LabelCounts {
    threshold: f32,
    meaning: Labels,
    counts: BTreeMap<String, (u64, u64)>,
    decisions: Confusion,
    first_anomaly: Option<Alarm>,
    /// The first label that nothing says the meaning of.
    unknown: Option<String>,
}

impl LabelCounts {
    pub fn new(threshold: f32, meaning: Labels) -> Self {
        let (counts, decisions) = (BTreeMap::new(), Confusion::default());
        Self { threshold, meaning, counts, decisions, first_anomaly: None, unknown: None }
    }

    /// The next row's label; `score` is absent where the row was refused.
    pub fn see(&mut self, row: Alarm, label: Option<&str>, score: Option<f32>) {
        let Some(label) = label else { return };
        match self.meaning.truth(label) {
            Ok(Some(is_anomaly)) => self.judge(row, is_anomaly, score),
            Ok(None) => {}
            Err(UnknownLabel) => self.unknown = self.unknown.take().or_else(|| Some(label.to_owned())),
        }
        let Some(score) = score else { return };
        if self.counts.len() >= LABELS_MAX && !self.counts.contains_key(label) {
            return;
        }
        let (rows, found) = self.counts.entry(label.to_owned()).or_default();
        *rows += 1;
        *found += u64::from(score >= self.threshold);
    }

    fn judge(&mut self, row: Alarm, is_anomaly: bool, score: Option<f32>) {
        if is_anomaly {
            self.first_anomaly.get_or_insert(row);
        }
        match (score.map(|score| score >= self.threshold), is_anomaly) {
            (Some(true), true) => self.decisions.true_positives += 1,
            (Some(true), false) => self.decisions.false_positives += 1,
            (Some(false), true) => self.decisions.false_negatives += 1,
            (Some(false), false) => self.decisions.true_negatives += 1,
            (None, _) => {}
        }
    }

    /// One line for each label, and what they say of decisions and of the alarm.
    pub fn lines(&self, alarm: &AlarmRule) -> Vec<String> {
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
        if let Some(unknown) = &self.unknown {
            lines.push(format!(
                "precision, recall and delay cannot be told: nothing says whether label {unknown:?} means an anomaly; name \
                 those that do with --anomaly A,B"
            ));
        } else if !self.counts.is_empty() {
            lines.extend(self.unseen());
            lines.push(self.quality());
            lines.push(self.delay(alarm));
        }
        lines
    }

    /// That labels are not there which are named as an anomaly's: there may be none, or they were misspelt.
    fn unseen(&self) -> Option<String> {
        let named = &self.meaning.anomalies;
        if named.is_empty() {
            return None;
        }
        if self.first_anomaly.is_none() {
            let there_are = quoted(self.counts.keys());
            return Some(format!("warning: no row has the label {}; there are {there_are}", quoted(named)));
        }
        let (word, meant) = self.slip()?;
        Some(format!("warning: no row has the label {word:?}; did you mean {meant:?}?"))
    }

    /// A label that is named as an anomaly's and is not there, and the one that may have been meant.
    fn slip(&self) -> Option<(&str, &str)> {
        let named = &self.meaning.anomalies;
        let is =
            |label: &str| named.iter().any(|word| word.trim().to_lowercase() == label.trim().to_lowercase());
        let has = |word: &&String| {
            self.counts.keys().any(|label| label.to_lowercase() == word.trim().to_lowercase())
        };
        let others = || self.counts.keys().map(String::as_str).filter(|label| !is(label));
        let absent = named.iter().filter(|word| !has(word));
        absent.into_iter().find_map(|word| Some((word.as_str(), suggestion::meant(word, others())?)))
    }

    /// Refuses what is named as an anomaly's label where no row has one and it is a slip of another.
    ///
    /// # Errors
    /// A sentence that says so.
    pub fn check(&self) -> Result<(), String> {
        match self.slip().filter(|_| self.first_anomaly.is_none()) {
            Some((word, meant)) => {
                let there_are = quoted(self.counts.keys());
                Err(format!(
                    "--anomaly: no row has the label {word:?}; there are {there_are}; did you mean {meant:?}?"
                ))
            }
            None => Ok(()),
        }
    }

    fn quality(&self) -> String {
        let Confusion { true_positives: found, false_positives, false_negatives, .. } = self.decisions;
        let share = |name: &str, share: Option<f64>, whole: usize, of: &str| match share {
            Some(share) => format!("{name} {share:.3} ({found} of {whole} {of})"),
            None => format!("no {name} (there are no {of})"),
        };
        let precision = share(
            "precision",
            self.decisions.precision(),
            found + false_positives,
            "rows at or above the threshold",
        );
        let recall =
            share("recall", self.decisions.recall(), found + false_negatives, "rows with an anomaly");
        format!("{precision}, {recall}")
    }

    /// How long after the first anomaly the alarm was.
    fn delay(&self, alarm: &AlarmRule) -> String {
        let Some(first) = self.first_anomaly else {
            return "no delay: no label is an anomaly".to_owned();
        };
        let Some(raised) = alarm.raised() else {
            return format!("no delay: the anomaly from row {} on was not found", first.row + 1);
        };
        let seconds = first.timestamp_us.zip(raised.timestamp_us);
        let seconds = seconds.map(|(from, to)| to.saturating_sub(from) as f64 / 1e6);
        // Times that go back say nothing of how long that was.
        let seconds =
            seconds.filter(|seconds| (*seconds >= 0.0) == (raised.row >= first.row) || *seconds == 0.0);
        let seconds = seconds.map(|seconds| format!(" ({:.0} s)", seconds.abs())).unwrap_or_default();
        let (rows, first, raised) = (raised.row.abs_diff(first.row), first.row + 1, raised.row + 1);
        match raised >= first {
            true => {
                format!("delay: {rows} rows{seconds}, from the first anomaly in row {first} to row {raised}")
            }
            false => {
                format!(
                    "no delay: row {raised} is {rows} rows{seconds} before the first anomaly in row {first}"
                )
            }
        }
    }
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    words.into_iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of rows ten seconds apart, each with a label and a score.
    fn lines(rows: &[(&str, Option<f32>)], anomalies: &[&str]) -> String {
        let anomalies = anomalies.iter().map(|word| (*word).to_owned()).collect();
        let mut labels = LabelCounts::new(0.5, Labels { anomalies, model: None });
        let mut alarm = AlarmRule::new(0.5, 2);
        for (row, (label, score)) in rows.iter().enumerate() {
            let at = Alarm { row: row as u64, timestamp_us: Some(row as i64 * 10_000_000) };
            labels.see(at, Some(label), *score);
            if let Some(score) = score {
                alarm.see(at.row, at.timestamp_us, *score);
            }
        }
        labels.lines(&alarm).join("\n")
    }

    #[test]
    fn precision_recall_and_delay_are_told_with_what_they_count() {
        let rows = [("ok", 0.9), ("ok", 0.1), ("outer", 0.2), ("inner", 0.7), ("outer", 0.8), ("", 0.9)];
        let rows = rows.map(|(label, score)| (label, Some(score)));
        let said = lines(&rows, &["outer", "inner"]);
        for part in [
            "precision 0.667 (2 of 3 rows at or above the threshold), recall 0.667 (2 of 3 rows with an anomaly)",
            "delay: 1 rows (10 s), from the first anomaly in row 3 to row 4",
            "label inner: 1 of 1 rows",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let unknown = lines(&rows, &[]);
        assert!(
            unknown.contains("label \"outer\" means an anomaly; name those that do with --anomaly"),
            "{unknown}"
        );
    }

    #[test]
    fn what_cannot_be_divided_or_did_not_happen_is_said() {
        let said = lines(&[("no", Some(0.1)), ("no", Some(0.2))], &[]);
        assert!(said.contains("no precision (there are no rows at") && said.contains("no recall"), "{said}");
        assert!(said.contains("no delay: no label is an anomaly"), "{said}");
        let missed = lines(&[("no", Some(0.1)), ("yes", None), ("yes", Some(0.1))], &[]);
        assert!(missed.contains("no delay: the anomaly from row 2 on was not found"), "{missed}");
        assert!(missed.contains("recall 0.000 (0 of 1 rows"), "{missed}");
        let early = lines(&[("no", Some(0.9)), ("no", Some(0.9)), ("yes", Some(0.9))], &[]);
        assert!(
            early.contains("no delay: row 1 is 2 rows (20 s) before the first anomaly in row 3"),
            "{early}"
        );
    }
}
