//! What reads a file all the same, in the words of whoever was asked to read it.

use super::RecordingError;
use crate::text;

/// What reads a file all the same that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Say what stands between its cells.
    Delimiter(char),
    /// Say that its decimals stand behind commas.
    DecimalComma,
    /// Leave out what cannot be used.
    SkipBadRows,
    /// Save it in another encoding.
    Encoding,
    /// Save it so that commas mean one thing.
    AmbiguousCommas,
    /// Put names above the numbers.
    Header,
    /// Say which column holds an input.
    Mapping,
}

impl Remedy {
    /// In flags of the command line.
    pub fn in_flags(self) -> String {
        match self {
            Self::Delimiter(found) => format!("read it with --delimiter {}", flag_value(found)),
            Self::DecimalComma => "read decimal commas with --decimal ,".to_owned(),
            Self::Mapping => {
                "if another column holds it in the right unit, say --features INPUT=COLUMN".to_owned()
            }
            Self::SkipBadRows => "--skip-bad-rows leaves out what cannot be used, and counts it".to_owned(),
            other => other.elsewhere(),
        }
    }

    /// In the keys of a scenario.
    pub fn in_keys(self) -> String {
        match self {
            Self::Delimiter('\t') => "read it with `delimiter: tab` beside `file`".to_owned(),
            Self::Delimiter(found) => format!("read it with `delimiter: \"{found}\"` beside `file`"),
            Self::DecimalComma => "read decimal commas with `decimal: \",\"` beside `file`".to_owned(),
            Self::Mapping => "give the column the name of the model's input".to_owned(),
            Self::SkipBadRows => {
                "`skip_bad_rows: true` beside `file` leaves out what cannot be used".to_owned()
            }
            other => other.elsewhere(),
        }
    }

    /// What is done to the file itself.
    fn elsewhere(self) -> String {
        match self {
            Self::Encoding => format!("is it Latin-1? Then {}", text::remedy("WINDOWS-1252")),
            Self::AmbiguousCommas => {
                "are these decimal commas? Then save it with another delimiter, such as semicolons, or with quotes \
                 around its numbers"
                    .to_owned()
            }
            _ => "put a line with a name for each column in front".to_owned(),
        }
    }
}

/// As a shell takes it.
fn flag_value(delimiter: char) -> String {
    if delimiter == '\t' { "tab".to_owned() } else { format!("'{delimiter}'") }
}

impl RecordingError {
    /// What reads the file all the same, where something does.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Delimiter { found, .. } => Some(Remedy::Delimiter(*found)),
            Self::Comment { .. } => Some(Remedy::SkipBadRows),
            Self::NoHeader { .. } => Some(Remedy::Header),
            Self::NotUtf8 { .. } => Some(Remedy::Encoding),
            Self::Commas { .. } => Some(Remedy::AmbiguousCommas),
            Self::Unit { .. } | Self::UnknownInput { .. } => Some(Remedy::Mapping),
            Self::Unfit { found, .. } if is_decimal_comma(found) => Some(Remedy::DecimalComma),
            Self::Unfit { .. } | Self::Ragged { .. } => Some(Remedy::SkipBadRows),
            _ => None,
        }
    }

    /// Whether it is about one row, so that the next one may be read.
    pub(crate) fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::Unfit { .. }
                | Self::Ragged { .. }
                | Self::Commas { .. }
                | Self::NotUtf8 { .. }
                | Self::Comment { .. }
        )
    }
}

fn is_decimal_comma(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.trim_start_matches(['-', '+']).split_once(',').is_some_and(|(whole, decimals)| {
        digits(whole) && digits(decimals.split(['e', 'E']).next().unwrap_or_default())
    })
}
