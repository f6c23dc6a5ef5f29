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
//! the edge and to the cloud, between one intake and one outbox, which meet where it is decided who answers.
//! A request as one of the two sites sees it is called a leg.
//!
//! Two deployments of one node, on topics of their own, and one of them with bounds that are not the usual
//! ones:
//! ```
//! use std::time::Duration;
//!
//! use nearfar::deployment::{Config, QueuePolicy, Topics, WorkerConfig};
//! use nearfar::{Detector, Node};
//!
//! let worker = WorkerConfig { queue_policy: QueuePolicy::LatestPerDevice, ..WorkerConfig::default() };
//! let near = Config { worker, ..Config::edge().topics(Topics::under("near/")) };
//! let deadline = Some(Duration::from_millis(500));
//! let far = Config { deadline, ..Config::cloud().topics(Topics::under("far/")) };
//! let node =
//!     Node::builder().deployment(near, Detector::shipped()?).deployment(far, Detector::shipped()?).start()?;
//! let names: Vec<_> = node.deployments().map(|deployment| deployment.name()).collect();
//! assert_eq!(names, ["edge", "cloud"]);
//! # Ok::<(), nearfar::node::NodeError>(())
//! ```

mod admission;
mod asker;
mod checks;
mod config;
mod crowd;
mod destination;
mod device_state;
mod devices;
mod dispatcher;
mod duplicates;
mod entrance;
mod error;
mod flow;
mod in_flight_bytes;
mod intake;
mod junction;
mod network_control;
mod outbox;
mod reply;
mod ticket;
mod trace_context;
mod view;
mod way;

use std::fmt;
use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{error, info};

use self::admission::Admission;
use self::asker::Desk;
use self::destination::Destination;
use self::device_state::Keeper;
use self::dispatcher::Dispatcher;
use self::duplicates::Duplicates;
use self::entrance::Entrance;
use self::junction::Junction;
use self::outbox::Outbox;
use self::way::{Plan, Way};
use crate::client::{Client, Publisher};
use crate::inference::{PerSite, Request, Site};
use crate::ledger::{Ledger, Statistics};
use crate::model::{Detector, ModelInfo};
use crate::placement::Chooser;
use crate::sync::{self, lock};
use crate::worker;

pub use self::asker::Asker;
pub use self::config::{Config, DeviceIdFrom, Hybrid, Topics, Window};
pub use self::device_state::DeviceState;
pub use self::devices::Devices;
pub use self::error::{DeploymentError, ExchangeError};
pub use self::in_flight_bytes::{IN_FLIGHT_BYTES_MAX, in_flight_bytes_max};
pub use self::network_control::{Change, ChangeError, NetworkControl};
pub use self::reply::{Answered, Pending};
pub use self::view::View;
pub use crate::worker::{FAILURES_MAX, QueuePolicy, WORKERS_MAX, WorkerConfig, WorkerHealth};

/// A running deployment.
pub struct Deployment {
    view: View,
    /// One, or a hybrid's to edge and cloud, in this order.
    ways: Vec<Way>,
    /// What sends a hybrid's later legs.
    dispatcher: Option<Dispatcher>,
    publisher: Arc<dyn Publisher>,
    /// Waiting for its end is for one thread at a time, while others look whether it runs.
    intake: Mutex<intake::Running>,
    desk: Arc<Desk>,
    /// Told when another model has come into force.
    on_exchange: Option<Box<dyn Fn() + Send + Sync>>,
    devices: Devices,
    /// What writes the devices' state, where it is kept.
    keeper: Option<Keeper>,
}

impl Deployment {
    /// Starts the deployment's threads and subscribes to its request topics. The cloud
    /// of a hybrid has a copy of the same model.
    ///
    /// # Errors
    /// [`DeploymentError`] when no deployment can be so, the model is not as it is described, there cannot be
    /// as many workers, a thread cannot be started, or the broker refuses the subscription.
    pub fn start(config: Config, detector: Detector, client: &dyn Client) -> Result<Self, DeploymentError> {
        Self::start_with_cloud(config, detector, None, client)
    }

    /// Makes sure that a deployment could have these models. Nothing is started.
    ///
    /// # Errors
    /// What is wrong with the models, or how many copies of them are wanted.
    pub(crate) fn check(
        config: &Config,
        detector: Detector,
        cloud: Option<Detector>,
    ) -> Result<(), DeploymentError> {
        Plan::all(config, detector, cloud).map(|_plans| ())
    }

    /// Starts the deployment's threads, where the cloud of a hybrid has a model of its own.
    ///
    /// # Errors
    /// What [`start`](Self::start) fails for, and when the two models do not take the same requests.
    pub fn start_with_cloud(
        config: Config,
        detector: Detector,
        cloud: Option<Detector>,
        client: &dyn Client,
    ) -> Result<Self, DeploymentError> {
        // What can be wrong with settings and models is found before anything runs.
        config.check()?;
        if let (Some(state), Some(memory)) = (&config.device_state, detector.memory()) {
            device_state::restore(&config.name, &state.path, memory);
        }
        let plans = Plan::all(&config, detector, cloud)?;
        let name = config.name.clone();
        // What the broker refuses costs no thread. Requests that come meanwhile wait in the subscription.
        let conversation = client
            .open(&name, &config.topics.request, config.acknowledge)
            .map_err(|source| DeploymentError::Client { name: name.clone(), source })?;
        let thread_failed = |source| DeploymentError::Thread { name: name.clone(), source };
        let (ledger, duplicates) = (Arc::<Ledger>::default(), Duplicates::new(config.duplicates));
        let publisher = conversation.publisher;
        let outbox = Outbox::new(&config, Arc::clone(&publisher), Arc::clone(&ledger), duplicates.clone());
        let junction = config.hybrid.as_ref().map(|hybrid| {
            let chooser = Chooser::new(hybrid.placement, config.deadline);
            Junction::new(&name, chooser, config.in_flight_max, outbox.clone())
        });
        // Each thread is started after those that it hands over to, and what runs ends by being dropped,
        // should a later one not start.
        let start = |plan: Plan| {
            let destination = Destination::of(plan.site, junction.as_ref(), &outbox);
            Way::start(&config, plan, destination)
        };
        let ways = plans.into_iter().map(start).collect::<Result<Vec<_>, _>>().map_err(thread_failed)?;
        let devices = Devices::new(&name, ways.iter().map(|way| way.workers().clone()).collect());
        let edge = ways[0].workers().clone();
        let keep = |state| Keeper::start(&name, state, move || edge.memory());
        let keeper = config.device_state.as_ref().map(keep).transpose().map_err(thread_failed)?;
        let (entrance, dispatcher) = enter(&name, &ways, junction.as_ref()).map_err(thread_failed)?;
        let view = View::of(&config, ledger, &ways, junction.as_ref());
        let inputs = view.model().inputs;
        // Requests that come from the broker and those that are asked here are let in by the same bounds.
        let admission = Arc::new(Admission::new(&config));
        let desk = Desk::new(&config, inputs, Arc::clone(&admission), entrance.clone());
        // Last: from here on there are requests.
        let subscriber = conversation.subscriber;
        let intake = intake::start(&config, inputs, subscriber, admission, entrance, duplicates)
            .map_err(thread_failed)?;
        log_start(&config, &view);
        let (intake, desk) = (Mutex::new(intake), Arc::new(desk));
        let on_exchange = None;
        Ok(Self { view, ways, dispatcher, publisher, intake, desk, on_exchange, devices, keeper })
    }

    /// The deployment's name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// The model in force; a hybrid's at the edge.
    pub fn model(&self) -> Arc<ModelInfo> {
        self.view.model()
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
    pub fn health(&self) -> worker::WorkerHealth {
        self.view.health()
    }

    /// Its simulated network, which can be changed; of a hybrid, the one before the cloud.
    pub fn network(&self) -> &NetworkControl {
        self.ways.last().expect("a deployment has a way").network()
    }

    /// What it knows of devices, for whoever has one of them learn anew.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Asks from within this process: the request goes the way of those that come over MQTT, through the same
    /// bounds, simulated network, queue and counts. It may start `within` so long, or before the
    /// deployment's own deadline, if that is earlier. It returns at once, with an answer that is to come;
    /// to drop that is to leave, and a request whose caller has left is not given to the model any more: its
    /// deadline has passed, and it counts as `DEADLINE_EXCEEDED`.
    ///
    /// A question is never a duplicate of another one. On a simulated link with a bandwidth it weighs as much
    /// as its features in memory.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use nearfar::inference::{DeviceId, Request};
    /// use nearfar::{Detector, Node, deployment};
    ///
    /// let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
    /// let edge = node.deployment("edge").expect("it is called so");
    /// let request = Request::new([0.5; 32]).of(DeviceId::new("press-7")?);
    /// let answered = edge.ask(request, None).wait(Duration::from_secs(10))?;
    /// println!("{:.3} by {}", answered.prediction.score(), answered.by.model);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ask(&self, request: impl Into<Request>, within: Option<Duration>) -> Pending {
        self.desk.ask(request.into(), within)
    }

    /// Whoever asks without holding the deployment.
    pub fn asker(&self) -> Asker {
        Asker::at(&self.desk)
    }

    /// Puts `detector` in the place of the model in force, between two batches and without stopping
    /// anything; of a hybrid, at the edge. Returns how often that has been done. What is with a model stays
    /// with it; what arrives after this is answered by the new one. Each answer knows whose it is.
    ///
    /// # Errors
    /// [`ExchangeError`], and the model before stays in force.
    pub fn exchange(&self, detector: Detector) -> Result<u64, ExchangeError> {
        self.exchange_at(Site::Edge, detector)
    }

    /// Puts `detector` in the place of the model in force at one `site` of a hybrid. The other site's stays,
    /// also where it was a copy of the same.
    ///
    /// # Errors
    /// [`ExchangeError`], and the model before stays in force.
    pub fn exchange_at(&self, site: Site, detector: Detector) -> Result<u64, ExchangeError> {
        let (name, model) = (self.name(), detector.info().name.clone());
        let way = self.ways.iter().find(|way| way.site() == site);
        let way = way.ok_or_else(|| ExchangeError::NoSuchSite { name: name.to_owned(), site })?;
        let revision = way.exchange(name, detector)?;
        info!(deployment = name, placement = way.placement(), model, revision, "another model is in force");
        self.on_exchange.iter().for_each(|tell| tell());
        Ok(revision)
    }

    /// Has `tell` called whenever another model has come into force.
    pub(crate) fn on_exchange(&mut self, tell: impl Fn() + Send + Sync + 'static) {
        self.on_exchange = Some(Box::new(tell));
    }

    /// Whether its threads run.
    pub fn is_alive(&self) -> bool {
        let intake = lock(&self.intake);
        !intake.thread.is_finished()
            && self.ways.iter().all(Way::is_alive)
            && self.dispatcher.as_ref().is_none_or(Dispatcher::is_alive)
    }

    /// Takes no more requests; those that are under way go on.
    pub fn stop_receiving(&self) {
        self.publisher.stop_receiving();
        self.desk.close();
    }

    /// Waits until `deadline` for every accepted request to be answered, then ends.
    /// Returns the final counts; what is in flight in them was left behind.
    pub fn finish(self, deadline: Instant) -> Statistics {
        self.stop_receiving();
        let Self { view, ways, dispatcher, intake, keeper, .. } = self;
        // The intake ends once the broker has confirmed the end of the subscription.
        let wait = deadline.saturating_duration_since(Instant::now());
        let intake = sync::into_inner(intake);
        let ended = intake.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected);
        if ended && intake.thread.join().is_err() {
            error!(deployment = view.name, "the intake thread panicked");
        }
        let left = view.ledger.wait_until_drained(deadline);
        let mut stages: Vec<_> = ways.iter().flat_map(Way::close).collect();
        stages.extend(dispatcher.and_then(Dispatcher::close));
        // With requests left, a model is busy with them: its thread ends by itself when it returns.
        if left == 0 {
            // A hybrid's workers may be busy with legs that nobody waits for.
            let is_idle =
                |way: &&Way| view.junction.as_ref().is_none_or(|meeting| !meeting.has_legs(way.site()));
            // All of them, whatever the first ones say.
            let workers = ways.iter().filter(is_idle).map(|way| way.workers().join());
            let stages = stages.into_iter().map(|stage| stage.join().is_ok());
            if !workers.chain(stages).fold(true, |all, one| all & one) {
                error!(deployment = view.name, "a thread of the deployment panicked");
            }
        }
        // Nothing is learnt any more.
        keeper.into_iter().for_each(Keeper::finish);
        view.statistics()
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deployment").field(&self.view).finish()
    }
}

/// The way in, to one way or to where two of them meet; and what sends a hybrid's later legs.
fn enter(
    name: &str,
    ways: &[Way],
    junction: Option<&Junction>,
) -> io::Result<(Entrance, Option<Dispatcher>)> {
    let (Some(junction), [edge, cloud]) = (junction, ways) else {
        return Ok((Entrance::of(ways[0].flow().clone()), None));
    };
    let flows = PerSite { edge: edge.flow().clone(), cloud: cloud.flow().clone() };
    let dispatcher = Dispatcher::start(name, junction.clone(), flows.clone())?;
    Ok((Entrance::hybrid(junction.clone(), flows), Some(dispatcher)))
}

fn log_start(config: &Config, view: &View) {
    info!(
        deployment = view.name,
        placement = view.placement,
        model = view.model().name,
        cloud_model = view.cloud_model().map(|model| model.name.clone()),
        policy = config.hybrid.as_ref().map(|hybrid| hybrid.placement.policy.name()),
        topics = ?config.topics.request,
        "deployment started"
    );
}
