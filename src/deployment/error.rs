//! Why a deployment did not start, and why its model was not exchanged.

use std::io;

use crate::client::ClientError;
use crate::inference::{PerSite, Site};
use crate::worker::WORKERS_MAX;

/// Why a deployment did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum DeploymentError {
    /// The operating system starts no more threads.
    #[error("deployment {name}: no thread could be started: {source}")]
    Thread { name: String, source: io::Error },
    /// No deployment can be so.
    #[error("deployment {name:?}: {key}: {problem}")]
    Setting {
        name: String,
        /// The member of [`Config`](super::Config), such as `topics.result`.
        key: &'static str,
        /// What was found, and what was expected.
        problem: String,
    },
    /// Too few or too many workers.
    #[error("deployment {name}: found {workers} workers, expected between 1 and {WORKERS_MAX}")]
    Workers { name: String, workers: usize },
    /// Several workers were asked for, and the model's [`replica`](crate::model::Model::replica) is `None`.
    #[error("deployment {name}: found {workers} workers, expected 1: model {model:?} cannot be copied")]
    OneModelOnly { name: String, workers: usize, model: String },
    /// The model is not as it is described, or says nothing.
    #[error("deployment {name}: model {model:?}: {problem}")]
    Model { name: String, model: String, problem: String },
    /// The two models of a hybrid do not take the same requests.
    #[error(
        "deployment {name}: the edge's model has {} inputs and the cloud's {}, expected equally many",
        inputs.edge,
        inputs.cloud
    )]
    InputsDiffer {
        name: String,
        /// The inputs of edge and cloud.
        inputs: PerSite<usize>,
    },
    /// A hybrid's cloud has no model of its own, and the edge's
    /// [`replica`](crate::model::Model::replica) is `None`.
    #[error(
        "deployment {name}: found one model for two sites, expected two: model {model:?} cannot be copied"
    )]
    NoCloudModel { name: String, model: String },
    /// The broker is gone or refuses the subscription.
    #[error("deployment {name}: {source}")]
    Client { name: String, source: ClientError },
}

/// Why a model was not exchanged; the one before it stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ExchangeError {
    /// The new model takes other requests than the one in force.
    #[error(
        "deployment {name}: found a model {model:?} with {inputs} inputs, expected {expected}, as many as the one in force has"
    )]
    InputsDiffer {
        name: String,
        model: String,
        inputs: usize,
        /// Those of the model in force.
        expected: usize,
    },
    /// The new model is not as it is described, or says nothing.
    #[error("deployment {name}: model {model:?}: {problem}")]
    Model { name: String, model: String, problem: String },
    /// There are several workers, and the new model's [`replica`](crate::model::Model::replica) is `None`.
    #[error("deployment {name}: found {workers} workers, expected 1: model {model:?} cannot be copied")]
    OneModelOnly { name: String, model: String, workers: usize },
    /// The deployment has no such site: it is no hybrid, and has one model.
    #[error("deployment {name}: found no {site}, expected a hybrid")]
    NoSuchSite { name: String, site: Site },
}
