//! What stands where a header should: told by its looks, so that its owner need not guess.

use std::path::Path;

use csv::StringRecord;

use super::error::{RecordingError, excerpt};
use super::format::{Decimal, Format, bare};

/// What else than a comma people have between cells. A blank counts only where nothing else does.
const DELIMITERS: [char; 5] = [',', ';', '\t', '|', ' '];

/// The column names in a header's cells.
pub fn names(cells: &StringRecord) -> StringRecord {
    cells.iter().map(bare).collect()
}

/// Whether a row is a remark rather than cells.
pub fn is_comment(cells: &StringRecord) -> bool {
    cells.get(0).is_some_and(|first| first.trim_start().starts_with('#'))
}

/// What stands between cells, as a first line `sep=;` says it that a spreadsheet reads and writes.
pub fn said_delimiter(cells: &StringRecord, expected: u8) -> Option<char> {
    let first = cells.get(0)?;
    let said = first.get(..4).filter(|word| word.eq_ignore_ascii_case("sep=")).map(|_| &first[4..])?;
    // The one that is expected ends the cell.
    let mut letters = said.chars();
    match (letters.next(), letters.next(), cells.len()) {
        (Some(said), None, 1) => Some(said),
        (None, _, 2) if cells[1].is_empty() => Some(expected.into()),
        _ => None,
    }
}

/// A header that is written as a remark, as NumPy writes it.
pub fn uncommented(cells: &StringRecord) -> StringRecord {
    let first = |(at, cell): (usize, &str)| match at {
        0 => bare(cell.trim_start().trim_start_matches('#')).to_owned(),
        _ => bare(cell).to_owned(),
    };
    cells.iter().enumerate().map(first).collect()
}

/// What is wrong with `cells`, of which the wanted columns are none, if it can be told.
pub fn fault(cells: &StringRecord, line: u64, format: &Format, path: &Path) -> Option<RecordingError> {
    let path = path.to_owned();
    if let Some(found) = delimiter(cells, format) {
        return Some(RecordingError::Delimiter { path, line, found, expected: format.delimiter.into() });
    }
    if is_comment(cells) {
        let found = excerpt(cells.get(0).unwrap_or_default());
        return Some(RecordingError::Comment { path, line, found });
    }
    if are_numbers(cells) {
        let found = excerpt(&cells.iter().collect::<Vec<_>>().join(", "));
        return Some(RecordingError::NoHeader { path, line, found });
    }
    None
}

/// What stands between cells, if that is something else than was expected and there is more of it.
fn delimiter(cells: &StringRecord, format: &Format) -> Option<char> {
    let expected = cells.len() - 1;
    let count = |delimiter: &char| cells.iter().flat_map(str::chars).filter(|one| one == delimiter).count();
    // Numbers have commas in them too, and nothing else that stands between cells.
    let are_numbers =
        cells.iter().flat_map(str::chars).all(|one| one.is_numeric() || "+-.,eE;|\t ".contains(one));
    let others = DELIMITERS.iter().filter(|other| u32::from(**other) != u32::from(format.delimiter));
    let found = others.map(|other| (count(other), *other)).filter(|(count, other)| match other {
        // Names may have blanks in them.
        ' ' => false,
        _ => *count > expected || (are_numbers && *count > 0),
    });
    let most = found.max_by_key(|(count, _)| *count);
    let blanks = (expected == 0 && !is_comment(cells) && count(&' ') > 1).then_some((0, ' '));
    most.or(blanks).map(|(_, found)| found)
}

/// Whether half of the cells or more are numbers, however they are written.
fn are_numbers(cells: &StringRecord) -> bool {
    let is_number = |cell: &&str| {
        let cell = bare(cell);
        [Decimal::Point, Decimal::Comma].iter().any(|decimal| decimal.number(cell).is_some())
    };
    2 * cells.iter().filter(is_number).count() >= cells.len()
}
