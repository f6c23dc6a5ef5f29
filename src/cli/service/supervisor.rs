//! Tells systemd how the service is, where it asks for that (`Type=notify`,
//! `WatchdogSec=`); elsewhere all of it does nothing.
//!
//! The watchdog is fed as long as a restart would not help: while the node answers,
//! and while it waits for a broker elsewhere.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

use crate::node::Readiness;

/// By how much a node that waits to become ready puts off the time when systemd gives it up.
const START_EXTENSION: Duration = Duration::from_secs(30);
/// How often it does so.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// The watchdog is fed this many times in each of its intervals, so that one late meal does no harm.
const MEALS: u32 = 3;

/// What is said of a service that is well.
pub struct Words {
    ready: &'static str,
    stopping: &'static str,
}

impl Words {
    /// Of a node with deployments.
    pub const NODE: Self = Self { ready: "answering requests", stopping: "answering what was accepted" };
    /// Of a broker alone.
    pub const BROKER: Self = Self { ready: "taking clients", stopping: "saying goodbye to clients" };
}

/// Whoever started this process and watches it.
pub struct Supervisor {
    words: Words,
    /// How often it wants a sign of life once the node was ready; `None` for never.
    feed_every: Option<Duration>,
    /// When the last sign of life was given, or the start last put off.
    last: Option<Instant>,
    status: String,
    tell: fn(&[NotifyState<'_>]),
}

impl Supervisor {
    /// The one that this process's environment names, if any.
    pub fn from_environment(words: Words) -> Self {
        let feed_every = sd_notify::watchdog_enabled().map(|interval| interval / MEALS);
        Self { words, feed_every, last: None, status: String::new(), tell }
    }

    /// The node starts, and what it waits for; it may take as long as it takes.
    pub fn starting(&mut self, readiness: &Readiness) {
        self.tell_status(readiness);
        if self.is_due(EXTEND_EVERY) {
            let extension_us = u32::try_from(START_EXTENSION.as_micros()).unwrap_or(u32::MAX);
            (self.tell)(&[NotifyState::ExtendTimeoutUsec(extension_us)]);
        }
    }

    /// The node answers for the first time.
    pub fn ready(&mut self) {
        (self.tell)(&[NotifyState::Ready]);
        self.last = None;
        self.running(&Readiness::Ready);
    }

    /// The node runs: a sign of life when one is due, and news.
    pub fn running(&mut self, readiness: &Readiness) {
        self.tell_status(readiness);
        if let Some(every) = self.feed_every
            && !matches!(readiness, Readiness::Failed(_) | Readiness::Stalled(_))
            && self.is_due(every)
        {
            (self.tell)(&[NotifyState::Watchdog]);
        }
    }

    /// The node is about to stop.
    pub fn stopping(&mut self) {
        (self.tell)(&[NotifyState::Stopping, NotifyState::Status(self.words.stopping)]);
    }

    fn tell_status(&mut self, readiness: &Readiness) {
        let status = match readiness {
            Readiness::Ready => self.words.ready.to_owned(),
            not_ready => not_ready.to_string(),
        };
        if status != self.status {
            // A reason with line breaks would say other things than its status.
            (self.tell)(&[NotifyState::Status(&status.replace(char::is_control, " "))]);
            self.status = status;
        }
    }

    fn is_due(&mut self, every: Duration) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= every);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        warn!(%error, "the supervisor at NOTIFY_SOCKET cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often the watchdog was fed.
        static MEALS_HAD: Cell<usize> = const { Cell::new(0) };
    }

    fn count_meals(news: &[NotifyState<'_>]) {
        let meals = news.iter().filter(|one| matches!(one, NotifyState::Watchdog)).count();
        MEALS_HAD.set(MEALS_HAD.get() + meals);
    }

    #[test]
    fn the_watchdog_is_not_fed_while_a_restart_would_help() {
        let feed_every = Some(Duration::ZERO);
        let mut supervisor =
            Supervisor { feed_every, tell: count_meals, ..Supervisor::from_environment(Words::NODE) };
        let why = || "why".to_owned();
        for (readiness, meals) in [
            (Readiness::Ready, 1),
            (Readiness::Stalled(why()), 0),
            (Readiness::NotReady(why()), 1),
            (Readiness::Failed(why()), 0),
            (Readiness::Ready, 1),
        ] {
            MEALS_HAD.set(0);
            supervisor.running(&readiness);
            assert_eq!(MEALS_HAD.get(), meals, "{readiness:?}");
        }
    }
}
