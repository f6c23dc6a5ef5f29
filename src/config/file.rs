//! The node's file, `nearfar.toml`, with the environment and flags over it: what it
//! says, and what it becomes.

use std::path::{Path, PathBuf};

use super::deployments::deployment;
use super::embedded::{BrokerSection, broker};
use super::files::Files;
use super::remote::{Login, check_files, remote};
use super::{ConfigError, ServeConfig, address, checks, listeners, merge};
use crate::http;
use crate::mqtt;
use crate::network::Profile;
use crate::node::{self, BrokerChoice, SHUTDOWN_GRACE, ServedDeployment};
use crate::settings::{Origin, Setting, SettingError, Table, Value};

/// What a node is told: a file, with the environment and flags over it.
#[derive(Debug, Clone)]
pub struct NodeFile {
    pub(crate) tree: Setting,
    /// Where the file stands, which its paths are relative to.
    directory: PathBuf,
}

/// What a flag says: the flag, the key that it sets, such as `broker.listen`, and the value.
pub type Flag = (&'static str, &'static str, Value);

/// What flags say, as a file would.
pub fn tree_of(flags: impl IntoIterator<Item = Flag>) -> Setting {
    let mut tree = Setting::of(Value::Table(Vec::new()));
    for (flag, key, value) in flags {
        tree.set(key.split('.'), Setting { origin: Origin::Flag(flag), value });
    }
    tree
}

/// What a node's file says, its keys read and what they say about one another checked.
pub struct Contents {
    /// The node, without what other files say.
    pub node: node::Config,
    pub broker: Option<BrokerSection>,
    /// Who the node is at a broker elsewhere.
    pub login: Option<Login>,
    pub http: Option<HttpSection>,
}

/// Where health and metrics are served.
#[derive(Clone, Copy)]
pub struct HttpSection {
    config: http::Config,
    /// Whether other machines may reach them.
    allows_anonymous: bool,
}

/// Keys of a broker's own file, which is mistaken for a node's now and then.
const FOREIGN_KEYS: &[(&str, &str)] = {
    const NAMED: &str =
        "it in a file in rumqttd's format, which is named with broker.config or --broker-config";
    &[("router", NAMED), ("v4", NAMED), ("v5", NAMED), ("ws", NAMED), ("limits", NAMED), ("options", NAMED)]
};

impl NodeFile {
    /// What `tree` says, whose paths are relative to `directory`.
    ///
    /// # Errors
    /// [`SettingError`] for the first thing that is wrong in itself. Files that it names are not read.
    pub(crate) fn new(tree: Setting, directory: &Path) -> Result<Self, SettingError> {
        let file = Self { tree, directory: directory.to_owned() };
        file.contents(false)?;
        Ok(file)
    }

    /// Whether there is anything at a key of the file itself, such as `remote`.
    pub fn has(&self, key: &str) -> bool {
        match self.tree.get(key).map(|setting| &setting.value) {
            None | Some(Value::Nothing) => false,
            Some(Value::Table(entries)) => key != "deployments" || !entries.is_empty(),
            Some(_) => true,
        }
    }

    /// Puts what flags say over everything else.
    ///
    /// # Errors
    /// When they cannot be put there, for which what they say gives no reason.
    pub fn set(&mut self, flags: impl IntoIterator<Item = Flag>) -> Result<(), ConfigError> {
        self.tree = merge::merge(&[&self.tree, &tree_of(flags)])?;
        Ok(())
    }

    /// Takes out what stands at a key of the file itself.
    pub fn remove(&mut self, key: &str) {
        if let Value::Table(entries) = &mut self.tree.value {
            entries.retain(|(name, _)| name != key);
        }
    }

    /// The simulated network of each deployment, of a hybrid the one before its cloud.
    ///
    /// # Errors
    /// When something is wrong, or a file of recorded delays cannot be used.
    pub fn networks(&self) -> Result<Vec<(String, Profile)>, ConfigError> {
        let network = |ServedDeployment { config, .. }: ServedDeployment| {
            (config.name, config.hybrid.map_or(config.network, |hybrid| hybrid.network))
        };
        Ok(self.contents(true)?.node.deployments.into_iter().map(network).collect())
    }

    /// What a node is built from.
    ///
    /// # Errors
    /// When something is wrong, another file that this one names cannot be used, or a
    /// listener is open to anyone.
    pub fn into_serve_config(self) -> Result<ServeConfig, ConfigError> {
        let contents = self.contents(true)?;
        checks::users(&contents, &self.tree)?;
        let Contents { mut node, broker, login, http } = contents;
        let files = broker.as_ref().map(BrokerSection::files).unwrap_or_default();
        let mut broker_file = None;
        let is_open = broker.as_ref().is_some_and(|broker| broker.allows_anonymous);
        match &mut node.broker {
            BrokerChoice::Elsewhere(remote) => {
                let credentials = login.and_then(Login::credentials).transpose();
                remote.credentials = credentials.map_err(|error| error.located(&self.tree))?;
                check_files(remote).map_err(|error| ConfigError::from(error).located(&self.tree))?;
            }
            BrokerChoice::Embedded(config) => {
                let read = broker.unwrap_or_default().into_config();
                (**config, broker_file) = read.map_err(|error| error.located(&self.tree))?;
            }
        }
        if let Some(HttpSection { config, allows_anonymous }) = &http {
            let checked = match &node.broker {
                BrokerChoice::Embedded(broker) => listeners::refuse_shared_http(broker, config.listen),
                BrokerChoice::Elsewhere(_) => Ok(()),
            };
            checked
                .and_then(|()| listeners::refuse_open_http(config.listen, is_open || *allows_anonymous))
                .map_err(|problem| checks::at(&self.tree, &["http", "listen"], problem))?;
        }
        Ok(ServeConfig { node, http: http.map(|http| http.config), files, broker_file })
    }

    fn contents(&self, reads_files: bool) -> Result<Contents, SettingError> {
        let files = Files { directory: &self.directory, are_read: reads_files };
        let mut table = Table::of(&self.tree, "")?;
        let level = |level: &str| is_topic_level(level).then(|| level.to_owned());
        let node_id = table.find_parsed("node_id", "one topic level without '/', '+' or '#'", level)?;
        let node_id = node_id.unwrap_or_else(host_name);
        let status_topic = table.find_text("status_topic")?.map(str::to_owned);
        let topic =
            |topic: &str| (mqtt::is_topic_name(topic) && !topic.starts_with('$')).then(|| topic.to_owned());
        let expected = "a topic without '+' and '#' that does not start with '$'";
        let network_topic = table.find_parsed("network_topic", expected, topic)?;
        let relearn_topic = table.find_parsed("relearn_topic", expected, topic)?;
        let mut shutdown_grace = SHUTDOWN_GRACE;
        table.milliseconds("shutdown_grace_ms", 0.0.., &mut shutdown_grace)?;
        let broker = table.find_table("broker")?.map(|section| broker(section, files)).transpose()?;
        let remote =
            table.find_table("remote")?.map(|section| remote(section, &node_id, files)).transpose()?;
        let (remote, login) = remote.unzip();
        let http = table.find_table("http")?.map(http).transpose()?;
        let deployments = table.find_named("deployments")?.into_iter();
        let mut deployments: Vec<_> =
            deployments.map(|(name, entry)| deployment(name, &entry, files)).collect::<Result<_, _>>()?;
        // Wherever they stand in the file: what is told of them has one order.
        deployments.sort_by(|one, other| one.config.name.cmp(&other.config.name));
        table.refuse_foreign(FOREIGN_KEYS)?;
        let mut node = node::Config {
            node_id,
            status_topic,
            network_topic,
            relearn_topic,
            shutdown_grace,
            deployments,
            ..node::Config::default()
        };
        if let Some(remote) = remote {
            node.broker = BrokerChoice::Elsewhere(Box::new(remote));
        }
        let contents = Contents { node, broker, login, http };
        checks::contents(&contents, &self.tree)?;
        Ok(contents)
    }
}

/// `[http]`: health and metrics.
fn http(mut table: Table<'_>) -> Result<HttpSection, SettingError> {
    let listen = address::find(&mut table, "listen", http::PORT_DEFAULT)?;
    let mut allows_anonymous = false;
    table.flag("allow_anonymous", &mut allows_anonymous)?;
    // Before the address is missed: a misspelt key alone serves nothing.
    table.refuse_others()?;
    Ok(HttpSection { config: http::Config { listen: table.required("listen", listen)? }, allows_anonymous })
}

fn is_topic_level(level: &str) -> bool {
    !level.is_empty() && mqtt::is_topic_name(level) && !level.contains('/')
}

/// This machine's name as one topic level, or `nearfar` where it has none.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let level: String = name.trim().chars().filter(|c| c.is_alphanumeric() || "-._".contains(*c)).collect();
    if level.is_empty() { "nearfar".to_owned() } else { level }
}
