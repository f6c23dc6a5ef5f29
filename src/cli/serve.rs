//! `nearfar serve`: a node that answers until it is told to stop.

mod statistics;

use std::net::SocketAddr;
use std::path::PathBuf;

use super::service::flags::{BrokerFlags, path};
use super::service::reload::ConfigFile;
use super::service::{Service, check};
use super::{LeftBehind, held_log, output};
use crate::config::{self, ConfigError, ServeConfig};
use crate::ledger::HybridStatistics;
use crate::node::{BrokerChoice, Totals};
use crate::settings::Value;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["model", "config"])))]
pub struct Args {
    /// A directory with config.json and model.safetensors, or a .safetensors, .onnx or PyTorch file (.pt,
    /// .pth, .ckpt, .bin)
    #[arg(conflicts_with = "config")]
    model: Option<PathBuf>,
    /// Node configuration with any number of deployments (see nearfar.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in the cloud role, this many milliseconds away each way
    #[arg(long, value_name = "MS", allow_negative_numbers = true, conflicts_with = "config")]
    cloud_latency: Option<f64>,
    #[command(flatten)]
    broker: BrokerFlags,
    /// Use the broker at this host instead of the embedded one, with MQTT 5; for MQTT 3.1.1 say
    /// remote.protocol in a file
    #[arg(long, value_name = "HOST", conflicts_with_all = ["config", "listen", "broker_config", "users", "acl"])]
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
    /// Serve health and metrics over HTTP here, such as 127.0.0.1:9464; port 0 takes a
    /// free one [default: not at all]
    #[arg(long, value_name = "ADDRESS", value_parser = config::http_address_flag)]
    http: Option<SocketAddr>,
    /// Read everything that a start would read, load the models, say whether they can be used, and end: with
    /// 0, or with 2. Nothing is listened on, and no broker is connected to
    #[arg(long)]
    check: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let (is_check, held) = (args.check, held_log::hold());
    let (serve, file) = configure(args)?;
    if is_check {
        return check::report(serve, file.as_ref());
    }
    let remote = match &serve.node.broker {
        BrokerChoice::Embedded(_) => None,
        BrokerChoice::Elsewhere(remote) => Some(remote.address()),
    };
    let placements = serve.node.deployments.iter().map(|one| one.config.placement.clone()).collect();
    let service = Service {
        http: serve.http,
        file,
        other_files: serve.files,
        broker_file: serve.broker_file,
        remote,
        placements,
        report,
    };
    let ended = service.run(serve.node, held)?;
    let left_behind = report(ended.totals)?;
    match ended.died {
        Some(died) => Err(died.into()),
        None if left_behind > 0 => Err(LeftBehind(left_behind).into()),
        None => Ok(()),
    }
}

/// Flags, file and environment become one configuration.
fn configure(args: Args) -> Result<(ServeConfig, Option<ConfigFile>), ConfigError> {
    let named = args.config.as_deref().map(ConfigFile::read).transpose()?;
    let text = |text: String| Value::Text(text);
    let mut flags = Vec::new();
    match (args.model, args.cloud_latency) {
        (Some(model), Some(latency)) => {
            flags.push(path("MODEL", "deployments.cloud.model", model)?);
            flags.push(("--cloud-latency", "deployments.cloud.one_way_latency_ms", Value::Number(latency)));
        }
        (Some(model), None) => flags.push(path("MODEL", "deployments.edge.model", model)?),
        (None, _) => {}
    }
    let mut file = match &named {
        Some(named) => named.contents().clone(),
        // The environment may say more of the deployment that MODEL begins.
        None => config::without_file(flags.clone())?,
    };
    file.set(args.broker.http(args.http, &file))?;
    flags.extend(args.node_id.map(|node_id| ("--node-id", "node_id", text(node_id))));
    if let Some(host) = args.broker_host {
        file.remove("broker");
        file.remove("remote");
        flags.push(("--broker-host", "remote.host", text(host)));
        flags.push(("--broker-port", "remote.port", Value::Whole(args.broker_port.into())));
        flags.extend(args.broker_username.map(|name| ("--broker-username", "remote.username", text(name))));
    } else {
        flags.extend(args.broker.over(&file)?);
    }
    file.set(flags)?;
    if !file.has("deployments") {
        return Err(ConfigError::Override {
            origin: args.config.map_or_else(String::new, |path| path.display().to_string()),
            problem:
                "no deployments: add a section such as [deployments.edge] with model = \"...\", or start the \
                      broker alone with `nearfar broker --config`"
                    .to_owned(),
        });
    }
    Ok((file.into_serve_config()?, named))
}

/// Prints the totals, and returns how many requests were left behind.
fn report(totals: Totals) -> anyhow::Result<u64> {
    let left_behind = totals.iter().map(|(_, total)| total.in_flight).sum();
    for (name, total) in totals {
        if output::is_json() {
            output::line(&statistics::json(&name, &total).to_string())?;
            continue;
        }
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
        hybrid.counts.asked.edge,
        hybrid.counts.asked.cloud,
        hybrid.counts.cloud_failures,
        hybrid.counts.dropped.edge + hybrid.counts.dropped.cloud
    ))?;
    output::line(&format!(
        "{name}: circuit breaker {}, opened {} times, kept back {}",
        hybrid.breaker, hybrid.breaker_openings, hybrid.counts.kept_back
    ))?;
    let hedges = hybrid.counts.hedges_won + hybrid.counts.hedges_lost;
    let shadows =
        hybrid.counts.shadow_agreed + hybrid.counts.shadow_disagreed + hybrid.counts.shadow_unanswered;
    if hedges > 0 {
        output::line(&format!(
            "{name}: hedges {hedges}, won by the site asked second {}",
            hybrid.counts.hedges_won
        ))?;
    }
    if shadows > 0 {
        output::line(&format!(
            "{name}: shadows {shadows}, agreed {}, disagreed {}, unanswered {}",
            hybrid.counts.shadow_agreed, hybrid.counts.shadow_disagreed, hybrid.counts.shadow_unanswered
        ))?;
    }
    Ok(())
}
