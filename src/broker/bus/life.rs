//! Whether the broker lives: nobody has stopped it, and its router has not ended.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::lock;

/// Who is to be told the cause when the router ends although nobody stopped the broker.
pub type DeathNotice = Box<dyn FnOnce(String) + Send>;

/// A broker's life.
#[derive(Default)]
pub struct Life {
    is_stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cause_of_death: Option<String>,
    notices: Vec<DeathNotice>,
}

impl Life {
    /// Whether clients are welcome: the router lives and nobody has stopped the broker.
    pub fn is_serving(&self) -> bool {
        !self.is_stopping() && lock(&self.state).cause_of_death.is_none()
    }

    /// The broker is stopped: a router that ends from now on has not died.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub fn cause_of_death(&self) -> Option<String> {
        lock(&self.state).cause_of_death.clone()
    }

    /// Calls `tell` with the cause when the router ends although nobody stopped the broker; at once when it
    /// has.
    pub fn on_death(&self, tell: DeathNotice) {
        let cause = {
            let mut state = lock(&self.state);
            match &state.cause_of_death {
                Some(cause) => cause.clone(),
                None => return state.notices.push(tell),
            }
        };
        tell(cause);
    }

    /// The router has ended. Returns who is to be told of it.
    pub fn end(&self, cause: &str) -> Vec<DeathNotice> {
        let mut state = lock(&self.state);
        state.cause_of_death.get_or_insert_with(|| cause.to_owned());
        std::mem::take(&mut state.notices)
    }
}
