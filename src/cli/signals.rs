//! What another process tells this one by signals.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// What this process is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Drain and end: Ctrl-C or SIGTERM.
    Stop,
    /// Read files again: SIGHUP.
    Reload,
}

/// Signals that wait to be seen to.
const SIGNALS_MAX: usize = 4;
/// What shells report for a process ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// Signals as messages. The second one to stop ends the process without draining, behind `last_words`.
///
/// # Errors
/// When signals cannot be listened for.
pub fn listen(last_words: impl Fn() + Send + 'static) -> anyhow::Result<Receiver<Signal>> {
    let (sender, receiver) = sync_channel(SIGNALS_MAX);
    let mut is_stopping = false;
    hear(&[Signal::Stop, Signal::Reload], move |received| {
        // With a full queue a reload waits in it already, and the process is too busy to stop by itself.
        let is_lost = sender.try_send(received).is_err();
        if received == Signal::Stop && (is_stopping || is_lost) {
            last_words();
            exit(EXIT_INTERRUPTED);
        }
        is_stopping |= received == Signal::Stop;
    })?;
    Ok(receiver)
}

/// A flag that becomes true when the user wants no more; the second signal to stop
/// ends the process. SIGHUP does what it does to any process.
///
/// # Errors
/// When signals cannot be listened for.
pub fn interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let is_stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_stopping);
    hear(&[Signal::Stop], move |_| {
        if flag.swap(true, Ordering::AcqRel) {
            exit(EXIT_INTERRUPTED);
        }
    })?;
    Ok(is_stopping)
}

/// Tells `take` of each signal of these kinds, on a thread of its own.
fn hear(kinds: &[Signal], mut take: impl FnMut(Signal) + Send + 'static) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        let hangup = kinds.contains(&Signal::Reload).then(|| signal(SignalKind::hangup())).transpose()?;
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup)
    };
    let wait = move || {
        loop {
            let received = runtime.block_on(async {
                let reload = async {
                    match &mut hangup {
                        Some(hangup) => hangup.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = interrupt.recv() => Signal::Stop,
                    _ = terminate.recv() => Signal::Stop,
                    _ = reload => Signal::Reload,
                }
            });
            take(received);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("signal handling")?;
    Ok(())
}
