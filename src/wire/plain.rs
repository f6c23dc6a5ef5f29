//! The form in which nearly every request comes, read in one go: four known members in
//! any order, strings without escapes, numbers of no more digits than an integer holds.
//!
//! Whatever else may stand in a request is left to serde_json, and so is every
//! judgement: what is read here serde_json would read as the same, to the last bit.
//! It takes a third of the time, most of which is that of reading numbers.

use std::borrow::Cow;

use super::parse::{DEVICE_ID, Draft, FEATURES, MEMBERS, REQUEST_ID, TIMESTAMP_US};

/// The members of a request in the plain form; `None` for any other, right or wrong.
/// Room is made for so many features.
pub fn read(payload: &[u8], features_expected: usize) -> Option<Draft<'_>> {
    let mut text = Text { rest: payload };
    let mut draft = Draft::default();
    text.expect(b'{')?;
    loop {
        let name = text.string()?;
        text.expect(b':')?;
        match MEMBERS.iter().position(|member| *member == name)? {
            DEVICE_ID if draft.device_id.is_none() => draft.device_id = Some(Cow::Borrowed(text.string()?)),
            TIMESTAMP_US if draft.timestamp_us.is_none() => draft.timestamp_us = Some(text.integer()?),
            FEATURES if draft.features.is_none() => draft.features = Some(text.numbers(features_expected)?),
            REQUEST_ID if draft.request_id.is_none() => {
                draft.request_id = Some(Cow::Borrowed(text.string()?))
            }
            _ => return None,
        }
        match text.token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    text.skip_space();
    text.rest.is_empty().then_some(draft)
}

/// What has not been read yet.
struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    fn skip_space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next byte that is no white space.
    fn token(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.token()? == wanted).then_some(())
    }

    /// A string of printable ASCII without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let is_end = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
        let end = self.rest.iter().position(is_end)?;
        let (string, rest) = self.rest.split_at(end);
        self.rest = rest;
        (self.byte()? == b'"').then_some(())?;
        std::str::from_utf8(string).ok()
    }

    fn integer(&mut self) -> Option<i64> {
        self.skip_space();
        let number = self.number()?;
        let is_negative_zero = number.is_negative && number.digits == 0;
        if number.has_point || number.exponent != 0 || is_negative_zero {
            return None;
        }
        let magnitude = i64::try_from(number.digits).ok()?;
        Some(if number.is_negative { -magnitude } else { magnitude })
    }

    fn numbers(&mut self, expected: usize) -> Option<Vec<f32>> {
        self.expect(b'[')?;
        self.skip_space();
        // A request of another model may promise little memory here, and then have much: no
        // more than its text could hold.
        let mut numbers = Vec::with_capacity(expected.min(self.rest.len() / 2));
        loop {
            // Rounded twice, as by whoever reads with serde_json, numpy or PyTorch.
            numbers.push(self.number()?.value()? as f32);
            match self.token()? {
                b',' => self.skip_space(),
                b']' => return Some(numbers),
                _ => return None,
            }
        }
    }

    /// A number as JSON has it, with no more than [`DIGITS_MAX`] digits.
    fn number(&mut self) -> Option<Number> {
        let mut at = 0;
        let text = self.rest;
        let is_negative = text.first() == Some(&b'-');
        at += usize::from(is_negative);
        let begin = at;
        let mut digits = 0;
        at = read_digits(text, at, &mut digits);
        let whole = at - begin;
        if whole == 0 || (whole > 1 && text[begin] == b'0') {
            return None;
        }
        let has_point = text.get(at) == Some(&b'.');
        let mut decimals = 0;
        if has_point {
            let begin = at + 1;
            at = read_digits(text, begin, &mut digits);
            decimals = at - begin;
            if decimals == 0 {
                return None;
            }
        }
        if whole + decimals > DIGITS_MAX {
            return None;
        }
        let mut exponent = -(decimals as i32);
        if let Some(b'e' | b'E') = text.get(at) {
            let sign = text.get(at + 1);
            let begin = at + 1 + usize::from(matches!(sign, Some(b'+' | b'-')));
            let mut power = 0;
            at = read_digits(text, begin, &mut power);
            if !(1..=EXPONENT_DIGITS_MAX).contains(&(at - begin)) {
                return None;
            }
            let power = power as i32;
            exponent += if sign == Some(&b'-') { -power } else { power };
        }
        self.rest = &text[at..];
        Some(Number { is_negative, digits, has_point, exponent })
    }
}

/// Appends the decimal digits of `text` from `at` to `digits`, and says where they
/// end. More than [`DIGITS_MAX`] of them make nonsense.
#[inline(always)]
fn read_digits(text: &[u8], mut at: usize, digits: &mut u64) -> usize {
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        *digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    at
}

struct Number {
    is_negative: bool,
    digits: u64,
    has_point: bool,
    /// Of ten, by which the digits are multiplied.
    exponent: i32,
}

impl Number {
    /// The number that serde_json makes of these digits.
    fn value(&self) -> Option<f64> {
        let power = *POWERS_OF_TEN.get(self.exponent.unsigned_abs() as usize)?;
        let digits = self.digits as f64;
        let magnitude = if self.exponent < 0 { digits / power } else { digits * power };
        Some(if self.is_negative { -magnitude } else { magnitude })
    }
}

/// The most digits that always fit an u64.
const DIGITS_MAX: usize = 19;
/// Ten to the power of more than 99 is for others to read.
const EXPONENT_DIGITS_MAX: usize = 2;
/// Those that an f64 holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(draft: &Draft<'_>) -> Option<Vec<u32>> {
        Some(draft.features.as_ref()?.iter().map(|value| value.to_bits()).collect())
    }

    /// Whether it was read; what serde_json reads must be the same then.
    fn is_plain(payload: &[u8]) -> bool {
        let Some(plain) = read(payload, 4) else { return false };
        let full: Draft<'_> = serde_json::from_slice(payload).expect("what is plain is JSON");
        assert_eq!(plain, full, "{}", String::from_utf8_lossy(payload));
        assert_eq!(bits(&plain), bits(&full), "{}", String::from_utf8_lossy(payload));
        true
    }

    #[test]
    fn requests_as_clients_send_them_are_plain() {
        assert!(is_plain(br#"{"device_id": "press-7", "timestamp_us": 1718000000000000, "features": [0.5, -1.25e-05, 3, 0, -0.0, -0]}"#));
        assert!(is_plain(br#"{"features":[1],"request_id":"a b","device_id":"x"}"#));
        assert!(is_plain(b" {\n\t\"timestamp_us\" : -3 }\r\n "));
        assert!(is_plain(br#"{"features":[0.123456789012345678,12345678901234567.89,1e22,7E+3,9e-22,184467440737095516.5]}"#));
        assert!(is_plain(br#"{"timestamp_us":9223372036854775807}"#));
    }

    #[test]
    fn anything_else_is_left_to_others() {
        for payload in [
            "",
            "{}",
            "[1]",
            "{\"features\":[]}",
            "{\"features\":[1,]}",
            "{\"features\":[01]}",
            "{\"features\":[1.]}",
            "{\"features\":[.5]}",
            "{\"features\":[+1]}",
            "{\"features\":[-]}",
            "{\"features\":[1e]}",
            "{\"features\":[1e+]}",
            "{\"features\":[1e100]}",
            "{\"features\":[1e23]}",
            "{\"features\":[12345678901234567890]}",
            "{\"features\":[NaN]}",
            "{\"features\":null}",
            "{\"features\":[1]}}",
            "{\"features\":[1],}",
            "{\"features\":[1],\"features\":[1]}",
            "{\"device_id\":\"\\u0061\"}",
            "{\"device_id\":\"ä\"}",
            "{\"device_id\":\"a\nb\"}",
            "{\"device_id\":\"a",
            "{\"device_id\":7}",
            "{\"timestamp_us\":1.0}",
            "{\"timestamp_us\":-0}",
            "{\"timestamp_us\":1e3}",
            "{\"timestamp_us\":9223372036854775808}",
            "{\"site\":\"north\"}",
            "{\"urgency\":\"high\"}",
        ] {
            assert!(!is_plain(payload.as_bytes()), "{payload}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_read_as_serde_json_reads_it(
            numbers in proptest::collection::vec("-?(0|[1-9][0-9]{0,11})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?", 1..40),
            wide in proptest::num::f64::NORMAL,
            narrow in proptest::num::f32::NORMAL,
        ) {
            let payload = format!("{{\"features\":[{},{wide},{wide:e},{narrow}]}}", numbers.join(", "));
            is_plain(payload.as_bytes());
            for number in numbers {
                is_plain(format!("{{\"features\":[{number}]}}").as_bytes());
            }
        }

        #[test]
        fn what_a_mutation_makes_of_a_request_is_read_alike_or_left(at in 0..120_usize, byte in any::<u8>(), cut in 0..120_usize) {
            let mut payload = br#"{"device_id": "press-7", "timestamp_us": 1718000000, "features": [0.5, -1.25e-05, 3], "request_id": "r1"}"#.to_vec();
            let length = payload.len();
            payload[at % length] = byte;
            is_plain(&payload);
            payload.truncate(cut);
            is_plain(&payload);
        }
    }
}
