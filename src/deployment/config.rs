//! What makes one deployment differ from another.

use std::time::Duration;

use super::device_state::DeviceState;
use super::in_flight_bytes::IN_FLIGHT_BYTES_MAX;
use crate::client::Acknowledge;
use crate::network::Profile;
use crate::placement::{self, Policy, Probing};
use crate::{wire, worker};

/// The topics of a deployment. The device id is appended to `result` and `error` as one more level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Topic filters that requests come on.
    pub request: Vec<String>,
    /// Where results go: `{result}/{device_id}`.
    pub result: String,
    /// Where errors go: `{error}/{device_id}`, or `{error}` when no device id could be read.
    pub error: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self::under("")
    }
}

impl Topics {
    /// The default topics with `prefix` in front: `edge/` gives `edge/ml/inference/request`.
    pub fn under(prefix: &str) -> Self {
        Self {
            request: vec![format!("{prefix}ml/inference/request")],
            result: format!("{prefix}ml/inference/result"),
            error: format!("{prefix}ml/inference/error"),
        }
    }
}

/// What makes one deployment differ from another.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names the deployment in logs, statistics and thread names.
    pub name: String,
    /// Where the model is meant to stand: `edge`, `cloud`, or a name of your own.
    pub placement: String,
    /// The topics on which it takes requests and gives answers.
    pub topics: Topics,
    /// The simulated network between sensors and model.
    pub network: Profile,
    /// Bounds on payloads.
    pub wire: wire::Limits,
    /// Bounds of the workers and their queues.
    pub worker: worker::WorkerConfig,
    /// How many threads call the model, each a copy of its own; between 1 and
    /// [`WORKERS_MAX`](worker::WORKERS_MAX). More than one is for heavy models and machines with cores to
    /// spare. Answers of a model to one device keep the order of its requests; those to different devices may
    /// overtake one another, and so may refusals that no model has seen, such as of too few features. Default
    /// 1.
    pub workers: usize,
    /// The most requests between arrival and answer; beyond it they are refused as
    /// `OVERLOADED`. Default 65,536.
    pub in_flight_max: usize,
    /// What those take of memory that are not small. Default 256 MiB; a node makes it
    /// less where it has little memory.
    pub in_flight_bytes_max: usize,
    /// How long after its arrival a request may still start; later it is refused as
    /// `DEADLINE_EXCEEDED`. An MQTT 5 message expiry counts too, whichever is earlier. Default none.
    pub deadline: Option<Duration>,
    /// Members of a result beyond the six of the contract.
    pub members: wire::Members,
    /// Applies a second sigmoid to every prediction, as the replaced system's cloud service
    /// did by mistake; only for comparing with baselines that were recorded with it.
    pub double_sigmoid: bool,
    /// Whose word a request's device id is. Default the payload's.
    pub device_id_from: DeviceIdFrom,
    /// Whether all requests of a device must come to this deployment, in their order, so
    /// that no share group can have them. Default false.
    pub ordered: bool,
    /// When a QoS 1 or 2 request is acknowledged. Default when it has been answered.
    pub acknowledge: Acknowledge,
    /// How far back a QoS 1 or 2 request that comes again is known, and gets the same answer.
    pub duplicates: Window,
    /// Where what a model learns of devices is kept, so that a restart does not forget it; of a hybrid, at
    /// the edge. Default nowhere.
    pub device_state: Option<DeviceState>,
    /// The cloud of a hybrid, which chooses between it and the edge for each request.
    /// Default none: one site answers all of them.
    pub hybrid: Option<Box<Hybrid>>,
}

/// How far back requests are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// For how long after its answer a request is known. Default 60 s; zero for not at all.
    pub duration: Duration,
    /// The most answered requests that are known, about 200 bytes each; beyond it the
    /// one that was answered first is forgotten. Default 32,768.
    pub requests_max: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { duration: Duration::from_secs(60), requests_max: 32_768 }
    }
}

/// Whose word a request's device id is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceIdFrom {
    /// The payload's alone: whoever may ask may ask as any device.
    #[default]
    Payload,
    /// It is the sender's MQTT client id. Needs the embedded broker.
    ClientId,
    /// It is the user that the sender has proved to be. Needs the embedded broker, with users.
    Username,
}

impl DeviceIdFrom {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] =
        &[("payload", Self::Payload), ("client_id", Self::ClientId), ("username", Self::Username)];
}

impl Config {
    /// A deployment without a simulated network, on the default topics.
    pub fn edge() -> Self {
        Self::new("edge", Profile::NONE)
    }

    /// A deployment 50 ms away each way, on the default topics.
    pub fn cloud() -> Self {
        Self::new("cloud", Profile::CLOUD)
    }

    fn new(name: &str, network: Profile) -> Self {
        Self {
            name: name.to_owned(),
            placement: name.to_owned(),
            topics: Topics::default(),
            network,
            wire: wire::Limits::default(),
            worker: worker::WorkerConfig::default(),
            workers: 1,
            in_flight_max: 65_536,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            deadline: None,
            members: wire::Members::default(),
            double_sigmoid: false,
            device_id_from: DeviceIdFrom::Payload,
            ordered: false,
            acknowledge: Acknowledge::default(),
            duplicates: Window::default(),
            device_state: None,
            hybrid: None,
        }
    }

    /// This configuration with a cloud beside it.
    pub fn hybrid(self, hybrid: Hybrid) -> Self {
        Self { hybrid: Some(Box::new(hybrid)), ..self }
    }

    /// This configuration with another simulated network.
    pub fn network(self, network: Profile) -> Self {
        Self { network, ..self }
    }

    /// This configuration on other topics.
    pub fn topics(self, topics: Topics) -> Self {
        Self { topics, ..self }
    }
}

/// The cloud of a hybrid deployment. Network, workers and model of the deployment itself are the edge's.
#[derive(Debug, Clone, PartialEq)]
pub struct Hybrid {
    /// The simulated network between sensors and cloud. Default 50 ms each way.
    pub network: Profile,
    /// The bounds of the cloud's workers and their queue.
    pub worker: worker::WorkerConfig,
    /// How many threads call the cloud's model. Default 1.
    pub workers: usize,
    /// How requests are shared between edge and cloud.
    pub placement: placement::Config,
}

impl Default for Hybrid {
    fn default() -> Self {
        Self::new(Policy::Deadline(Probing::default()))
    }
}

impl Hybrid {
    /// A cloud with its defaults, and `policy` with those of everything else.
    pub fn new(policy: Policy) -> Self {
        Self {
            network: Profile::CLOUD,
            worker: worker::WorkerConfig::default(),
            workers: 1,
            placement: placement::Config::new(policy),
        }
    }
}
