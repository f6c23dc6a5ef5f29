//! Settlements, on which acknowledgements wait: what has become of received messages, told by whoever holds
//! their receipts, read by the connection's thread.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::mqtt::{Receipt, Settlement};
use crate::sync::lock;

/// The settlements that nobody has read. Which connection a message came on does not matter here: it is
/// acknowledged where the broker has delivered it last, and nowhere if the broker does not deliver it again.
pub struct Settlements {
    /// Each received message ends once, so there are never more of them than receipts.
    ended: Mutex<Vec<(u64, Settlement)>>,
    wake: Arc<Notify>,
}

impl Settlements {
    pub fn new(wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { ended: Mutex::default(), wake })
    }

    /// A receipt for the session's message `number`.
    pub fn receipt(self: &Arc<Self>, number: u64) -> Receipt {
        let settlements = Arc::clone(self);
        Receipt::new(move |settlement| {
            lock(&settlements.ended).push((number, settlement));
            settlements.wake.notify_one();
        })
    }

    /// Moves what has ended to `ended`.
    pub fn take(&self, ended: &mut Vec<(u64, Settlement)>) {
        ended.append(&mut lock(&self.ended));
    }
}
