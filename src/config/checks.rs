//! What the keys of a node's file may not say together.

use super::file::Contents;
use crate::client::RemoteConfig;
use crate::deployment::DeviceIdFrom;
use crate::node::{Loop, NodeTopics, Reads, STATUS_TOPIC, ServedDeployment, Writes};
use crate::settings::{Setting, SettingError};

/// Refuses what contradicts something else in `tree`, from which the contents were read.
pub fn contents(contents: &Contents, tree: &Setting) -> Result<(), SettingError> {
    if contents.broker.is_some() && contents.remote.is_some() {
        return Err(at(tree, &["remote"], "there is a [broker] too; a node uses one or the other"));
    }
    find_loop(contents, tree)?;
    let Some(remote) = &contents.remote else { return Ok(()) };
    contents.deployments.iter().try_for_each(|deployment| shared(&remote.config, deployment, tree))
}

/// Refuses device ids from senders that nobody knows.
pub fn senders(contents: &Contents, tree: &Setting) -> Result<(), SettingError> {
    let has_users = contents.broker.as_ref().is_some_and(|broker| broker.access_rules.is_some());
    for ServedDeployment { config, .. } in &contents.deployments {
        let problem = match config.device_id_from {
            DeviceIdFrom::Payload => continue,
            _ if contents.remote.is_some() => {
                "a broker elsewhere does not tell who sent a request: use \"payload\", or the embedded broker"
            }
            DeviceIdFrom::Username if !has_users => {
                "nobody has to be a user here: name a users file and access rules (broker.users, broker.access_rules)"
            }
            _ => continue,
        };
        return Err(at(tree, &["deployments", &config.name, "device_id_from"], problem));
    }
    Ok(())
}

/// Refuses a deployment that needs other requests than those it would get.
fn shared(
    remote: &RemoteConfig,
    ServedDeployment { config, .. }: &ServedDeployment,
    tree: &Setting,
) -> Result<(), SettingError> {
    let name = config.name.as_str();
    if config.ordered && remote.share_group.is_some() {
        let problem = "requests of one device go to any member of remote.share_group, so no member has them in order: take devices by remote.partition instead";
        return Err(at(tree, &["deployments", name, "ordered"], problem));
    }
    let topics = &config.topics.request;
    if remote.partition.is_some() && !topics.iter().all(|filter| names_device(filter)) {
        let problem = format!(
            "found {topics:?}, expected filters with exactly one '+', which is the device, because there is remote.partition; such as \"ml/inference/request/+\""
        );
        return Err(at(tree, &["deployments", name, "request_topics"], problem));
    }
    Ok(())
}

/// Whether one level of what `filter` matches is the device.
fn names_device(filter: &str) -> bool {
    filter.split('/').filter(|level| *level == "+").count() == 1 && !filter.ends_with('#')
}

/// Refuses two topics with which the node would answer itself.
fn find_loop(contents: &Contents, tree: &Setting) -> Result<(), SettingError> {
    let topics = contents.deployments.iter().map(|one| (one.config.name.as_str(), &one.config.topics));
    let status_topic = contents.status_topic.as_deref().unwrap_or(STATUS_TOPIC);
    let node = NodeTopics {
        deployments: topics.collect(),
        status: Some(format!("{status_topic}/{}", contents.node_id)),
        network: contents.network_topic.as_deref(),
    };
    node.find_loop().map_or(Ok(()), |found| Err(at(tree, &to_change(&found, tree), found.to_string())))
}

/// What has to be changed: the topics that are read where the file names them, and
/// else what is written there.
fn to_change<'a>(found: &'a Loop, tree: &Setting) -> Vec<&'a str> {
    let says = |name: &str, key| tree.nearest(&["deployments", name]).get(key).is_some();
    match (&found.reads, &found.writes) {
        (Reads::Requests(name), _) if says(name, "request_topics") => {
            vec!["deployments", name, "request_topics"]
        }
        (_, Writes::Results(name)) => vec!["deployments", name, "result_topic"],
        (_, Writes::Errors(name)) => vec!["deployments", name, "error_topic"],
        (_, Writes::Status) => vec!["status_topic"],
        (_, Writes::NetworkChanges(_) | Writes::Network(_)) => vec!["network_topic"],
    }
}

/// The error for what stands at a key, or should.
pub fn at(tree: &Setting, path: &[&str], problem: impl Into<String>) -> SettingError {
    SettingError::new(tree.nearest(path).origin.clone(), path.join("."), problem)
}
