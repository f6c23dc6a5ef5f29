//! The configuration file of a running node, read again: simulated networks change,
//! everything else needs a restart.

use std::path::{Path, PathBuf};

use tracing::{error, info, warn};

use crate::config::{self, ConfigError, NodeFile};
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

/// What a reload of the file has done.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Simulated networks that are others now.
    pub networks_changed: usize,
    /// Keys that have changed and need a restart.
    pub needs_restart: usize,
    /// What could not be used.
    pub failed: usize,
}
