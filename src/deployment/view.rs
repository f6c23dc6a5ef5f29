//! What can be seen of a deployment without holding it, also after it has ended.

use std::sync::Arc;

use super::flow::Ticket;
use super::hybrid::CloudView;
use crate::ledger::{Ledger, Statistics};
use crate::model::ModelInfo;
use crate::worker::{self, Pool};

/// A deployment's facts and counts.
#[derive(Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Where its model is meant to stand.
    pub placement: String,
    /// Its model; a hybrid's at the edge.
    pub model: Arc<ModelInfo>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) workers: Pool<Box<Ticket>>,
    pub(super) cloud: Option<CloudView>,
}

impl View {
    /// The counts at this moment.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.ledger.statistics();
        if let Some(cloud) = &self.cloud {
            cloud.junction.add_to(statistics.hybrid.get_or_insert_default());
        }
        statistics
    }

    /// The model of a hybrid's cloud.
    pub fn cloud_model(&self) -> Option<&Arc<ModelInfo>> {
        self.cloud.as_ref().map(|cloud| &cloud.model)
    }

    /// How many requests wait for the model; for either of a hybrid's.
    pub fn queued(&self) -> usize {
        self.workers.len() + self.cloud.as_ref().map_or(0, |cloud| cloud.workers.len())
    }

    /// How the model's workers are doing. Of a hybrid's cloud only what has happened so
    /// far: whether it can be relied on now is the circuit breaker's business.
    pub fn health(&self) -> worker::Health {
        let mut health = self.workers.health();
        if let Some(cloud) = &self.cloud {
            let cloud = cloud.workers.health();
            health.workers_replaced += cloud.workers_replaced;
            health.inference_timeouts += cloud.inference_timeouts;
        }
        health
    }
}
