//! How often an alarm may be false: `1/week`, `3/day`, `1/1000 rows`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many false alarms are allowed in a time, or in a number of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// How many episodes; more than 0.
    pub episodes: f64,
    /// In what.
    pub per: Per,
}

/// What a budget is counted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Per {
    /// By the device's own clock.
    Time(Duration),
    /// By rows of the device.
    Rows(u64),
}

const SPANS: [(&str, u64); 6] = [
    ("minute", 60),
    ("hour", 3600),
    ("day", 86_400),
    ("week", 604_800),
    ("month", 2_629_800),
    ("year", 31_557_600),
];

/// A text that is no budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}, expected how many false alarms in what, such as \"1/week\", \"3/day\" or \"1/1000 rows\""
)]
pub struct BudgetError(pub String);

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let wrong = || BudgetError(text.to_owned());
        let (episodes, per) = text.split_once('/').ok_or_else(wrong)?;
        let episodes: f64 = episodes.trim().parse().map_err(|_| wrong())?;
        if !(episodes.is_finite() && episodes > 0.0) {
            return Err(wrong());
        }
        let per = per.trim();
        let per = match per.strip_suffix("rows").or_else(|| per.strip_suffix("row")) {
            Some("") => Per::Rows(1),
            Some(rows) => match rows.trim().replace([',', '_'], "").parse() {
                Ok(rows) if rows > 0 => Per::Rows(rows),
                _ => return Err(wrong()),
            },
            None => {
                let (count, unit) = match per.split_once(' ') {
                    Some((count, unit)) => (count.parse().map_err(|_| wrong())?, unit.trim_end_matches('s')),
                    None => (1, per),
                };
                let seconds = SPANS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
                match seconds.checked_mul(count) {
                    Some(seconds) if seconds > 0 => Per::Time(Duration::from_secs(seconds)),
                    _ => return Err(wrong()),
                }
            }
        };
        Ok(Self { episodes, per })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.episodes)?;
        match self.per {
            Per::Rows(1) => write!(f, "row"),
            Per::Rows(rows) => write!(f, "{rows} rows"),
            Per::Time(time) => {
                let seconds = time.as_secs();
                let (name, span) =
                    SPANS.iter().rev().find(|(_, span)| seconds.is_multiple_of(*span)).unwrap_or(&SPANS[0]);
                match seconds / span {
                    1 => write!(f, "{name}"),
                    count => write!(f, "{count} {name}s"),
                }
            }
        }
    }
}

impl Budget {
    /// How many episodes it allows in `rows` that span `time`; `None` where it is one of time and that is not
    /// known.
    pub fn episodes_in(&self, rows: u64, time: Option<Duration>) -> Option<f64> {
        match self.per {
            Per::Rows(_) => Some(self.share(None) * rows as f64),
            Per::Time(_) => time.map(|time| self.share(Some(time))),
        }
    }

    /// Whether so much normal data can know it: whether it allows at least one episode in as much. A smaller
    /// one is kept to all the same, by the [`Controller`](super::Controller); that the threshold is where
    /// it should be from the beginning is extrapolated, and is not to be claimed.
    pub fn is_known_from(&self, rows: u64, time: Option<Duration>) -> bool {
        self.episodes_in(rows, time).is_some_and(|episodes| episodes >= 1.0)
    }

    /// How many episodes a row may have, `elapsed` after the row before it; a row whose time is not known
    /// counts for nothing where the budget is one of time.
    pub fn share(&self, elapsed: Option<Duration>) -> f64 {
        match self.per {
            Per::Rows(rows) => self.episodes / rows as f64,
            Per::Time(time) => {
                self.episodes * elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64() / time.as_secs_f64())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_one_episode_in_the_data_is_not_known() {
        let day = Duration::from_secs(86_400);
        let known = |text: &str, rows, time| text.parse::<Budget>().unwrap().is_known_from(rows, time);
        assert!(known("1/1000 rows", 1000, None) && !known("1/1000 rows", 999, None));
        assert!(known("1/week", 10, Some(7 * day)) && !known("1/week", 1_000_000, Some(6 * day)));
        assert!(!known("3/day", 1_000_000, None));
    }

    #[test]
    fn a_budget_is_written_as_it_is_read() {
        for text in ["1/week", "3/day", "1/1000 rows", "0.5/month", "2/3 days", "1/row"] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0/day", "1/fortnight", "-1/day", "1/0 rows", "inf/day", "1/0 days"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }
}
