//! What reads a file all the same, in the words of whoever was asked to read it.

use super::RecordingError;
use super::format::Foreign;
use crate::text;

/// What reads a file all the same that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Say what stands between its cells.
    Delimiter(char),
    /// Say that its decimals stand behind commas.
    DecimalComma,
    /// Say that its decimals stand behind points.
    DecimalPoint,
    /// Save it without what stands between thousands.
    Thousands,
    /// Say what stands before decimals, unless that is what stands between thousands.
    DecimalOrThousands(char),
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
            Self::DecimalPoint => "read decimal points without --decimal ,".to_owned(),
            Self::DecimalOrThousands(',') => or_thousands("read it with --decimal ,"),
            Self::DecimalOrThousands(_) => or_thousands("read it without --decimal ,"),
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
            Self::DecimalPoint => "read decimal points without `decimal: \",\"`".to_owned(),
            Self::DecimalOrThousands(',') => or_thousands("read it with `decimal: \",\"` beside `file`"),
            Self::DecimalOrThousands(_) => or_thousands("read it without `decimal: \",\"`"),
            Self::Mapping => {
                "if another column holds it in the right unit, say `features: {INPUT: COLUMN}` beside `file`"
                    .to_owned()
            }
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
            Self::Thousands => {
                "what stands between thousands is not read, and such rows are not left out, for they are the largest: save \
                 the numbers without it"
                    .to_owned()
            }
            Self::AmbiguousCommas => {
                "are these decimal commas? Then save it with another delimiter, such as semicolons, or with quotes \
                 around its numbers"
                    .to_owned()
            }
            _ => "put a line with a name for each column in front".to_owned(),
        }
    }
}

fn or_thousands(decimal: &str) -> String {
    format!("do decimals begin there? Then {decimal}. Do thousands? Then save the numbers without that")
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
            Self::Thousands { .. } => Some(Remedy::Thousands),
            Self::Unit { .. } | Self::UnknownInput { .. } => Some(Remedy::Mapping),
            Self::Unfit { foreign: Some(foreign), found, .. } => Some(match foreign {
                Foreign::DecimalComma => Remedy::DecimalComma,
                Foreign::DecimalPoint => Remedy::DecimalPoint,
                Foreign::Thousands => Remedy::Thousands,
                Foreign::Either => Remedy::DecimalOrThousands(if found.contains(',') { ',' } else { '.' }),
            }),
            Self::Unfit { foreign: None, .. } | Self::Ragged { .. } => Some(Remedy::SkipBadRows),
            _ => None,
        }
    }

    /// Whether it is about one row, so that the next one may be read. A number that is written otherwise is
    /// no fault of its row: leaving out such rows would leave out the largest values.
    pub(crate) fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::Unfit { foreign: None, .. }
                | Self::Ragged { .. }
                | Self::NotUtf8 { .. }
                | Self::Comment { .. }
        )
    }
}
