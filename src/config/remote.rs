//! `[remote]`: a broker elsewhere, how to reach it, and with whom its requests are shared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, DeploymentSection};
use crate::client::{Partition, Protocol, RemoteConfig, RemoteTls};
use crate::mqtt;
use crate::strict_toml::{self, TomlError};

/// `[remote]`: a broker elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteSection {
    /// Host name or address.
    pub host: String,
    /// TCP port. Default 1883, and 8883 with TLS.
    pub port: Option<u16>,
    /// The version of MQTT, `"5"` or `"3.1.1"`. Default `"5"`.
    pub protocol: Option<ProtocolName>,
    /// MQTT client id. Default: the node's name.
    pub client_id: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// A file whose first line is the password, relative to this file.
    pub password_file: Option<PathBuf>,
    /// Seconds for which the broker keeps the session of a node that is away. Default 3,600.
    pub session_expiry_s: Option<u32>,
    /// The most requests that are received and not acknowledged. Default 4,096.
    pub receive_max: Option<u16>,
    /// The group whose members share the requests.
    pub share_group: Option<String>,
    /// This node's part of the devices, such as `"1/3"`.
    pub partition: Option<String>,
    /// TLS.
    pub tls: Option<RemoteTlsSection>,
}

/// `[remote.tls]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteTlsSection {
    /// A PEM file with the authorities that may have signed the broker's certificate, relative to this file.
    pub ca_file: PathBuf,
    /// A PEM file with this node's certificate, relative to this file.
    pub client_certificate: Option<PathBuf>,
    /// A PEM file with its private key, relative to this file.
    pub client_key: Option<PathBuf>,
    /// The name that the broker's certificate must have. Default: the host.
    pub server_name: Option<String>,
}

/// A version of MQTT, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ProtocolName {
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// The environment variable that holds a remote broker's password.
pub const PASSWORD_VARIABLE: &str = "NEARFAR_REMOTE_PASSWORD";

impl RemoteSection {
    /// Values that parse but make no sense, by themselves or for one of the `deployments`.
    pub(super) fn check(
        &self,
        deployments: &BTreeMap<String, DeploymentSection>,
        text: &str,
    ) -> Result<(), TomlError> {
        let invalid = |key: &str, problem: String| Err(strict_toml::invalid(text, key, problem));
        if let Some(group) = &self.share_group {
            if group.is_empty() || !mqtt::is_topic_name(group) || group.contains('/') {
                let problem = format!("found {group:?}, expected one topic level without '/', '+' or '#'");
                return invalid("remote.share_group", problem);
            }
            if self.partition.is_some() {
                let problem = "there is remote.share_group too; a group shares by turns, a partition by device: use one or the other";
                return invalid("remote.partition", problem.to_owned());
            }
        }
        if let Some(Err(problem)) = self.partition.as_ref().map(|part| part.parse::<Partition>()) {
            return invalid("remote.partition", problem.to_string());
        }
        if self.receive_max == Some(0) {
            return invalid("remote.receive_max", "found 0, expected at least 1".to_owned());
        }
        if let Some(tls) = &self.tls
            && tls.client_certificate.is_some() != tls.client_key.is_some()
        {
            let problem = "found one of client_certificate and client_key, expected both or none".to_owned();
            return invalid("remote.tls", problem);
        }
        deployments.iter().try_for_each(|(name, section)| self.check_deployment(name, section, text))
    }

    fn check_deployment(&self, name: &str, section: &DeploymentSection, text: &str) -> Result<(), TomlError> {
        if section.ordered == Some(true) && self.share_group.is_some() {
            let problem = "requests of one device go to any member of remote.share_group, so no member has them in order: take devices by remote.partition instead";
            return Err(strict_toml::invalid(text, &format!("deployments.{name}.ordered"), problem));
        }
        let topics = section.request_topics.as_deref().unwrap_or_default();
        if self.partition.is_some()
            && (topics.is_empty() || !topics.iter().all(|filter| names_device(filter)))
        {
            let problem = format!(
                "found {topics:?}, expected filters with exactly one '+', which is the device, because there is remote.partition; such as \"ml/inference/request/+\""
            );
            return Err(strict_toml::invalid(text, &format!("deployments.{name}.request_topics"), problem));
        }
        Ok(())
    }

    /// Makes paths relative to `directory`, where the file stands.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        let tls = self.tls.iter_mut().flat_map(|tls| {
            [Some(&mut tls.ca_file), tls.client_certificate.as_mut(), tls.client_key.as_mut()]
        });
        for path in tls.flatten().chain(&mut self.password_file) {
            *path = directory.join(&*path);
        }
    }

    pub(super) fn into_config(self, node_id: &str) -> Result<RemoteConfig, ConfigError> {
        let port = self.port.unwrap_or(if self.tls.is_some() { 8883 } else { 1883 });
        // The same at every start: the session at the broker, and what waits in it, is found by this name.
        let client_id = self.client_id.unwrap_or_else(|| node_id.to_owned());
        let mut remote = RemoteConfig::new(self.host, port, client_id);
        remote.protocol = match self.protocol {
            Some(ProtocolName::V311) => Protocol::V311,
            Some(ProtocolName::V5) | None => Protocol::V5,
        };
        if let Some(seconds) = self.session_expiry_s {
            remote.session_expiry = Duration::from_secs(seconds.into());
        }
        remote.receive_max = self.receive_max.unwrap_or(remote.receive_max);
        remote.share_group = self.share_group;
        // Checked when the file was read.
        remote.partition = self.partition.and_then(|part| part.parse().ok());
        remote.tls = self.tls.map(|tls| RemoteTls {
            ca_file: tls.ca_file,
            client: tls.client_certificate.zip(tls.client_key),
            server_name: tls.server_name,
        });
        if let Some(username) = self.username {
            let password = password(&username, self.password_file.as_deref())?;
            remote.credentials = Some((username, password));
        }
        Ok(remote)
    }
}

fn password(username: &str, file: Option<&Path>) -> Result<String, ConfigError> {
    match file {
        Some(path) => Ok(super::read(path)?.lines().next().unwrap_or_default().to_owned()),
        None => std::env::var(PASSWORD_VARIABLE).map_err(|_| ConfigError::Override {
            origin: PASSWORD_VARIABLE.to_owned(),
            problem: format!(
                "not set, but the remote broker's username is {username:?}: set it, or name a password_file"
            ),
        }),
    }
}

/// Whether one level of what `filter` matches is the device.
fn names_device(filter: &str) -> bool {
    filter.split('/').filter(|level| *level == "+").count() == 1 && !filter.ends_with('#')
}
