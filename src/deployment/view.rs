//! What can be seen of a deployment without holding it, also after it has ended.

use std::sync::Arc;

use super::flow::Ticket;
use crate::metrics::{Ledger, Statistics};
use crate::model::ModelInfo;
use crate::worker::{self, Pool};

/// A deployment's facts and counts.
#[derive(Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Where its model is meant to stand.
    pub placement: String,
    /// Its model.
    pub model: Arc<ModelInfo>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) workers: Pool<Ticket>,
}

impl View {
    /// The counts at this moment.
    pub fn statistics(&self) -> Statistics {
        self.ledger.statistics()
    }

    /// How many requests wait for the model.
    pub fn queued(&self) -> usize {
        self.workers.len()
    }

    /// How the model's workers are doing.
    pub fn health(&self) -> worker::Health {
        self.workers.health()
    }
}
