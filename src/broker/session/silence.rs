//! Keep-alive: how long a client has been silent, the clock of its keep-alive, and of the time
//! that a packet has to be whole.
//!
//! What counts is whole packets (MQTT 5, 3.1.2.10), not bytes: a client that sends one byte
//! now and then is silent. But a client may send nothing else while a packet is under way,
//! and a large one takes long on a slow line, so its bytes buy time: [`BYTES_PER_S_LEAST`]
//! of them a second. The same holds in the other direction, for what a client takes.

use std::time::Duration;

use tokio::time::Instant;

/// The slowest line that keeps a connection by the bytes of packets under way.
const BYTES_PER_S_LEAST: u32 = 500;

/// The time that so many bytes take on the slowest line.
fn bought(bytes: usize) -> Duration {
    Duration::from_secs(bytes as u64) / BYTES_PER_S_LEAST
}

/// The silence of one client.
#[derive(Debug)]
pub struct Silence {
    /// The last whole packet, and what bytes have bought since.
    since: Instant,
    /// When the packet under way was seen first, if there is one, and what bytes have bought since.
    begun: Option<Instant>,
    /// Bytes of it that have been seen.
    under_way: usize,
}

impl Silence {
    pub fn new(now: Instant) -> Self {
        Self { since: now, begun: None, under_way: 0 }
    }

    /// Since when it lasts.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// A whole packet has come.
    pub fn end(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The client was not read from until now, so that its silence does not count.
    pub fn excuse(&mut self, now: Instant) {
        self.since = now;
        self.begun = self.begun.map(|_| now);
    }

    /// So many bytes are here of a packet that is not whole.
    pub fn note_under_way(&mut self, bytes: usize, now: Instant) {
        let bought = bought(bytes.saturating_sub(self.under_way));
        self.since = (self.since + bought).min(now);
        self.begun = (bytes > 0).then(|| self.begun.map_or(now, |begun| (begun + bought).min(now)));
        self.under_way = bytes;
    }

    /// When the keep-alive is over, of which the client has one and a half.
    pub fn keep_alive_ends(&self, keep_alive: Option<Duration>) -> Option<Instant> {
        keep_alive.map(|limit| self.since + limit)
    }

    /// When the packet under way has had its time.
    pub fn packet_ends(&self, packet_timeout: Duration) -> Option<Instant> {
        self.begun.map(|begun| begun + packet_timeout)
    }
}

/// Since when a client has not taken what is written to it; nothing while there is nothing.
#[derive(Debug, Default)]
pub struct Refusing(Option<Instant>);

impl Refusing {
    /// There is something to write, or not.
    pub fn note(&mut self, wants_write: bool, now: impl FnOnce() -> Instant) {
        if !wants_write {
            self.0 = None;
        } else if self.0.is_none() {
            self.0 = Some(now());
        }
    }

    /// The client has taken so many bytes.
    pub fn note_taken(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        // Most take all that there is, at once.
        self.0 = self.0.map(|since| (since + bought(bytes)).min(now()));
    }

    pub fn lasts(&self, limit: Duration, now: Instant) -> bool {
        self.0.is_some_and(|since| now.duration_since(since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(90);
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// A client that sends so many bytes of one packet every half second: after how many
    /// seconds its keep-alive and its packet's time are over, if within `until`.
    fn ends_after(bytes_each: usize, until: u64) -> [Option<u64>; 2] {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let mut ends = [None; 2];
        for half in 1..=2 * until {
            let now = start + Duration::from_millis(500 * half);
            silence.note_under_way(half as usize * bytes_each, now);
            let due = [silence.keep_alive_ends(Some(KEEP_ALIVE)), silence.packet_ends(TIMEOUT)];
            for (end, due) in ends.iter_mut().zip(due) {
                if end.is_none() && due.is_some_and(|due| due <= now) {
                    *end = Some(half / 2);
                }
            }
        }
        ends
    }

    #[test]
    fn a_byte_now_and_then_keeps_nobody_and_a_slow_line_does() {
        // The packet is seen after half a second.
        assert_eq!(ends_after(1, 200), [Some(90), Some(61)]);
        // A megabyte on a line of 2 kB/s, and on the slowest one.
        assert_eq!(ends_after(1_000, 500), [None; 2]);
        assert_eq!(ends_after(250, 2_000), [None; 2]);
        // On half of that it has twice the time.
        assert_eq!(ends_after(125, 300), [Some(180), Some(120)]);
    }

    #[test]
    fn a_whole_packet_ends_the_silence_and_bytes_buy_no_time_ahead() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let mut silence = Silence::new(start);
        assert_eq!((silence.keep_alive_ends(None), silence.packet_ends(TIMEOUT)), (None, None));
        silence.note_under_way(1 << 20, after(1));
        assert_eq!(silence.keep_alive_ends(Some(KEEP_ALIVE)), Some(after(91)));
        assert_eq!(silence.packet_ends(TIMEOUT), Some(after(61)));
        silence.end(after(5));
        assert_eq!(silence.keep_alive_ends(Some(KEEP_ALIVE)), Some(after(95)));
        assert_eq!(silence.packet_ends(TIMEOUT), None);
        silence.note_under_way(1, after(6));
        silence.excuse(after(50));
        assert_eq!(silence.packet_ends(TIMEOUT), Some(after(110)));
    }

    #[test]
    fn who_takes_a_byte_now_and_then_takes_nothing() {
        let start = Instant::now();
        let after = |half: u64| start + Duration::from_millis(500 * half);
        let mut refusing = Refusing::default();
        refusing.note(true, || start);
        (1..=120).for_each(|half| refusing.note_taken(1, || after(half)));
        let lasts = |refusing: &Refusing, s| refusing.lasts(Duration::from_secs(s), after(120));
        assert!(lasts(&refusing, 59) && !lasts(&refusing, 60));
        refusing.note_taken(1 << 20, || after(120));
        assert!(!lasts(&refusing, 1), "a slow line takes as much");
        refusing.note(false, || start);
        assert!(!lasts(&refusing, 0));
    }
}
