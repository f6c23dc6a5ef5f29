//! Quotes in a table of text, followed byte by byte: one that somebody forgot to close makes the rows below
//! it a part of its cell, and a reader of CSV says nothing.

/// Follows the quotes of a CSV as its reader understands them.
#[derive(Debug)]
pub struct Quotes {
    delimiter: u8,
    place: Place,
    line: u64,
    /// Where the last quoted cell began.
    opened_on: u64,
    /// Where the first quoted cell began that ends on another line, with text behind it.
    torn_on: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where a cell begins.
    Start,
    /// In a cell where quotes are letters.
    Plain,
    Quoted,
    /// Behind a quote that ends the cell, unless another one follows.
    Closed,
}

impl Quotes {
    /// Those of a text from its first line on.
    pub fn new(delimiter: u8) -> Self {
        Self { delimiter, place: Place::Start, line: 1, opened_on: 1, torn_on: None }
    }

    /// The next byte; lines end with line feeds.
    pub fn see(&mut self, byte: u8) {
        let is_end = byte == b'\n' || byte == self.delimiter;
        self.place = match (self.place, byte) {
            (Place::Quoted, b'"') => Place::Closed,
            (Place::Quoted, _) => Place::Quoted,
            (Place::Start, b'"') => {
                self.opened_on = self.line;
                Place::Quoted
            }
            (Place::Closed, b'"') => Place::Quoted,
            (_, _) if is_end => Place::Start,
            (Place::Closed, other) if !other.is_ascii_whitespace() && self.line > self.opened_on => {
                self.torn_on.get_or_insert(self.opened_on);
                Place::Plain
            }
            _ => Place::Plain,
        };
        self.line += u64::from(byte == b'\n');
    }

    /// The line of a quote that is surely not closed where it should be: the text behind its end belongs to a
    /// cell further down.
    pub fn torn_on(&self) -> Option<u64> {
        self.torn_on
    }

    /// The line of a quote that is still open.
    pub fn open_on(&self) -> Option<u64> {
        (self.place == Place::Quoted).then_some(self.opened_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_is_told_from_a_cell_of_several_lines() {
        for (text, torn_on, open_on) in [
            ("a,b\n\"1\",2\n", None, None),
            ("a,\"x\ny\"\n1,\"x\ny\" \n", None, None),
            ("a,\"x \"\"y\"\" z\"\n", None, None),
            ("a,5\" disk\n1,\"2\"x\n", None, None),
            ("a,b\n1,\"ok\n2,3\n", None, Some(2)),
            ("a,b\n1,\"ok\n2,\"ok\"\n", Some(2), None),
            ("a,b\n1,\"ok\n2,\"ok\n3,\"ok\n", Some(2), Some(4)),
        ] {
            let mut quotes = Quotes::new(b',');
            text.bytes().for_each(|byte| quotes.see(byte));
            assert_eq!((quotes.torn_on(), quotes.open_on()), (torn_on, open_on), "{text:?}");
        }
    }
}
