//! What a person configures: a file, the environment and flags become the pieces a node is built from, once.
//!
//! Every other module has a plain `Config` of its own and never reads files or the
//! environment; this one composes them.

mod access_files;
mod address;
mod broker_file;
mod checks;
mod cloud;
mod deployments;
mod embedded;
mod environment;
mod file;
mod files;
mod host;
mod listeners;
mod merge;
mod networks;
mod remote;
mod restart;
mod rumqttd;
mod service_links;
mod workers;

use std::io;
use std::path::Path;

pub use self::access_files::{invalid_users, read_users_text};
pub use self::address::{address_flag, http_address_flag, http_url};
pub use self::broker_file::BrokerFile;
pub use self::file::{Flag, NodeFile};
pub use self::remote::PASSWORD_VARIABLE;
pub use self::rumqttd::parse_broker;
use crate::broker;
use crate::file_access;
use crate::http;
use crate::network::Profile;
use crate::network::settings::LATENCY_MS_MAX;
use crate::node;
use crate::settings::{Entry, Origin, Setting, SettingError, Value, toml};
use crate::text::{self, TextError};

/// The prefix of environment variables that override the file: `NEARFAR_NODE_ID`, `NEARFAR_BROKER__LISTEN`.
pub const ENVIRONMENT_PREFIX: &str = "NEARFAR";

/// The embedded broker's configuration when no other is named.
pub const BUILT_IN_BROKER: &str = include_str!("../rumqttd.toml");

/// Configuration that cannot be used. The exit status for it is 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{file}: cannot be read: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// The operating system's reason, or that it is no text.
        cause: TextError,
    },
    /// A setting says something it may not, in a file, the environment or a flag.
    #[error("{0}")]
    Setting(Box<SettingError>),
    /// The sources of settings cannot be put one over another.
    #[error("the settings cannot be collected: {0}")]
    Sources(#[from] ::config::ConfigError),
    /// A users file says something it may not.
    #[error("{file}, {error}")]
    InvalidUsers {
        /// The file.
        file: String,
        /// Line, what was found, what was expected.
        error: broker::UsersError,
    },
    /// Settings that are right by themselves cannot be used.
    #[error("{origin}: {problem}")]
    Override {
        /// What says so.
        origin: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The operating system starts no more threads.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}

/// What `serve` and `broker` run.
#[derive(Debug)]
pub struct ServeConfig {
    /// The node.
    pub node: node::Config,
    /// Where health and metrics are served; `None` for nowhere.
    pub http: Option<http::Config>,
    /// The files beside the node's own that say so: the broker's, its users, its rules.
    pub files: Vec<String>,
    /// The first of them, to be read again.
    pub broker_file: Option<BrokerFile>,
}

/// Reads a node's configuration file, with the environment on top of it.
///
/// # Errors
/// [`ConfigError`] naming the file, line and key, or the environment variable.
pub fn read_node_file(path: &Path) -> Result<NodeFile, ConfigError> {
    let tree = toml::parse(Some(&path.display().to_string()), &read(path)?)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    warn_of_changeable(path);
    // By itself first: what is wrong in a file is wrong even where the environment says otherwise.
    NodeFile::new(tree.clone(), directory)?;
    environment::over(&tree, directory)
}

/// A node's settings without a file: the deployment that `flags` begin, where they do, with the environment
/// on top of it.
///
/// # Errors
/// [`ConfigError`] naming the flag or the variable.
pub fn without_file(flags: impl IntoIterator<Item = Flag>) -> Result<NodeFile, ConfigError> {
    let tree = file::tree_of(flags);
    NodeFile::new(tree.clone(), Path::new(""))?;
    environment::over(&tree, Path::new(""))
}

/// Reads the embedded broker's configuration, in rumqttd's own format.
///
/// # Errors
/// [`ConfigError`] naming the file, line and key.
pub fn read_broker_file(path: &Path) -> Result<broker::Config, ConfigError> {
    let (_file, config, _places) = BrokerFile::read(path)?;
    Ok(config)
}

/// The embedded broker's configuration when no file is named: the shipped `rumqttd.toml`.
///
/// # Errors
/// Never with the shipped file; a test keeps it so.
pub fn built_in_broker() -> Result<broker::Config, ConfigError> {
    Ok(parse_broker(Some("rumqttd.toml (built in)"), BUILT_IN_BROKER, Path::new(""))?)
}

impl From<SettingError> for ConfigError {
    fn from(error: SettingError) -> Self {
        Self::Setting(Box::new(error))
    }
}

impl ConfigError {
    /// Whether there is no such file.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable { cause: TextError::Unreadable(cause), .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// The error for a file that cannot be read, with the key that names it.
    fn named_by(self, key: &str) -> Self {
        match self {
            Self::Unreadable { file, cause } => {
                SettingError::new(Origin::Code, key, format!("{file} cannot be read: {cause}")).into()
            }
            other => other,
        }
    }

    /// The error with the place of its key in `tree`, where it does not know it.
    fn located(self, tree: &Setting) -> Self {
        match self {
            Self::Setting(mut error) if error.origin == Origin::Code => {
                let path: Vec<_> = error.key.split('.').collect();
                error.origin = tree.nearest(&path).origin.clone();
                Self::Setting(error)
            }
            other => other,
        }
    }
}

/// Warns of a file with a secret that every user of this machine can read.
fn warn_of_open_secret(path: &Path, what: &str) {
    if let Some(problem) = file_access::open_to_all(path) {
        tracing::warn!("{}: {what}: {problem}", path.display());
    }
}

/// Warns of a file that every user of this machine can change: whoever changes it says what the node does.
fn warn_of_changeable(path: &Path) {
    if let Some(problem) = file_access::changeable_by_all(path) {
        tracing::warn!("{}: {problem}", path.display());
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    text::read_file(path, text::TEXT_BYTES_MAX)
        .map_err(|cause| ConfigError::Unreadable { file: path.display().to_string(), cause })
}

/// The simulated network of `one_way_latency_ms` each way that `flag` asks for.
///
/// # Errors
/// [`ConfigError`] naming the flag.
pub fn network(flag: &'static str, one_way_latency_ms: f64) -> Result<Profile, ConfigError> {
    let setting = Setting { origin: Origin::Flag(flag), value: Value::Number(one_way_latency_ms) };
    Ok(Profile::constant(Entry::new("", &setting).milliseconds(0.0..=LATENCY_MS_MAX)?))
}

/// Refuses listeners that other machines can reach, unless there are users or that was asked for.
///
/// # Errors
/// [`ConfigError`] naming the listener.
pub fn refuse_open_listeners(broker: &broker::Config, allow_anonymous: bool) -> Result<(), ConfigError> {
    listeners::refuse_open(broker, &[], allow_anonymous)
}
