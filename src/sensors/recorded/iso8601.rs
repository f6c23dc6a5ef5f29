//! Points in time as ISO 8601 writes them: `2026-12-01T05:00:00.25+01:00`, with a blank for the T, without
//! seconds, or without separators.

const DAY_S: i64 = 86_400;

/// Microseconds since 1970 in UTC, which is taken where no zone is written.
pub fn microseconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let at = text.find(['T', 't', ' ']);
    let (date, time) = at.map_or((text, None), |at| (&text[..at], Some(text[at + 1..].trim_start())));
    // A number of eight digits alone may be anything.
    let days = days(date).filter(|_| time.is_some() || date.contains('-'))?;
    let micros = time.map_or(Some(0), time_of_day)?;
    Some(days * DAY_S * 1_000_000 + micros)
}

/// Days since 1970 of `YYYY-MM-DD` or `YYYYMMDD`.
fn days(date: &str) -> Option<i64> {
    let (year, month, day) = match date.len() {
        10 if date.as_bytes()[4] == b'-' && date.as_bytes()[7] == b'-' => {
            (date.get(..4)?, date.get(5..7)?, date.get(8..)?)
        }
        8 => (date.get(..4)?, date.get(4..6)?, date.get(6..)?),
        _ => return None,
    };
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end (H. Hinnant, chrono-compatible low-level date
    // algorithms, days_from_civil).
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468,
    )
}

/// Microseconds since midnight in UTC of `hh:mm`, `hh:mm:ss` or `hhmmss` with decimals and a zone behind.
fn time_of_day(time: &str) -> Option<i64> {
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let offset_s = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let (whole, rest) = hours_and_minutes(&zone[1..])?;
            if !rest.is_empty() {
                return None;
            }
            if zone.starts_with('-') { -whole } else { whole }
        }
    };
    let (seconds, rest) = hours_and_minutes(clock.trim_end())?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let (whole, decimals) = rest.split_once(['.', ',']).unwrap_or((rest, ""));
    let whole = if whole.is_empty() { 0 } else { digits(whole).filter(|_| whole.len() == 2)? };
    // A leap second is the next minute's first.
    if whole > 60 || decimals.len() > 18 {
        return None;
    }
    let micros = if decimals.is_empty() { 0 } else { digits(&format!("{decimals:0<6}")[..6])? };
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((seconds + whole - offset_s) * 1_000_000 + micros)
}

/// Seconds of `hh`, `hh:mm` or `hhmm`, and what stands behind.
fn hours_and_minutes(text: &str) -> Option<(i64, &str)> {
    let hours = digits(text.get(..2)?)?;
    let rest = &text[2..];
    let behind = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = match behind.get(..2).map(digits) {
        Some(minutes) => (minutes?, &behind[2..]),
        None if rest.is_empty() => (0, rest),
        None => return None,
    };
    (hours <= 24 && minutes < 60).then_some((hours * 3_600 + minutes * 60, rest))
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_of_their_forms() {
        let seconds = |text: &str| microseconds(text).map(|micros| micros as f64 / 1e6);
        for (text, expected) in [
            ("1970-01-01", 0.0),
            ("1970-01-01T00:00:00Z", 0.0),
            ("2000-02-29T12:30:15.25Z", 951_827_415.25),
            ("2026-12-01T05:00:00+01:00", 1_796_097_600.0),
            ("2026-12-01 04:00", 1_796_097_600.0),
            ("20261201T040000Z", 1_796_097_600.0),
            ("2026-11-30T23:00:00-0500", 1_796_097_600.0),
            ("2026-12-01T04:00:00,5", 1_796_097_600.5),
            ("1969-12-31T23:59:59Z", -1.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "noon",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-12-01T",
            "2026-12-01T25:00",
            "2026-12-01T05:61",
            "1.5",
            "2026-12-01T05:00:00X",
            "2026-12-01T05:00:00+",
            "01/12/2026",
            "2026-12-01T05:00:0é",
            "12345678.5",
            "20261201",
        ] {
            assert_eq!(microseconds(text), None, "{text}");
        }
    }
}
