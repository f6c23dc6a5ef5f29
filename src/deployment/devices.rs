//! What a running deployment knows of devices, for whoever has one of them learn anew.

use super::ticket::Ticket;
use crate::detection::{Memory, Which};
use crate::worker::Pool;

/// The devices of one deployment; clones are the same.
#[derive(Clone)]
pub struct Devices {
    deployment: String,
    /// A hybrid has two.
    pools: Vec<Pool<Box<Ticket>>>,
}

impl Devices {
    pub(crate) fn new(deployment: &str, pools: Vec<Pool<Box<Ticket>>>) -> Self {
        Self { deployment: deployment.to_owned(), pools }
    }

    /// The deployment's name.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// What is known now, at each site whose model in force remembers.
    pub fn memories(&self) -> Vec<Memory> {
        self.pools.iter().filter_map(Pool::memory).collect()
    }

    /// Forgets what was learnt of devices, so that they learn anew: how many those were, at all sites
    /// together; `None` where no model learns anything of devices.
    pub fn relearn(&self, which: &Which) -> Option<usize> {
        self.memories().iter().map(|memory| memory.relearn(which)).reduce(|one, other| one + other)
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").field("deployment", &self.deployment).finish_non_exhaustive()
    }
}
