//! Ctrl-C and SIGTERM: the first one ends the experiment and keeps what was
//! measured, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

/// What shells report for a process ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// Becomes true when the user wants no more.
///
/// # Errors
/// When signals cannot be listened for.
pub fn watch() -> anyhow::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let is_stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_stopping);
    let wait = move || {
        loop {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            if flag.swap(true, Ordering::AcqRel) {
                std::process::exit(EXIT_INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("signal handling")?;
    Ok(is_stopping)
}
