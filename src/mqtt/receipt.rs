//! The answer that a message's publisher waits for: its acknowledgement, sent when
//! the work that the message asks for is done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stands for an acknowledgement that has not been given. A request carries one from
/// its broker to the worker; the answer carries it back, and the broker (or the
/// client of a broker elsewhere) settles it once that answer is in safe hands.
///
/// A message may have several receivers, each with a clone. The acknowledgement is
/// given when the last clone is gone: a good one if each was [settled](Self::settle),
/// a bad one if any was merely dropped, for then somebody's work was lost.
pub struct Receipt {
    promise: Arc<Promise>,
    is_settled: bool,
}

/// How the message that a [`Receipt`] stands for has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Every receiver has done its work.
    Settled,
    /// A receiver has lost the message.
    Lost,
}

struct Promise {
    is_lost: AtomicBool,
    /// Taken when it is kept.
    keep: Option<Keep>,
}

type Keep = Box<dyn FnOnce(Settlement) + Send + Sync>;

impl Receipt {
    /// A receipt that calls `keep` once, on whichever thread the last clone ends. It
    /// must not wait for anything.
    pub fn new(keep: impl FnOnce(Settlement) + Send + Sync + 'static) -> Self {
        let promise = Promise { is_lost: AtomicBool::new(false), keep: Some(Box::new(keep)) };
        Self { promise: Arc::new(promise), is_settled: false }
    }

    /// This receiver's work is done.
    pub fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Clone for Receipt {
    fn clone(&self) -> Self {
        Self { promise: Arc::clone(&self.promise), is_settled: false }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.is_settled {
            self.promise.is_lost.store(true, Ordering::Release);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let settlement = if *self.is_lost.get_mut() { Settlement::Lost } else { Settlement::Settled };
        if let Some(keep) = self.keep.take() {
            keep(settlement);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn an_acknowledgement_is_given_once_when_the_last_receiver_is_done() {
        for (first_settles, second_settles, expected) in [
            (true, true, Settlement::Settled),
            (true, false, Settlement::Lost),
            (false, true, Settlement::Lost),
        ] {
            let (sender, receiver) = sync_channel(2);
            let first = Receipt::new(move |settlement| sender.send(settlement).unwrap());
            let second = first.clone();
            let end = |receipt: Receipt, settles| if settles { receipt.settle() } else { drop(receipt) };
            end(first, first_settles);
            assert!(receiver.try_recv().is_err());
            end(second, second_settles);
            assert_eq!(receiver.recv(), Ok(expected));
            assert!(receiver.recv().is_err(), "only once");
        }
    }
}
