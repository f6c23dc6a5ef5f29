//! `[broker]`: the embedded broker, beside what its own file says.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::files::Files;
use super::listeners::{self, Place};
use super::{BrokerFile, ConfigError, access_files, address, built_in_broker};
use crate::broker::{Config, Listener, RefusedPublish, RefusedSubscription, WideFilters};
use crate::settings::{Origin, SettingError, Table};

const NO_LISTENER: &str = "the file has no listener, so nobody could connect: add one, such as [v4.1] with \
    listen = \"127.0.0.1:1883\", or say broker.listen (--listen)";

/// What the table says.
#[derive(Default)]
pub struct BrokerSection {
    config: Option<PathBuf>,
    listen: Option<SocketAddr>,
    /// Whether listeners that other machines reach may be open to anyone.
    pub allows_anonymous: bool,
    users: Option<PathBuf>,
    /// The file of access rules; users need one.
    pub access_rules: Option<PathBuf>,
    refused_publish: RefusedPublish,
    refused_subscription: RefusedSubscription,
    wide_filters: WideFilters,
}

/// Reads the table.
pub fn broker(mut table: Table<'_>, files: Files<'_>) -> Result<BrokerSection, SettingError> {
    let mut section = BrokerSection {
        config: files.path(&mut table, "config")?,
        listen: address::find(&mut table, "listen", address::MQTT)?,
        users: files.path(&mut table, "users")?,
        access_rules: files.path(&mut table, "access_rules")?,
        ..BrokerSection::default()
    };
    table.flag("allow_anonymous", &mut section.allows_anonymous)?;
    table.choice("refused_publish", RefusedPublish::NAMES, &mut section.refused_publish)?;
    table.choice("refused_subscription", RefusedSubscription::NAMES, &mut section.refused_subscription)?;
    table.choice("wide_filters", WideFilters::NAMES, &mut section.wide_filters)?;
    table.finish()?;
    Ok(section)
}

impl BrokerSection {
    /// The files that it names.
    pub fn files(&self) -> Vec<String> {
        let files = [&self.config, &self.users, &self.access_rules];
        files.into_iter().flatten().map(|file| file.display().to_string()).collect()
    }

    /// The broker, for which other files are read, and its own file, where it has one.
    ///
    /// # Errors
    /// When one of them cannot be used, or a listener is open to anyone.
    pub fn into_config(self) -> Result<(Config, Option<BrokerFile>), ConfigError> {
        let (file, mut broker, mut places) = match &self.config {
            Some(path) => {
                let read = BrokerFile::read(path).map_err(|error| error.named_by("broker.config"))?;
                (Some(read.0), read.1, read.2)
            }
            None => (None, built_in_broker()?, Vec::new()),
        };
        if let Some(address) = self.listen {
            broker.listeners = vec![Listener::new("mqtt", address)];
            places = vec![Place { origin: Origin::Code, key: "broker.listen".to_owned() }];
        }
        broker.refused_publish = self.refused_publish;
        broker.refused_subscription = self.refused_subscription;
        broker.wide_filters = self.wide_filters;
        if broker.listeners.is_empty() {
            return Err(SettingError::new(Origin::Code, "broker.config", NO_LISTENER).into());
        }
        listeners::refuse_shared(&broker, &places)?;
        access_files::secure(&mut broker, &places, self.users, self.access_rules, self.allows_anonymous)?;
        Ok((broker, file))
    }
}
