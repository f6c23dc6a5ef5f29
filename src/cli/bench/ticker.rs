//! A timer on a thread of its own: wakes a task at a time more exact than the runtime's timer, which counts
//! in milliseconds.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Context;
use tokio::sync::Notify;

/// A thread that sleeps in a task's place. It ends once this is dropped and its last sleep is over.
pub struct Ticker {
    orders: SyncSender<Instant>,
    rung: Arc<Notify>,
}

impl Ticker {
    /// # Errors
    /// When there is no thread for it.
    pub fn start() -> anyhow::Result<Self> {
        let (orders, ordered) = sync_channel::<Instant>(1);
        let rung = Arc::new(Notify::new());
        let ring = rung.clone();
        let tick = move || {
            while let Ok(due) = ordered.recv() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                ring.notify_one();
            }
        };
        std::thread::Builder::new().name("bench-ticker".to_owned()).spawn(tick).context("thread")?;
        Ok(Self { orders, rung })
    }

    pub async fn wait_until(&self, due: Instant) {
        // The thread takes one order after another, and each is waited for.
        if self.orders.send(due).is_ok() {
            self.rung.notified().await;
        }
    }
}
