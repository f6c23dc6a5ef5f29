//! The dispatcher: one thread that sends the legs which follow from others, and
//! looks at requests whose time has come.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::flow::Flow;
use super::junction::{Ends, Junction, Shared};
use super::outbox::PUBLISH_WAIT_MAX;
use crate::inference::PerSite;

/// The running thread. It ends when this is closed or dropped.
pub struct Dispatcher {
    junction: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts the thread for `junction`, with the `flows` to its sites.
    pub fn start(deployment: &str, mut junction: Junction, mut flows: PerSite<Flow>) -> io::Result<Self> {
        let shared = Arc::clone(junction.shared());
        let dispatch = move || {
            let mut ends = Ends::default();
            while let Some(mut legs) = junction.shared().wait_for_work(&mut ends) {
                // First what waits for nothing: publishing may wait for a slow broker.
                flows.iter_mut().for_each(|(site, flow)| flow.admit_legs(&mut legs[site]));
                junction.publish(std::mem::take(&mut ends), PUBLISH_WAIT_MAX);
            }
        };
        let thread = thread::Builder::new().name(format!("dispatch-{deployment}")).spawn(dispatch)?;
        Ok(Self { junction: shared, thread: Some(thread) })
    }

    /// Whether the thread runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the thread, and hands it over, to be waited for.
    pub fn close(mut self) -> Option<JoinHandle<()>> {
        self.thread.take()
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.junction.close();
    }
}
