//! A node as a service, for `serve` and `broker` alike: the ready line, signals,
//! health over HTTP, whoever watches the process, and the end.

pub mod flags;
pub mod reload;
mod supervisor;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::{info, warn};

use self::reload::{ConfigFile, Reloaded};
use self::supervisor::{Supervisor, Words};
use super::held_log::Held;
use super::signals::{self, Signal};
use super::{NodeDied, output};
use crate::ledger::Statistics;
use crate::node::{self, BrokerChoice, Node, NodeBuilder, NotReady, Observer, Readiness};
use crate::{broker, http};

/// What a service has beside its node.
pub struct Service {
    /// Where health and metrics are served.
    pub http: Option<http::Config>,
    /// The file that it was configured by.
    pub file: Option<ConfigFile>,
    /// The files beside that one, for the log.
    pub other_files: Vec<String>,
    /// The broker elsewhere that it uses.
    pub remote: Option<String>,
    /// Where the models of its deployments are meant to stand.
    pub placements: Vec<String>,
}

/// How a service ended.
pub struct Ended {
    /// The counts of each deployment; none when it was told to stop before it was ready.
    pub totals: Vec<(String, Statistics)>,
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
        let signals = signals::listen()?;
        let observer = Observer::default();
        // From before the models are loaded until after the last request is answered.
        let http = self.http.map(|config| http::Server::start(config, observer.clone())).transpose()?;
        let words = if self.placements.is_empty() { Words::BROKER } else { Words::NODE };
        let mut supervisor = Supervisor::from_environment(words);
        let node = builder.observer(&observer).start()?;
        let Some(node) = wait_until_ready(node, &signals, &mut supervisor, self.file.as_ref())? else {
            return Ok(Ended { totals: Vec::new(), died: None });
        };
        output::line(&self.ready_line(&node, http.as_ref()))?;
        supervisor.ready();
        let died = wait_for_end(&node, &signals, &mut supervisor, self.file.as_ref());
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
    file: Option<&ConfigFile>,
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
                Ok(Signal::Reload) => reload(&node, file),
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
    file: Option<&ConfigFile>,
) -> Option<String> {
    loop {
        match signals.recv_timeout(HEALTH_CHECK_INTERVAL) {
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Ok(Signal::Reload) => reload(node, file),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let readiness = node.readiness();
        supervisor.running(&readiness);
        if let Readiness::Failed(reason) = readiness {
            return Some(reason);
        }
    }
}

/// Reads users, access rules, simulated networks and the like again; what cannot be used is logged, and at
/// the end what all of it came to.
fn reload(node: &Node, file: Option<&ConfigFile>) {
    // What could not be used is in the log. One that fails keeps nothing else from being read.
    let broker = node.broker().map(|broker| (broker.reloads(), broker.reload().is_ok()));
    let reloaded = file.map(|file| file.reload(node));
    let succeeds = broker.is_none_or(|(_, succeeds)| succeeds)
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
        Some(Reloaded { failed: 1.., .. }) => "of the file what cannot be used stays as it was".to_owned(),
        Some(Reloaded { networks_changed, needs_restart, .. }) => format!(
            "of the file {}",
            match (networks_changed, needs_restart) {
                (0, 0) => "nothing has changed".to_owned(),
                (networks, 0) => format!("{networks} simulated networks have changed"),
                (networks, keys) => {
                    format!(
                        "{networks} simulated networks have changed, and {keys} keys that wait for a restart"
                    )
                }
            }
        ),
    };
    if succeeds {
        info!("told to reload: {of_broker}; {of_file}");
    } else {
        warn!("told to reload, and not all of it could be: {of_broker}; {of_file}");
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
        let reason = wait_for_end(&node, &signals, &mut Supervisor::from_environment(Words::NODE), None)
            .expect("the node has died");
        assert_eq!(crate::cli::exit_status::of(&NodeDied(reason).into()), 70);
    }
}
