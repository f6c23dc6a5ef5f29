//! `nearfar broker`: the embedded broker alone, without any model.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::held_log;
use super::service::flags::BrokerFlags;
use super::service::reload::ConfigFile;
use super::service::{Service, check};
use crate::config::{self, ConfigError, NodeFile};
use crate::settings::Value;

#[derive(clap::Args)]
pub struct Args {
    /// The same file that serve takes, without deployments: [broker] and [http] (see nearfar.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    broker: BrokerFlags,
    /// The name that status_topic ends with, where the file has one [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Serve health and metrics over HTTP here, such as 127.0.0.1:9464; port 0 takes a
    /// free one [default: not at all]
    #[arg(long, value_name = "ADDRESS", value_parser = config::http_address_flag)]
    http: Option<SocketAddr>,
    /// Read everything that a start would read, say whether it can be used, and end: with 0, or with 2.
    /// Nothing is listened on
    #[arg(long)]
    check: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let held = held_log::hold();
    let named = args.config.as_deref().map(ConfigFile::read).transpose()?;
    let mut file = match &named {
        Some(named) => named.contents().clone(),
        None => config::without_file([])?,
    };
    refuse_what_serve_is_for(&file, args.config)?;
    file.set(args.broker.http(args.http, &file))?;
    let mut flags = args.broker.over(&file)?;
    flags.extend(args.node_id.map(|node_id| ("--node-id", "node_id", Value::Text(node_id))));
    file.set(flags)?;
    let mut config = file.into_serve_config()?;
    // Its status is told only where that was asked for: a broker alone puts nothing of its own among its
    // clients' messages.
    config.node.is_broker_alone = true;
    if args.check {
        return check::report(config, named.as_ref());
    }
    let service = Service {
        http: config.http,
        file: named,
        other_files: config.files,
        broker_file: config.broker_file,
        remote: None,
        placements: Vec::new(),
        report: |_| Ok(0),
    };
    let ended = service.run(config.node, held)?;
    ended.died.map_or(Ok(()), |died| Err(died.into()))
}

/// A setting that has no effect here would be taken for one that has.
fn refuse_what_serve_is_for(file: &NodeFile, path: Option<PathBuf>) -> Result<(), ConfigError> {
    let Some(key) = first_for_serve(file) else { return Ok(()) };
    // What the environment says, the file need not say.
    let is_of_environment = first_for_serve(&config::without_file([])?) == Some(key);
    let origin = match path {
        Some(path) if !is_of_environment => path.display().to_string(),
        _ => "environment (NEARFAR_*)".to_owned(),
    };
    let problem = format!(
        "found {key}, expected a broker alone ([broker], [http]): start it with `nearfar serve --config`, which has deployments, \
         or take that out"
    );
    Err(ConfigError::Override { origin, problem })
}

/// The first setting that is for `serve` alone.
fn first_for_serve(file: &NodeFile) -> Option<&'static str> {
    let keys = [("[deployments]", "deployments"), ("[remote]", "remote"), ("network_topic", "network_topic")];
    keys.into_iter().find(|(_, key)| file.has(key)).map(|(name, _)| name)
}
