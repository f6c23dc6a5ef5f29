//! The configuration files of a running node, read again: simulated networks change,
//! everything else needs a restart.

use std::fmt;
use std::path::{Path, PathBuf};

use tracing::{error, info, warn};

use crate::config::{self, BrokerFile, ConfigError, NodeFile};
use crate::node::Node;

/// The file, and what it said when the node started: what needs a restart is named
/// at every reload until there is one.
pub struct ConfigFile {
    path: PathBuf,
    contents: NodeFile,
}

impl ConfigFile {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self { path: path.to_owned(), contents: config::read_node_file(path)? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn contents(&self) -> &NodeFile {
        &self.contents
    }

    /// Reads the file again and makes the node's networks what it says now. Of a file
    /// that cannot be used nothing is taken.
    pub fn reload(&self, node: &Node) -> Reloaded {
        let read = config::read_node_file(&self.path).and_then(|file| Ok((file.networks()?, file)));
        let (networks, newer) = match read {
            Ok(read) => read,
            Err(cause) => {
                error!(%cause, "the configuration cannot be used; the networks stay as they are");
                return Reloaded { failed: 1, ..Reloaded::default() };
            }
        };
        let keys = self.contents.needs_restart(&newer);
        let mut reloaded = Reloaded { needs_restart: keys.len(), ..Reloaded::default() };
        if !keys.is_empty() {
            let keys = keys.join(", ");
            warn!(
                keys,
                "the configuration has changed where only a restart helps; that part is not in force"
            );
        }
        for (deployment, profile) in networks {
            let Some(network) = node.deployment(&deployment).map(|one| one.network()) else { continue };
            match network.configure(profile) {
                Ok(change) if change.is_new => {
                    info!(deployment, revision = change.revision, "the simulated network was changed");
                    reloaded.networks_changed += 1;
                }
                Ok(change) if !change.is_configured => {
                    info!(
                        deployment,
                        "the configured network is not in force: another one was put in its place over MQTT"
                    );
                }
                Ok(_) => {}
                Err(cause) => {
                    error!(deployment, %cause, "the simulated network could not be changed");
                    reloaded.failed += 1;
                }
            }
        }
        reloaded
    }
}

/// Reads the broker's own file again, of which nothing changes before a restart: what has changed is told of,
/// and what would end the next start.
pub fn read_broker_file_again(file: &BrokerFile) -> Reloaded {
    match file.changed_keys() {
        Err(cause) => {
            error!(%cause, "the broker's file cannot be used; what it said at the start stays in force");
            Reloaded { failed: 1, ..Reloaded::default() }
        }
        Ok(keys) => {
            if !keys.is_empty() {
                let (file, keys) = (file.path().display(), keys.join(", "));
                warn!(%file, keys, "the broker's file has changed, which only a restart puts in force");
            }
            Reloaded { needs_restart: keys.len(), ..Reloaded::default() }
        }
    }
}

/// What a reload of a file has done.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Simulated networks that are others now.
    pub networks_changed: usize,
    /// Keys that have changed and need a restart.
    pub needs_restart: usize,
    /// What could not be used.
    pub failed: usize,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = match self.networks_changed {
            0 => None,
            1 => Some("1 simulated network has changed".to_owned()),
            many => Some(format!("{many} simulated networks have changed")),
        };
        let keys = match self.needs_restart {
            0 => None,
            1 => Some("1 key waits for a restart".to_owned()),
            many => Some(format!("{many} keys wait for a restart")),
        };
        match (self.failed, networks, keys) {
            (1.., ..) => f.write_str("what cannot be used stays as it was"),
            (_, None, None) => f.write_str("nothing has changed"),
            (_, Some(networks), Some(keys)) => write!(f, "{networks}, and {keys}"),
            (_, Some(one), None) | (_, None, Some(one)) => f.write_str(&one),
        }
    }
}
