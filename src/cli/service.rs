//! A node as a service, for `serve` and `broker` alike: the ready line, signals,
//! health over HTTP, whoever watches the process, and the end.

pub mod flags;
pub mod reload;
mod supervisor;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use self::reload::ConfigFile;
use self::supervisor::{Supervisor, Words};
use super::signals::{self, Signal};
use super::{NodeDied, output};
use crate::http;
use crate::ledger::Statistics;
use crate::node::{Node, NodeBuilder, NotReady, Observer, Readiness};

/// What a service has beside its node.
pub struct Service {
    /// Where health and metrics are served.
    pub http: Option<http::Config>,
    /// The file that it was configured by.
    pub file: Option<ConfigFile>,
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
    /// Starts the node, says when it is ready, and returns when it has been told to stop or has died.
    ///
    /// # Errors
    /// When it cannot be started, or dies before it is ready.
    pub fn run(self, builder: NodeBuilder) -> anyhow::Result<Ended> {
        let signals = signals::listen()?;
        let observer = Observer::default();
        // From before the models are loaded until after the last request is answered.
        let http = self.http.map(|config| http::Server::start(config, observer.clone())).transpose()?;
        let words = if self.placements.is_empty() { Words::BROKER } else { Words::NODE };
        let mut supervisor = Supervisor::from_environment(words);
        let node = builder.observer(&observer).start()?;
        let Some(node) = wait_until_ready(node, &signals, &mut supervisor)? else {
            return Ok(Ended { totals: Vec::new(), died: None });
        };
        output::line(&self.ready_line(&node, http.as_ref()))?;
        supervisor.ready();
        let died = wait_for_end(&node, &signals, &mut supervisor, self.file.as_ref());
        supervisor.stopping();
        Ok(Ended { totals: node.stop(), died: died.map(NodeDied) })
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
) -> anyhow::Result<Option<Node>> {
    loop {
        match node.wait_until_ready(HEALTH_CHECK_INTERVAL) {
            Ok(()) => return Ok(Some(node)),
            Err(NotReady(Readiness::Failed(reason))) => return Err(NodeDied(reason).into()),
            // What would be reloaded has just been read.
            Err(_) if signals.try_recv() == Ok(Signal::Stop) => {
                supervisor.stopping();
                node.stop();
                return Ok(None);
            }
            Err(NotReady(readiness)) => supervisor.starting(&readiness),
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

/// Reads users, access rules, simulated networks and the like again; what cannot be used is logged.
fn reload(node: &Node, file: Option<&ConfigFile>) {
    if node.broker().is_none() && file.is_none() {
        tracing::info!(
            "told to reload, but a node behind a broker elsewhere has nothing to reload without a file"
        );
    }
    // What could not be used is in the log. One that fails keeps nothing else from being read.
    let broker_succeeds = node.broker().is_none_or(|broker| broker.reload().is_ok());
    let networks_succeed = file.is_none_or(|file| file.reload_networks(node));
    node.observer().note_reload(broker_succeeds && networks_succeed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker, deployment};

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
