//! How a recorded CSV is written: what stands between its cells, and what before its decimals.

/// How a recorded CSV is written, and what becomes of rows that cannot be used. The default is what programs
/// write: commas between cells, points before decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What stands between cells; one byte of ASCII.
    pub delimiter: u8,
    /// What stands before the decimals of a number.
    pub decimal: Decimal,
    /// Whether a row that cannot be used is left out and counted, in place of an error.
    pub skips_bad_rows: bool,
}

impl Default for Format {
    fn default() -> Self {
        Self { delimiter: b',', decimal: Decimal::Point, skips_bad_rows: false }
    }
}

/// What stands before the decimals of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decimal {
    /// As in 0.5.
    #[default]
    Point,
    /// As in 0,5; a point is then refused, because it may stand between thousands.
    Comma,
}

impl Format {
    /// What a person calls a delimiter: itself, or `tab`.
    pub fn delimiter_of(text: &str) -> Option<u8> {
        match text.as_bytes() {
            b"tab" | b"\\t" => Some(b'\t'),
            b"\t" => Some(b'\t'),
            [byte] if byte.is_ascii_punctuation() || *byte == b' ' => {
                // These are parts of numbers, of names or of quoted cells.
                (!b".+-_\"'#".contains(byte)).then_some(*byte)
            }
            _ => None,
        }
    }

    /// What is expected of a delimiter, in words.
    pub const DELIMITERS: &'static str = "one character, such as ';' or '|', or tab";
}

impl Decimal {
    /// What a person calls it: the character itself.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "." => Some(Self::Point),
            "," => Some(Self::Comma),
            _ => None,
        }
    }

    /// The number that `text` is.
    pub(crate) fn number(self, text: &str) -> Option<f64> {
        match self {
            Self::Point => text.parse().ok(),
            Self::Comma if text.contains('.') => None,
            Self::Comma => text.replacen(',', ".", 1).parse().ok(),
        }
    }

    /// The number that `text` is, rounded once.
    pub(crate) fn number_f32(self, text: &str) -> Option<f32> {
        match self {
            Self::Point => text.parse().ok(),
            Self::Comma if text.contains('.') => None,
            Self::Comma => text.replacen(',', ".", 1).parse().ok(),
        }
    }
}

/// What a number that cannot be read is written with, where that can be told by its looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A comma before its decimals.
    DecimalComma,
    /// A point before its decimals.
    DecimalPoint,
    /// Something between thousands.
    Thousands,
    /// A point or comma that stands before decimals, or between thousands.
    Either,
}

/// What stands between thousands besides points and commas: in Switzerland, in France, in programs.
const BETWEEN_THOUSANDS: [char; 6] = ['\'', '\u{2019}', ' ', '\u{a0}', '\u{202f}', '_'];

impl Foreign {
    /// How `text` is written, if it is a number in another form than with `expected` before its decimals.
    pub(crate) fn of(text: &str, expected: Decimal) -> Option<Self> {
        let number = text.trim_start_matches(['-', '+']).split(['e', 'E']).next().unwrap_or_default();
        let (own, other, is_other) = match expected {
            Decimal::Point => ('.', ',', Self::DecimalComma),
            Decimal::Comma => (',', '.', Self::DecimalPoint),
        };
        if let Some(between) = number.chars().find(|one| BETWEEN_THOUSANDS.contains(one)) {
            let whole = number.split([own, other]).next().unwrap_or_default();
            return are_thousands(whole, between).then_some(Self::Thousands);
        }
        let last = number.rfind([own, other])?;
        let (whole, decimals) = (&number[..last], &number[last + 1..]);
        let is_number =
            (are_digits(whole) || whole.is_empty()) && (are_digits(decimals) || decimals.is_empty());
        match (number.matches(own).count(), number.matches(other).count()) {
            // What begins with a zero has no thousands.
            (0, 1) if are_thousands(number, other) && !number.starts_with('0') => Some(Self::Either),
            (0, 1) => (is_number && number.len() > 1).then_some(is_other),
            (0, _) => are_thousands(number, other).then_some(Self::Thousands),
            (2.., 0) => are_thousands(number, own).then_some(Self::Thousands),
            (_, 0) => None,
            _ => {
                let between = if number[last..].starts_with(own) { other } else { own };
                let is_number =
                    are_thousands(whole, between) && (are_digits(decimals) || decimals.is_empty());
                is_number.then_some(Self::Thousands)
            }
        }
    }
}

/// How many of `cells` are the thousands of the one behind them, torn apart by a comma.
pub fn thousands<'a>(cells: impl Iterator<Item = &'a [u8]> + Clone) -> usize {
    let first = |cell: &[u8]| matches!(cell.len(), 1..=3) && cell.iter().all(u8::is_ascii_digit);
    let rest = |cell: &[u8]| {
        let group = cell.split(|byte| *byte == b'.').next().unwrap_or_default();
        group.len() == 3 && group.iter().all(u8::is_ascii_digit)
    };
    let of_number = |cell: &'a [u8]| cell.trim_ascii().strip_prefix(b"-").unwrap_or(cell.trim_ascii());
    let next = cells.clone().skip(1);
    cells.zip(next).filter(|(one, other)| first(of_number(one)) && rest(other.trim_ascii_end())).count()
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether groups of three digits follow the first one, with `separator` between them.
fn are_thousands(text: &str, separator: char) -> bool {
    let mut groups = text.split(separator);
    let is_first = groups.next().is_some_and(|first| are_digits(first) && first.len() <= 3);
    let mut rest = groups.peekable();
    is_first && rest.peek().is_some() && rest.all(|group| group.len() == 3 && are_digits(group))
}

/// A cell without the blanks and the quotes around it: some programs quote every cell, or put a blank before
/// the quote.
pub fn bare(cell: &str) -> &str {
    let cell = cell.trim();
    let within = |quote: char| cell.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).map_or(cell, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_another_country_is_told_by_its_looks() {
        use Decimal::{Comma, Point};
        use Foreign::{DecimalComma, DecimalPoint, Either, Thousands};
        for (text, expected, foreign) in [
            ("0,5", Point, Some(DecimalComma)),
            ("-12,5e3", Point, Some(DecimalComma)),
            ("0,250", Point, Some(DecimalComma)),
            (",25", Point, Some(DecimalComma)),
            ("1,658", Point, Some(Either)),
            ("1,658.45", Point, Some(Thousands)),
            ("1.658,45", Point, Some(Thousands)),
            ("1,658,000", Point, Some(Thousands)),
            ("1'658.45", Point, Some(Thousands)),
            ("1\u{a0}658,45", Point, Some(Thousands)),
            ("0.5", Comma, Some(DecimalPoint)),
            ("1.658", Comma, Some(Either)),
            ("1.658,45", Comma, Some(Thousands)),
            ("1.658.000", Comma, Some(Thousands)),
            ("nan", Point, None),
            ("", Point, None),
            (",", Point, None),
            ("1,2,3", Point, None),
            ("1.2.3", Comma, None),
            ("12:30", Point, None),
            ("1,5 g", Point, None),
        ] {
            assert_eq!(Foreign::of(text, expected), foreign, "{text} {expected:?}");
        }
    }
}
