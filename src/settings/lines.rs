//! On which line of a text a byte stands.

use std::sync::Arc;

use super::Origin;

/// A text's line ends, and the file it is from.
pub struct Lines {
    file: Option<Arc<str>>,
    ends: Vec<usize>,
}

impl Lines {
    pub fn of(text: &str, file: Option<&str>) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
        Self { file: file.map(Arc::from), ends: ends.collect() }
    }

    /// The line, from 1, of the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }

    pub fn origin(&self, line: usize) -> Origin {
        Origin::Line { file: self.file.clone(), line }
    }
}
