//! Standard output, which may be closed at any time (`nearfar infer ... | head`),
//! and standard error. Either may be on a full disk.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Writes one line and flushes it.
///
/// # Errors
/// When standard output fails for another reason than that its reader has left.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
}

/// What became of a write to standard output: that nobody reads any more is no fault.
///
/// # Errors
/// When it failed otherwise.
pub fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output cannot be written"),
    }
}

/// Says something on standard error. Where that cannot be written nobody is left to
/// be told, and it is no reason to end.
pub fn complain(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}
