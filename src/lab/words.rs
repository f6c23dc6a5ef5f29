//! Figures as people read them: rounded to what they mean, never to what they are not.

use crate::statistics::{Interval, Proportion};

/// A number with so many significant digits, and never an exponent.
pub fn number(value: f64, significant_digits: i32) -> String {
    if value.abs() < LEAST_SHOWN {
        return "0".to_owned();
    }
    let digits_before_the_point = value.abs().log10().floor() as i32 + 1;
    let decimals = (significant_digits - digits_before_the_point).clamp(0, DECIMALS_MAX) as usize;
    format!("{value:.decimals$}")
}

/// Half of the last decimal.
const LEAST_SHOWN: f64 = 5e-7;
const DECIMALS_MAX: i32 = 6;

/// A number with so many significant digits and no zeros behind its decimals, for what a person has set.
pub fn plain(value: f64, significant_digits: i32) -> String {
    let text = number(value, significant_digits);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A duration, given in milliseconds: with its unit, which is seconds from ten of them on.
pub fn milliseconds(ms: f64) -> String {
    if ms.abs() < 10_000.0 { format!("{} ms", number(ms, 3)) } else { format!("{} s", number(ms / 1e3, 3)) }
}

/// A value and its interval, such as `41.2` and `40.9 to 41.5`, with as many
/// decimals as the interval is sure of.
pub fn estimate(value: f64, interval: Interval) -> (String, String) {
    let half = (interval.high - interval.low) / 2.0;
    if !half.is_finite() || half < LEAST_SHOWN {
        return (number(value, 3), format!("{} to {}", number(interval.low, 3), number(interval.high, 3)));
    }
    let decimals = (-half.log10()).ceil().clamp(0.0, DECIMALS_MAX.into()) as usize;
    // A negative number that rounds to nothing has no sign.
    let round = |value: f64| {
        let text = format!("{value:.decimals$}");
        if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
            text.trim_start_matches('-').to_owned()
        } else {
            text
        }
    };
    (round(value), format!("{} to {}", round(interval.low), round(interval.high)))
}

/// A share in per cent. Only none is 0 %, and only all of them are 100 %.
pub fn percent(proportion: Proportion) -> String {
    match proportion {
        Proportion { all: 0, .. } => "–".to_owned(),
        Proportion { cases: 0, .. } => "0 %".to_owned(),
        Proportion { cases, all } if cases == all => "100 %".to_owned(),
        some => format!("{} %", between_none_and_all(some.share() * 100.0)),
    }
}

fn between_none_and_all(percent: f64) -> String {
    // What lies nearer, 0 or 100, is what must not be rounded to.
    let distance = percent.min(100.0 - percent);
    // A distance of exactly a thousandth is a little less, or more, in binary.
    let decimals = if distance >= 10.0 { 0.0 } else { (-distance.log10() - 1e-6).ceil().clamp(1.0, 6.0) };
    let decimals = decimals as usize;
    format!("{percent:.decimals$}")
}

/// A number with three significant digits; from a thousand on it is whole, in groups of three digits.
pub fn figure(value: f64) -> String {
    if (1e3..1e15).contains(&value) { count(value.round() as usize) } else { number(value, 3) }
}

/// A whole number in groups of three digits.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Things in a row, as in a sentence: `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(cases: usize, all: usize) -> String {
        percent(Proportion { cases, all })
    }

    #[test]
    fn only_none_is_0_and_only_all_are_100_per_cent() {
        assert_eq!([share(0, 9), share(9, 9), share(0, 0)], ["0 %", "100 %", "–"]);
        assert_eq!([share(62, 100), share(1, 16), share(1, 99_999)], ["62 %", "6.2 %", "0.001 %"]);
        assert_eq!([share(99_999, 100_000), share(999, 1_000)], ["99.999 %", "99.9 %"]);
    }

    #[test]
    fn estimates_have_the_decimals_that_their_interval_allows() {
        let of = |value, low, high| estimate(value, Interval { low, high });
        assert_eq!(of(41.234, 40.91, 41.53), ("41.2".to_owned(), "40.9 to 41.5".to_owned()));
        assert_eq!(of(412.34, 390.0, 431.0), ("412".to_owned(), "390 to 431".to_owned()));
        assert_eq!(of(-0.001, -0.3, 0.3).0, "0.0");
        assert_eq!(of(5.0, 5.0, 5.0), ("5.00".to_owned(), "5.00 to 5.00".to_owned()));
    }

    #[test]
    fn numbers_are_rounded_grouped_and_listed() {
        assert_eq!([number(1234.5, 3), number(0.012_345, 3), number(1e-9, 3)], ["1234", "0.0123", "0"]);
        assert_eq!([plain(50.0, 4), plain(0.25, 4)], ["50", "0.25"]);
        assert_eq!([figure(0.012_345), figure(999.4), figure(12_345.6)], ["0.0123", "999", "12,346"]);
        assert_eq!([count(7), count(1_234), count(12_345_678)], ["7", "1,234", "12,345,678"]);
        assert_eq!([milliseconds(9.87654), milliseconds(12_345.0)], ["9.88 ms", "12.3 s"]);
        let items = ["a", "b", "c"].map(str::to_owned);
        assert_eq!([list(&items[..1]), list(&items[..2]), list(&items)], ["a", "a and b", "a, b and c"]);
    }
}
