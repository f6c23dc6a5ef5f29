//! A node as seen from outside its own thread: whether it answers, and its counts,
//! from before it starts until after it has ended.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Readiness, readiness};
use crate::broker::{self, Broker};
use crate::client::{Client, Failures};
use crate::deployment::{Deployment, View};
use crate::ledger::Statistics;
use crate::model::ModelInfo;
use crate::sync::lock;
use crate::worker;

/// Watches one node; clones watch the same. Made before the node, it says that the node starts.
#[derive(Clone, Default)]
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("readiness", &self.readiness()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Seen {
    phase: Phase,
    views: Vec<View>,
    /// Only while the node runs. Nobody takes a reference away from here, so that the node can end them.
    client: Option<Arc<dyn Client>>,
    broker: Option<Arc<Broker>>,
    deployments: Vec<Arc<Deployment>>,
    reloads: Reloads,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Running,
    Stopping,
    Stopped,
}

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Whether it answers.
    pub readiness: Readiness,
    /// Its deployments, in the order they were added.
    pub deployments: Vec<DeploymentSnapshot>,
    /// Its embedded broker's counts; `None` when there is none.
    pub broker: Option<broker::Statistics>,
    /// How often the connection to a broker elsewhere failed, by the reason; `None` when there is none.
    pub remote: Option<Failures>,
    /// How often it was told to read its files again.
    pub reloads: Reloads,
}

/// How often files were read again, by whether all of them could be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reloads {
    /// All could.
    pub succeeded: u64,
    /// Some could not; what they said before stays in force.
    pub failed: u64,
}

/// A deployment at one moment.
#[derive(Debug, Clone)]
pub struct DeploymentSnapshot {
    /// Its name.
    pub name: String,
    /// Where its model is meant to stand.
    pub placement: String,
    /// Its model in force; a hybrid's at the edge.
    pub model: Arc<ModelInfo>,
    /// The model of a hybrid's cloud.
    pub cloud_model: Option<Arc<ModelInfo>>,
    /// Its counts, all of the same moment.
    pub statistics: Statistics,
    /// Requests that wait for the model.
    pub queued: usize,
    /// How its workers are doing.
    pub health: worker::WorkerHealth,
}

impl Observer {
    /// Whether the node answers now.
    pub fn readiness(&self) -> Readiness {
        self.lock().readiness()
    }

    /// The node at this moment. Once it has ended, its last counts.
    pub fn snapshot(&self) -> Snapshot {
        let seen = self.lock();
        let deployment = |view: &View| DeploymentSnapshot {
            name: view.name.clone(),
            placement: view.placement.clone(),
            model: view.model(),
            cloud_model: view.cloud_model(),
            statistics: view.statistics(),
            queued: view.queued(),
            health: view.health(),
        };
        Snapshot {
            readiness: seen.readiness(),
            deployments: seen.views.iter().map(deployment).collect(),
            broker: seen.broker.as_ref().map(|broker| broker.statistics()),
            remote: seen.client.as_ref().and_then(|client| client.failures()),
            reloads: seen.reloads,
        }
    }

    /// Counts that whoever runs the node has read its files again, and whether all of them could be used.
    pub fn note_reload(&self, succeeded: bool) {
        let reloads = &mut self.lock().reloads;
        reloads.succeeded += u64::from(succeeded);
        reloads.failed += u64::from(!succeeded);
    }

    pub(crate) fn node_has(&self, client: &Arc<dyn Client>, broker: Option<&Arc<Broker>>) {
        let mut seen = self.lock();
        seen.client = Some(Arc::clone(client));
        seen.broker = broker.cloned();
    }

    pub(crate) fn node_has_deployment(&self, deployment: &Arc<Deployment>) {
        let mut seen = self.lock();
        seen.views.push(deployment.view());
        seen.deployments.push(Arc::clone(deployment));
    }

    pub(crate) fn node_runs(&self) {
        self.lock().phase = Phase::Running;
    }

    /// Lets go of the deployments; their counts can be seen all the same.
    pub(crate) fn node_stops(&self) {
        let mut seen = self.lock();
        seen.phase = Phase::Stopping;
        seen.deployments.clear();
    }

    /// Lets go of client and broker.
    pub(crate) fn node_has_ended(&self) {
        self.node_stops();
        let mut seen = self.lock();
        seen.phase = Phase::Stopped;
        seen.client = None;
        seen.broker = None;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Seen {
    fn readiness(&self) -> Readiness {
        match (self.phase, &self.client) {
            (Phase::Starting, _) => Readiness::NotReady("the node starts: its models are loaded".to_owned()),
            (Phase::Stopped, _) => Readiness::NotReady("the node has stopped".to_owned()),
            (Phase::Stopping, _) | (_, None) => Readiness::NotReady("the node is told to stop".to_owned()),
            (Phase::Running, Some(client)) => match readiness(client.state()) {
                // The broker's death ends threads too, so it comes first.
                Readiness::Failed(reason) => Readiness::Failed(reason),
                other => match (self.dead_thread(), client.stalled(), other) {
                    (Some(reason), ..) => Readiness::Failed(reason),
                    (None, Some(reason), _) => Readiness::Stalled(reason),
                    (None, None, Readiness::Ready) => self.models_readiness(),
                    (None, None, not_ready) => not_ready,
                },
            },
        }
    }

    fn dead_thread(&self) -> Option<String> {
        let dead = self.deployments.iter().find(|one| !one.is_alive())?;
        Some(format!("a thread of deployment {} has ended", dead.name()))
    }

    /// Whether every model can be relied on.
    fn models_readiness(&self) -> Readiness {
        let failing = self.views.iter().find_map(|view| {
            let reason = view.health().failing?;
            Some(format!("deployment {}: {reason}", view.name))
        });
        failing.map_or(Readiness::Ready, Readiness::NotReady)
    }
}
