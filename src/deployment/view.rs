//! What can be seen of a deployment without holding it, also after it has ended.

use std::fmt;
use std::sync::Arc;

use super::config::Config;
use super::junction::{self, Junction};
use super::ticket::Ticket;
use super::way::Way;
use crate::ledger::{Ledger, Statistics};
use crate::model::ModelInfo;
use crate::worker::{self, Pool};

/// A deployment's facts and counts.
#[derive(Clone)]
pub struct View {
    /// The deployment's name.
    pub name: String,
    /// Where its model is meant to stand.
    pub placement: String,
    pub(crate) ledger: Arc<Ledger>,
    /// The workers of the one way, or of a hybrid's to the edge.
    pub(crate) workers: Pool<Box<Ticket>>,
    /// Those of the other ways.
    pub(crate) others: Vec<Pool<Box<Ticket>>>,
    /// Where ways meet.
    pub(crate) junction: Option<Arc<junction::Shared>>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("name", &self.name)
            .field("placement", &self.placement)
            .field("model", &self.model().name)
            .finish_non_exhaustive()
    }
}

impl View {
    /// A view of a deployment with these `ways`, of which there is at least one.
    pub(crate) fn of(
        config: &Config,
        ledger: Arc<Ledger>,
        ways: &[Way],
        junction: Option<&Junction>,
    ) -> Self {
        Self {
            name: config.name.clone(),
            placement: config.placement.clone(),
            ledger,
            workers: ways[0].workers().clone(),
            others: ways[1..].iter().map(|way| way.workers().clone()).collect(),
            junction: junction.map(|junction| Arc::clone(junction.shared())),
        }
    }

    /// The counts at this moment.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.ledger.statistics();
        if let Some(junction) = &self.junction {
            junction.add_to(statistics.hybrid.get_or_insert_default());
        }
        statistics
    }

    /// The model in force; a hybrid's at the edge.
    pub fn model(&self) -> Arc<ModelInfo> {
        self.workers.model()
    }

    /// The model in force at a hybrid's cloud.
    pub fn cloud_model(&self) -> Option<Arc<ModelInfo>> {
        self.others.first().map(Pool::model)
    }

    /// How many requests wait for a model.
    pub fn queued(&self) -> usize {
        self.workers.len() + self.others.iter().map(Pool::len).sum::<usize>()
    }

    /// How the model's workers are doing. Of a hybrid's cloud only what has happened so
    /// far: whether it can be relied on now is the circuit breaker's business.
    pub fn health(&self) -> worker::WorkerHealth {
        let mut health = self.workers.health();
        for other in self.others.iter().map(Pool::health) {
            health.workers_replaced += other.workers_replaced;
            health.inference_timeouts += other.inference_timeouts;
            health.features_far = health.features_far.max(other.features_far);
        }
        health
    }
}
