//! Lines of any system, within a bound.

use std::io::{self, BufRead, Read};

use crate::text::Quotes;

/// Reads no more than is `left`, so that one row cannot take all memory. Every line leaves it with a line
/// feed as its only end, so that lines can be counted: those of Windows and of old Macs too, and a missing
/// last line feed is added.
pub struct Lines<R> {
    inner: R,
    pub left: usize,
    last: u8,
    /// Carriage returns of which it is not known yet whether a line feed follows.
    returns: usize,
    quotes: Quotes,
    is_over: bool,
}

/// More than was left.
#[derive(Debug, thiserror::Error)]
#[error("the row is too long")]
pub struct TooLong;

impl<R: BufRead> Lines<R> {
    /// `delimiter` stands between cells.
    pub fn new(inner: R, left: usize, delimiter: u8) -> Self {
        Self { inner, left, last: b'\n', returns: 0, quotes: Quotes::new(delimiter), is_over: false }
    }

    /// The line of a quote that was not closed: as far as can be told by now, which may be further than what
    /// reads these lines has come.
    pub fn open_quote(&self) -> Option<u64> {
        self.quotes.torn_on().or_else(|| self.quotes.open_on().filter(|_| self.is_over))
    }

    /// The next byte, if there is one.
    fn byte(&mut self) -> io::Result<Option<u8>> {
        loop {
            let next = self.inner.fill_buf()?.first().copied();
            match next {
                Some(b'\r') => {
                    self.inner.consume(1);
                    self.returns += 1;
                }
                // However many: what was converted twice ends with two carriage returns.
                Some(b'\n') => {
                    self.inner.consume(1);
                    self.returns = 0;
                    return Ok(Some(b'\n'));
                }
                _ if self.returns > 0 => {
                    self.returns -= 1;
                    return Ok(Some(b'\n'));
                }
                Some(byte) => {
                    self.inner.consume(1);
                    return Ok(Some(byte));
                }
                None => {
                    self.is_over = true;
                    return Ok((self.last != b'\n').then_some(b'\n'));
                }
            }
        }
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(TooLong));
        }
        let room = buffer.len().min(self.left);
        let mut written = 0;
        while written < room
            && let Some(byte) = self.byte()?
        {
            (buffer[written], self.last) = (byte, byte);
            self.quotes.see(byte);
            written += 1;
        }
        self.left -= written;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_line_feed_whatever_they_ended_with() {
        for (text, lines) in [
            ("a\nb\n", "a\nb\n"),
            ("a\r\nb", "a\nb\n"),
            ("a\rb\r", "a\nb\n"),
            ("a\r\rb", "a\n\nb\n"),
            ("a\r\r\nb\r\r\n", "a\nb\n"),
            ("", ""),
        ] {
            let mut read = String::new();
            let inner = io::BufReader::with_capacity(1, text.as_bytes());
            Lines::new(inner, 100, b',').read_to_string(&mut read).unwrap();
            assert_eq!(read, lines, "{text:?}");
        }
    }

    #[test]
    fn no_more_is_read_than_is_left() {
        let mut lines = Lines::new(&b"abc"[..], 2, b',');
        let mut buffer = [0; 8];
        assert_eq!(lines.read(&mut buffer).unwrap(), 2);
        assert!(lines.read(&mut buffer).unwrap_err().get_ref().unwrap().is::<TooLong>());
    }
}
