//! The delay line, a timer queue: one thread that hands every entry on when it is due, however many are under
//! way.
//!
//! It waits on a condition variable, whose timed wait is accurate to tens of microseconds on Linux;
//! an async runtime's timer has a resolution of a millisecond, which is more than the error we allow.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tracing::debug;

use super::schedule::Schedule;
use crate::sync::{lock, wait, wait_timeout};

/// A sending end of a delay line. Clones feed the same line; the line's thread ends
/// when [`close`](Self::close) is called and everything under way has been
/// delivered, or at once after [`abandon`](Self::abandon).
pub struct DelayLine<T> {
    shared: Arc<Shared<T>>,
}

impl<T> std::fmt::Debug for DelayLine<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DelayLine").finish_non_exhaustive()
    }
}

impl<T> Clone for DelayLine<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    in_flight_max: usize,
}

struct State<T> {
    schedule: Schedule<T>,
    /// When the last entry that was sent in order is due.
    last_due: Option<Instant>,
    closed: bool,
}

/// The line carries as many entries as it may; holds those that did not fit, in order.
#[derive(Debug)]
pub struct DelayLineFull<T>(pub Vec<T>);

impl<T: Send + 'static> DelayLine<T> {
    /// An empty line that carries at most `in_flight_max` entries. Nothing is delivered
    /// before [`run`](Self::run).
    pub fn new(in_flight_max: usize) -> Self {
        let state = State { schedule: Schedule::default(), last_due: None, closed: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), in_flight_max }) }
    }

    /// Starts the thread that calls `deliver` with all entries that are due, in order of their due times.
    ///
    /// # Errors
    /// When the operating system starts no more threads.
    pub fn run(
        &self,
        name: &str,
        mut deliver: impl FnMut(&mut Vec<T>) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // By measurement: p50 of the error 0.2 in place of 0.27 ms at 85,000 messages a second, p99 0.73
            // in place of 0.96, and no more processor time (docs/performance.md).
            ask_for_exact_waits();
            let mut due = Vec::new();
            while shared.wait_for_due(&mut due) {
                deliver(&mut due);
                due.clear();
            }
        })
    }

    /// Puts every entry on the line, each with the instant it is due.
    ///
    /// # Errors
    /// [`DelayLineFull`] with the entries that exceed `in_flight_max`.
    pub fn send(&self, entries: impl IntoIterator<Item = (Instant, T)>) -> Result<(), DelayLineFull<T>> {
        self.put(entries, |_, due| due)
    }

    /// Puts every entry on the line, each with the instant it is due; none of them leaves
    /// before one that was sent this way earlier, but waits until that one is due.
    ///
    /// # Errors
    /// [`DelayLineFull`] with the entries that exceed `in_flight_max`.
    pub fn send_in_order(
        &self,
        entries: impl IntoIterator<Item = (Instant, T)>,
    ) -> Result<(), DelayLineFull<T>> {
        self.put(entries, |last_due, due| *last_due.insert(last_due.map_or(due, |last| due.max(last))))
    }

    /// Puts entries on the line, each at the instant that `adjust` makes of the last one
    /// sent in order and its own.
    fn put(
        &self,
        entries: impl IntoIterator<Item = (Instant, T)>,
        adjust: impl Fn(&mut Option<Instant>, Instant) -> Instant,
    ) -> Result<(), DelayLineFull<T>> {
        let mut refused = Vec::new();
        let mut first = false;
        {
            let mut state = lock(&self.shared.state);
            for (due, value) in entries {
                if state.schedule.len() < self.shared.in_flight_max {
                    let due = adjust(&mut state.last_due, due);
                    first |= state.schedule.push(due, value);
                } else {
                    refused.push(value);
                }
            }
        }
        // Most entries are due after what is already waiting: the thread sleeps on undisturbed.
        if first {
            self.shared.changed.notify_one();
        }
        if refused.is_empty() { Ok(()) } else { Err(DelayLineFull(refused)) }
    }

    /// Shows `look` every entry under way with when it is due, in no order. Nobody sends
    /// meanwhile, so it must be quick.
    pub fn look_through(&self, mut look: impl FnMut(Instant, &T)) {
        lock(&self.shared.state).schedule.iter().for_each(|(due, value)| look(due, value));
    }

    /// How many entries are under way.
    pub fn len(&self) -> usize {
        lock(&self.shared.state).schedule.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets the thread end once everything under way has been delivered.
    pub fn close(&self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_one();
    }

    /// Drops what is under way and lets the thread end. Returns how many entries were dropped.
    pub fn abandon(&self) -> usize {
        let dropped = std::mem::take(&mut lock(&self.shared.state).schedule);
        self.close();
        dropped.len()
    }
}

impl<T> Shared<T> {
    /// Waits until something is due and takes it; false when the line is closed and empty.
    fn wait_for_due(&self, due: &mut Vec<T>) -> bool {
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            state.schedule.take_due(now, due);
            if !due.is_empty() {
                return true;
            }
            state = match state.schedule.next_due() {
                Some(next) => {
                    // It sleeps until then. To yield the processor before an entry is due, for more
                    // exactness, cost a core and gained nothing (docs/performance.md).
                    let left = next.saturating_duration_since(now);
                    wait_timeout(&self.changed, state, left)
                }
                None if state.closed => return false,
                None => wait(&self.changed, state),
            };
        }
    }
}

/// Linux lets a thread's timed waits end late by its timer slack, 50 microseconds, so that
/// it wakes up less often; see proc(5). Without it a message's delay is nearer to what was
/// decided. Where it cannot be changed the wait is as exact as the system makes it.
fn ask_for_exact_waits() {
    let Ok(task) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(id) = task.file_name() else { return };
    let slack = Path::new("/proc").join(id).join("timerslack_ns");
    if let Err(cause) = std::fs::write(&slack, TIMER_SLACK_NS) {
        debug!(%cause, path = %slack.display(), "the delay line's waits may end 50 microseconds late");
    }
}

/// The least there is: 0 stands for the system's default.
const TIMER_SLACK_NS: &str = "1";

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_under_way_is_delivered_in_order_of_due_time() {
        let line = DelayLine::new(10);
        let (sender, receiver) = mpsc::sync_channel(10);
        let start = Instant::now();
        let thread = line
            .run("line", move |due: &mut Vec<u64>| {
                for value in due.drain(..) {
                    sender.send((value, Instant::now())).unwrap();
                }
            })
            .unwrap();
        let delays_ms = [30, 10, 20, 10];
        line.send(delays_ms.map(|ms| (start + Duration::from_millis(ms), ms))).unwrap();
        line.close();
        thread.join().unwrap();
        let delivered: Vec<_> = receiver.iter().collect();
        assert_eq!(delivered.iter().map(|d| d.0).collect::<Vec<_>>(), [10, 10, 20, 30]);
        assert!(delivered.iter().all(|(ms, at)| *at >= start + Duration::from_millis(*ms)));
    }

    #[test]
    fn what_is_sent_in_order_leaves_in_order_whenever_it_is_due() {
        let line = DelayLine::new(10);
        let (sender, receiver) = mpsc::sync_channel(10);
        let after = |ms| Instant::now() + Duration::from_millis(ms);
        line.send_in_order([(after(20), "first")]).unwrap();
        line.clone().send_in_order([(after(1), "second"), (after(2), "third")]).unwrap();
        line.send([(after(3), "on its own")]).unwrap();
        let thread = line
            .run("line", move |due: &mut Vec<&str>| {
                due.drain(..).for_each(|value| sender.send(value).unwrap())
            })
            .unwrap();
        line.close();
        thread.join().unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["on its own", "first", "second", "third"]);
    }

    #[test]
    fn a_full_line_hands_back_what_does_not_fit() {
        let line = DelayLine::new(2);
        let due = Instant::now() + Duration::from_secs(3600);
        let refused = line.send((0..5).map(|value| (due, value))).unwrap_err();
        assert_eq!(refused.0, [2, 3, 4]);
        assert_eq!((line.len(), line.abandon(), line.len()), (2, 2, 0));
    }
}
