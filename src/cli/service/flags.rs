//! The flags of the embedded broker, the same for every command that runs one.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{ConfigError, NodeFile};
use crate::settings::Value;

/// What flags say of the embedded broker.
#[derive(clap::Args)]
pub struct BrokerFlags {
    /// Where the embedded broker listens; port 0 takes a free one, named in the ready
    /// line [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The embedded broker's configuration, in rumqttd's own format [default: built in]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    broker_config: Option<PathBuf>,
    /// Listen on addresses that other machines reach although no users are configured
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
    /// What they say over what `file` says: each flag, the key that it sets, and the value.
    ///
    /// # Errors
    /// When there are some and the file names a broker elsewhere.
    pub fn over(self, file: &NodeFile) -> Result<Vec<(&'static str, &'static str, Value)>, ConfigError> {
        let path = |path: PathBuf| Value::Text(path.to_string_lossy().into_owned());
        let flags = [
            self.listen.map(|address| ("--listen", "broker.listen", Value::Text(address.to_string()))),
            self.broker_config.map(|file| ("--broker-config", "broker.config", path(file))),
            self.allow_anonymous.then_some((
                "--allow-anonymous",
                "broker.allow_anonymous",
                Value::Flag(true),
            )),
            self.users.map(|file| ("--users", "broker.users", path(file))),
            self.acl.map(|file| ("--acl", "broker.access_rules", path(file))),
        ];
        let flags: Vec<_> = flags.into_iter().flatten().collect();
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
