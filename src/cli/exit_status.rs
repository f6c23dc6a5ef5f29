//! What a failure's exit status tells whoever started the program, a supervisor above all: whether to start
//! it again. The one place that decides.
//!
//! Status 2 is for what only a person can change: the command line, a file of settings, and what they name.
//! What may go away by itself is 1: an address in use, or a model that is still to be delivered.

use std::io;

use super::{LeftBehind, NodeDied, Unusable, overwriting};
use crate::broker::BrokerError;
use crate::client::RemoteError;
use crate::config::ConfigError;
use crate::deployment::DeploymentError;
use crate::http::HttpError;
use crate::node::NodeError;
use crate::settings::SettingError;
use crate::trial::{PlacementFault, TrialError};

/// Exit status for everything else that goes wrong.
const FAILURE: u8 = 1;
/// Exit status for a command line or configuration that cannot be used; clap uses the same for flags.
pub const CONFIGURATION: u8 = 2;
/// Exit status when the node died under us and a supervisor should start it again (BSD's EX_SOFTWARE).
const NODE_DIED: u8 = 70;
/// Exit status when accepted requests were left behind: their senders may have to
/// send them again (BSD's EX_TEMPFAIL).
const LEFT_BEHIND: u8 = 75;

/// The exit status that `error` calls for.
pub fn of(error: &anyhow::Error) -> u8 {
    if error.is::<NodeDied>() {
        return NODE_DIED;
    }
    if error.is::<LeftBehind>() {
        return LEFT_BEHIND;
    }
    let is_configuration = error.is::<SettingError>()
        || error.is::<overwriting::Refused>()
        || error.is::<Unusable>()
        || error.downcast_ref().is_some_and(is_of_settings)
        || error.downcast_ref().is_some_and(is_of_node)
        || error.downcast_ref().is_some_and(is_of_http)
        || error.downcast_ref().is_some_and(is_of_trial);
    if is_configuration { CONFIGURATION } else { FAILURE }
}

/// Whether only a person can change that a file is not to be read or written.
pub fn is_for_a_person(cause: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(cause.kind(), IsADirectory | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem)
}

fn is_of_settings(error: &ConfigError) -> bool {
    !matches!(error, ConfigError::Thread(_))
}

/// Whether a node does not start because of what it was told to be.
fn is_of_node(error: &NodeError) -> bool {
    match error {
        NodeError::NoDeployment
        | NodeError::Setting { .. }
        | NodeError::NoUsers(_)
        | NodeError::DuplicateName(_)
        | NodeError::SharedTopics(..)
        | NodeError::Loop(_)
        | NodeError::SendersUnknown(_)
        | NodeError::OrderedInGroup(..)
        | NodeError::ControlTopic { .. } => true,
        NodeError::Broker(error) => is_of_broker(error),
        NodeError::Remote(RemoteError::Tls(_)) => true,
        NodeError::Deployment(error) => is_of_deployment(error),
        // A model is a delivery rather than a setting: it may come, or be mended, while a supervisor tries.
        NodeError::ModelOf { .. }
        | NodeError::Model(_)
        | NodeError::Client(_)
        | NodeError::Remote(RemoteError::Thread(_)) => false,
    }
}

fn is_of_broker(error: &BrokerError) -> bool {
    match error {
        BrokerError::Bind { source, .. } => is_of_address(source),
        BrokerError::Limit { .. } | BrokerError::Certificates { .. } => true,
        BrokerError::Thread(_) | BrokerError::Router => false,
    }
}

/// The address of an interface that is down comes with it, and one in use becomes free.
fn is_of_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput)
}

fn is_of_deployment(error: &DeploymentError) -> bool {
    match error {
        DeploymentError::Setting { .. }
        | DeploymentError::Workers { .. }
        | DeploymentError::OneModelOnly { .. }
        | DeploymentError::InputsDiffer { .. }
        | DeploymentError::NoCloudModel { .. } => true,
        DeploymentError::Model { .. } | DeploymentError::Thread { .. } | DeploymentError::Client { .. } => {
            false
        }
    }
}

fn is_of_http(error: &HttpError) -> bool {
    matches!(error, HttpError::Bind { source, .. } if is_of_address(source))
}

/// Whether an experiment cannot be run because of what its scenario or a flag says.
fn is_of_trial(error: &TrialError) -> bool {
    match error {
        TrialError::Unreadable { .. }
        | TrialError::Scenario(_)
        | TrialError::AtPoint { .. }
        | TrialError::NoPlacements { .. }
        | TrialError::Sensor { .. }
        | TrialError::Fleet(_)
        | TrialError::TooLarge { .. }
        | TrialError::NoSuchSite { .. }
        | TrialError::NamedLikeACloud(_)
        | TrialError::ForeignDirectory(_) => true,
        // What a scenario names in place of a model. Nobody starts an experiment again by itself.
        TrialError::Placement { fault, .. } => {
            !matches!(fault, PlacementFault::Call(_) | PlacementFault::NoTime)
        }
        TrialError::Node(error) => is_of_node(error),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(kind: io::ErrorKind) -> anyhow::Error {
        let address = "127.0.0.1:1883".parse().unwrap();
        NodeError::from(BrokerError::Bind { name: "mqtt".to_owned(), address, source: kind.into() }).into()
    }

    #[test]
    fn what_only_a_person_can_change_ends_with_2_and_what_may_go_away_with_1() {
        let name = || "edge".to_owned();
        let http = |kind: io::ErrorKind| -> anyhow::Error {
            HttpError::Bind { address: "127.0.0.1:80".parse().unwrap(), source: kind.into() }.into()
        };
        let thread = || io::Error::from(io::ErrorKind::WouldBlock);
        for (error, status) in [
            (NodeError::SharedTopics(name(), name(), name()).into(), 2),
            (NodeError::from(BrokerError::Limit { limit: "receive_max", found: 0, least: 1 }).into(), 2),
            (NodeError::from(BrokerError::Router).into(), 1),
            (NodeError::from(DeploymentError::Workers { name: name(), workers: 0 }).into(), 2),
            (NodeError::from(DeploymentError::Thread { name: name(), source: thread() }).into(), 1),
            (bind(io::ErrorKind::AddrInUse), 1),
            (bind(io::ErrorKind::AddrNotAvailable), 1),
            (bind(io::ErrorKind::PermissionDenied), 2),
            (http(io::ErrorKind::PermissionDenied), 2),
            (http(io::ErrorKind::AddrInUse), 1),
            (ConfigError::Thread(thread()).into(), 1),
            (TrialError::NoPlacements { file: name() }.into(), 2),
            (TrialError::Panicked.into(), 1),
            (NodeDied(name()).into(), 70),
            (LeftBehind(1).into(), 75),
            (Unusable(name()).into(), 2),
            (anyhow::anyhow!("anything else"), 1),
        ] {
            assert_eq!(of(&error), status, "{error}");
            assert_eq!(of(&error.context("while it started")), status);
        }
    }
}
