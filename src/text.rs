//! How every text that people write is read: within a bound, as UTF-8, with or without a byte order mark.
//!
//! Editors and shells on Windows put that mark in front of what they save, and save UTF-16 when they are not
//! told otherwise. The mark is left out wherever a text comes from; what is not UTF-8 is refused by the name
//! of what it is, with its line.

mod jargon;
mod quotes;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

pub use self::jargon::in_plain_words;
pub use self::quotes::Quotes;
use crate::file_access;

/// The bound of a text that has no narrower one: a million recorded delays, which is the most that anyone may
/// name, and room for more.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// U+FEFF, which says that the text is UTF-8 and is no part of it.
const MARK: &str = "\u{feff}";
const MARK_UTF_16_LITTLE: &[u8] = &[0xff, 0xfe];
const MARK_UTF_16_BIG: &[u8] = &[0xfe, 0xff];

/// Why a text cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextError {
    /// The operating system's reason.
    Unreadable(io::Error),
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// It is in another encoding, which can be told by how it begins.
    Encoding(&'static str),
    /// It is no text but another kind of file, which can be told by how it begins.
    Kind(&'static Kind),
    /// It is no UTF-8.
    NotUtf8 {
        /// The line, from 1.
        line: usize,
        /// The first byte that cannot stand there.
        byte: u8,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(cause) => write!(f, "{cause}"),
            Self::TooLarge(bytes_max) => write!(f, "found more than the {bytes_max} bytes that are read"),
            Self::Encoding(name) => write!(f, "found {name}, expected UTF-8: {}", remedy(name)),
            Self::Kind(kind) => write!(f, "found {}, expected text: {}", kind.name, kind.remedy),
            Self::NotUtf8 { line, byte } => write!(
                f,
                "line {line}: found the byte 0x{byte:02x}, which is no UTF-8: {}",
                remedy("WINDOWS-1252")
            ),
        }
    }
}

/// A kind of file that people take for a text.
#[derive(Debug)]
pub struct Kind {
    /// What it begins with.
    magic: &'static [u8],
    name: &'static str,
    remedy: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind { magic: &[0x1f, 0x8b], name: "a file compressed with gzip", remedy: "unpack it with `gunzip`" },
    Kind {
        magic: b"PK\x03\x04",
        name: "a ZIP archive, which spreadsheets such as .xlsx are too",
        remedy: "save the sheet as CSV, or unpack it",
    },
    Kind {
        magic: &[0xd0, 0xcf, 0x11, 0xe0],
        name: "a file of an old office program, such as .xls",
        remedy: "save the sheet as CSV",
    },
    Kind {
        magic: &[0x28, 0xb5, 0x2f, 0xfd],
        name: "a file compressed with Zstandard",
        remedy: "unpack it with `zstd -d`",
    },
];

/// The error for bytes that begin as no UTF-8 does.
fn refuse_others(bytes: &[u8]) -> Result<(), TextError> {
    if let Some(kind) = KINDS.iter().find(|kind| bytes.starts_with(kind.magic)) {
        return Err(TextError::Kind(kind));
    }
    other_encoding(bytes).map_or(Ok(()), |name| Err(TextError::Encoding(name)))
}

/// What to do with a text in another encoding.
pub(crate) fn remedy(encoding: &str) -> String {
    format!("save it as UTF-8, or convert it with `iconv -f {encoding} -t UTF-8`")
}

impl std::error::Error for TextError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(cause) => cause.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for TextError {
    fn from(cause: io::Error) -> Self {
        Self::Unreadable(cause)
    }
}

impl From<TextError> for io::Error {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Unreadable(cause) => cause,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// How much of a text an error shows of what it has found, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 80;

/// The beginning of `text`, as much as an error shows.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// [`TextError`]; the file's name is the caller's to say.
pub fn read_file(path: &Path, bytes_max: usize) -> Result<String, TextError> {
    read(open(path)?, bytes_max)
}

/// Opens a file to read it.
///
/// # Errors
/// The system's reason; where a permission is missing, with who tried and what would help.
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(cause.kind(), file_access::unreadable(path, &cause))
        }
        _ => cause,
    })
}

/// Reads all of `input`, at most `bytes_max` bytes.
///
/// # Errors
/// [`TextError`].
pub fn read(input: impl Read, bytes_max: usize) -> Result<String, TextError> {
    let mut bytes = Vec::new();
    input.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(TextError::TooLarge(bytes_max));
    }
    refuse_others(&bytes)?;
    let mut text = String::from_utf8(bytes)
        .map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))?;
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
    Ok(text)
}

/// `bytes` as text, without the mark.
///
/// # Errors
/// [`TextError`] when they are no UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, TextError> {
    refuse_others(bytes)?;
    std::str::from_utf8(bytes).map(without_mark).map_err(|error| not_utf8(bytes, error.valid_up_to()))
}

/// `bytes` without the mark, where they need not be text throughout: a file of certificates may have remarks
/// of any encoding in between.
///
/// # Errors
/// [`TextError`] when they begin as another encoding does.
pub fn without_mark_bytes(bytes: &[u8]) -> Result<&[u8], TextError> {
    refuse_others(bytes)?;
    Ok(bytes.strip_prefix(MARK.as_bytes()).unwrap_or(bytes))
}

/// `text` without the mark that may stand in front of it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Bytes that are read one after another, without the mark that may stand in front of them.
///
/// Nothing is asked for beyond what decides: a person at the other end of a pipe sees an answer to the first
/// line.
///
/// # Errors
/// That of `input`, or that they begin as UTF-16 or a compressed file does.
pub fn unmarked<R: Read>(mut input: R) -> io::Result<Unmarked<R>> {
    let mut first = Vec::with_capacity(BEGINNING_BYTES_MAX);
    while is_undecided(&first) && input.by_ref().take(1).read_to_end(&mut first)? > 0 {}
    refuse_others(&first)?;
    if first == MARK.as_bytes() {
        first.clear();
    }
    Ok(BufReader::new(Cursor::new(first).chain(input)))
}

/// What [`unmarked`] gives.
pub type Unmarked<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// As many bytes decide what a text is.
const BEGINNING_BYTES_MAX: usize = 4;

/// Whether more bytes would say what a text is that begins with `bytes`. A first line that is there is not
/// kept waiting for a second one.
fn is_undecided(bytes: &[u8]) -> bool {
    let marks = [MARK.as_bytes(), MARK_UTF_16_LITTLE, MARK_UTF_16_BIG];
    let known = marks.into_iter().chain(KINDS.iter().map(|kind| kind.magic));
    let mut known = known.filter(|known| bytes.len() < known.len());
    match bytes {
        // A letter of UTF-16 has a zero beside it.
        [b'\n'] => false,
        [] | [_] => true,
        [..] if bytes.len() < BEGINNING_BYTES_MAX && bytes.contains(&0) => true,
        [..] => known.any(|known| known.starts_with(bytes)),
    }
}

/// The name of an encoding that `bytes` begin as, and that is not UTF-8: by its mark, or by the zeros in a
/// first letter.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [(1..), 0, 0, 0, ..] => Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, (1..), ..] => Some("UTF-32BE"),
        [0xff, 0xfe, ..] | [(1..), 0, (1..), 0, ..] => Some("UTF-16LE"),
        [0xfe, 0xff, ..] | [0, (1..), 0, (1..), ..] => Some("UTF-16BE"),
        _ => None,
    }
}

fn not_utf8(bytes: &[u8], at: usize) -> TextError {
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    TextError::NotUtf8 { line, byte: bytes[at] }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;

    #[test]
    fn a_text_is_the_same_with_and_without_the_mark() {
        for bytes in [&b"\xef\xbb\xbfpump"[..], b"pump"] {
            assert_eq!(read(bytes, 7).unwrap(), "pump");
            assert_eq!(decode(bytes).unwrap(), "pump");
            let lines: Vec<_> = unmarked(bytes).unwrap().lines().map(Result::unwrap).collect();
            assert_eq!(lines, ["pump"]);
        }
        // Only one, and only in front, is a mark.
        assert_eq!(decode("\u{feff}\u{feff}a\u{feff}".as_bytes()).unwrap(), "\u{feff}a\u{feff}");
        assert_eq!((decode(b"").unwrap(), decode(b"\xef\xbb\xbf").unwrap()), ("", ""));
    }

    #[test]
    fn other_encodings_are_named() {
        let utf_16 =
            |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        for (bytes, name) in [
            (utf_16("\u{feff}a = 1", u16::to_le_bytes), "UTF-16LE"),
            (utf_16("\u{feff}a = 1", u16::to_be_bytes), "UTF-16BE"),
            (utf_16("a = 1", u16::to_le_bytes), "UTF-16LE"),
            (utf_16("a = 1", u16::to_be_bytes), "UTF-16BE"),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), "UTF-32LE"),
        ] {
            let problem = decode(&bytes).unwrap_err().to_string();
            assert!(problem.contains(&format!("found {name}, expected UTF-8")), "{problem}");
        }
        for (bytes, name) in [
            (&b"\xff\xfea\0"[..], "UTF-16LE"),
            (b"a\0,\0b\0", "UTF-16LE"),
            (b"\0a\0,\0b", "UTF-16BE"),
            (b"\x1f\x8b\x08", "compressed with gzip"),
            (b"PK\x03\x04\x14", "a ZIP archive, which spreadsheets such as .xlsx are"),
        ] {
            let error = unmarked(bytes).err().unwrap();
            assert!(error.to_string().contains(name), "{error}");
            assert!(decode(bytes).unwrap_err().to_string().contains(name), "{name}");
        }
    }

    #[test]
    fn a_byte_that_is_no_utf_8_is_named_with_its_line() {
        let problem = decode(b"# one\nT\xfcr = 1\n").unwrap_err().to_string();
        assert!(problem.starts_with("line 2: found the byte 0xfc"), "{problem}");
    }

    #[test]
    fn one_byte_too_many_is_refused() {
        assert_eq!(read(&b"abc"[..], 3).unwrap(), "abc");
        assert!(matches!(read(&b"abcd"[..], 3), Err(TextError::TooLarge(3))));
    }

    /// Gives what it has byte by byte, and fails when asked for more.
    struct Pipe(&'static [u8]);

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (first, rest) = self.0.split_first().ok_or_else(|| io::Error::other("asked for more"))?;
            (buffer[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    #[test]
    fn the_first_line_is_there_before_the_second_is_asked_for() {
        let mut line = String::new();
        unmarked(Pipe(b"1\n")).unwrap().read_line(&mut line).unwrap();
        assert_eq!(line, "1\n");
        line.clear();
        unmarked(Pipe(b"\xef\xbb\xbf1\n")).unwrap().read_line(&mut line).unwrap();
        assert_eq!(line, "1\n");
    }
}
