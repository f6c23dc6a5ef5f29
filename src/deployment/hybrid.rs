//! What makes a deployment a hybrid: a second site, the cloud, and a policy that
//! chooses between both for each request.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::flow::{End, Flow, Ticket};
use super::junction::{self, Dispatcher, Junction};
use super::outbox::Outbox;
use super::{Config, NetworkControl};
use crate::inference::Site;
use crate::model::{Model, ModelInfo};
use crate::network::Profile;
use crate::placement::{self, Chooser, Policy, Probing};
use crate::worker::{self, Pool};

/// The cloud of a hybrid deployment. Network, workers and model of the deployment itself are the edge's.
#[derive(Debug, Clone, PartialEq)]
pub struct Hybrid {
    /// The simulated network between sensors and cloud. Default 50 ms each way.
    pub network: Profile,
    /// The bounds of the cloud's workers and their queue.
    pub worker: worker::Config,
    /// How many threads call the cloud's model. Default 1.
    pub workers: usize,
    /// Who answers.
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
            worker: worker::Config::default(),
            workers: 1,
            placement: placement::Config::new(policy),
        }
    }
}

/// A running cloud, and where it meets the edge.
pub struct Cloud {
    pub junction: Junction,
    pub flow: Flow,
    pub model: Arc<ModelInfo>,
}

impl Cloud {
    /// The cloud of `hybrid` with `model`, and the flow to the edge.
    pub fn beside_edge(
        config: &Config,
        hybrid: &Hybrid,
        [edge, cloud]: [&ModelInfo; 2],
        outbox: Outbox,
    ) -> (Self, Flow) {
        let chooser = Chooser::new(hybrid.placement, [edge.threshold, cloud.threshold], config.deadline);
        let junction = Junction::new(&config.name, chooser, config.in_flight_max, outbox);
        let flow = |site, network: &Profile, worker| {
            let workers = Pool::new(worker, |ticket: &Box<Ticket>| ticket.caller.device_id.as_ref());
            Flow::new(network, config.in_flight_max, workers, End::Junction(Box::new(junction.clone()), site))
        };
        let at_edge = flow(Site::Edge, &config.network, config.worker);
        let flow = flow(Site::Cloud, &hybrid.network, hybrid.worker);
        (Self { junction, flow, model: Arc::new(cloud.clone()) }, at_edge)
    }

    /// Ends its threads: the workers once their queue is empty, the others at once.
    pub fn close(&self) {
        self.flow.close();
        self.junction.shared().close();
    }

    /// What can be seen of it.
    pub fn view(&self) -> CloudView {
        CloudView {
            model: Arc::clone(&self.model),
            workers: self.flow.workers().clone(),
            junction: Arc::clone(self.junction.shared()),
        }
    }
}

/// The threads of a cloud, and the one that sends what neither intake nor worker may.
pub struct Beyond {
    pub network: NetworkControl,
    dispatcher: JoinHandle<()>,
}

impl Beyond {
    /// Starts them for the deployment `name`, where `edge` is the way to the edge and
    /// `network` lies before the cloud.
    pub fn start(
        name: &str,
        edge: &Flow,
        cloud: &Cloud,
        network: &Profile,
        models: Vec<Box<dyn Model>>,
    ) -> io::Result<Self> {
        let threads = format!("{name}-cloud");
        super::start_workers(&threads, &cloud.flow, models)?;
        let network = NetworkControl::start(name, &threads, network, &cloud.flow)?;
        let dispatcher = Dispatcher::new(cloud.junction.clone(), [edge.clone(), cloud.flow.clone()]);
        let thread = thread::Builder::new().name(format!("dispatch-{name}"));
        Ok(Self { network, dispatcher: thread.spawn(move || dispatcher.run())? })
    }

    /// Whether all of them run.
    pub fn is_alive(&self) -> bool {
        self.network.is_alive() && !self.dispatcher.is_finished()
    }

    /// Allows no more changes of the network, and hands over the threads, to be waited for.
    pub fn close(self) -> Vec<JoinHandle<()>> {
        let mut threads = self.network.close();
        threads.push(self.dispatcher);
        threads
    }
}

/// What can be seen of a hybrid's cloud without holding it.
#[derive(Clone)]
pub struct CloudView {
    pub model: Arc<ModelInfo>,
    pub workers: Pool<Box<Ticket>>,
    pub junction: Arc<junction::Shared>,
}
