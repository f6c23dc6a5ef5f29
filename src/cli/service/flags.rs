//! The flags of the embedded broker, the same for every command that runs one.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{BrokerSection, ConfigError, NodeFile};

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
    /// Puts them over what `file` says.
    ///
    /// # Errors
    /// When there are some and the file names a broker elsewhere.
    pub fn merge_into(self, file: &mut NodeFile) -> Result<(), ConfigError> {
        let flags = BrokerSection {
            config: self.broker_config,
            listen: self.listen,
            allow_anonymous: self.allow_anonymous.then_some(true),
            users: self.users,
            access_rules: self.acl,
            ..BrokerSection::default()
        };
        if flags == BrokerSection::default() {
            return Ok(());
        }
        if file.remote.is_some() {
            return Err(ConfigError::Override {
                origin: "--listen, --broker-config, --allow-anonymous, --users, --acl".to_owned(),
                problem:
                    "the configuration names a [remote] broker, so there is no embedded one to configure"
                        .to_owned(),
            });
        }
        let broker = file.broker.get_or_insert_default();
        broker.listen = flags.listen.or(broker.listen);
        broker.config = flags.config.or(broker.config.take());
        broker.allow_anonymous = flags.allow_anonymous.or(broker.allow_anonymous);
        broker.users = flags.users.or(broker.users.take());
        broker.access_rules = flags.access_rules.or(broker.access_rules.take());
        Ok(())
    }
}
