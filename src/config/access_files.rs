//! The files that say who may do what: read here, when a node starts and whenever it
//! is told to read them again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ConfigError;
use super::listeners::{self, Place};
use crate::broker::{self, AccessRules, Guard, Listener, Reload, Users, UsersError};
use crate::broker::{RULES_FILE_BYTES_MAX, USERS_FILE_BYTES_MAX};
use crate::settings::{Origin, Problem, SettingError};
use crate::text;

/// Puts a guard in front of `broker`, which lets in whom `users` names and allows them what `rules` says, or
/// makes sure that it needs none; its listeners are written at `places`. Both files are read again when the
/// broker is told to reload.
///
/// # Errors
/// [`ConfigError`] naming file, line and key, or the key that contradicts another.
pub fn secure(
    broker: &mut broker::Config,
    places: &[Place],
    users: Option<PathBuf>,
    rules: Option<PathBuf>,
    allows_anonymous: bool,
) -> Result<(), ConfigError> {
    match (users, rules) {
        (None, None) => listeners::refuse_open(broker, places, allows_anonymous),
        (Some(_), _) if allows_anonymous => Err(contradiction("broker.allow_anonymous", ANONYMOUS_USERS)),
        (Some(_), None) => Err(contradiction("broker.users", USERS_WITHOUT_RULES)),
        (None, Some(_)) if !allows_anonymous && !takes_names_from_certificates(broker) => {
            Err(contradiction("broker.access_rules", RULES_WITHOUT_USERS))
        }
        (users, Some(rules)) => guard(broker, users, rules, allows_anonymous),
    }
}

const ANONYMOUS_USERS: &str = "there are users, so nobody is anonymous: remove it, or remove broker.users";
const USERS_WITHOUT_RULES: &str = "there are users but no access rules, and what no rule allows is denied: name a file with \
     broker.access_rules (--acl); to let users do everything it has three lines: [[rules]], \
     allow = [\"publish\", \"subscribe\", \"will\"], topics = [\"#\"]";
const RULES_WITHOUT_USERS: &str = "there are access rules but no users, so anyone could say to be anyone: name a users file with \
     broker.users (--users), take the names on every listener from client certificates, or accept that with \
     broker.allow_anonymous (--allow-anonymous)";

/// The error for a key that another one contradicts. Where it was written is for the caller to know.
fn contradiction(key: &str, problem: &str) -> ConfigError {
    SettingError::new(Origin::Code, key, problem).into()
}

fn takes_names_from_certificates(broker: &broker::Config) -> bool {
    broker.listeners.iter().all(takes_name_from_certificate)
}

fn takes_name_from_certificate(listener: &Listener) -> bool {
    listener.tls.as_ref().is_some_and(|tls| tls.identity.is_some())
}

/// Whether some of its clients are called what their certificate says.
fn has_names_of_certificates(broker: &broker::Config) -> bool {
    broker.listeners.iter().any(takes_name_from_certificate)
}

fn guard(
    broker: &mut broker::Config,
    users: Option<PathBuf>,
    rules: PathBuf,
    admits_anonymous: bool,
) -> Result<(), ConfigError> {
    let files = Files { users, rules, has_names_of_certificates: has_names_of_certificates(broker) };
    let (known, rights) = files.read()?;
    let guard = Guard::new(known, rights, broker.limits.failed_logins).map_err(ConfigError::Thread)?;
    let guard = Arc::new(if admits_anonymous { guard.admitting_anonymous() } else { guard });
    broker.access = guard.clone();
    broker.reloads.push(Arc::new(AccessFiles { files, guard }));
    Ok(())
}

/// The two files and the guard that goes by them.
struct AccessFiles {
    files: Files,
    guard: Arc<Guard>,
}

impl Reload for AccessFiles {
    fn reload(&self) -> Result<(), String> {
        // Both are read before either is in force: half a change would be neither the old nor the new.
        let (users, rules) = self
            .files
            .read()
            .map_err(|error| format!("{error}; the users and rules read before stay in force"))?;
        let (users_count, rules_count) = (users.len(), rules.len());
        self.guard.replace(users, rules);
        // Said when it is true: whoever reads it may log in the next moment.
        tracing::info!(users = users_count, rules = rules_count, "users and access rules read again");
        Ok(())
    }
}

struct Files {
    users: Option<PathBuf>,
    rules: PathBuf,
    /// Whether rules may be about others than those in the users file.
    has_names_of_certificates: bool,
}

impl Files {
    /// Reads both, and warns of what is allowed and hardly meant.
    fn read(&self) -> Result<(Users, AccessRules), ConfigError> {
        let (known, rights) = (read_users(self.users.as_deref())?, read_rules(&self.rules)?);
        if let Some(file) = self.users.as_ref().filter(|_| known.is_empty()) {
            tracing::warn!(file = %file.display(), "no users: nobody can log in; `nearfar passwd FILE USER` adds one");
        }
        let file = self.rules.display();
        if rights.is_empty() {
            tracing::warn!(%file, "no access rules: clients can connect, and everything else is denied");
        }
        for remark in broker::remarks(&rights, &known, self.has_names_of_certificates) {
            tracing::warn!(%file, "{remark}");
        }
        Ok((known, rights))
    }
}

/// No users where there is no file.
fn read_users(path: Option<&Path>) -> Result<Users, ConfigError> {
    let Some(path) = path else { return Ok(Users::default()) };
    let text = read_users_text(path).map_err(|error| {
        let is_missing = error.is_missing();
        match error.named_by("broker.users") {
            ConfigError::Setting(mut error) if is_missing => {
                error.problem =
                    Problem::Other(format!("{}: `nearfar passwd FILE USER` makes it", error.problem));
                ConfigError::Setting(error)
            }
            error => error,
        }
    })?;
    let users = Users::parse(&text).map_err(|error| invalid_users(path, error))?;
    super::warn_of_open_secret(path, "the users' passwords, hashed");
    if users.weak().next().is_some() {
        tracing::warn!(
            file = %path.display(), users = broker::listed(users.weak()),
            "passwords of these users are hashed as Mosquitto did before 1.6.10 ($6$): whoever reads the file tries \
             millions a second; `nearfar passwd FILE USER` sets one anew"
        );
    }
    Ok(users)
}

fn read_rules(path: &Path) -> Result<AccessRules, ConfigError> {
    let text =
        read_bounded(path, RULES_FILE_BYTES_MAX).map_err(|error| error.named_by("broker.access_rules"))?;
    super::warn_of_changeable(path);
    Ok(AccessRules::parse(Some(&path.display().to_string()), &text)?)
}

/// A users file's text.
///
/// # Errors
/// [`ConfigError`] naming the file.
pub fn read_users_text(path: &Path) -> Result<String, ConfigError> {
    read_bounded(path, USERS_FILE_BYTES_MAX)
}

/// The error for a users file that says something it may not.
pub fn invalid_users(path: &Path, error: UsersError) -> ConfigError {
    ConfigError::InvalidUsers { file: path.display().to_string(), error }
}

fn read_bounded(path: &Path, bytes_max: usize) -> Result<String, ConfigError> {
    text::read_file(path, bytes_max)
        .map_err(|cause| ConfigError::Unreadable { file: path.display().to_string(), cause })
}
