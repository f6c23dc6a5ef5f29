//! Empirical distributions and traces to replay: measured delays, from text, as samples of a distribution or
//! a series in time.

use std::time::Duration;

use super::parameter::DELAY_MAX;

/// The most lines read of either kind: 16 MB of memory at most.
pub const RECORDED_LINES_MAX: usize = 1_000_000;

/// Measured one-way delays without an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<Duration>);

/// Measured one-way delays in time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeSeries {
    /// When, since the beginning, and how long; times rise.
    points: Vec<(Duration, Duration)>,
}

/// What is wrong with recorded delays, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RecordedError {
    /// Line, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub problem: String,
}

impl Samples {
    /// One delay in milliseconds a line. Empty lines and lines that begin with `#` are
    /// left out, and so is a first line of words.
    ///
    /// # Errors
    /// [`RecordedError`] for the first line that is no delay, or when there is none.
    pub fn parse(text: &str) -> Result<Self, RecordedError> {
        let rows = rows(text, ["milliseconds"])?;
        rows.into_iter().map(|(line, [delay])| delay_of(line, delay)).collect::<Result<_, _>>().map(Self)
    }

    /// One of them, for a number in `[0, 1)`.
    pub fn pick(&self, unit: f64) -> Duration {
        let index = (unit * self.0.len() as f64) as usize;
        self.0.get(index.min(self.0.len() - 1)).copied().unwrap_or_default()
    }
}

impl TimeSeries {
    /// A time in seconds and a delay in milliseconds a line, with a comma between them;
    /// times rise, and count from the first.
    ///
    /// # Errors
    /// [`RecordedError`] for the first line that is neither, or when there is none.
    pub fn parse(text: &str) -> Result<Self, RecordedError> {
        let rows = rows(text, ["seconds", "milliseconds"])?;
        let begin_s = rows.first().map_or(0.0, |(_, [at, _])| *at);
        let mut points: Vec<(Duration, Duration)> = Vec::with_capacity(rows.len());
        for (line, [at_s, delay]) in rows {
            let at = Duration::try_from_secs_f64(at_s - begin_s)
                .ok()
                .filter(|at| points.last().is_none_or(|(last, _)| last < at));
            let Some(at) = at else {
                let problem = format!("found the time {at_s} s, expected one after the line before it");
                return Err(RecordedError { line, problem });
            };
            points.push((at, delay_of(line, delay)?));
        }
        Ok(Self { points })
    }

    /// The delay measured last at `at`. When the series is over it begins anew, its last
    /// value having lasted as long as the one before it.
    pub fn at(&self, at: Duration) -> Duration {
        let period = self.period().as_nanos();
        let within =
            if period == 0 { Duration::ZERO } else { Duration::from_nanos((at.as_nanos() % period) as u64) };
        let after = self.points.partition_point(|(since, _)| *since <= within);
        self.points.get(after.saturating_sub(1)).map_or(Duration::ZERO, |(_, delay)| *delay)
    }

    fn period(&self) -> Duration {
        match self.points.as_slice() {
            [.., (before, _), (last, _)] => *last + (*last - *before),
            _ => Duration::ZERO,
        }
    }
}

fn delay_of(line: usize, milliseconds: f64) -> Result<Duration, RecordedError> {
    Duration::try_from_secs_f64(milliseconds / 1e3).ok().filter(|delay| *delay <= DELAY_MAX).ok_or_else(
        || {
            let problem = format!(
                "found {milliseconds}, expected milliseconds between 0 and {}",
                DELAY_MAX.as_millis()
            );
            RecordedError { line, problem }
        },
    )
}

/// The numbers of every line that has some, with the line's number.
fn rows<const COLUMNS: usize>(
    text: &str,
    names: [&str; COLUMNS],
) -> Result<Vec<(usize, [f64; COLUMNS])>, RecordedError> {
    let mut rows = Vec::new();
    for (number, content) in text.lines().enumerate() {
        let (line, content) = (number + 1, content.trim());
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let cells: Vec<_> = content.split(',').map(str::trim).collect();
        let numbers = cells.iter().map(|cell| cell.parse().ok()).collect::<Option<Vec<f64>>>();
        match numbers.and_then(|numbers| numbers.try_into().ok()) {
            Some(numbers) => rows.push((line, numbers)),
            // A header has no number at all.
            None if rows.is_empty() && cells.iter().all(|cell| cell.parse::<f64>().is_err()) => {}
            None => {
                let problem = format!("found {content:?}, expected {}", names.join(", "));
                return Err(RecordedError { line, problem });
            }
        }
        if rows.len() > RECORDED_LINES_MAX {
            let problem = format!("found more lines than the {RECORDED_LINES_MAX} that are read");
            return Err(RecordedError { line, problem });
        }
    }
    if rows.is_empty() {
        let problem = format!("found no line of numbers, expected {}", names.join(", "));
        return Err(RecordedError { line: 1, problem });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn samples_are_read_with_a_header_and_comments() {
        let samples = Samples::parse("rtt_ms\n# noon\n10\n\n 20.0 \n").unwrap();
        assert_eq!(samples, Samples(vec![ms(10), ms(20)]));
        assert_eq!([0.0, 0.49, 0.5, 0.999].map(|unit| samples.pick(unit)), [ms(10), ms(10), ms(20), ms(20)]);
    }

    #[test]
    fn a_series_is_replayed_in_steps_and_begins_anew() {
        let series = TimeSeries::parse("time_s,one_way_ms\n100,10\n101,20\n103,30\n").unwrap();
        let at = |seconds| series.at(Duration::from_secs_f64(seconds)).as_millis();
        assert_eq!([0.0, 0.9, 1.0, 2.9, 3.0, 4.9, 5.0, 6.0].map(at), [10, 10, 20, 20, 30, 30, 10, 20]);
        assert_eq!(TimeSeries::parse("7,5").unwrap().at(ms(12_345)), ms(5));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let samples = |text| Samples::parse(text).unwrap_err();
        assert_eq!(samples("ms\n1\nx\n").line, 3);
        assert_eq!(
            samples("1\n-2\n").to_string(),
            "line 2: found -2, expected milliseconds between 0 and 60000"
        );
        assert_eq!(samples("1\n1,2\n").line, 2);
        assert!(samples("ms\n").problem.contains("no line"));
        assert_eq!(TimeSeries::parse("0,1\n0,2\n").unwrap_err().line, 2);
        assert_eq!(TimeSeries::parse("0,1\n1,nan\n").unwrap_err().line, 2);
    }
}
