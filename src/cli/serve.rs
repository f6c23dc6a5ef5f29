//! `nearfar serve`: a node that answers until it is told to stop.

mod reload;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Context;
use nearfar::config::{self, BrokerChoice, BrokerSection, ConfigError, DeploymentSection, NodeFile};
use nearfar::config::{HttpSection, RemoteSection, ServeConfig, ServedDeployment};
use nearfar::http;
use nearfar::metrics::HybridStatistics;
use nearfar::node::{Node, Observer, Readiness};

use self::reload::ConfigFile;
use self::supervisor::Supervisor;
use super::{LeftBehind, NodeDied, output};

#[derive(clap::Args)]
pub struct Args {
    /// A directory with config.json and model.safetensors, a .safetensors or a .pt file
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    model: Option<PathBuf>,
    /// Node configuration with any number of deployments (see nearfar.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in the cloud role, this many milliseconds away each way
    #[arg(long, value_name = "MS", allow_negative_numbers = true, conflicts_with = "config")]
    cloud_latency: Option<f64>,
    /// Where the embedded broker listens; port 0 takes a free one, named in the ready line [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["broker_host", "broker_port"])]
    listen: Option<SocketAddr>,
    /// The embedded broker's configuration, in rumqttd's own format [default: built in]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "broker_host"])]
    broker_config: Option<PathBuf>,
    /// Listen on addresses that other machines reach although no users are configured
    #[arg(long)]
    allow_anonymous: bool,
    /// Use the MQTT 5 broker at this host instead of the embedded one
    #[arg(long, value_name = "HOST", conflicts_with = "config")]
    broker_host: Option<String>,
    /// Port of the broker at --broker-host
    #[arg(long, value_name = "PORT", requires = "broker_host", default_value = "1883")]
    broker_port: u16,
    /// User at the broker at --broker-host; the password is read from NEARFAR_REMOTE_PASSWORD
    #[arg(long, value_name = "NAME", requires = "broker_host")]
    broker_username: Option<String>,
    /// The node's name, the last level of its status topic [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Serve health and metrics over HTTP here, such as 127.0.0.1:9464; port 0 takes a free one [default: not at all]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Let in only the users of this file, which `nearfar passwd` writes
    #[arg(long, value_name = "FILE", conflicts_with = "broker_host")]
    users: Option<PathBuf>,
    /// What users may publish and subscribe to (see docs/configuration.md)
    #[arg(long, value_name = "FILE", conflicts_with = "broker_host")]
    acl: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let (serve, file) = configure(args)?;
    let signals = listen_for_signals()?;
    let place = Place::of(&serve);
    let observer = Observer::default();
    // From before the models are loaded until after the last request is answered.
    let http = serve.http.map(|config| http::Server::start(config, observer.clone())).transpose()?;
    let mut supervisor = Supervisor::from_environment();
    let node = start(serve, &observer)?;
    let Some(node) = wait_until_ready(node, &signals, &mut supervisor)? else { return Ok(()) };
    output::line(&place.ready_line(&node, http.as_ref()))?;
    supervisor.ready();
    let died = wait_for_end(&node, &signals, &mut supervisor, file.as_ref());
    supervisor.stopping();
    let left_behind = report(node.stop())?;
    match died {
        Some(reason) => Err(NodeDied(reason).into()),
        None if left_behind > 0 => Err(LeftBehind(left_behind).into()),
        None => Ok(()),
    }
}

/// Flags, file and environment become one configuration.
fn configure(args: Args) -> Result<(ServeConfig, Option<ConfigFile>), ConfigError> {
    let named = args.config.as_deref().map(ConfigFile::read).transpose()?;
    let mut file = match &named {
        Some(named) => named.contents().clone(),
        None => config::without_file()?,
    };
    if let Some(model) = args.model {
        let placement = if args.cloud_latency.is_some() { "cloud" } else { "edge" };
        if let Some(latency) = args.cloud_latency {
            config::network(latency)
                .map_err(|problem| ConfigError::Override { origin: "--cloud-latency".to_owned(), problem })?;
        }
        let one_way_latency_ms = args.cloud_latency;
        let section = DeploymentSection { model, one_way_latency_ms, ..DeploymentSection::default() };
        file.deployments.insert(placement.to_owned(), section);
    }
    file.http = args.http.map(|listen| HttpSection { listen }).or(file.http);
    file.node_id = args.node_id.or(file.node_id);
    if let Some(host) = args.broker_host {
        let (port, username) = (Some(args.broker_port), args.broker_username);
        file.remote = Some(RemoteSection { host, port, username, ..RemoteSection::default() });
        file.broker = None;
    } else {
        let flags = BrokerSection {
            config: args.broker_config,
            listen: args.listen,
            allow_anonymous: args.allow_anonymous.then_some(true),
            users: args.users,
            access_rules: args.acl,
            refused_publish: None,
            refused_subscription: None,
            wide_filters: None,
        };
        merge_broker(&mut file, flags)?;
    }
    if file.deployments.is_empty() {
        return Err(ConfigError::Override {
            origin: args.config.map_or_else(String::new, |path| path.display().to_string()),
            problem: "no deployments: add a section such as [deployments.edge] with model = \"...\""
                .to_owned(),
        });
    }
    Ok((file.into_serve_config()?, named))
}

fn merge_broker(file: &mut NodeFile, flags: BrokerSection) -> Result<(), ConfigError> {
    if flags == BrokerSection::default() {
        return Ok(());
    }
    if file.remote.is_some() {
        return Err(ConfigError::Override {
            origin: "--listen, --broker-config, --allow-anonymous, --users, --acl".to_owned(),
            problem: "the configuration names a [remote] broker, so there is no embedded one to configure"
                .to_owned(),
        });
    }
    let broker = file.broker.get_or_insert_with(BrokerSection::default);
    broker.listen = flags.listen.or(broker.listen);
    broker.config = flags.config.or(broker.config.take());
    broker.allow_anonymous = flags.allow_anonymous.or(broker.allow_anonymous);
    broker.users = flags.users.or(broker.users.take());
    broker.access_rules = flags.access_rules.or(broker.access_rules.take());
    Ok(())
}

fn start(serve: ServeConfig, observer: &Observer) -> anyhow::Result<Node> {
    let mut builder = Node::builder()
        .observer(observer)
        .node_id(serve.node_id)
        .status_topic(serve.status_topic)
        .shutdown_grace(serve.shutdown_grace);
    if let Some(topic) = serve.network_topic {
        builder = builder.network_topic(topic);
    }
    builder = match serve.broker {
        BrokerChoice::Embedded(broker) => builder.embedded_broker(*broker),
        BrokerChoice::Elsewhere(remote) => builder.remote_broker(*remote),
    };
    for ServedDeployment { config, model, cloud_model } in serve.deployments {
        builder = match cloud_model {
            Some(cloud_model) => builder.hybrid(config, model, cloud_model),
            None => builder.deployment(config, model),
        };
    }
    Ok(builder.start()?)
}

/// What the ready line says beside the address.
struct Place {
    remote: Option<String>,
    placements: Vec<String>,
}

impl Place {
    fn of(serve: &ServeConfig) -> Self {
        let remote = match &serve.broker {
            BrokerChoice::Embedded(_) => None,
            BrokerChoice::Elsewhere(remote) => Some(format!("{}:{}", remote.host, remote.port)),
        };
        let placements = serve.deployments.iter().map(|one| one.config.placement.clone()).collect();
        Self { remote, placements }
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
        let models: Vec<_> = node.deployments().map(|(_, model)| model.name.clone()).collect();
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
            Err(Readiness::Failed(reason)) => return Err(NodeDied(reason).into()),
            // What would be reloaded has just been read.
            Err(_) if signals.try_recv() == Ok(Signal::Stop) => {
                supervisor.stopping();
                node.stop();
                return Ok(None);
            }
            Err(not_ready) => supervisor.starting(&not_ready),
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
    if let Some(broker) = node.broker() {
        // What could not be used is in the log.
        drop(broker.reload());
    }
    if let Some(file) = file {
        file.reload_networks(node);
    }
}

/// What another process tells this one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    Stop,
    Reload,
}

/// Signals that wait to be seen to.
const SIGNALS_MAX: usize = 4;

/// Ctrl-C and SIGTERM as messages, the second one ends the process without draining; SIGHUP to reload.
fn listen_for_signals() -> anyhow::Result<Receiver<Signal>> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = sync_channel(SIGNALS_MAX);
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let wait = move || {
        let mut is_stopping = false;
        loop {
            let received = runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => Signal::Stop,
                    _ = terminate.recv() => Signal::Stop,
                    _ = hangup.recv() => Signal::Reload,
                }
            });
            // With a full queue a reload waits in it already, and the process is too busy to stop by itself.
            let is_lost = sender.try_send(received).is_err();
            if received == Signal::Stop && (is_stopping || is_lost) {
                std::process::exit(EXIT_INTERRUPTED);
            }
            is_stopping |= received == Signal::Stop;
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("signal handling")?;
    Ok(receiver)
}

/// What shells report for a process ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// Prints the totals, and returns how many requests were left behind.
fn report(totals: Vec<(String, nearfar::metrics::Statistics)>) -> anyhow::Result<u64> {
    let left_behind = totals.iter().map(|(_, total)| total.in_flight).sum();
    for (name, total) in totals {
        output::line(&format!(
            "{name}: received {}, inferences {}, errors {}, left behind {}",
            total.received,
            total.answered,
            total.errors_total(),
            total.in_flight
        ))?;
        output::line(&format!(
            "{name}: average inference time {:.4} ms, average total latency {:.4} ms",
            total.average_inference_time().as_secs_f64() * 1e3,
            total.average_total_latency().as_secs_f64() * 1e3
        ))?;
        for (code, count) in &total.errors {
            output::line(&format!("{name}: {code} {count}"))?;
        }
        if total.undelivered > 0 {
            output::line(&format!("{name}: answers that could not be delivered {}", total.undelivered))?;
        }
        if let Some(hybrid) = &total.hybrid {
            report_hybrid(&name, hybrid)?;
        }
    }
    Ok(left_behind)
}

/// Which site answered and why, and what else a hybrid has counted.
fn report_hybrid(name: &str, hybrid: &HybridStatistics) -> anyhow::Result<()> {
    for (made, count) in hybrid.results.iter() {
        output::line(&format!("{name}: at the {} ({}) {count}", made.site, made.reason.as_str()))?;
    }
    output::line(&format!(
        "{name}: asked edge {}, cloud {}; cloud failures {}; answers not needed {}",
        hybrid.asked[0],
        hybrid.asked[1],
        hybrid.cloud_failures,
        hybrid.dropped.iter().sum::<u64>()
    ))?;
    output::line(&format!(
        "{name}: circuit breaker {}, opened {} times, kept back {}",
        hybrid.breaker, hybrid.breaker_openings, hybrid.kept_back
    ))?;
    let hedges = hybrid.hedges_won + hybrid.hedges_lost;
    let shadows = hybrid.shadow_agreed + hybrid.shadow_disagreed + hybrid.shadow_unanswered;
    if hedges > 0 {
        output::line(&format!(
            "{name}: hedges {hedges}, won by the site asked second {}",
            hybrid.hedges_won
        ))?;
    }
    if shadows > 0 {
        output::line(&format!(
            "{name}: shadows {shadows}, agreed {}, disagreed {}, unanswered {}",
            hybrid.shadow_agreed, hybrid.shadow_disagreed, hybrid.shadow_unanswered
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearfar::{broker, deployment};

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
        node.broker().unwrap().kill_router_for_test();
        let (_nobody_signals, signals) = sync_channel(1);
        let reason = wait_for_end(&node, &signals, &mut Supervisor::from_environment(), None)
            .expect("the node has died");
        assert_eq!(super::super::exit_status(&NodeDied(reason).into()), 70);
    }
}
