//! What a person wants to know of a replay: where the alarm was, in one sentence.

use crate::alarm::AlarmRule;

/// Says it of a recording with so many rows, whose last time stamp is `last_timestamp_us`; `line` is where
/// the alarm's row stands in the file.
pub fn sentence(rule: &AlarmRule, rows: u64, last_timestamp_us: Option<i64>, line: Option<u64>) -> String {
    let (threshold, needed) = (rule.threshold(), rule.rows_needed());
    let Some(alarm) = rule.raised() else {
        return format!("no alarm: no {needed} rows in a row scored at or above {threshold}");
    };
    let percent = 100.0 * alarm.row as f64 / rows.max(1) as f64;
    let left = rows - alarm.row;
    // Where rows were left out, or lines are blank, rows are not counted as lines are.
    let line = line.filter(|line| *line != alarm.row + 2).map(|line| format!("line {line}, "));
    let mut sentence = format!(
        "alarm: the score first stayed at or above {threshold} for {needed} rows from row {} ({}{percent:.1} % of the \
         recording), {left} rows before its end",
        alarm.row + 1,
        line.unwrap_or_default(),
    );
    let seconds =
        alarm.timestamp_us.zip(last_timestamp_us).map(|(from, to)| to.saturating_sub(from) as f64 / 1e6);
    // Where times go back, which is told elsewhere, they say nothing of how long that was.
    if let Some(seconds) = seconds.filter(|seconds| *seconds >= 0.0) {
        sentence.push_str(&format!(", {seconds:.0} s before its last row"));
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(scores: &[f32]) -> AlarmRule {
        let mut rule = AlarmRule::new(0.5, 3);
        for (row, score) in scores.iter().enumerate() {
            rule.see(row as u64, Some(row as i64 * 10_000_000), *score);
        }
        rule
    }

    #[test]
    fn an_alarm_is_told_by_its_row_and_its_time() {
        let sentence =
            sentence(&rule(&[0.1, 0.9, 0.9, 0.1, 0.5, 0.6, 0.7, 0.1]), 8, Some(70_000_000), Some(6));
        assert!(sentence.contains("from row 5 (50.0 %") && sentence.contains("30 s before"), "{sentence}");
    }

    #[test]
    fn a_row_that_stands_elsewhere_is_told_by_its_line_and_times_that_go_back_are_no_duration() {
        let sentence = sentence(&rule(&[0.1, 0.9, 0.9, 0.9]), 4, Some(5), Some(7));
        assert!(sentence.contains("from row 2 (line 7, 25.0 %"), "{sentence}");
        assert!(sentence.ends_with("3 rows before its end"), "{sentence}");
    }

    #[test]
    fn where_there_is_none_the_sentence_says_what_was_looked_for() {
        let sentence = sentence(&rule(&[0.9, 0.9, 0.1, 0.9, 0.9]), 5, None, None);
        assert!(sentence.starts_with("no alarm: no 3 rows in a row"), "{sentence}");
    }
}
