//! Numbers as words and words as numbers, as ONNX Runtime has them.

use std::sync::Arc;

use crate::model::graph::kernel::Fault;

/// The digits that a number is written with: C's `%.8g`.
const DIGITS: i32 = 8;

/// A number as a word, such as `0.33333333`, `1e+10` or `-INF`.
pub fn of_real(value: f64) -> Arc<str> {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.into();
    }
    let written = format!("{value:.*e}", DIGITS as usize - 1);
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let places = (DIGITS - 1 - exponent) as usize;
        return trimmed(&format!("{value:.places$}")).into();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs()).into()
}

/// Without zeros at the end of a fraction.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// A word as a number.
pub fn real(word: &str) -> Result<f64, Fault> {
    let found = word.trim().parse::<f64>();
    found.map_err(|_| fault(word, "a number"))
}

/// A word as an integer; a fraction is cut off.
pub fn whole(word: &str) -> Result<i64, Fault> {
    if let Ok(value) = word.trim().parse::<i64>() {
        return Ok(value);
    }
    // 2^63: beyond, a number is not an integer of this kind.
    let found = real(word)?.trunc();
    if found.abs() < 9_223_372_036_854_775_808.0 { Ok(found as i64) } else { Err(fault(word, "an integer")) }
}

fn fault(word: &str, expected: &str) -> Fault {
    // A word of a row is as long as its sender likes.
    let start: String = word.chars().take(40).collect();
    Fault(format!("found the word \"{}\", expected {expected}", start.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_onnx_runtime_writes_them() {
        for (value, expected) in [
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333"),
            (f64::from(1.0_f32 / 3.0), "0.33333334"),
            (f64::from(1e-5_f32), "9.9999997e-06"),
            (1e-5, "1e-05"),
            (123_456_789.0, "1.2345679e+08"),
            (1e10, "1e+10"),
            (1e16, "1e+16"),
            (-0.0, "-0"),
            (1.0, "1"),
            (100_000.0, "100000"),
            (1e7, "10000000"),
            (99_999_999.9, "1e+08"),
            (300.700_012_207, "300.70001"),
            (1e-300, "1e-300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "INF"),
            (f64::NEG_INFINITY, "-INF"),
        ] {
            assert_eq!(&*of_real(value), expected);
        }
    }

    #[test]
    fn words_are_read_as_numbers() {
        for (word, expected) in
            [("3.5", 3.5), ("1e3", 1000.0), (" 2 ", 2.0), ("INF", f64::INFINITY), ("-inf", -f64::INFINITY)]
        {
            assert_eq!(real(word), Ok(expected));
        }
        assert!(real("nan").unwrap().is_nan());
        for (word, expected) in [("3", 3), ("3.5", 3), (" -4", -4), ("9223372036854775807", i64::MAX)] {
            assert_eq!(whole(word), Ok(expected));
        }
        for word in ["", "abc", "3.5abc", "0x10"] {
            assert!(real(word).is_err() && whole(word).is_err(), "{word}");
        }
        assert!(whole("99999999999999999999").is_err());
        assert!(whole("nan").is_err());
    }
}
