//! The node's file, `nearfar.toml`: its sections, what they may say, and what they become.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::network_section::{NetworkSection, both_given};
use super::{BrokerChoice, CloudSection, ConfigError, RemoteSection, ServeConfig, ServedDeployment, network};
use crate::broker::{self, Listener};
use crate::client::Acknowledge;
use crate::deployment::{self, DeviceIdFrom, Topics, Window};
use crate::http;
use crate::mqtt;
use crate::network::Profile;
use crate::node::{Loop, NodeTopics, Reads, Writes};
use crate::settings::SettingError;
use crate::strict_toml::{self, TomlError};
use crate::worker::{QueuePolicy, WORKERS_MAX};
use crate::{wire, worker};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// The node's name, the last level of its status topic. Default: the host's name.
    pub node_id: Option<String>,
    /// Where the node's status goes, without the node's name. Default `ml/inference/status`.
    pub status_topic: Option<String>,
    /// Where networks can be changed while the node runs, without the deployment's name. Default: nowhere.
    pub network_topic: Option<String>,
    /// How long a stopping node waits for accepted requests, in milliseconds. Default 5,000.
    pub shutdown_grace_ms: Option<u64>,
    /// The embedded broker.
    pub broker: Option<BrokerSection>,
    /// A broker elsewhere, instead of the embedded one.
    pub remote: Option<RemoteSection>,
    /// Health and metrics over HTTP.
    pub http: Option<HttpSection>,
    /// Deployments by name.
    #[serde(default)]
    pub deployments: BTreeMap<String, DeploymentSection>,
}

/// `[broker]`: the embedded broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSection {
    /// A file in rumqttd's format, relative to this file.
    pub config: Option<PathBuf>,
    /// One listener instead of those in the broker's file.
    pub listen: Option<SocketAddr>,
    /// Accepts listeners that other machines can reach although there are no users.
    pub allow_anonymous: Option<bool>,
    /// A users file, as `nearfar passwd` writes it, relative to this file. With one,
    /// only its users may connect.
    pub users: Option<PathBuf>,
    /// A file of access rules, relative to this file. Users need one.
    pub access_rules: Option<PathBuf>,
    /// What becomes of a publish that the rules refuse, where the client speaks 3.1.1. Default `drop`.
    pub refused_publish: Option<RefusedPublish>,
    /// What an MQTT 5 client is told of a subscription that the rules refuse. Default `not_authorized`.
    pub refused_subscription: Option<RefusedSubscription>,
    /// What becomes of a subscription of which the rules allow a part. Default `refuse`.
    pub wide_filters: Option<WideFilters>,
}

/// What becomes of a subscription whose filter matches topics that the rules allow
/// and others that they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WideFilters {
    /// It is refused.
    Refuse,
    /// It is made, and what the client may not have is withheld.
    Withhold,
}

/// What an MQTT 5 client is told of a subscription that the rules refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedSubscription {
    /// That it may not: 0x87.
    NotAuthorized,
    /// Nothing of why: 0x80.
    Unspecified,
}

/// What becomes of a publish that the rules refuse, where the client speaks 3.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedPublish {
    /// It is dropped, counted, and acknowledged.
    Drop,
    /// The connection ends.
    Disconnect,
}

/// `[http]`: health and metrics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// `[deployments.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSection {
    /// A directory, a `.safetensors` or a `.pt` file, relative to this file.
    pub model: PathBuf,
    /// Where the model is meant to stand. Default: the deployment's name.
    pub placement: Option<String>,
    /// Simulated one-way latency in milliseconds. Default 50 for the placement `cloud`, otherwise 0.
    pub one_way_latency_ms: Option<f64>,
    /// A simulated network that is more than a latency, instead of it.
    pub network: Option<NetworkSection>,
    /// The cloud of a hybrid; what is said outside of it is the edge's.
    pub cloud: Option<CloudSection>,
    /// Prefix of the default topics, such as `edge/`.
    pub topic_prefix: Option<String>,
    /// Topic filters that requests come on.
    pub request_topics: Option<Vec<String>>,
    /// Where results go, without the device id.
    pub result_topic: Option<String>,
    /// Where errors go, without the device id.
    pub error_topic: Option<String>,
    /// Members of a result beyond the six of the contract.
    pub members: Option<Vec<Member>>,
    /// The largest payload read, in bytes.
    pub payload_bytes_max: Option<usize>,
    /// How many threads call the model, each a copy of its own. Default 1.
    pub workers: Option<usize>,
    /// The most requests that wait for the model.
    pub queue_requests_max: Option<usize>,
    /// The most bytes that waiting requests take.
    pub queue_bytes_max: Option<usize>,
    /// Who gives way when the queue is full. Default `refuse`.
    pub queue_policy: Option<QueuePolicyName>,
    /// The most rows in one forward pass.
    pub batch_max: Option<usize>,
    /// Milliseconds that one forward pass may take; 0 for as long as it likes. Default 10,000.
    pub inference_timeout_ms: Option<u64>,
    /// The most requests between arrival and answer.
    pub in_flight_max: Option<usize>,
    /// Milliseconds from arrival after which a request that has not started is refused
    /// as `DEADLINE_EXCEEDED`.
    pub deadline_ms: Option<u64>,
    /// When a QoS 1 or 2 request is acknowledged. Default `on_answer`.
    pub acknowledge: Option<AcknowledgeName>,
    /// Seconds after its answer for which a QoS 1 or 2 request that comes again gets the
    /// same answer; 0 for none. Default 60.
    pub duplicates_s: Option<u64>,
    /// The most answered requests that are known again. Default 32,768.
    pub duplicates_requests_max: Option<usize>,
    /// Old figures for old baselines.
    pub compat: Option<CompatSection>,
    /// Whose word a request's device id is. Default `payload`.
    pub device_id_from: Option<DeviceIdSource>,
    /// Whether all requests of a device must come here, in their order. Default false.
    pub ordered: Option<bool>,
}

/// When a QoS 1 or 2 request is acknowledged to its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcknowledgeName {
    /// When it has been answered.
    OnAnswer,
    /// When the broker has it.
    OnReceipt,
}

/// Who gives way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueuePolicyName {
    /// The newest request.
    Refuse,
    /// The oldest request.
    DropOldest,
    /// A device's older request gives way to its newer one, full or not.
    LatestPerDevice,
}

/// Whose word a request's device id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceIdSource {
    /// The payload's alone.
    Payload,
    /// It is the sender's MQTT client id.
    ClientId,
    /// It is the user that the sender has proved to be.
    Username,
}

/// A member that a result carries only when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// The model's name.
    Model,
    /// The model's version.
    ModelVersion,
    /// Whether the prediction is at or above the threshold.
    Anomaly,
    /// How long each stage took.
    StagesMs,
    /// Where the answer was made.
    Placement,
    /// How often the simulated network had been changed.
    Network,
    /// Why it was made there; of a hybrid only.
    Reason,
}

/// `[deployments.NAME.compat]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompatSection {
    /// Applies a second sigmoid, as the replaced system's cloud service did.
    #[serde(default)]
    pub double_sigmoid: bool,
}

impl NodeFile {
    /// Values that parse but make no sense.
    pub(super) fn check(&self, text: &str) -> Result<(), TomlError> {
        if self.broker.is_some() && self.remote.is_some() {
            return Err(strict_toml::invalid(
                text,
                "remote",
                "there is a [broker] too; a node uses one or the other",
            ));
        }
        if let Some(node_id) = &self.node_id
            && (node_id.is_empty() || !mqtt::is_topic_name(node_id) || node_id.contains('/'))
        {
            let problem = format!("found {node_id:?}, expected one topic level without '/', '+' or '#'");
            return Err(strict_toml::invalid(text, "node_id", problem));
        }
        if let Some(topic) = &self.network_topic
            && (!mqtt::is_topic_name(topic) || topic.starts_with('$'))
        {
            let problem =
                format!("found {topic:?}, expected a topic without '+' and '#' that does not start with '$'");
            return Err(strict_toml::invalid(text, "network_topic", problem));
        }
        self.deployments.iter().try_for_each(|(name, section)| section.check(name, text))?;
        if let Some((key, found)) = self.find_loop() {
            return Err(strict_toml::invalid(text, &key, found.to_string()));
        }
        self.remote.iter().try_for_each(|remote| remote.check(&self.deployments, text))
    }

    /// A key within a network or a cloud that nobody asks for. What else may be wrong
    /// there is for [`check`](Self::check).
    pub(super) fn unknown_key(&self) -> Option<SettingError> {
        let networks = self.deployments.iter().filter_map(|(name, section)| {
            let path = format!("deployments.{name}.network");
            section.network.as_ref()?.check(&path).err()
        });
        let clouds =
            self.deployments.iter().filter_map(|(name, section)| section.cloud.as_ref()?.check(name).err());
        networks.chain(clouds).find(SettingError::is_unknown_key)
    }

    /// Two topics with which the node would answer itself, and the key that says one of them.
    fn find_loop(&self) -> Option<(String, Loop)> {
        let topics: Vec<_> =
            self.deployments.iter().map(|(name, section)| (name.as_str(), section.topics())).collect();
        let status_topic = self.status_topic.as_deref().unwrap_or(crate::node::STATUS_TOPIC);
        let node_id = self.node_id.clone().unwrap_or_else(host_name);
        let found = NodeTopics {
            deployments: topics.iter().map(|(name, topics)| (*name, topics)).collect(),
            status: Some(format!("{status_topic}/{node_id}")),
            network: self.network_topic.as_deref(),
        }
        .find_loop()?;
        Some((self.key_of(&found), found))
    }

    /// What has to be changed: the topics that are read where the file names them, and
    /// else what is written there.
    fn key_of(&self, found: &Loop) -> String {
        let of = |name: &str, key: &str| format!("deployments.{name}.{key}");
        match (&found.reads, &found.writes) {
            (Reads::Requests(name), _)
                if self.deployments.get(name).is_some_and(|section| section.request_topics.is_some()) =>
            {
                of(name, "request_topics")
            }
            (_, Writes::Results(name)) => of(name, "result_topic"),
            (_, Writes::Errors(name)) => of(name, "error_topic"),
            (_, Writes::Status) => "status_topic".to_owned(),
            (_, Writes::NetworkChanges(_) | Writes::Network(_)) => "network_topic".to_owned(),
        }
    }

    /// Makes paths relative to `directory`, where the file stands.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        let resolve = |path: &mut PathBuf| *path = directory.join(&*path);
        for section in self.deployments.values_mut() {
            resolve(&mut section.model);
            section.network.iter_mut().for_each(|network| network.resolve_paths(directory));
            section.cloud.iter_mut().for_each(|cloud| cloud.resolve_paths(directory));
        }
        if let Some(section) = &mut self.broker {
            let paths = [&mut section.config, &mut section.users, &mut section.access_rules];
            paths.into_iter().flatten().for_each(resolve);
        }
        self.remote.iter_mut().for_each(|section| section.resolve_paths(directory));
    }

    /// The simulated network of each deployment.
    ///
    /// # Errors
    /// When a file of recorded delays cannot be used.
    pub fn networks(&self) -> Result<Vec<(String, Profile)>, ConfigError> {
        let network = |(name, section): (&String, &DeploymentSection)| {
            let profile = match &section.cloud {
                Some(cloud) => cloud.network_profile(name)?,
                None => section.network_profile(name)?,
            };
            Ok((name.clone(), profile))
        };
        self.deployments.iter().map(network).collect()
    }

    /// What `newer` says otherwise and cannot be changed while a node runs, by key or section.
    /// What a broker's files say is not looked at: the broker reads those again by itself.
    pub fn needs_restart(&self, newer: &Self) -> Vec<String> {
        let mut keys: Vec<_> = [
            ("node_id", self.node_id == newer.node_id),
            ("status_topic", self.status_topic == newer.status_topic),
            ("network_topic", self.network_topic == newer.network_topic),
            ("shutdown_grace_ms", self.shutdown_grace_ms == newer.shutdown_grace_ms),
            ("broker", self.broker == newer.broker),
            ("remote", self.remote == newer.remote),
            ("http", self.http == newer.http),
        ]
        .into_iter()
        .filter(|(_, is_same)| !is_same)
        .map(|(key, _)| key.to_owned())
        .collect();
        let names: BTreeSet<_> = self.deployments.keys().chain(newer.deployments.keys()).collect();
        let but_network = |file: &Self, name: &String| {
            let section = file.deployments.get(name)?.clone();
            // Of a hybrid, only the network before the cloud can be changed.
            let Some(cloud) = section.cloud else {
                return Some((
                    DeploymentSection { network: None, one_way_latency_ms: None, ..section },
                    None,
                ));
            };
            Some((DeploymentSection { cloud: None, ..section }, cloud.but_network(name)))
        };
        let changed = names.into_iter().filter(|name| but_network(self, name) != but_network(newer, name));
        keys.extend(changed.map(|name| format!("deployments.{name}")));
        keys
    }

    /// Refuses device ids from senders that nobody knows.
    fn check_senders(&self) -> Result<(), ConfigError> {
        let has_users = self.broker.as_ref().is_some_and(|broker| broker.access_rules.is_some());
        for (name, section) in &self.deployments {
            let problem = match section.device_id_from {
                Some(DeviceIdSource::Payload) | None => continue,
                Some(_) if self.remote.is_some() => {
                    "a broker elsewhere does not tell who sent a request: use \"payload\", or the embedded broker"
                }
                Some(DeviceIdSource::Username) if !has_users => {
                    "nobody has to be a user here: name a users file and access rules (broker.users, broker.access_rules)"
                }
                Some(_) => continue,
            };
            let key = format!("deployments.{name}.device_id_from");
            return Err(super::access_files::contradiction(&key, problem));
        }
        Ok(())
    }

    /// What a node is built from.
    ///
    /// # Errors
    /// When another file that this one names cannot be used, or a listener is open to anyone.
    pub fn into_serve_config(self) -> Result<ServeConfig, ConfigError> {
        self.check_senders()?;
        if let Some((key, found)) = self.find_loop() {
            // Flags and defaults can bring one about that the file alone does not have.
            return Err(super::access_files::contradiction(&key, &found.to_string()));
        }
        let node_id = self.node_id.unwrap_or_else(host_name);
        let broker = match self.remote {
            Some(remote) => BrokerChoice::Elsewhere(Box::new(remote.into_config(&node_id)?)),
            None => BrokerChoice::Embedded(Box::new(self.broker.unwrap_or_default().into_config()?)),
        };
        let deployments = self.deployments.into_iter().map(|(name, section)| section.into_config(name));
        let deployments = deployments.collect::<Result<_, _>>()?;
        Ok(ServeConfig {
            node_id,
            status_topic: self.status_topic.unwrap_or_else(|| crate::node::STATUS_TOPIC.to_owned()),
            network_topic: self.network_topic,
            shutdown_grace: self.shutdown_grace_ms.map_or(crate::node::SHUTDOWN_GRACE, Duration::from_millis),
            broker,
            http: self.http.map(|section| http::Config { listen: section.listen }),
            deployments,
        })
    }
}

impl BrokerSection {
    fn into_config(self) -> Result<crate::broker::Config, ConfigError> {
        let mut broker = match &self.config {
            Some(path) => super::read_broker_file(path)?,
            None => super::built_in_broker()?,
        };
        if let Some(address) = self.listen {
            broker.listeners = vec![Listener::new("mqtt", address)];
        }
        broker.refused_publish = match self.refused_publish {
            Some(RefusedPublish::Disconnect) => broker::RefusedPublish::Disconnect,
            Some(RefusedPublish::Drop) | None => broker::RefusedPublish::Drop,
        };
        broker.refused_subscription = match self.refused_subscription {
            Some(RefusedSubscription::Unspecified) => broker::RefusedSubscription::Unspecified,
            Some(RefusedSubscription::NotAuthorized) | None => broker::RefusedSubscription::NotAuthorized,
        };
        broker.wide_filters = match self.wide_filters {
            Some(WideFilters::Withhold) => broker::WideFilters::Withhold,
            Some(WideFilters::Refuse) | None => broker::WideFilters::Refuse,
        };
        let allows_anonymous = self.allow_anonymous.unwrap_or(false);
        super::access_files::secure(&mut broker, self.users, self.access_rules, allows_anonymous)?;
        Ok(broker)
    }
}

impl DeploymentSection {
    fn check(&self, name: &str, text: &str) -> Result<(), TomlError> {
        let invalid = |key: &str, problem: String| {
            Err(strict_toml::invalid(text, &format!("deployments.{name}.{key}"), problem))
        };
        if name.is_empty() || !mqtt::is_topic_name(name) || name.contains('/') {
            return invalid("", format!("found the name {name:?}, expected one topic level"));
        }
        if let Some(latency) = self.one_way_latency_ms
            && let Err(problem) = network(latency)
        {
            return invalid("one_way_latency_ms", problem);
        }
        if let Some(network) = &self.network {
            if self.one_way_latency_ms.is_some() {
                return invalid("network", both_given());
            }
            let check = network.check(&format!("deployments.{name}.network"));
            check.map_err(|error| located(text, error))?;
        }
        if let Some(cloud) = &self.cloud {
            let check = cloud.check(name);
            check.map_err(|error| located(text, error))?;
        }
        if self.request_topics.as_ref().is_some_and(Vec::is_empty) {
            return invalid("request_topics", "found none, expected at least one topic filter".to_owned());
        }
        for filter in self.request_topics.iter().flatten() {
            if !mqtt::is_topic_filter(filter) || filter.starts_with('$') {
                let problem =
                    format!("found {filter:?}, expected a topic filter that does not start with '$'");
                return invalid("request_topics", problem);
            }
        }
        for (key, topic) in [("result_topic", &self.result_topic), ("error_topic", &self.error_topic)] {
            if let Some(topic) = topic.as_ref().filter(|topic| !mqtt::is_topic_name(topic)) {
                return invalid(key, format!("found {topic:?}, expected a topic without '+' or '#'"));
            }
        }
        for (key, bound) in [
            ("payload_bytes_max", self.payload_bytes_max),
            ("queue_requests_max", self.queue_requests_max),
            ("queue_bytes_max", self.queue_bytes_max),
            ("batch_max", self.batch_max),
            ("in_flight_max", self.in_flight_max),
        ] {
            if bound == Some(0) {
                return invalid(key, "found 0, expected at least 1".to_owned());
            }
        }
        let workers = self.workers.unwrap_or(1);
        if !(1..=WORKERS_MAX).contains(&workers) {
            return invalid("workers", format!("found {workers}, expected between 1 and {WORKERS_MAX}"));
        }
        Ok(())
    }

    /// Its simulated network.
    fn network_profile(&self, name: &str) -> Result<Profile, ConfigError> {
        let placement = self.placement.as_deref().unwrap_or(name);
        Ok(match (&self.network, self.one_way_latency_ms) {
            (Some(network), _) => network.profile(name)?,
            // Checked when the file was read.
            (None, Some(latency)) => network(latency).unwrap_or_default(),
            (None, None) if placement == "cloud" && self.cloud.is_none() => Profile::CLOUD,
            (None, None) => Profile::NONE,
        })
    }

    fn topics(&self) -> Topics {
        let usual = Topics::under(self.topic_prefix.as_deref().unwrap_or_default());
        Topics {
            request: self.request_topics.clone().unwrap_or(usual.request),
            result: self.result_topic.clone().unwrap_or(usual.result),
            error: self.error_topic.clone().unwrap_or(usual.error),
        }
    }

    fn into_config(self, name: String) -> Result<ServedDeployment, ConfigError> {
        let profile = self.network_profile(&name)?;
        let topics = self.topics();
        let placement = self.placement.unwrap_or_else(|| name.clone());
        let defaults = deployment::Config::edge();
        let worker = worker::Config {
            queue_requests_max: self.queue_requests_max.unwrap_or(defaults.worker.queue_requests_max),
            queue_bytes_max: self.queue_bytes_max.unwrap_or(defaults.worker.queue_bytes_max),
            queue_policy: match self.queue_policy {
                Some(QueuePolicyName::DropOldest) => QueuePolicy::DropOldest,
                Some(QueuePolicyName::LatestPerDevice) => QueuePolicy::LatestPerDevice,
                Some(QueuePolicyName::Refuse) | None => QueuePolicy::Refuse,
            },
            batch_max: self.batch_max.unwrap_or(defaults.worker.batch_max),
            inference_timeout: match self.inference_timeout_ms {
                None => defaults.worker.inference_timeout,
                Some(0) => None,
                Some(timeout) => Some(Duration::from_millis(timeout)),
            },
        };
        let wire = wire::Limits {
            payload_bytes_max: self.payload_bytes_max.unwrap_or(defaults.wire.payload_bytes_max),
        };
        let cloud = self.cloud.map(|cloud| cloud.into_config(&name, worker)).transpose()?;
        let (hybrid, cloud_model) = cloud.map_or((None, None), |(hybrid, model)| (Some(hybrid), model));
        let config = deployment::Config {
            name,
            placement,
            topics,
            network: profile,
            wire,
            worker,
            workers: self.workers.unwrap_or(defaults.workers),
            in_flight_max: self.in_flight_max.unwrap_or(defaults.in_flight_max),
            in_flight_bytes_max: defaults.in_flight_bytes_max,
            deadline: self.deadline_ms.map(Duration::from_millis),
            members: members(&self.members.unwrap_or_default()),
            double_sigmoid: self.compat.unwrap_or_default().double_sigmoid,
            device_id_from: match self.device_id_from {
                Some(DeviceIdSource::ClientId) => DeviceIdFrom::ClientId,
                Some(DeviceIdSource::Username) => DeviceIdFrom::Username,
                Some(DeviceIdSource::Payload) | None => DeviceIdFrom::Payload,
            },
            ordered: self.ordered.unwrap_or(defaults.ordered),
            acknowledge: match self.acknowledge {
                Some(AcknowledgeName::OnReceipt) => Acknowledge::OnReceipt,
                Some(AcknowledgeName::OnAnswer) | None => Acknowledge::OnAnswer,
            },
            duplicates: Window {
                duration: self.duplicates_s.map_or(defaults.duplicates.duration, Duration::from_secs),
                requests_max: self.duplicates_requests_max.unwrap_or(defaults.duplicates.requests_max),
            },
            hybrid: hybrid.map(Box::new),
        };
        Ok(ServedDeployment { config, model: self.model, cloud_model })
    }
}

/// The error with its line, and the suggestion, which belongs to it.
fn located(text: &str, error: SettingError) -> TomlError {
    let suggestion = error.suggestion.map(String::from);
    TomlError { suggestion, ..strict_toml::invalid(text, &error.key, error.problem.to_string()) }
}

fn members(wanted: &[Member]) -> wire::Members {
    wire::Members {
        model: wanted.contains(&Member::Model),
        model_version: wanted.contains(&Member::ModelVersion),
        anomaly: wanted.contains(&Member::Anomaly),
        stages_ms: wanted.contains(&Member::StagesMs),
        placement: wanted.contains(&Member::Placement),
        network: wanted.contains(&Member::Network),
        reason: wanted.contains(&Member::Reason),
    }
}

/// This machine's name as one topic level, or `nearfar` where it has none.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let level: String = name.trim().chars().filter(|c| c.is_alphanumeric() || "-._".contains(*c)).collect();
    if level.is_empty() { "nearfar".to_owned() } else { level }
}
