//! The composition root: a broker (embedded or elsewhere) and any number of deployments, from start to drain.
//!
//! A node in a test: asked in the process, refused for a reason that is matched on, and counted when it has
//! ended.
//! ```
//! use std::time::Duration;
//!
//! use nearfar::inference::ErrorCode;
//! use nearfar::{Detector, Node, deployment};
//!
//! let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
//! let wait = Duration::from_secs(10);
//! let answered = node.ask([0.5; 32], wait)?;
//! assert_eq!(answered.by.model, "anomaly_detector");
//! match node.ask([0.5; 31], wait) {
//!     Err(refusal) if refusal.code == ErrorCode::ShapeMismatch => assert!(!refusal.retryable),
//!     other => panic!("{other:?}"),
//! }
//! let totals = node.stop();
//! assert_eq!((totals["edge"].answered, totals["edge"].errors_of(ErrorCode::ShapeMismatch)), (1, 1));
//! assert!(totals["edge"].spread.total.quantile_duration(0.99) < Some(wait));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod control_topic;
mod loops;
mod network_topic;
mod observer;
mod relearn_topic;
mod status;
mod totals;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::broker::{self, Broker, BrokerError, Endpoint};
use crate::client::{Client, ClientError, InProcess, Remote, RemoteConfig, RemoteError, State, Status};
use crate::deployment::{self, Answered, Deployment, DeploymentError, DeviceIdFrom};
use crate::inference::{ErrorCode, Refusal, Request};
use crate::model::{Detector, LoadError};
use crate::sync::after;

pub use self::config::{BrokerChoice, Config, ModelSource, ServedDeployment};
use self::control_topic::ControlTopic;
pub use self::loops::{Loop, NodeTopics, Reads, Writes};
pub use self::observer::{DeploymentSnapshot, Observer, Reloads, Snapshot};
use self::status::{Board, Entry};
pub use self::totals::Totals;

/// How long a stopping node waits for accepted requests to be answered, unless told otherwise.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Where a node's status goes, without the node's name, unless told otherwise.
pub const STATUS_TOPIC: &str = "ml/inference/status";

/// Collects what a node is made of; [`start`](Self::start) makes it.
///
/// ```
/// use nearfar::{Detector, Node, deployment};
///
/// let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
/// println!("send requests to {}", node.mqtt_address().expect("an embedded broker has an address"));
/// let totals = node.stop();
/// assert_eq!(totals["edge"].received, 0);
/// # Ok::<(), nearfar::node::NodeError>(())
/// ```
#[derive(Default)]
pub struct NodeBuilder {
    config: Config,
    observer: Observer,
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.config.deployments.iter().map(|served| &served.config.name).collect();
        f.debug_struct("NodeBuilder")
            .field("node_id", &self.config.node_id)
            .field("deployments", &names)
            .finish_non_exhaustive()
    }
}

impl From<Config> for NodeBuilder {
    fn from(config: Config) -> Self {
        Self { config, observer: Observer::default() }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// There is nothing to serve.
    #[error("a node needs at least one deployment")]
    NoDeployment,
    /// No node can be so.
    #[error("{key}: {problem}")]
    #[allow(missing_docs, reason = "the message names its fields")]
    Setting { key: &'static str, problem: String },
    /// Two deployments have one name.
    #[error("two deployments are called {0:?}")]
    DuplicateName(String),
    /// Two deployments would answer the same request on the same topic.
    #[error(
        "deployments {0:?} and {1:?} take the same requests and answer on the same topic {2:?}; give one of them other topics"
    )]
    SharedTopics(String, String, String),
    /// The node would read what it writes itself.
    #[error(transparent)]
    Loop(#[from] Loop),
    /// A deployment takes device ids from its senders, and the broker does not tell who they are.
    #[error(
        "deployment {0:?} takes device ids from the clients that send requests, and a broker elsewhere does not tell who they are: take them from the payload, or use the embedded broker"
    )]
    SendersUnknown(String),
    /// A deployment takes device ids from users, and nobody has to be one.
    #[error(
        "deployment {0:?} takes device ids from the users who send requests, and nobody has to be a user: give the broker users \
         (broker::Config::access), or take device ids from the payload"
    )]
    NoUsers(String),
    /// A deployment needs all requests of a device in order, and a share group gives
    /// them to any of its members.
    #[error(
        "deployment {0:?} is ordered, and requests of one device go to any member of share group {1:?}: take devices by partition instead (remote.partition)"
    )]
    OrderedInGroup(String, String),
    /// A deployment's model is missing or broken.
    #[error("deployment {name:?}: {error}{place}")]
    #[allow(missing_docs, reason = "the message names its fields")]
    ModelOf {
        name: String,
        error: Box<LoadError>,
        /// Where a relative path was looked for, in words; empty for any other.
        place: String,
    },
    /// A model is missing or broken: what [`Detector::load`] says, for `?`.
    #[error(transparent)]
    Model(#[from] LoadError),
    /// The embedded broker did not start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The local client did not start.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There can be no connection to a broker elsewhere.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Nobody can change networks over MQTT, or have devices learn anew.
    #[error("the {what} topic {topic:?} cannot be followed: {cause}")]
    ControlTopic {
        /// What it is for: `network` or `relearn`.
        what: &'static str,
        /// The topic.
        topic: String,
        /// The cause.
        cause: String,
    },
    /// A deployment did not start.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

impl NodeBuilder {
    /// Names the node: the last level of its status topic. Default `nearfar`.
    pub fn node_id(mut self, node_id: impl Into<String>) -> Self {
        self.config.node_id = node_id.into();
        self
    }

    /// Where the node's status goes: `{topic}/{node_id}`. Default `ml/inference/status`,
    /// and nowhere for a broker alone.
    pub fn status_topic(mut self, topic: impl Into<String>) -> Self {
        self.config.status_topic = Some(topic.into());
        self
    }

    /// Starts an embedded broker with `config`. The default: loopback, on a free port.
    pub fn embedded_broker(mut self, config: broker::Config) -> Self {
        self.config.broker = BrokerChoice::Embedded(Box::new(config));
        self
    }

    /// Lets the node start without any deployment: an embedded broker, with what an [`Observer`] sees of it.
    pub fn broker_alone(mut self) -> Self {
        self.config.is_broker_alone = true;
        self
    }

    /// Uses a broker that runs elsewhere.
    pub fn remote_broker(mut self, config: RemoteConfig) -> Self {
        self.config.broker = BrokerChoice::Elsewhere(Box::new(config));
        self
    }

    /// Adds a deployment of `model`.
    pub fn deployment(mut self, config: deployment::Config, model: impl Into<ModelSource>) -> Self {
        self.config.deployments.push(ServedDeployment { config, model: model.into(), cloud_model: None });
        self
    }

    /// Adds a hybrid deployment, which has one model at the edge and another one in the
    /// cloud. Without a [`hybrid`](deployment::Config::hybrid) in `config` it has the
    /// default one. With [`deployment`](Self::deployment) both sites have the same model.
    pub fn hybrid(
        mut self,
        mut config: deployment::Config,
        edge: impl Into<ModelSource>,
        cloud: impl Into<ModelSource>,
    ) -> Self {
        config.hybrid.get_or_insert_default();
        let (model, cloud_model) = (edge.into(), Some(cloud.into()));
        self.config.deployments.push(ServedDeployment { config, model, cloud_model });
        self
    }

    /// How long [`Node::stop`] waits for accepted requests to be answered. Default 5 s.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.config.shutdown_grace = grace;
        self
    }

    /// Lets whoever may publish on `{topic}/{deployment}` change the simulated network
    /// of that deployment while the node runs: see `docs/networks.md`. Default: nobody.
    pub fn network_topic(mut self, topic: impl Into<String>) -> Self {
        self.config.network_topic = Some(topic.into());
        self
    }

    /// Lets whoever may publish on `{topic}/{deployment}` have a device of that deployment, or all of them,
    /// learn anew what is normal: see `docs/detectors.md`. Default: nobody.
    pub fn relearn_topic(mut self, topic: impl Into<String>) -> Self {
        self.config.relearn_topic = Some(topic.into());
        self
    }

    /// Lets `observer` watch the node from now on: of use to whoever must answer for the
    /// node before it has started. [`Node::observer`] is enough for everybody else.
    pub fn observer(mut self, observer: &Observer) -> Self {
        self.observer = observer.clone();
        self
    }

    /// Loads every model and makes sure that its deployment can have it. Nothing is started.
    ///
    /// # Errors
    /// [`NodeError`]: what [`start`](Self::start) would end with, as far as that can be known.
    pub fn check(self) -> Result<(), NodeError> {
        self.config.check()?;
        for (config, detector, cloud) in load(self.config.deployments)? {
            Deployment::check(&config, detector, cloud)?;
        }
        Ok(())
    }

    /// Loads every model, starts the broker, then the deployments.
    ///
    /// With an embedded broker the node is ready when this returns; with a broker
    /// elsewhere it may still be connecting: see [`Node::wait_until_ready`].
    ///
    /// # Errors
    /// [`NodeError`]; nothing is left running.
    pub fn start(self) -> Result<Node, NodeError> {
        self.config.check()?;
        self.config.check_users()?;
        let status_topic = self.config.status_goes_to().map(str::to_owned);
        let loaded = load(self.config.deployments)?;
        let status =
            status_topic.map(|topic| status::status(&topic, &self.config.node_id, loaded.iter().map(entry)));
        let wants_senders = loaded.iter().any(|(config, ..)| config.device_id_from != DeviceIdFrom::Payload);
        let (broker, client) = connect(self.config.broker, status, wants_senders)?;
        self.observer.node_has(&client, broker.as_ref());
        let board = Arc::new(Board::new(&self.config.node_id, &client));
        let mut node = Node {
            broker,
            client: Some(client),
            deployments: Vec::new(),
            shutdown_grace: self.config.shutdown_grace,
            control_topics: Vec::new(),
            observer: self.observer,
        };
        let memory_bytes =
            node.broker.as_ref().map_or_else(broker::memory_bytes, |broker| broker.memory_max());
        let in_flight_bytes_max = deployment::in_flight_bytes_max(memory_bytes, loaded.len());
        for (mut config, detector, cloud) in loaded {
            config.in_flight_bytes_max = config.in_flight_bytes_max.min(in_flight_bytes_max);
            // On failure the node built so far is dropped, which stops it.
            let mut deployment = Deployment::start_with_cloud(config, detector, cloud, node.client())?;
            board.add(deployment.view());
            let board = Arc::clone(&board);
            deployment.on_exchange(move || board.tell());
            let deployment = Arc::new(deployment);
            node.observer.node_has_deployment(&deployment);
            node.deployments.push(deployment);
        }
        let node_id = self.config.node_id.as_str();
        if let Some(topic) = self.config.network_topic {
            let networks: Vec<_> = node.deployments.iter().map(|one| one.network().clone()).collect();
            let followed = ControlTopic::follow("network", &topic, node_id, networks, node.client())?;
            node.control_topics.push(followed);
        }
        if let Some(topic) = self.config.relearn_topic {
            let devices: Vec<_> = node.deployments.iter().map(|one| one.devices().clone()).collect();
            let followed = ControlTopic::follow("relearn", &topic, node_id, devices, node.client())?;
            node.control_topics.push(followed);
        }
        if let Some(broker) = &node.broker {
            // Not before: a request that nobody has subscribed to would be acknowledged and lost.
            broker.open();
        }
        node.client().begin();
        node.observer.node_runs();
        Ok(node)
    }
}

type Loaded = (deployment::Config, Detector, Option<Detector>);

fn load(deployments: Vec<ServedDeployment>) -> Result<Vec<Loaded>, NodeError> {
    let mut loaded = Vec::with_capacity(deployments.len());
    for ServedDeployment { config, model, cloud_model } in deployments {
        let load = |model: ModelSource| model.load_for(&config.name);
        let (model, cloud_model) = (load(model)?, cloud_model.map(load).transpose()?);
        loaded.push((config, model, cloud_model));
    }
    Ok(loaded)
}

fn entry((config, detector, cloud): &Loaded) -> Entry {
    Entry {
        name: config.name.clone(),
        placement: config.placement.clone(),
        model: detector.info().name.clone(),
        cloud_model: cloud.as_ref().map(|cloud| cloud.info().name.clone()),
    }
}

type Connected = (Option<Arc<Broker>>, Arc<dyn Client>);

fn connect(
    choice: BrokerChoice,
    status: Option<Status>,
    wants_senders: bool,
) -> Result<Connected, NodeError> {
    match choice {
        BrokerChoice::Embedded(mut config) => {
            config.tells_senders |= wants_senders;
            let broker = Arc::new(Broker::bind(*config)?);
            let client = InProcess::join(Arc::clone(&broker), status)?;
            Ok((Some(broker), Arc::new(client)))
        }
        BrokerChoice::Elsewhere(config) => {
            let client = Remote::new(*config, status)?;
            Ok((None, Arc::new(client)))
        }
    }
}

/// A running node. Dropping it stops it without waiting for requests under way.
pub struct Node {
    broker: Option<Arc<Broker>>,
    /// There until the node is closed.
    client: Option<Arc<dyn Client>>,
    deployments: Vec<Arc<Deployment>>,
    shutdown_grace: Duration,
    control_topics: Vec<ControlTopic>,
    observer: Observer,
}

/// Whether a node can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Requests are answered.
    Ready,
    /// Not now, and why; it may come back.
    NotReady(String),
    /// Not now, and why: something makes no progress. It may come back, but a restart would help for sure.
    Stalled(String),
    /// Never again, and why: the process should end.
    Failed(String),
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::NotReady(reason) => write!(f, "not ready: {reason}"),
            Self::Stalled(reason) => write!(f, "stalled: {reason}"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// Why a node does not answer, as an error: any [`Readiness`] but [`Readiness::Ready`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node is {0}")]
pub struct NotReady(pub Readiness);

impl Node {
    /// Begins a node.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// The first listener of the embedded broker that takes MQTT over plain TCP; `None`
    /// when it has none, or the broker runs elsewhere.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.endpoints().iter().find(|endpoint| endpoint.scheme == "mqtt").map(|endpoint| endpoint.address)
    }

    /// Where the embedded broker can be reached: every listener, none when the broker runs elsewhere.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.broker.as_ref().map(|broker| broker.endpoints()).unwrap_or_default()
    }

    /// The embedded broker.
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.as_deref()
    }

    /// The deployments, in the order they were added.
    pub fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.iter().map(|deployment| &**deployment)
    }

    /// The deployment that is called `name`: to ask it, to see how it is, or to change its network or model.
    pub fn deployment(&self, name: &str) -> Option<&Deployment> {
        self.deployments().find(|deployment| deployment.name() == name)
    }

    /// Asks the first deployment, and waits for its answer for at most so long. See [`Deployment::ask`]
    /// for what may be asked, and for whoever has several deployments or does not want to wait.
    ///
    /// # Errors
    /// The request's refusal; `DEADLINE_EXCEEDED` when there is no answer by then,
    /// `MODEL_NOT_READY` of a node without deployments.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use nearfar::{Detector, Node, deployment};
    ///
    /// let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
    /// let answered = node.ask([0.5; 32], Duration::from_secs(10))?;
    /// assert!((0.0..=1.0).contains(&answered.prediction.score()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ask(&self, request: impl Into<Request>, at_most: Duration) -> Result<Answered, Refusal> {
        let nobody = || Refusal::new(ErrorCode::ModelNotReady, "the node has no deployment");
        self.deployments().next().ok_or_else(nobody)?.ask(request, Some(at_most)).wait(at_most)
    }

    fn client(&self) -> &dyn Client {
        self.client.as_deref().expect("a node has its client until it is closed")
    }

    /// Whether the node answers now.
    pub fn readiness(&self) -> Readiness {
        self.observer.readiness()
    }

    /// Watches the node, from any thread and also after it has ended.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Waits until the node answers.
    ///
    /// # Errors
    /// What was missing when `wait` had passed, or the failure that ended the node.
    pub fn wait_until_ready(&self, wait: Duration) -> Result<(), NotReady> {
        let deadline = after(Instant::now(), wait);
        loop {
            let state = self.client().state();
            let left = deadline.saturating_duration_since(Instant::now());
            match readiness(state.clone()) {
                Readiness::Ready => return Ok(()),
                Readiness::NotReady(_) if !left.is_zero() => {
                    self.client().wait_for_change(&state, left);
                }
                not_ready => return Err(NotReady(not_ready)),
            }
        }
    }

    /// Waits until the node is or becomes [`Readiness::Failed`], at most `wait`; returns the reason.
    pub fn wait_for_failure(&self, wait: Duration) -> Option<String> {
        let deadline = after(Instant::now(), wait);
        loop {
            if let Readiness::Failed(reason) = self.readiness() {
                return Some(reason);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.client().wait_for_change(&self.client().state(), left);
        }
    }

    /// Stops: no new requests, accepted ones are answered for at most `shutdown_grace`, then the broker
    /// ends. Returns every deployment's final counts; requests still in flight in them were left behind.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use nearfar::{Detector, Node, deployment};
    ///
    /// let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
    /// for _ in 0..10 {
    ///     node.ask([0.5; 32], Duration::from_secs(10))?;
    /// }
    /// let totals = node.stop();
    /// let edge = &totals["edge"];
    /// assert_eq!((edge.answered, edge.errors_total(), edge.in_flight), (10, 0, 0));
    /// let p99 = edge.spread.total.quantile_duration(0.99).expect("some were answered");
    /// assert!(p99 < Duration::from_secs(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(mut self) -> Totals {
        let deadline = after(Instant::now(), self.shutdown_grace);
        self.observer.node_stops();
        if let Some(broker) = &self.broker {
            // What is acknowledged without an answer is lost; what is not taken is sent again.
            broker.drain();
        }
        for deployment in &self.deployments {
            deployment.stop_receiving();
        }
        let mut totals = Vec::with_capacity(self.deployments.len());
        for deployment in self.take_deployments() {
            let name = deployment.name().to_owned();
            let statistics = deployment.finish(deadline);
            if statistics.in_flight > 0 {
                warn!(
                    deployment = name,
                    left_behind = statistics.in_flight,
                    "not every request was answered"
                );
            }
            totals.push((name, statistics));
        }
        self.close();
        info!("stopped");
        Totals::from(totals)
    }

    /// The deployments, for nobody else any more.
    fn take_deployments(&mut self) -> Vec<Deployment> {
        self.observer.node_stops();
        let deployments = std::mem::take(&mut self.deployments).into_iter();
        deployments.map(|one| Arc::into_inner(one).expect("the observer has let go of it")).collect()
    }

    fn close(&mut self) {
        for deployment in self.take_deployments() {
            deployment.finish(Instant::now());
        }
        self.observer.node_has_ended();
        let control_topics = std::mem::take(&mut self.control_topics);
        control_topics.iter().for_each(ControlTopic::stop);
        if let Some(client) = self.client.take() {
            client.close();
        }
        control_topics.into_iter().for_each(ControlTopic::join);
        // The client held the other reference.
        if let Some(broker) = self.broker.take().and_then(Arc::into_inner) {
            broker.stop(BROKER_GRACE);
        }
    }
}

/// How long connections may take to say goodbye.
const BROKER_GRACE: Duration = Duration::from_secs(1);

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.deployments().map(Deployment::name).collect();
        let mut shown = f.debug_struct("Node");
        shown.field("mqtt_address", &self.mqtt_address()).field("deployments", &names).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

fn readiness(state: State) -> Readiness {
    match state {
        State::Online => Readiness::Ready,
        State::Offline(reason) => Readiness::NotReady(reason),
        State::Gone(reason) => Readiness::Failed(reason),
    }
}
