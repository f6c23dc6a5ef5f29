//! When every request is due, computed beforehand: an open loop, in which no answer delays the next request.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};

use crate::lab::scenario::Arrivals;

/// Devices that ask at the same pace.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// How many there are.
    pub devices: u32,
    /// When each of them asks.
    pub pace: Pace,
}

/// When a device asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// Again and again. Regular devices begin at times of their own.
    Every {
        /// Requests a second of each, above 0.
        rate_hz: f64,
    },
    /// At these times, which do not fall.
    At(Arc<[Duration]>),
}

/// A request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Since the experiment began.
    pub at: Duration,
    /// Whose it is, counted through all groups from 0.
    pub device: u32,
    /// Its number among those of its device, from 0.
    pub row: u32,
}

/// Every request of an experiment in the order in which they are due. The same seed
/// gives the same; memory grows with devices, not with requests.
pub struct Timetable<'a> {
    groups: &'a [Group],
    arrivals: Arrivals,
    duration: Duration,
    rng: ChaCha8Rng,
    /// The next request of each device.
    next: BinaryHeap<Reverse<Next>>,
    next_number: u64,
}

impl std::fmt::Debug for Timetable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timetable")
            .field("duration", &self.duration)
            .field("next_number", &self.next_number)
            .finish_non_exhaustive()
    }
}

/// Ordered by time; what is due at the same time, by when it was computed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    at: Duration,
    number: u64,
    group: usize,
    device: u32,
    row: u32,
}

impl<'a> Timetable<'a> {
    /// What `groups` ask for until `duration` has passed.
    pub fn new(groups: &'a [Group], arrivals: Arrivals, duration: Duration, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut table = Self { groups, arrivals, duration, rng, next: BinaryHeap::new(), next_number: 0 };
        table.begin();
        table
    }

    /// When the next request is due.
    pub fn peek(&self) -> Option<Duration> {
        self.next.peek().map(|Reverse(next)| next.at)
    }

    /// How many devices will ask again.
    pub fn asking(&self) -> usize {
        self.next.len()
    }

    /// The first request of every device.
    fn begin(&mut self) {
        let mut device = 0;
        for (group, of) in self.groups.iter().enumerate() {
            for _ in 0..of.devices {
                match &of.pace {
                    Pace::Every { rate_hz } => {
                        let first_s = match self.arrivals {
                            // A regular device begins anywhere within its first interval.
                            Arrivals::Regular => self.rng.random::<f64>() / rate_hz,
                            Arrivals::Poisson => self.interval_s(*rate_hz),
                        };
                        self.note(after(Duration::ZERO, first_s), group, device, 0);
                    }
                    Pace::At(times) => self.note(times.first().copied(), group, device, 0),
                }
                device += 1;
            }
        }
    }

    fn note(&mut self, at: Option<Duration>, group: usize, device: u32, row: u32) {
        if let Some(at) = at.filter(|at| *at < self.duration) {
            let number = self.next_number;
            self.next_number += 1;
            self.next.push(Reverse(Next { at, number, group, device, row }));
        }
    }

    fn interval_s(&mut self, rate_hz: f64) -> f64 {
        match self.arrivals {
            Arrivals::Regular => 1.0 / rate_hz,
            Arrivals::Poisson => {
                let interval: f64 = Exp1.sample(&mut self.rng);
                interval / rate_hz
            }
        }
    }
}

impl Iterator for Timetable<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let Reverse(Next { at, group, device, row, .. }) = self.next.pop()?;
        let groups = self.groups;
        let later = match &groups[group].pace {
            Pace::Every { rate_hz } => {
                let interval_s = self.interval_s(*rate_hz);
                after(at, interval_s)
            }
            Pace::At(times) => times.get(row as usize + 1).map(|later| at.max(*later)),
        };
        self.note(later, group, device, row.saturating_add(1));
        Some(Due { at, device, row })
    }
}

fn after(time: Duration, wait_s: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(wait_s).ok().and_then(|wait| time.checked_add(wait))
}

/// How many requests `groups` make in `duration`, on average.
pub fn requests_expected(groups: &[Group], duration: Duration) -> f64 {
    let each = |group: &Group| {
        let of_one = match &group.pace {
            Pace::Every { rate_hz } => rate_hz * duration.as_secs_f64(),
            Pace::At(times) => times.partition_point(|at| *at < duration) as f64,
        };
        f64::from(group.devices) * of_one
    };
    groups.iter().map(each).sum()
}
