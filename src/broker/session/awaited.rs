//! A client that others wait for when they publish (`pending_policy = "wait"`): it
//! must go on taking, or it is let go.

use std::sync::Arc;

use tokio::time::Instant;

use super::client::Client;
use crate::broker::bus::gate::Gate;
use crate::broker::config::PendingPolicy;

/// Since when a client takes nothing although others wait for it.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    since: Instant,
    /// What it had been given by then.
    given: u64,
}

impl Client {
    fn is_waited_for(&self) -> bool {
        self.context.config.limits.pending_policy == PendingPolicy::Wait
    }

    /// From now on publishers wait for the client, if that is the policy.
    pub fn hold_publishers(&self) {
        if self.is_waited_for() {
            self.session.live.mailbox.hold_publishers();
        }
    }

    /// The gates before what the client receives: its own, and those of its shared groups.
    fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        std::iter::once(&self.session.live.mailbox.gate).chain(self.session.groups().map(|group| &group.gate))
    }

    /// Notes whether the client waits at a gate with what it publishes: others then wait for it less.
    pub fn note_waiting(&mut self) {
        let is_waiting = self.waiting.visit.is_at_gate();
        if is_waiting != self.waiting.is_at_gate {
            self.waiting.is_at_gate = is_waiting;
            self.gates().for_each(|gate| gate.note_held(is_waiting));
        }
    }

    /// Whether others have waited for `write_timeout` while the client took nothing.
    pub fn stalls(&mut self, now: Instant) -> bool {
        if !self.is_waited_for() || !self.gates().any(|gate| gate.is_shut()) {
            self.stall = None;
            return false;
        }
        let stall = self.stall.filter(|stall| stall.given == self.given);
        let stall = stall.unwrap_or(Stall { since: now, given: self.given });
        self.stall = Some(stall);
        now.duration_since(stall.since) >= self.context.config.limits.write_timeout
    }
}
