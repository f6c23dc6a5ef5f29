//! Whether a client still takes part: keep-alive, the time for a packet to be whole, and the write timeout.

use std::time::Duration;

use tokio::time::Instant;

use super::input::Input;
use super::silence::{Refusing, Silence};
use crate::broker::config::Limits;

/// The times are looked at at least this often, and at most that often.
const TICK_MAX: Duration = Duration::from_secs(10);
const TICK_LEAST: Duration = Duration::from_millis(1);

/// What a client has let pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Overdue {
    KeepAlive,
    Packet,
}

/// The signs of life of one client.
pub struct Liveness {
    keep_alive: Option<Duration>,
    silence: Silence,
    /// Since when it does not take what is written to it.
    refusing: Refusing,
    /// It was read from when that was asked last. While it is not, its silence does not count.
    is_read: bool,
}

impl Liveness {
    pub fn new(keep_alive_s: u16, now: Instant) -> Self {
        Self {
            // The client has one and a half times its keep-alive (MQTT 3.1.1, 3.1.2.10).
            keep_alive: (keep_alive_s > 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 1_500)),
            silence: Silence::new(now),
            refusing: Refusing::default(),
            is_read: true,
        }
    }

    /// When the last whole packet came, or later by what bytes have bought since.
    pub fn last_packet(&self) -> std::time::Instant {
        self.silence.since().into_std()
    }

    /// Notes what the client has sent, be it whole packets or a part of one.
    pub fn note_arrived(&mut self, input: &mut Input, now: Instant) {
        if input.had_packet() {
            self.silence.end(now);
        }
        self.silence.note_under_way(input.bytes_under_way(), now);
    }

    /// The client is read from, or it is not.
    pub fn note_read(&mut self, is_read: bool, now: Instant) {
        if is_read && !self.is_read {
            self.silence.excuse(now);
        }
        self.is_read = is_read;
    }

    /// There is something to write to the client, or not.
    pub fn note_unwritten(&mut self, wants_write: bool, now: Instant) {
        self.refusing.note(wants_write, || now);
    }

    /// The client has taken so many bytes.
    pub fn note_written(&mut self, bytes: usize, now: Instant) {
        self.refusing.note_taken(bytes, || now);
    }

    /// Whether the client has sent no whole packet for too long.
    pub fn overdue(&mut self, input: &mut Input, limits: &Limits, now: Instant) -> Option<Overdue> {
        if !self.is_read {
            return None;
        }
        self.note_arrived(input, now);
        let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        if is_over(self.silence.keep_alive_ends(self.keep_alive)) {
            Some(Overdue::KeepAlive)
        } else if is_over(self.silence.packet_ends(limits.packet_timeout)) {
            Some(Overdue::Packet)
        } else {
            None
        }
    }

    /// Whether the client has taken nothing of what is written to it for too long.
    pub fn refuses(&self, limits: &Limits, now: Instant) -> bool {
        self.refusing.lasts(limits.write_timeout, now)
    }

    /// When to look at all of that next.
    pub fn next_look(&self, limits: &Limits, now: Instant) -> Instant {
        let limit = limits.write_timeout.min(limits.packet_timeout).min(TICK_MAX);
        let latest = now + self.keep_alive.map_or(limit, |keep_alive| limit.min(keep_alive));
        if !self.is_read {
            return latest;
        }
        let packet_ends = self.silence.packet_ends(limits.packet_timeout);
        let ends = [self.silence.keep_alive_ends(self.keep_alive), packet_ends];
        ends.into_iter().flatten().fold(latest, Instant::min).max(now + TICK_LEAST)
    }
}
