//! The flags of the embedded broker, the same for every command that runs one.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{self, ConfigError, Flag, NodeFile};
use crate::settings::Value;

/// What flags say of the embedded broker.
#[derive(clap::Args)]
pub struct BrokerFlags {
    /// Where the embedded broker listens; port 0 takes a free one, named in the ready
    /// line [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDRESS", value_parser = config::address_flag)]
    listen: Option<SocketAddr>,
    /// The embedded broker's configuration, in rumqttd's own format [default: built in]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    broker_config: Option<PathBuf>,
    /// Listen on addresses that other machines reach although no users are configured, and serve health and
    /// metrics on such
    #[arg(long)]
    allow_anonymous: bool,
    /// Let in only the users of this file, which `nearfar passwd` writes
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// What users may publish and subscribe to (see docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    acl: Option<PathBuf>,
}

impl BrokerFlags {
    /// What they and `--http` say of health and metrics, to be put over what `file` says.
    pub fn http(&self, listen: Option<SocketAddr>, file: &NodeFile) -> Vec<Flag> {
        let mut flags = Vec::new();
        flags.extend(listen.map(|listen| ("--http", "http.listen", Value::Text(listen.to_string()))));
        if self.allow_anonymous && (listen.is_some() || file.has("http")) {
            flags.push(("--allow-anonymous", "http.allow_anonymous", Value::Flag(true)));
        }
        flags
    }

    /// What they say, to be put over what `file` says.
    ///
    /// # Errors
    /// When there are some and the file names a broker elsewhere.
    pub fn over(self, file: &NodeFile) -> Result<Vec<Flag>, ConfigError> {
        let mut flags = Vec::new();
        if let Some(address) = self.listen {
            flags.push(("--listen", "broker.listen", Value::Text(address.to_string())));
        }
        // Beside a broker elsewhere it is about health and metrics alone.
        if self.allow_anonymous && !(file.has("remote") && file.has("http")) {
            flags.push(("--allow-anonymous", "broker.allow_anonymous", Value::Flag(true)));
        }
        for (flag, key, path) in [
            ("--broker-config", "broker.config", self.broker_config),
            ("--users", "broker.users", self.users),
            ("--acl", "broker.access_rules", self.acl),
        ] {
            flags.extend(path.map(|path| self::path(flag, key, path)).transpose()?);
        }
        if !flags.is_empty() && file.has("remote") {
            return Err(ConfigError::Override {
                origin: "--listen, --broker-config, --allow-anonymous, --users, --acl".to_owned(),
                problem:
                    "the configuration names a [remote] broker, so there is no embedded one to configure"
                        .to_owned(),
            });
        }
        Ok(flags)
    }
}

/// What a flag with a path sets.
///
/// # Errors
/// When the path is no text.
pub fn path(flag: &'static str, key: &'static str, path: PathBuf) -> Result<Flag, ConfigError> {
    match path.into_os_string().into_string() {
        Ok(path) => Ok((flag, key, Value::Text(path))),
        Err(path) => Err(ConfigError::Override {
            origin: flag.to_owned(),
            problem: format!("found {path:?}, expected a path in UTF-8"),
        }),
    }
}
