//! What has become of the messages of one connection: told by whoever holds their receipts, read by the connection's thread.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::mqtt::{Receipt, Settlement};

/// One connection's box for settlements. Those of an earlier connection have a box that nobody reads any more, so what was
/// received on one connection is never acknowledged on another.
pub struct Settlements {
    /// Each received message ends once, so there are never more than unacknowledged ones.
    ended: Mutex<Vec<(u64, Settlement)>>,
    wake: Arc<Notify>,
}

impl Settlements {
    pub fn new(wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { ended: Mutex::default(), wake })
    }

    /// A receipt for the connection's message `number`.
    pub fn receipt(self: &Arc<Self>, number: u64) -> Receipt {
        let settlements = Arc::clone(self);
        Receipt::new(move |settlement| {
            settlements.ended.lock().unwrap_or_else(PoisonError::into_inner).push((number, settlement));
            settlements.wake.notify_one();
        })
    }

    /// Moves what has ended to `ended`.
    pub fn take(&self, ended: &mut Vec<(u64, Settlement)>) {
        ended.append(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
