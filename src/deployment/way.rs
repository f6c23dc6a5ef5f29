//! One way that requests of a deployment take: a simulated network, a queue, and the workers of a model at
//! one site. A deployment has one; a hybrid has two, to edge and cloud.

use std::io;
use std::thread::JoinHandle;

use super::config::Config;
use super::destination::Destination;
use super::error::{DeploymentError, ExchangeError};
use super::flow::Flow;
use super::network_control::NetworkControl;
use super::ticket::Ticket;
use crate::inference::{PerSite, Site};
use crate::model::Detector;
use crate::network::Profile;
use crate::worker::{self, Copies, Done, Pool, WORKERS_MAX};

/// What a way is made of, before anything of it runs.
pub struct Plan {
    pub site: Site,
    /// Where its answers say that they were made.
    placement: String,
    /// What its threads are called after.
    threads: String,
    network: Profile,
    worker: worker::WorkerConfig,
    workers: usize,
    copies: Copies,
}

impl Plan {
    /// The ways of a deployment with these models: the edge's, or only one, and for a hybrid the cloud's. A
    /// hybrid's `cloud` without a model of its own has a copy of the edge's.
    pub fn all(
        config: &Config,
        detector: Detector,
        cloud: Option<Detector>,
    ) -> Result<Vec<Self>, DeploymentError> {
        let name = &config.name;
        let placement = if config.hybrid.is_some() { Site::Edge.as_str() } else { &config.placement };
        let edge = Self {
            site: Site::Edge,
            placement: placement.to_owned(),
            threads: name.clone(),
            network: config.network.clone(),
            worker: config.worker,
            workers: config.workers,
            copies: for_workers(name, config.workers, detector)?,
        };
        let Some(hybrid) = &config.hybrid else { return Ok(vec![edge]) };
        let copies = match cloud {
            Some(own) => for_workers(name, hybrid.workers, own)?,
            None => copies_again(name, hybrid.workers, &edge.copies)?,
        };
        let inputs = PerSite { edge: edge.copies.info().inputs, cloud: copies.info().inputs };
        if inputs.edge != inputs.cloud {
            return Err(DeploymentError::InputsDiffer { name: name.clone(), inputs });
        }
        let cloud = Self {
            site: Site::Cloud,
            placement: Site::Cloud.as_str().to_owned(),
            threads: format!("{name}-cloud"),
            network: hybrid.network.clone(),
            worker: hybrid.worker,
            workers: hybrid.workers,
            copies,
        };
        Ok(vec![edge, cloud])
    }
}

/// The detector's model for so many workers of deployment `name`.
fn for_workers(name: &str, workers: usize, detector: Detector) -> Result<Copies, DeploymentError> {
    check_workers(name, workers)?;
    let (name, model) = (name.to_owned(), detector.info().name.clone());
    if let Err(error) = detector.check() {
        return Err(DeploymentError::Model { name, model, problem: error.to_string() });
    }
    Copies::of(detector, workers).ok_or(DeploymentError::OneModelOnly { name, workers, model })
}

/// The edge's model for so many workers of the cloud.
fn copies_again(name: &str, workers: usize, edge: &Copies) -> Result<Copies, DeploymentError> {
    check_workers(name, workers)?;
    let (name, model) = (name.to_owned(), edge.info().name.clone());
    edge.again(workers).ok_or(DeploymentError::NoCloudModel { name, model })
}

fn check_workers(name: &str, workers: usize) -> Result<(), DeploymentError> {
    let is_possible = (1..=WORKERS_MAX).contains(&workers);
    is_possible.then_some(()).ok_or_else(|| DeploymentError::Workers { name: name.to_owned(), workers })
}

/// A way whose threads run. Dropping it ends them.
pub struct Way {
    site: Site,
    placement: String,
    flow: Flow,
    network: NetworkControl,
    workers: usize,
}

impl Way {
    /// Starts the threads of a way whose answers go to `destination`.
    pub fn start(config: &Config, plan: Plan, destination: Destination) -> io::Result<Self> {
        let Plan { site, placement, threads, network, worker, workers, copies } = plan;
        let pool = Pool::new(worker, &placement, copies);
        let flow = Flow::new(&network, config.in_flight_max, pool, destination);
        let run = || {
            serve(&flow, &threads, workers)?;
            // After the workers: the network's thread hands over to them.
            NetworkControl::start(&config.name, &threads, &network, &flow)
        };
        // Whatever does not start: what runs by then ends.
        let network = run().inspect_err(|_| flow.close())?;
        Ok(Self { site, placement, flow, network, workers })
    }

    pub fn site(&self) -> Site {
        self.site
    }

    /// Where its answers say that they were made.
    pub fn placement(&self) -> &str {
        &self.placement
    }

    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Its queue and the workers behind it.
    pub fn workers(&self) -> &Pool<Box<Ticket>> {
        self.flow.workers()
    }

    pub fn network(&self) -> &NetworkControl {
        &self.network
    }

    /// Puts another model in force here, in deployment `name`, and returns how often that has been done.
    pub fn exchange(&self, name: &str, detector: Detector) -> Result<u64, ExchangeError> {
        let (inputs, expected) = (detector.info().inputs, self.workers().model().inputs);
        let (name, model) = (name.to_owned(), detector.info().name.clone());
        if inputs != expected {
            return Err(ExchangeError::InputsDiffer { name, model, inputs, expected });
        }
        if let Err(error) = detector.check() {
            return Err(ExchangeError::Model { name, model, problem: error.to_string() });
        }
        let workers = self.workers;
        let copies = Copies::of(detector, workers);
        let copies = copies.ok_or(ExchangeError::OneModelOnly { name, model, workers })?;
        Ok(self.workers().exchange(copies))
    }

    /// Whether its threads run.
    pub fn is_alive(&self) -> bool {
        self.workers().is_alive() && self.network.is_alive()
    }

    /// Ends its threads: the workers once their queue is empty, the others at once. Allows no more changes
    /// of the network, and hands over its threads, to be waited for.
    pub fn close(&self) -> Vec<JoinHandle<()>> {
        let stages = self.network.close();
        self.flow.close();
        stages
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.flow.close();
    }
}

/// Starts the workers of `flow`, called after `threads`.
pub fn serve(flow: &Flow, threads: &str, workers: usize) -> io::Result<()> {
    let mut stage = flow.clone();
    let answer = move |done: &mut Vec<Done<Box<Ticket>>>| stage.on_done(done);
    flow.workers().serve(threads, workers, answer)
}
