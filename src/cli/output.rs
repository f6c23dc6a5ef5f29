//! Standard output that may be closed at any time (`nearfar infer ... | head`).

use std::io::{self, ErrorKind, Write};

/// Writes one line and flushes it.
///
/// # Errors
/// When standard output fails for another reason than that its reader has left.
pub fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
