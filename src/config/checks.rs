//! What the keys of a node's file may not say together, with the key that has to be changed.

use super::file::Contents;
use crate::deployment::{DeploymentError, DeviceIdFrom};
use crate::node::{BrokerChoice, Loop, NodeError, Reads, Writes};
use crate::settings::{Setting, SettingError};

/// Refuses what contradicts something else in `tree`, from which the contents were read.
pub fn contents(contents: &Contents, tree: &Setting) -> Result<(), SettingError> {
    let node = &contents.node;
    if contents.broker.is_some() && matches!(node.broker, BrokerChoice::Elsewhere(_)) {
        return Err(at(tree, &["remote"], "there is a [broker] too; a node uses one or the other"));
    }
    match node.check() {
        // A broker alone may have a file, too.
        Ok(()) | Err(NodeError::NoDeployment) => partition(contents, tree),
        Err(NodeError::Setting { key, problem }) => Err(at(tree, &[key], problem)),
        Err(NodeError::Deployment(DeploymentError::Setting { name, key, problem })) => {
            Err(at(tree, &["deployments", &name, in_file(key, &name, tree)], problem))
        }
        Err(error) => Err(at(tree, &to_change(&error, tree), error.to_string())),
    }
}

/// Refuses device ids from users where nobody has to be one.
pub fn users(contents: &Contents, tree: &Setting) -> Result<(), SettingError> {
    let has_users = contents.broker.as_ref().is_some_and(|broker| broker.access_rules.is_some());
    let mut configs = contents.node.deployments.iter().map(|served| &served.config);
    match configs.find(|config| config.device_id_from == DeviceIdFrom::Username && !has_users) {
        Some(config) => {
            let problem = "nobody has to be a user here: name a users file and access rules (broker.users, broker.access_rules)";
            Err(at(tree, &["deployments", &config.name, "device_id_from"], problem))
        }
        None => Ok(()),
    }
}

/// Refuses requests that do not say their device in their topic where devices are parted by it.
fn partition(contents: &Contents, tree: &Setting) -> Result<(), SettingError> {
    let BrokerChoice::Elsewhere(remote) = &contents.node.broker else { return Ok(()) };
    let mut configs = contents.node.deployments.iter().map(|served| &served.config);
    match configs.find(|config| !config.topics.request.iter().all(|filter| names_device(filter))) {
        Some(config) if remote.partition.is_some() => {
            let problem = format!(
                "found {:?}, expected filters with exactly one '+', which is the device, because there is remote.partition; such as \"ml/inference/request/+\"",
                config.topics.request
            );
            Err(at(tree, &["deployments", &config.name, "request_topics"], problem))
        }
        _ => Ok(()),
    }
}

/// Whether one level of what `filter` matches is the device.
fn names_device(filter: &str) -> bool {
    filter.split('/').filter(|level| *level == "+").count() == 1 && !filter.ends_with('#')
}

/// The key that has to be changed where a node cannot be as it was told.
fn to_change<'a>(error: &'a NodeError, tree: &Setting) -> Vec<&'a str> {
    match error {
        NodeError::SendersUnknown(name) => vec!["deployments", name, "device_id_from"],
        NodeError::OrderedInGroup(name, _) => vec!["deployments", name, "ordered"],
        NodeError::SharedTopics(_, name, _) => vec!["deployments", name],
        NodeError::Loop(found) => to_part(found, tree),
        _ => Vec::new(),
    }
}

/// What `[deployments.NAME]` calls the member `key` of a deployment.
fn in_file(key: &'static str, name: &str, tree: &Setting) -> &'static str {
    let key = match key {
        "topics.request" => "request_topics",
        "topics.result" => "result_topic",
        "topics.error" => "error_topic",
        "deadline" => "deadline_ms",
        other => return other,
    };
    let says = |key| tree.nearest(&["deployments", name]).get(key).is_some();
    if key.contains("topic") && !says(key) && says("topic_prefix") { "topic_prefix" } else { key }
}

/// What has to be changed of two topics: the one that is read where the file names it, and
/// else what is written there.
fn to_part<'a>(found: &'a Loop, tree: &Setting) -> Vec<&'a str> {
    let says = |name: &str, key| tree.nearest(&["deployments", name]).get(key).is_some();
    match (&found.reads, &found.writes) {
        (Reads::Requests(name), _) if says(name, "request_topics") => {
            vec!["deployments", name, "request_topics"]
        }
        (_, Writes::Results(name)) => vec!["deployments", name, "result_topic"],
        (_, Writes::Errors(name)) => vec!["deployments", name, "error_topic"],
        (_, Writes::Status) => vec!["status_topic"],
        (_, Writes::NetworkChanges(_) | Writes::Network(_)) => vec!["network_topic"],
        (_, Writes::Relearnings(_) | Writes::Relearn(_)) => vec!["relearn_topic"],
    }
}

/// The error for what stands at a key, or should.
pub fn at(tree: &Setting, path: &[&str], problem: impl Into<String>) -> SettingError {
    SettingError::new(tree.nearest(path).origin.clone(), path.join("."), problem)
}
