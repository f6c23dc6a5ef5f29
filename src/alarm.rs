//! When scores become an alarm: a run rule, which asks for so many rows in a row at
//! or above a threshold, so that a single excursion is none.

/// Finds the first row from which enough rows in a row score at or above the threshold.
///
/// ```
/// use nearfar::alarm::{Alarm, AlarmRule};
///
/// let mut rule = AlarmRule::new(0.5, 2);
/// for (row, score) in [0.9, 0.1, 0.6, 0.7].into_iter().enumerate() {
///     rule.see(row as u64, None, score);
/// }
/// assert_eq!(rule.raised(), Some(Alarm { row: 2, timestamp_us: None }));
/// ```
#[derive(Debug, Clone)]
pub struct AlarmRule {
    threshold: f32,
    rows_needed: u32,
    /// Where the run that goes on began, and how long it is.
    run: Option<(Alarm, u32)>,
    raised: Option<Alarm>,
}

/// Where the score first stayed up: the first row of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// The row's number, from 0.
    pub row: u64,
    /// When its values were measured, where that is known.
    pub timestamp_us: Option<i64>,
}

impl AlarmRule {
    /// The alarm is where `rows_needed` rows in a row first score at or above `threshold`.
    pub fn new(threshold: f32, rows_needed: u32) -> Self {
        Self { threshold, rows_needed, run: None, raised: None }
    }

    /// Takes the next row's score.
    pub fn see(&mut self, row: u64, timestamp_us: Option<i64>, score: f32) {
        if score < self.threshold || score.is_nan() {
            self.run = None;
            return;
        }
        let (start, length) = self.run.unwrap_or((Alarm { row, timestamp_us }, 0));
        self.run = Some((start, length.saturating_add(1)));
        if length + 1 == self.rows_needed && self.raised.is_none() {
            self.raised = Some(start);
        }
    }

    /// The first alarm, if there was one.
    pub fn raised(&self) -> Option<Alarm> {
        self.raised
    }

    /// The score from which on a row counts.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// How many rows in a row make an alarm.
    pub fn rows_needed(&self) -> u32 {
        self.rows_needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(scores: &[f32]) -> Option<u64> {
        let mut rule = AlarmRule::new(0.5, 3);
        for (row, score) in scores.iter().enumerate() {
            rule.see(row as u64, None, *score);
        }
        rule.raised().map(|alarm| alarm.row)
    }

    #[test]
    fn the_alarm_is_where_the_score_first_stays_up() {
        assert_eq!(raised(&[0.1, 0.9, 0.9, 0.1, 0.5, 0.6, 0.7, 0.1]), Some(4));
        assert_eq!(raised(&[0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9]), Some(0));
    }

    #[test]
    fn short_excursions_are_no_alarm() {
        assert_eq!(raised(&[0.9, 0.9, 0.1, 0.9, 0.9]), None);
    }

    #[test]
    fn an_alarm_knows_when_it_began() {
        let mut rule = AlarmRule::new(0.5, 2);
        rule.see(0, Some(10), 0.9);
        rule.see(1, Some(20), 0.9);
        assert_eq!(rule.raised(), Some(Alarm { row: 0, timestamp_us: Some(10) }));
    }
}
