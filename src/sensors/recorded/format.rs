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

/// A cell without the blanks and the quotes around it: some programs quote every cell, or put a blank before
/// the quote.
pub fn bare(cell: &str) -> &str {
    let cell = cell.trim();
    let within = |quote: char| cell.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).map_or(cell, str::trim)
}
