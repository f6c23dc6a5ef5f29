//! What another process tells this one, as messages.

use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::Context;

/// What this process is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Drain and end.
    Stop,
    /// Read files again.
    Reload,
}

/// Signals that wait to be seen to.
const SIGNALS_MAX: usize = 4;

/// Ctrl-C and SIGTERM as messages, the second one ends the process without draining; SIGHUP to reload.
pub fn listen() -> anyhow::Result<Receiver<Signal>> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = sync_channel(SIGNALS_MAX);
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let wait = move || {
        let mut is_stopping = false;
        loop {
            let received = runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => Signal::Stop,
                    _ = terminate.recv() => Signal::Stop,
                    _ = hangup.recv() => Signal::Reload,
                }
            });
            // With a full queue a reload waits in it already, and the process is too busy to stop by itself.
            let is_lost = sender.try_send(received).is_err();
            if received == Signal::Stop && (is_stopping || is_lost) {
                std::process::exit(EXIT_INTERRUPTED);
            }
            is_stopping |= received == Signal::Stop;
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("signal handling")?;
    Ok(receiver)
}

/// What shells report for a process ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;
