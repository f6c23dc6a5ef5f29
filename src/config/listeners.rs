//! The addresses that a node listens on: which of them other machines reach although nobody has to prove
//! who they are.

use super::ConfigError;
use crate::broker::{Config, Listener};
use crate::settings::{Origin, SettingError};

/// Where the address of a listener is written.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file and line, variable or flag.
    pub origin: Origin,
    /// The key.
    pub key: String,
}

impl Place {
    /// The error for what stands there.
    pub fn wrong(&self, problem: impl Into<String>) -> SettingError {
        SettingError::new(self.origin.clone(), self.key.as_str(), problem)
    }
}

/// What is said of a listener that is open to anyone.
fn open(listener: &Listener) -> String {
    format!(
        "listener {} can be reached from other machines and no users are configured: name a users file (broker.users, --users), \
         listen on 127.0.0.1, or accept it with --allow-anonymous (in a file: broker.allow_anonymous = true), which lets anyone who \
         reaches the port publish and subscribe",
        listener.address
    )
}

/// Refuses listeners that other machines can reach, unless there are users or that was asked for. `places`
/// are those of the listeners, as far as they are known.
///
/// # Errors
/// [`ConfigError`] naming the first such listener.
pub fn refuse_open(broker: &Config, places: &[Place], allow_anonymous: bool) -> Result<(), ConfigError> {
    // A listener that asks for certificates is not open to anyone.
    let asks_for_certificate =
        |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_authorities.is_some());
    let is_open =
        |listener: &Listener| !listener.address.ip().is_loopback() && !asks_for_certificate(listener);
    match broker.listeners.iter().position(is_open) {
        Some(at) if !allow_anonymous => {
            let problem = open(&broker.listeners[at]);
            let error = match places.get(at) {
                Some(place) => place.wrong(problem),
                None => SettingError::new(Origin::Code, "", problem),
            };
            Err(error.into())
        }
        _ => Ok(()),
    }
}
