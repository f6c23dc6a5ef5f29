//! Graceful shutdown of a connection whose broker stops: first everything that was published before, then
//! goodbye.

use super::client::Client;

/// How far the farewell of a connection is.
#[derive(Debug, Default)]
pub enum Farewell {
    /// The broker runs.
    #[default]
    No,
    /// Taking what was published before; `until` is how many messages that are on the connections' lane.
    Draining { until: u64 },
}

impl Client {
    /// The broker stops: takes what was published until now for this client.
    pub fn begin_farewell(&mut self) {
        self.farewell = Farewell::Draining { until: self.context.bus.connections.sent_messages() };
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.farewell, Farewell::Draining { .. })
    }

    /// Whether everything has been written, so that goodbye can be said.
    pub fn may_leave(&self) -> bool {
        let Farewell::Draining { until } = self.farewell else { return false };
        // A router that is dead brings nothing more.
        let is_all_here = self.context.bus.connections.has_passed(until)
            || self.context.bus.life.cause_of_death().is_some();
        is_all_here
            && self.session.live.mailbox.is_empty()
            && self.shared_queue.is_empty()
            && self.session.pending.is_empty()
            && self.retained.is_empty()
            && self.output.unwritten().is_empty()
    }
}
