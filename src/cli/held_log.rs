//! Log lines that wait for the first one: what runs here is said before what is wrong with its files,
//! although the files are read first.

use std::io;
use std::sync::Mutex;

use super::progress;
use crate::sync::lock;

/// Lines that wait take this much at most; further ones wait no more.
const HELD_BYTES_MAX: usize = 1 << 20;

/// The lines that wait; none while they are written at once.
static WAITING: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Lets lines wait as long as it lives.
#[must_use = "lines wait only as long as it lives"]
pub struct Held(());

/// Lets every line that is logged from now on wait.
pub fn hold() -> Held {
    *lock(&WAITING) = Some(Vec::new());
    Held(())
}

impl Held {
    /// What `tell` logs stands before the lines that have waited.
    pub fn first(self, tell: impl FnOnce()) {
        let waited = lock(&WAITING).take();
        tell();
        write_all(waited);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let waited = lock(&WAITING).take();
        write_all(waited);
    }
}

fn write_all(waited: Option<Vec<u8>>) {
    if let Some(lines) = waited.filter(|lines| !lines.is_empty()) {
        // Where that cannot be written nobody is left to be told.
        progress::log(&lines).ok();
    }
}

/// Writes a log line, or lets it wait.
///
/// # Errors
/// When it cannot be written.
pub fn write(line: &[u8]) -> io::Result<()> {
    if let Some(lines) = &mut *lock(&WAITING)
        && lines.len() + line.len() <= HELD_BYTES_MAX
    {
        lines.extend_from_slice(line);
        return Ok(());
    }
    progress::log(line)
}
