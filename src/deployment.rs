//! A deployment joins a model, a simulated network and topics: requests come in,
//! each leaves as one result or error.
//!
//! ```text
//! intake ──▶ uplink ──▶ queue ──▶ worker ──▶ downlink ──▶ outbox
//! (thread)   (delay     (bounded) (thread)   (delay       (encodes,
//!             line)                           line)        publishes)
//! ```
//! Without a simulated network the delay line does not run and the worker publishes
//! by itself. A heavy model may have several workers. A hybrid has two such ways, to
//! the edge and to the cloud, between one intake and one outbox: see `junction`.

mod crowd;
mod duplicates;
mod entrance;
mod flow;
mod hybrid;
mod in_flight_bytes;
mod intake;
mod junction;
mod network_control;
mod outbox;
mod trace_context;
mod view;

use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

pub use self::duplicates::Window;

pub use self::hybrid::Hybrid;
pub use self::in_flight_bytes::{IN_FLIGHT_BYTES_MAX, in_flight_bytes_max};

use self::duplicates::Duplicates;
use self::entrance::Entrance;
use self::flow::{End, Flow, Ticket};
use self::hybrid::{Beyond, Cloud};
pub use self::network_control::{Change, ChangeError, NetworkControl};
use self::outbox::Outbox;
pub use self::view::View;
use crate::client::{Acknowledge, Client, ClientError, Publisher};
use crate::inference::Site;
use crate::ledger::{Ledger, Statistics};
use crate::model::{Detector, Model, ModelInfo};
use crate::network::Profile;
use crate::wire;
use crate::worker::{self, Done, Pool, WORKERS_MAX};

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
    /// Topics.
    pub topics: Topics,
    /// The simulated network between sensors and model.
    pub network: Profile,
    /// Bounds on payloads.
    pub wire: wire::Limits,
    /// Bounds of the workers and their queues.
    pub worker: worker::Config,
    /// How many threads call the model, each a copy of its own; between 1 and [`WORKERS_MAX`]. More
    /// than one is for heavy models and machines with cores to spare. Answers to one device keep
    /// the order of its requests; those to different devices may overtake one another. Default 1.
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
    /// The cloud of a hybrid, which chooses between it and the edge for each request.
    /// Default none: one site answers all of them.
    pub hybrid: Option<Box<Hybrid>>,
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
            worker: worker::Config::default(),
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
            hybrid: None,
        }
    }

    /// The same with a cloud beside it.
    pub fn hybrid(self, hybrid: Hybrid) -> Self {
        Self { hybrid: Some(Box::new(hybrid)), ..self }
    }

    /// The same with another simulated network.
    pub fn network(self, network: Profile) -> Self {
        Self { network, ..self }
    }

    /// The same on other topics.
    pub fn topics(self, topics: Topics) -> Self {
        Self { topics, ..self }
    }
}

/// Why a deployment did not start.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The operating system starts no more threads.
    #[error("deployment {name}: no thread could be started: {source}")]
    Thread {
        /// The deployment.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// Too few or too many workers.
    #[error("deployment {name}: found {workers} workers, expected between 1 and {WORKERS_MAX}")]
    Workers {
        /// The deployment.
        name: String,
        /// What was asked for.
        workers: usize,
    },
    /// Several workers were asked for, and the model's [`replica`](Model::replica) is `None`.
    #[error("deployment {name}: found {workers} workers, expected 1: model {model:?} cannot be copied")]
    OneModelOnly {
        /// The deployment.
        name: String,
        /// What was asked for.
        workers: usize,
        /// The model.
        model: String,
    },
    /// The two models of a hybrid do not take the same requests.
    #[error(
        "deployment {name}: the edge's model has {} inputs and the cloud's {}, expected equally many",
        inputs[0],
        inputs[1]
    )]
    InputsDiffer {
        /// The deployment.
        name: String,
        /// The inputs of edge and cloud.
        inputs: [usize; 2],
    },
    /// A hybrid's cloud has no model of its own, and the edge's [`replica`](Model::replica) is `None`.
    #[error(
        "deployment {name}: found one model for two sites, expected two: model {model:?} cannot be copied"
    )]
    NoCloudModel {
        /// The deployment.
        name: String,
        /// The model.
        model: String,
    },
    /// The broker is gone or refuses the subscription.
    #[error("deployment {name}: {source}")]
    Client {
        /// The deployment.
        name: String,
        /// The cause.
        source: ClientError,
    },
}

/// A running deployment.
pub struct Deployment {
    view: View,
    /// The way to the model; of a hybrid, to the edge's.
    flow: Flow,
    cloud: Option<Cloud>,
    publisher: Arc<dyn Publisher>,
    /// Waiting for its end is for one thread at a time, while others look whether it runs.
    intake: Mutex<intake::Running>,
    network: NetworkControl,
    /// The threads of a hybrid's cloud.
    beyond: Option<Beyond>,
}

impl Deployment {
    /// Starts the deployment's threads and subscribes to its request topics. The cloud
    /// of a hybrid has a copy of the same model.
    ///
    /// # Errors
    /// [`DeploymentError`] when there cannot be as many workers, a thread cannot be
    /// started, or the broker refuses the subscription.
    pub fn start(config: Config, detector: Detector, client: &dyn Client) -> Result<Self, DeploymentError> {
        Self::start_with_cloud(config, detector, None, client)
    }

    /// The same, where the cloud of a hybrid has a model of its own.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the two models do not take the same requests.
    pub fn start_with_cloud(
        config: Config,
        detector: Detector,
        cloud: Option<Detector>,
        client: &dyn Client,
    ) -> Result<Self, DeploymentError> {
        let name = config.name.clone();
        let (model_info, mut models) = one_for_each_worker(&name, config.workers, detector)?;
        let cloud = match &config.hybrid {
            Some(hybrid) => Some((&**hybrid, cloud_models(&name, hybrid, cloud, &model_info, &mut models)?)),
            None => None,
        };
        let conversation = client
            .open(&name, &config.topics.request, config.acknowledge)
            .map_err(|source| DeploymentError::Client { name: name.clone(), source })?;
        let thread_failed = |source| DeploymentError::Thread { name: name.clone(), source };
        let ledger = Arc::new(Ledger::default());
        let duplicates = Duplicates::new(config.duplicates);
        let outbox = Outbox::new(
            &config,
            &model_info,
            cloud.as_ref().map(|(_, (cloud_info, _))| cloud_info),
            Arc::clone(&conversation.publisher),
            Arc::clone(&ledger),
            duplicates.clone(),
        );
        let (flow, cloud, cloud_models) = match cloud {
            None => {
                let workers =
                    Pool::new(config.worker, |ticket: &Box<Ticket>| ticket.caller.device_id.as_ref());
                let end = End::Outbox(outbox);
                (Flow::new(&config.network, config.in_flight_max, workers, end), None, Vec::new())
            }
            Some((hybrid, (cloud_info, cloud_models))) => {
                let infos = [&model_info, &cloud_info];
                let (cloud, edge) = Cloud::beside_edge(&config, hybrid, infos, outbox);
                (edge, Some(cloud), cloud_models)
            }
        };
        let close = || {
            flow.close();
            cloud.iter().for_each(Cloud::close);
        };
        start_workers(&name, &flow, models).inspect_err(|_| close()).map_err(thread_failed)?;
        let network = NetworkControl::start(&name, &name, &config.network, &flow)
            .inspect_err(|_| close())
            .map_err(thread_failed)?;
        let (entrance, beyond) = match (&cloud, &config.hybrid) {
            (Some(cloud), Some(hybrid)) => {
                let beyond = Beyond::start(&name, &flow, cloud, &hybrid.network, cloud_models);
                let beyond = beyond.inspect_err(|_| close()).map_err(thread_failed)?;
                (Entrance::hybrid(cloud.junction.clone(), [flow.clone(), cloud.flow.clone()]), Some(beyond))
            }
            _ => (Entrance::of(flow.clone()), None),
        };
        let intake = intake::start(&config, model_info.inputs, conversation.subscriber, entrance, duplicates)
            .inspect_err(|_| close())
            .map_err(thread_failed)?;
        info!(
            deployment = name,
            placement = config.placement,
            model = model_info.name,
            cloud_model = cloud.as_ref().map(|cloud| &cloud.model.name),
            policy = config.hybrid.as_ref().map(|hybrid| hybrid.placement.policy.name()),
            topics = ?config.topics.request,
            "deployment started"
        );
        let view = View {
            name,
            placement: config.placement,
            model: Arc::new(model_info),
            ledger,
            workers: flow.workers().clone(),
            cloud: cloud.as_ref().map(Cloud::view),
        };
        let intake = Mutex::new(intake);
        Ok(Self { view, flow, cloud, beyond, publisher: conversation.publisher, intake, network })
    }

    /// The deployment's name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// The model it serves.
    pub fn model(&self) -> &ModelInfo {
        &self.view.model
    }

    /// What can be seen of it, also after it has ended.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Its counts at this moment.
    pub fn statistics(&self) -> Statistics {
        self.view.statistics()
    }

    /// How many requests wait for the model.
    pub fn queued(&self) -> usize {
        self.view.queued()
    }

    /// How its model's workers are doing.
    pub fn health(&self) -> worker::Health {
        self.view.health()
    }

    /// Its simulated network, which can be changed; of a hybrid, the one before the cloud.
    pub fn network(&self) -> &NetworkControl {
        self.beyond.as_ref().map_or(&self.network, |beyond| &beyond.network)
    }

    /// Whether its threads run.
    pub fn is_alive(&self) -> bool {
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        let workers_run = self.flow.workers().is_alive()
            && self.cloud.as_ref().is_none_or(|cloud| cloud.flow.workers().is_alive());
        let stages_run = self.network.is_alive() && self.beyond.as_ref().is_none_or(Beyond::is_alive);
        !intake.thread.is_finished() && stages_run && workers_run
    }

    /// Takes no more requests; those that are under way go on.
    pub fn stop_receiving(&self) {
        self.publisher.stop_receiving();
    }

    /// Waits until `deadline` for every accepted request to be answered, then ends.
    /// Returns the final counts; what is in flight in them was left behind.
    pub fn finish(mut self, deadline: Instant) -> Statistics {
        self.stop_receiving();
        // The intake ends once the broker has confirmed the end of the subscription.
        let wait = deadline.saturating_duration_since(Instant::now());
        let intake = self.intake.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = intake.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected);
        if ended && intake.thread.join().is_err() {
            error!(deployment = self.view.name, "the intake thread panicked");
        }
        let left = self.flow.ledger().wait_until_drained(deadline);
        let mut stages = self.network.close();
        stages.extend(self.beyond.take().into_iter().flat_map(Beyond::close));
        self.flow.close();
        self.cloud.iter().for_each(Cloud::close);
        // With requests left, a model is busy with them: its thread ends by itself when it returns.
        if left == 0 {
            let workers_ended = join_workers(&self.flow, self.cloud.as_ref());
            // All of them, whatever the first one says.
            let ended = stages.into_iter().map(|stage| stage.join().is_ok());
            let stages_ended = ended.fold(true, |all, one| all & one);
            if !(workers_ended && stages_ended) {
                error!(deployment = self.view.name, "a thread of the deployment panicked");
            }
        }
        self.view.statistics()
    }
}

/// Waits for workers that have nothing left to do. A hybrid's may be busy with legs that nobody waits for.
fn join_workers(flow: &Flow, cloud: Option<&Cloud>) -> bool {
    let Some(cloud) = cloud else { return flow.workers().join() };
    let sites = [(Site::Edge, flow), (Site::Cloud, &cloud.flow)];
    let idle = sites.into_iter().filter(|(site, _)| !cloud.junction.shared().has_legs(*site));
    // All of them, whatever the first one says.
    idle.map(|(_, flow)| flow.workers().join()).fold(true, |all, one| all & one)
}

/// The model, and as many of it as there are workers.
fn one_for_each_worker(
    name: &str,
    workers: usize,
    detector: Detector,
) -> Result<(ModelInfo, Vec<Box<dyn Model>>), DeploymentError> {
    let name = name.to_owned();
    if !(1..=WORKERS_MAX).contains(&workers) {
        return Err(DeploymentError::Workers { name, workers });
    }
    let (info, model) = detector.into_parts();
    let Some(mut models) = (1..workers).map(|_| model.replica()).collect::<Option<Vec<_>>>() else {
        return Err(DeploymentError::OneModelOnly { name, workers, model: info.name.clone() });
    };
    models.push(model);
    Ok((info, models))
}

fn start_workers(name: &str, flow: &Flow, models: Vec<Box<dyn Model>>) -> io::Result<()> {
    let mut stage = flow.clone();
    let answer = move |done: &mut Vec<Done<Box<Ticket>>>| stage.on_done(done);
    flow.workers().serve(name, models, answer)
}

/// The model of a hybrid's cloud, and as many of it as there are workers: its own, or a copy of the edge's.
fn cloud_models(
    name: &str,
    hybrid: &Hybrid,
    own: Option<Detector>,
    edge_info: &ModelInfo,
    edge: &mut [Box<dyn Model>],
) -> Result<(ModelInfo, Vec<Box<dyn Model>>), DeploymentError> {
    let copied = || Some(Detector::from_parts(edge_info.clone(), edge.first()?.replica()?));
    let detector = own.or_else(copied).ok_or_else(|| DeploymentError::NoCloudModel {
        name: name.to_owned(),
        model: edge_info.name.clone(),
    })?;
    let inputs = [edge_info.inputs, detector.info().inputs];
    if inputs[0] != inputs[1] {
        return Err(DeploymentError::InputsDiffer { name: name.to_owned(), inputs });
    }
    one_for_each_worker(name, hybrid.workers, detector)
}
