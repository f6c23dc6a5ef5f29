//! The end of a connection whose broker stops: first everything that was published before, then goodbye.

use super::connection::Connection;
use super::reason::Reason;

/// Answers to pings in a row, without a message in between, that prove that the router holds nothing more for us.
///
/// One is not enough: the router may hand over its answer before the messages of the same turn.
const QUIET_PONGS: u32 = 2;

/// How far the farewell of a connection is.
#[derive(Debug, Default)]
pub(super) enum Farewell {
    /// The broker runs.
    #[default]
    No,
    /// Taking what the router still holds; answers to pings since the last message.
    Draining { quiet_pongs: u32 },
    /// The router holds nothing more.
    Drained,
}

impl Farewell {
    /// A message came from the router.
    pub fn note_message(&mut self) {
        if let Self::Draining { quiet_pongs } = self {
            *quiet_pongs = 0;
        }
    }
}

impl Connection {
    /// The broker stops: takes what the router still holds for this client.
    pub(super) fn begin_farewell(&mut self) -> Result<(), Reason> {
        self.farewell = Farewell::Draining { quiet_pongs: 0 };
        self.ping_router()
    }

    /// The router has answered a ping.
    pub(super) fn note_pong(&mut self) -> Result<(), Reason> {
        let Farewell::Draining { quiet_pongs } = &mut self.farewell else { return Ok(()) };
        *quiet_pongs += 1;
        let is_quiet = *quiet_pongs >= QUIET_PONGS;
        if !is_quiet {
            return self.ping_router();
        }
        self.farewell = Farewell::Drained;
        Ok(())
    }

    /// Whether everything has been written, so that goodbye can be said.
    pub(super) fn may_leave(&self) -> bool {
        matches!(self.farewell, Farewell::Drained)
            && self.session.pending.is_empty()
            && self.session.early.is_empty()
            && self.retained.is_empty()
            && self.output.unwritten().is_empty()
    }

    fn ping_router(&mut self) -> Result<(), Reason> {
        match &mut self.session.link {
            Some(link) => link.control.ping().map_err(|_| Reason::SHUTTING_DOWN),
            // A client without a subscription is owed nothing.
            None => {
                self.farewell = Farewell::Drained;
                Ok(())
            }
        }
    }
}
