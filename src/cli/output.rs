//! Standard output, which may be closed at any time (`nearfar infer ... | head`),
//! and standard error. Either may be on a full disk.

use std::io::{self, ErrorKind, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use serde_json::json;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

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

/// Whether standard error is JSON; set once, before anything is written.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Makes everything on standard error one JSON object a line, panics included.
pub fn use_json() {
    IS_JSON.store(true, Ordering::Relaxed);
    panic::set_hook(Box::new(|panic| write_error(&json_line("ERROR", &panic.to_string()))));
}

/// Whether standard error is JSON.
pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Says something on standard error. Where that cannot be written nobody is left to
/// be told, and it is no reason to end.
pub fn complain(text: &str) {
    say("WARN", text, text);
}

/// Tells on standard error how far something is.
pub fn note(text: &str) {
    say("INFO", text, text);
}

/// Says what ends the program.
pub fn fail(text: &str) {
    say("ERROR", text, &format!("nearfar: {text}"));
}

fn say(level: &str, message: &str, for_people: &str) {
    if is_json() { write_error(&json_line(level, message)) } else { write_error(for_people) }
}

fn write_error(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// A line as the log has them, which a reader of the log reads too.
fn json_line(level: &str, message: &str) -> String {
    let mut timestamp = String::new();
    SystemTime.format_time(&mut Writer::new(&mut timestamp)).ok();
    json!({ "timestamp": timestamp, "level": level, "fields": { "message": message }, "target": "nearfar" })
        .to_string()
}
