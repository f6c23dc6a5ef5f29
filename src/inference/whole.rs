//! A whole number, however it is written down: many languages know no other numbers than floats, and write a
//! time as `1.7e15`.

/// The most digits of an i64.
const DIGITS_MAX: usize = 19;

/// The i64 that `text`, a decimal number, is: exactly, by its digits and not by the float nearest to it. None
/// when it has a fraction, is beyond 64 bits, or is no number.
pub fn whole_number(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (is_negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || mantissa.ends_with('.') || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // Of ten, by which the digits that count are multiplied.
    let trailing = all.len() - all.trim_end_matches('0').len();
    let power = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::try_from(trailing).ok()?;
    let zeros = usize::try_from(power).ok().filter(|zeros| significant.len() + zeros <= DIGITS_MAX)?;
    let sign = if is_negative { "-" } else { "" };
    format!("{sign}{significant}{}", "0".repeat(zeros)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_every_form_are_read_exactly() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e9", 0),
            ("1.7e15", 1_700_000_000_000_000),
            ("1700000000000000.0", 1_700_000_000_000_000),
            ("1700000000000000.000e0", 1_700_000_000_000_000),
            ("17E+14", 1_700_000_000_000_000),
            ("1700000000000000000e-3", 1_700_000_000_000_000),
            ("-2.5e1", -25),
            // No float is this number.
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9223372036854775807.0", i64::MAX),
            ("-9223372036854775808.0", i64::MIN),
            ("922337203685477580.7e1", i64::MAX),
        ] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_or_too_large_is_none() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1.5",
            "1e-1",
            "1e",
            "1e99999999999",
            "1e2147483647",
            "e5",
            "1.0.0",
            "--1",
            "NaN",
            "inf",
            "0x10",
            "1_000",
            "4503599627370497.25",
            "9007199254740992.5",
            "9223372036854775808.0",
            "-9223372036854775809.0",
            "1e19",
            "1e308",
            "1 ",
        ] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
