//! A node as a service, for `serve` and `broker` alike: the ready line, signals,
//! health over HTTP, whoever watches the process, and the end.

pub mod check;
pub mod flags;
pub mod reload;
mod supervisor;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::{info, warn};

use self::reload::ConfigFile;
use self::supervisor::{Supervisor, Words};
use super::held_log::Held;
use super::signals::{self, Signal};
use super::{NodeDied, output};
use crate::config::BrokerFile;
use crate::node::{self, BrokerChoice, Node, NodeBuilder, NotReady, Observer, Readiness, Totals};
use crate::{broker, http};

/// What a service has beside its node.
pub struct Service {
    /// Where health and metrics are served.
    pub http: Option<http::Config>,
    /// The file that it was configured by.
    pub file: Option<ConfigFile>,
    /// The files beside that one, for the log.
    pub other_files: Vec<String>,
    /// The broker's own file.
    pub broker_file: Option<BrokerFile>,
    /// The broker elsewhere that it uses.
    pub remote: Option<String>,
    /// Where the models of its deployments are meant to stand.
    pub placements: Vec<String>,
    /// Prints the counts of deployments, and says how many requests were left behind.
    pub report: fn(Totals) -> anyhow::Result<u64>,
}

/// What is read again when the process is told to reload.
struct Files<'a> {
    node: Option<&'a ConfigFile>,
    broker: Option<&'a BrokerFile>,
}

/// How a service ended.
pub struct Ended {
    /// The counts of each deployment; none when it was told to stop before it was ready.
    pub totals: Totals,
    /// Why the node died, where nobody told it to stop.
    pub died: Option<NodeDied>,
}

impl Service {
    /// Says what runs here, before the lines that were `held`, starts the node, says when it is ready, and
    /// returns when it has been told to stop or has died.
    ///
    /// # Errors
    /// When it cannot be started, or dies before it is ready.
    pub fn run(self, config: node::Config, held: Held) -> anyhow::Result<Ended> {
        held.first(|| self.introduce(&config));
        let builder = NodeBuilder::from(config);
        let observer = Observer::default();
        let (watched, report) = (observer.clone(), self.report);
        let signals = signals::listen(move || end_at_once(&watched, report))?;
        // From before the models are loaded until after the last request is answered.
        let http = self.http.map(|config| http::Server::start(config, observer.clone())).transpose()?;
        let words = if self.placements.is_empty() { Words::BROKER } else { Words::NODE };
        let mut supervisor = Supervisor::from_environment(words);
        let node = builder.observer(&observer).start()?;
        let files = Files { node: self.file.as_ref(), broker: self.broker_file.as_ref() };
        let Some(node) = wait_until_ready(node, &signals, &mut supervisor, &files)? else {
            return Ok(Ended { totals: Totals::default(), died: None });
        };
        output::line(&self.ready_line(&node, http.as_ref()))?;
        supervisor.ready();
        let died = wait_for_end(&node, &signals, &mut supervisor, &files);
        supervisor.stopping();
        Ok(Ended { totals: node.stop(), died: died.map(NodeDied) })
    }

    /// The first line of the log: what runs here, by which files, and how much it will take.
    fn introduce(&self, config: &node::Config) {
        let files = self.file.iter().map(|file| file.path().display().to_string());
        let files: Vec<_> = files.chain(self.other_files.iter().cloned()).collect();
        let files = (!files.is_empty()).then(|| files.join(", "));
        let broker = match &config.broker {
            BrokerChoice::Embedded(broker) => Some(broker),
            BrokerChoice::Elsewhere(_) => None,
        };
        let in_flight_max: usize = config.deployments.iter().map(|one| one.config.in_flight_max).sum();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            commit = option_env!("NEARFAR_COMMIT"),
            files,
            node_id = config.node_id,
            deployments = config.deployments.len(),
            in_flight_max = (in_flight_max > 0).then_some(in_flight_max),
            connections_max = broker.map(|broker| broker.router.connections_max),
            memory_max = broker.map(|broker| broker.limits.memory_bytes_max()),
            open_files_max = broker::open_files_max(),
            "nearfar starts"
        );
    }

    fn ready_line(&self, node: &Node, http: Option<&http::Server>) -> String {
        let mut line = "ready".to_owned();
        for scheme in ["mqtt", "mqtts", "ws", "wss"] {
            let of_scheme = node.endpoints().iter().filter(|endpoint| endpoint.scheme == scheme);
            let mut addresses: Vec<_> = of_scheme.map(|endpoint| endpoint.address.to_string()).collect();
            if scheme == "mqtt" {
                addresses.extend(self.remote.clone());
            } else if addresses.is_empty() {
                continue;
            }
            line += &format!(" {scheme}={}", addresses.join(","));
        }
        if let Some(http) = http {
            line += &format!(" http={}", http.address());
        }
        let models: Vec<_> = node.deployments().map(|deployment| deployment.model().name.clone()).collect();
        if models.is_empty() {
            return line;
        }
        line + &format!(" model={} placement={}", models.join(","), self.placements.join(","))
    }
}

/// How often the node's health is looked at; signals are noticed at once.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The node once it is ready; none when it was told to stop before.
fn wait_until_ready(
    node: Node,
    signals: &Receiver<Signal>,
    supervisor: &mut Supervisor,
    files: &Files<'_>,
) -> anyhow::Result<Option<Node>> {
    loop {
        match node.wait_until_ready(HEALTH_CHECK_INTERVAL) {
            Ok(()) => return Ok(Some(node)),
            Err(NotReady(Readiness::Failed(reason))) => return Err(NodeDied(reason).into()),
            Err(NotReady(readiness)) => match signals.try_recv() {
                Ok(Signal::Stop) => {
                    supervisor.stopping();
                    node.stop();
                    return Ok(None);
                }
                Ok(Signal::Reload) => reload(&node, files),
                Err(_) => supervisor.starting(&readiness),
            },
        }
    }
}

/// Waits for a signal, or for the node's death, whose reason it returns.
fn wait_for_end(
    node: &Node,
    signals: &Receiver<Signal>,
    supervisor: &mut Supervisor,
    files: &Files<'_>,
) -> Option<String> {
    loop {
        match signals.recv_timeout(HEALTH_CHECK_INTERVAL) {
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Ok(Signal::Reload) => reload(node, files),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let readiness = node.readiness();
        supervisor.running(&readiness);
        if let Readiness::Failed(reason) = readiness {
            return Some(reason);
        }
    }
}

/// The last words of a process that is told to stop for the second time.
fn end_at_once(observer: &Observer, report: fn(Totals) -> anyhow::Result<u64>) {
    let deployments = observer.snapshot().deployments.into_iter();
    let totals: Vec<_> = deployments.map(|one| (one.name, one.statistics)).collect();
    let left_behind: u64 = totals.iter().map(|(_, total)| total.in_flight).sum();
    warn!(left_behind, "ended by a second signal, without waiting for the answers to what was accepted");
    // Where they cannot be written nobody is left to be told.
    report(totals.into()).ok();
}

/// Reads users, access rules, simulated networks and the like again; what cannot be used is logged, and at
/// the end what all of it came to.
fn reload(node: &Node, files: &Files<'_>) {
    // What could not be used is in the log. One that fails keeps nothing else from being read. The broker's
    // own file comes first: of a certificate it knows the line that names it.
    let of_broker_file = files.broker.map(reload::read_broker_file_again);
    let broker = node.broker().map(|broker| (broker.reloads(), broker.reload().is_ok()));
    let reloaded = files.node.map(|file| file.reload(node));
    let succeeds = broker.is_none_or(|(_, succeeds)| succeeds)
        && of_broker_file.as_ref().is_none_or(|reloaded| reloaded.failed == 0)
        && reloaded.as_ref().is_none_or(|reloaded| reloaded.failed == 0);
    node.observer().note_reload(succeeds);
    let of_broker = match broker {
        None => "the certificates for the broker elsewhere are read at each connection".to_owned(),
        Some((0, _)) => "the broker has no users, rules or certificates to read".to_owned(),
        Some((_, true)) => "users, rules and certificates that the broker has were read".to_owned(),
        Some((_, false)) => "of users, rules and certificates what cannot be used stays as it was".to_owned(),
    };
    let of_file = match reloaded {
        None => "there is no file with simulated networks (--config)".to_owned(),
        Some(reloaded) => format!("of the file {reloaded}"),
    };
    let of_broker_file =
        of_broker_file.map(|reloaded| format!("; of the broker's file {reloaded}")).unwrap_or_default();
    if succeeds {
        info!("told to reload: {of_broker}; {of_file}{of_broker_file}");
    } else {
        warn!("told to reload, and not all of it could be: {of_broker}; {of_file}{of_broker_file}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment;

    #[test]
    fn a_node_that_dies_ends_the_program_with_a_status_of_its_own() {
        let node = Node::builder()
            .embedded_broker(broker::Config::loopback())
            .deployment(
                deployment::Config::edge(),
                concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector"),
            )
            .start()
            .unwrap();
        node.broker().unwrap().kill_router();
        let (_nobody_signals, signals) = std::sync::mpsc::sync_channel(1);
        let (mut supervisor, files) =
            (Supervisor::from_environment(Words::NODE), Files { node: None, broker: None });
        let reason = wait_for_end(&node, &signals, &mut supervisor, &files).expect("the node has died");
        assert_eq!(crate::cli::exit_status::of(&NodeDied(reason).into()), 70);
    }
}
