//! The circuit breaker: leaves a cloud alone that has failed several times in a row,
//! and looks now and then whether it is back.

use std::time::{Duration, Instant};

/// When the cloud is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// After this many failures in a row it opens. Default 5.
    pub failures_max: u32,
    /// How long it stays open before a probe goes through. Default 5 s.
    pub wait: Duration,
    /// Each probe that fails doubles the wait, up to this. Default 60 s.
    pub wait_max: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures_max: 5, wait: Duration::from_secs(5), wait_max: Duration::from_secs(60) }
    }
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Closed: it lets everything through.
    #[default]
    Closed,
    /// Half open: it lets through nothing but one probe.
    HalfOpen,
    /// Open: it lets nothing through.
    Open,
}

impl BreakerState {
    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A state that was left for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerChange {
    /// The state that the breaker is in now.
    pub to: BreakerState,
    /// How long it lasts, unless a probe says otherwise; zero for closed.
    pub wait: Duration,
}

/// What was let through, to report on. What was let through before the last change
/// of state has nothing to say any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit(u64);

/// Whether a request may go to the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The request may go to the cloud.
    Free(Permit),
    /// The request may go to the cloud, and is the probe that decides whether others may.
    Probe(Permit),
    /// The request may not go to the cloud.
    No,
}

/// A circuit breaker (M. Nygard, "Release It!", 2007): closed, open, or half open.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    failures_in_row: u32,
    /// How long it is to stay open, this time.
    wait: Duration,
    /// When a probe may go through; of no meaning while it is closed.
    probe_at: Option<Instant>,
    /// Changes with the state, and with every probe.
    epoch: u64,
    openings: u64,
    change: Option<BreakerChange>,
}

impl Breaker {
    /// A breaker that is closed.
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: BreakerState::Closed,
            failures_in_row: 0,
            wait: config.wait,
            probe_at: None,
            epoch: 0,
            openings: 0,
            change: None,
        }
    }

    /// Its state, as of the last request.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// How often it has opened, again after a probe that failed included.
    pub fn openings(&self) -> u64 {
        self.openings
    }

    /// Whether there is a change of state that nobody has asked for yet.
    pub fn has_change(&self) -> bool {
        self.change.is_some()
    }

    /// The last change of state that nobody has asked for yet.
    pub fn take_change(&mut self) -> Option<BreakerChange> {
        self.change.take()
    }

    /// Whether a request may go to the cloud at `now`. A probe that is never reported on
    /// is followed by another one, after the same wait.
    pub fn pass(&mut self, now: Instant) -> Pass {
        if self.state == BreakerState::Closed {
            return Pass::Free(Permit(self.epoch));
        }
        if self.probe_at.is_some_and(|at| now < at) {
            return Pass::No;
        }
        self.enter(BreakerState::HalfOpen, self.wait);
        self.probe_at = now.checked_add(self.wait);
        Pass::Probe(Permit(self.epoch))
    }

    /// Whether [`pass`](Self::pass) would let something through at `now`.
    pub fn would_pass(&self, now: Instant) -> bool {
        self.state == BreakerState::Closed || self.probe_at.is_none_or(|at| now >= at)
    }

    /// What was let through has succeeded.
    pub fn succeeded(&mut self, permit: Permit) {
        if permit.0 != self.epoch {
            return;
        }
        // In a row, not a share of a window: with few requests a share says little, and one answer shows that
        // the cloud is there.
        self.failures_in_row = 0;
        if self.state == BreakerState::HalfOpen {
            self.wait = self.config.wait;
            self.enter(BreakerState::Closed, Duration::ZERO);
        }
    }

    /// What was let through has failed, which is known at `now`.
    pub fn failed(&mut self, permit: Permit, now: Instant) {
        if permit.0 != self.epoch {
            return;
        }
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let is_probe = self.state == BreakerState::HalfOpen;
        if !is_probe && self.failures_in_row < self.config.failures_max {
            return;
        }
        if is_probe {
            // Exponential backoff: a cloud that is away for an hour is not asked every five seconds, one that
            // is away for a moment is asked soon.
            self.wait = (self.wait * 2).min(self.config.wait_max);
        }
        self.probe_at = now.checked_add(self.wait);
        self.openings += 1;
        self.enter(BreakerState::Open, self.wait);
    }

    fn enter(&mut self, to: BreakerState, wait: Duration) {
        if to != self.state {
            self.change = Some(BreakerChange { to, wait });
        }
        self.state = to;
        self.epoch += 1;
    }
}
