//! A deployment joins a model, a simulated network and topics: requests come in, each leaves as one result or error.
//!
//! ```text
//! intake ──▶ uplink ──▶ queue ──▶ worker ──▶ downlink ──▶ outbox
//! (thread)   (delay     (bounded) (thread)   (delay       (encodes,
//!             line)                           line)        publishes)
//! ```
//! Without a simulated network the delay line does not run and the worker publishes by itself. A heavy model may have several
//! workers.

mod duplicates;
mod flow;
mod intake;
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

use self::duplicates::Duplicates;
use self::flow::{Flow, Ticket};
pub use self::network_control::{Change, ChangeError, NetworkControl};
use self::outbox::Outbox;
pub use self::view::View;
use crate::client::{Acknowledge, Client, ClientError, Publisher};
use crate::metrics::{Ledger, Statistics};
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
    /// How many threads call the model, each a copy of its own; between 1 and [`WORKERS_MAX`]. More than one is for heavy models and machines with cores to spare. Answers to one
    /// device keep the order of its requests; those to different devices may overtake one another. Default 1.
    pub workers: usize,
    /// The most requests between arrival and answer; beyond it they are refused as `OVERLOADED`. Default 65,536.
    pub in_flight_max: usize,
    /// How long after its arrival a request may still start; later it is refused as `DEADLINE_EXCEEDED`. An MQTT 5 message
    /// expiry counts too, whichever is earlier. Default none.
    pub deadline: Option<Duration>,
    /// Members of a result beyond the six of the contract.
    pub members: wire::Members,
    /// Applies a second sigmoid to every prediction, as the replaced system's cloud service did by mistake; only for
    /// comparing with baselines that were recorded with it.
    pub double_sigmoid: bool,
    /// Whose word a request's device id is. Default the payload's.
    pub device_id_from: DeviceIdFrom,
    /// Whether all requests of a device must come to this deployment, in their order, so that no share group can have them.
    /// Default false.
    pub ordered: bool,
    /// When a QoS 1 or 2 request is acknowledged. Default when it has been answered.
    pub acknowledge: Acknowledge,
    /// How far back a QoS 1 or 2 request that comes again is known, and gets the same answer.
    pub duplicates: Window,
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
            deadline: None,
            members: wire::Members::default(),
            double_sigmoid: false,
            device_id_from: DeviceIdFrom::Payload,
            ordered: false,
            acknowledge: Acknowledge::default(),
            duplicates: Window::default(),
        }
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
    flow: Flow,
    publisher: Arc<dyn Publisher>,
    /// Waiting for its end is for one thread at a time, while others look whether it runs.
    intake: Mutex<intake::Running>,
    network: NetworkControl,
}

impl Deployment {
    /// Starts the deployment's threads and subscribes to its request topics.
    ///
    /// # Errors
    /// [`DeploymentError`] when there cannot be as many workers, a thread cannot be started, or the broker refuses the
    /// subscription.
    pub fn start(config: Config, detector: Detector, client: &dyn Client) -> Result<Self, DeploymentError> {
        let name = config.name.clone();
        let (model_info, models) = one_for_each_worker(&config, detector)?;
        let conversation = client
            .open(&name, &config.topics.request, config.acknowledge)
            .map_err(|source| DeploymentError::Client { name: name.clone(), source })?;
        let thread_failed = |source| DeploymentError::Thread { name: name.clone(), source };
        let ledger = Arc::new(Ledger::default());
        let duplicates = Duplicates::new(config.duplicates);
        let outbox = Outbox::new(
            &config,
            &model_info,
            Arc::clone(&conversation.publisher),
            Arc::clone(&ledger),
            duplicates.clone(),
        );
        let workers = Pool::new(config.worker, |ticket: &Ticket| ticket.caller.device_id.as_ref());
        let flow = Flow::new(&config, workers.clone(), outbox);
        let network =
            NetworkControl::start(&config, &flow).inspect_err(|_| flow.close()).map_err(thread_failed)?;
        start_workers(&name, &flow, models).inspect_err(|_| flow.close()).map_err(thread_failed)?;
        let intake =
            intake::start(&config, model_info.inputs, conversation.subscriber, flow.clone(), duplicates)
                .inspect_err(|_| flow.close())
                .map_err(thread_failed)?;
        info!(
            deployment = name,
            placement = config.placement,
            model = model_info.name,
            topics = ?config.topics.request,
            "deployment started"
        );
        let view = View { name, placement: config.placement, model: Arc::new(model_info), ledger, workers };
        Ok(Self { view, flow, publisher: conversation.publisher, intake: Mutex::new(intake), network })
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

    /// Its simulated network, which can be changed.
    pub fn network(&self) -> &NetworkControl {
        &self.network
    }

    /// Whether its threads run.
    pub fn is_alive(&self) -> bool {
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        !intake.thread.is_finished() && self.network.is_alive() && self.flow.workers().is_alive()
    }

    /// Takes no more requests; those that are under way go on.
    pub fn stop_receiving(&self) {
        self.publisher.stop_receiving();
    }

    /// Waits until `deadline` for every accepted request to be answered, then ends. Returns the final counts; what is in
    /// flight in them was left behind.
    pub fn finish(self, deadline: Instant) -> Statistics {
        self.stop_receiving();
        // The intake ends once the broker has confirmed the end of the subscription.
        let wait = deadline.saturating_duration_since(Instant::now());
        let intake = self.intake.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = intake.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected);
        if ended && intake.thread.join().is_err() {
            error!(deployment = self.view.name, "the intake thread panicked");
        }
        let left = self.flow.ledger().wait_until_drained(deadline);
        let stages = self.network.close();
        self.flow.close();
        // With requests left, a model is busy with them: its thread ends by itself when it returns.
        if left == 0 {
            let workers_ended = self.flow.workers().join();
            let stages_ended = stages.into_iter().all(|stage| stage.join().is_ok());
            if !(workers_ended && stages_ended) {
                error!(deployment = self.view.name, "a thread of the deployment panicked");
            }
        }
        self.flow.ledger().statistics()
    }
}

/// The model, and as many of it as there are workers.
fn one_for_each_worker(
    config: &Config,
    detector: Detector,
) -> Result<(ModelInfo, Vec<Box<dyn Model>>), DeploymentError> {
    let (name, workers) = (config.name.clone(), config.workers);
    if !(1..=WORKERS_MAX).contains(&workers) {
        return Err(DeploymentError::Workers { name, workers });
    }
    let (info, model) = detector.into_parts();
    let Some(mut models) = (1..workers).map(|_| model.replica()).collect::<Option<Vec<_>>>() else {
        return Err(DeploymentError::OneModelOnly { name, workers, model: info.name });
    };
    models.push(model);
    Ok((info, models))
}

fn start_workers(name: &str, flow: &Flow, models: Vec<Box<dyn Model>>) -> io::Result<()> {
    let mut stage = flow.clone();
    let answer = move |done: &mut Vec<Done<Ticket>>| stage.on_done(done);
    flow.workers().serve(name, models, answer)
}
