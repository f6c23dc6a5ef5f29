//! What a node is made of: the one value that a builder, a file or a command fills.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Loop, NodeError, NodeTopics, SHUTDOWN_GRACE, STATUS_TOPIC};
use crate::broker;
use crate::client::RemoteConfig;
use crate::deployment::{self, DeviceIdFrom};
use crate::model::{Detector, LoadError};
use crate::mqtt;
use crate::shipped;

/// What a node is made of.
#[derive(Debug)]
pub struct Config {
    /// The node's name, the last level of its status topic. Default `nearfar`.
    pub node_id: String,
    /// Where the node's status goes, without the node's name. Default [`STATUS_TOPIC`], and nowhere without
    /// deployments.
    pub status_topic: Option<String>,
    /// Where networks can be changed while the node runs, without the deployment's name. Default nowhere.
    pub network_topic: Option<String>,
    /// Where devices can be made to learn anew, without the deployment's name. Default nowhere.
    pub relearn_topic: Option<String>,
    /// How long a stopping node waits for accepted requests. Default [`SHUTDOWN_GRACE`].
    pub shutdown_grace: Duration,
    /// Which broker. Default one in this process, on a free port of the loopback.
    pub broker: BrokerChoice,
    /// Deployments with their models.
    pub deployments: Vec<ServedDeployment>,
    /// Whether an embedded broker is enough, without any deployment.
    pub is_broker_alone: bool,
}

/// Which broker a node uses.
#[derive(Debug)]
pub enum BrokerChoice {
    /// One in this process.
    Embedded(Box<broker::Config>),
    /// One elsewhere.
    Elsewhere(Box<RemoteConfig>),
}

/// A deployment and its models.
#[derive(Debug)]
pub struct ServedDeployment {
    /// The deployment.
    pub config: deployment::Config,
    /// Its model; a hybrid's at the edge.
    pub model: ModelSource,
    /// The model of a hybrid's cloud, where it is another one.
    pub cloud_model: Option<ModelSource>,
}

/// Where a deployment's model comes from.
pub enum ModelSource {
    /// A directory, a `.safetensors` or a `.pt` file; or, where there is no such file, the word `shipped` for
    /// [`Detector::shipped`].
    Path(PathBuf),
    /// Loaded already, or a model of your own.
    Detector(Box<Detector>),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_id: "nearfar".to_owned(),
            status_topic: None,
            network_topic: None,
            relearn_topic: None,
            shutdown_grace: SHUTDOWN_GRACE,
            broker: BrokerChoice::Embedded(Box::new(broker::Config::loopback())),
            deployments: Vec::new(),
            is_broker_alone: false,
        }
    }
}

impl Config {
    /// Where the status goes, without the node's name: nowhere for a broker alone, unless it was said.
    pub(crate) fn status_goes_to(&self) -> Option<&str> {
        self.status_topic.as_deref().or((!self.deployments.is_empty()).then_some(STATUS_TOPIC))
    }

    /// Refuses what makes no sense together.
    ///
    /// # Errors
    /// [`NodeError`] for the first such thing.
    pub fn check(&self) -> Result<(), NodeError> {
        let configs: Vec<_> = self.deployments.iter().map(|served| &served.config).collect();
        let is_broker = self.is_broker_alone && matches!(self.broker, BrokerChoice::Embedded(_));
        if configs.is_empty() && !is_broker {
            return Err(NodeError::NoDeployment);
        }
        if let BrokerChoice::Elsewhere(remote) = &self.broker {
            check_elsewhere(remote, &configs)?;
        }
        self.check_names()?;
        configs.iter().try_for_each(|config| config.check())?;
        for (at, one) in configs.iter().enumerate() {
            for other in &configs[at + 1..] {
                if one.name == other.name {
                    return Err(NodeError::DuplicateName(one.name.clone()));
                }
                let common = one.topics.request.iter().find(|topic| other.topics.request.contains(topic));
                if common.is_some() && one.topics.result == other.topics.result {
                    let (one, other, topic) = (&one.name, &other.name, &one.topics.result);
                    return Err(NodeError::SharedTopics(one.clone(), other.clone(), topic.clone()));
                }
            }
        }
        self.find_loop().map_or(Ok(()), |found| Err(found.into()))
    }

    fn check_names(&self) -> Result<(), NodeError> {
        let setting = |key, problem| Err(NodeError::Setting { key, problem });
        let node_id = &self.node_id;
        if !mqtt::is_topic_name(node_id) || node_id.contains('/') {
            let problem = format!("found {node_id:?}, expected one topic level without '/', '+' or '#'");
            return setting("node_id", problem);
        }
        match &self.status_topic {
            Some(topic) if !mqtt::is_topic_name(topic) || topic.starts_with('$') => {
                let problem = format!(
                    "found {topic:?}, expected a topic without '+' and '#' that does not start with '$'"
                );
                setting("status_topic", problem)
            }
            _ => Ok(()),
        }
    }

    /// Refuses device ids from users where nobody can be one.
    pub(crate) fn check_users(&self) -> Result<(), NodeError> {
        let BrokerChoice::Embedded(broker) = &self.broker else { return Ok(()) };
        let names_some =
            |listener: &broker::Listener| listener.tls.as_ref().is_some_and(|tls| tls.identity.is_some());
        if broker.access.has_users() || broker.listeners.iter().any(names_some) {
            return Ok(());
        }
        let mut configs = self.deployments.iter().map(|served| &served.config);
        match configs.find(|config| config.device_id_from == DeviceIdFrom::Username) {
            Some(config) => Err(NodeError::NoUsers(config.name.clone())),
            None => Ok(()),
        }
    }

    fn find_loop(&self) -> Option<Loop> {
        let topics =
            self.deployments.iter().map(|served| (served.config.name.as_str(), &served.config.topics));
        let topics = NodeTopics {
            deployments: topics.collect(),
            status: self.status_goes_to().map(|topic| format!("{topic}/{}", self.node_id)),
            network: self.network_topic.as_deref(),
            relearn: self.relearn_topic.as_deref(),
        };
        topics.find_loop()
    }
}

fn check_elsewhere(remote: &RemoteConfig, configs: &[&deployment::Config]) -> Result<(), NodeError> {
    if let Some(config) = configs.iter().find(|config| config.device_id_from != DeviceIdFrom::Payload) {
        return Err(NodeError::SendersUnknown(config.name.clone()));
    }
    if let Some(group) = &remote.share_group
        && let Some(ordered) = configs.iter().find(|config| config.ordered)
    {
        return Err(NodeError::OrderedInGroup(ordered.name.clone(), group.clone()));
    }
    Ok(())
}

impl ModelSource {
    /// The file or directory it is read from; none for a model that is loaded already.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Path(path) => Some(path),
            Self::Detector(_) => None,
        }
    }

    /// The model, for the deployment `name`.
    pub(crate) fn load_for(self, name: &str) -> Result<Detector, NodeError> {
        let path = match self {
            Self::Path(path) => path,
            Self::Detector(detector) => return Ok(*detector),
        };
        shipped::detector(Some(&path)).map_err(|error| {
            let is_missing =
                matches!(&error, LoadError::Read { error, .. } if error.kind() == io::ErrorKind::NotFound);
            // A test of a dependant runs in that one's directory, which is not where the author of a path
            // was.
            let directory = env::current_dir().ok().filter(|_| is_missing && path.is_relative());
            let place = directory.map(|at| format!(", looked for in {}", at.display())).unwrap_or_default();
            NodeError::ModelOf { name: name.to_owned(), error: Box::new(error), place }
        })
    }
}

impl fmt::Debug for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Detector(detector) => f.debug_tuple("Detector").field(&detector.info().name).finish(),
        }
    }
}

impl From<&str> for ModelSource {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

impl From<String> for ModelSource {
    fn from(path: String) -> Self {
        Self::Path(path.into())
    }
}

impl From<&String> for ModelSource {
    fn from(path: &String) -> Self {
        Self::Path(path.into())
    }
}

impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<&PathBuf> for ModelSource {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<PathBuf> for ModelSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<Detector> for ModelSource {
    fn from(detector: Detector) -> Self {
        Self::Detector(Box::new(detector))
    }
}
