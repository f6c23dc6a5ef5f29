//! `[remote]`: a broker elsewhere, how to reach it, and with whom its requests are shared.

use std::env::VarError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::Files;
use super::{ConfigError, host};
use crate::client::{Partition, Protocol, RemoteConfig, RemoteTls};
use crate::mqtt;
use crate::settings::{Origin, SettingError, Table};

/// The environment variable that holds a remote broker's password.
pub const PASSWORD_VARIABLE: &str = "NEARFAR_REMOTE_PASSWORD";

/// The port of MQTT over TLS, and the one without.
const PORTS: [u16; 2] = [8883, 1883];

/// Who the node is at the broker.
pub struct Login {
    username: Option<String>,
    /// A file whose first line is the password.
    password_file: Option<PathBuf>,
}

/// Reads the table: the broker, without credentials, and where they are. A client id that it does not say is
/// `node_id`.
pub fn remote(
    mut table: Table<'_>,
    node_id: &str,
    files: Files<'_>,
) -> Result<(RemoteConfig, Login), SettingError> {
    let host = host::find(&mut table, "host")?;
    // The same at every start: the session at the broker, and what waits in it, is found by this name.
    let mut config = RemoteConfig::new("", 0, node_id);
    config.tls = table.find_table("tls")?.map(|section| tls(section, files)).transpose()?;
    config.port = if config.tls.is_some() { PORTS[0] } else { PORTS[1] };
    table.number("port", 1.., &mut config.port)?;
    table.choice("protocol", Protocol::NAMES, &mut config.protocol)?;
    table.text("client_id", &mut config.client_id)?;
    if let Some(seconds) = table.find_number::<u32>("session_expiry_s", ..)? {
        config.session_expiry = Duration::from_secs(seconds.into());
    }
    table.number("receive_max", 1.., &mut config.receive_max)?;
    let group = |group: &str| is_group(group).then(|| group.to_owned());
    config.share_group =
        table.find_parsed("share_group", "one topic level without '/', '+' or '#'", group)?;
    if let Some(entry) = table.find("partition") {
        let partition = entry.text()?.parse::<Partition>();
        config.partition = Some(partition.map_err(|problem| entry.invalid(problem.to_string()))?);
        if config.share_group.is_some() {
            let problem = "there is remote.share_group too; a group shares by turns, a partition by device: use one or the other";
            return Err(entry.invalid(problem));
        }
    }
    let username = table.find_text("username")?.map(str::to_owned);
    let password_file = files.path(&mut table, "password_file")?;
    if password_file.is_some() && username.is_none() {
        return Err(table.invalid("password_file", "there is no remote.username whose password it could be"));
    }
    // Before the host is missed: a misspelt key alone names no broker.
    table.refuse_others()?;
    config.host = table.required("host", host)?;
    Ok((config, Login { username, password_file }))
}

fn is_group(group: &str) -> bool {
    !group.is_empty() && mqtt::is_topic_name(group) && !group.contains('/')
}

fn tls(mut table: Table<'_>, files: Files<'_>) -> Result<RemoteTls, SettingError> {
    let ca_file = files.path(&mut table, "ca_file")?;
    let certificate = files.path(&mut table, "client_certificate")?;
    let key = files.path(&mut table, "client_key")?;
    let server_name = table.find_text("server_name")?.map(str::to_owned);
    table.refuse_others()?;
    let ca_file = table.required("ca_file", ca_file)?;
    if certificate.is_some() != key.is_some() {
        let problem = "found one of client_certificate and client_key, expected both or none";
        return Err(SettingError::new(table.origin().clone(), table.path(), problem));
    }
    Ok(RemoteTls { ca_file, client: certificate.zip(key), server_name })
}

/// Makes sure that the files of TLS can be used, before anything is started.
pub fn check_files(remote: &RemoteConfig) -> Result<(), SettingError> {
    let Some(tls) = &remote.tls else { return Ok(()) };
    tls.check(&remote.host).map_err(|error| SettingError::new(Origin::Code, error.key, error.problem()))
}

impl Login {
    /// User name and password; none where there is no user.
    ///
    /// # Errors
    /// When there is a user and no password.
    pub fn credentials(self) -> Option<Result<(String, String), ConfigError>> {
        let Some(username) = self.username else {
            if std::env::var_os(PASSWORD_VARIABLE).is_some_and(|password| !password.is_empty()) {
                tracing::warn!(
                    "{PASSWORD_VARIABLE} is set and not used: there is no user name for it, which is remote.username (--broker-username)"
                );
            }
            return None;
        };
        let password = match self.password_file {
            Some(path) => first_line(&path),
            None => of_environment(&username),
        };
        Some(password.map(|password| (username, password)))
    }
}

fn first_line(file: &Path) -> Result<String, ConfigError> {
    const KEY: &str = "remote.password_file";
    let text = super::read(file).map_err(|error| error.named_by(KEY))?;
    super::warn_of_open_secret(file, "the password at the broker elsewhere");
    match text.lines().next() {
        None | Some("") => {
            let problem =
                format!("{}: found nothing in its first line, expected the password", file.display());
            Err(SettingError::new(Origin::Code, KEY, problem).into())
        }
        Some(password) => Ok(password.to_owned()),
    }
}

fn of_environment(username: &str) -> Result<String, ConfigError> {
    let found = match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) if !password.is_empty() => return Ok(password),
        Ok(_) => "empty",
        Err(VarError::NotUnicode(_)) => "not in UTF-8",
        Err(VarError::NotPresent) => "not set",
    };
    let problem =
        format!("{found}, but the remote broker's username is {username:?}: set it, or name a password_file");
    Err(ConfigError::Override { origin: PASSWORD_VARIABLE.to_owned(), problem })
}
