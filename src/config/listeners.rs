//! The addresses that a node listens on: which of them other machines reach although nobody has to prove
//! who they are.

use std::net::SocketAddr;

use super::ConfigError;
use crate::broker::{Config, Listener};
use crate::http::PORT_DEFAULT;
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

/// Refuses health and metrics where other machines reach them, unless that was asked for.
///
/// # Errors
/// The sentence that says what else could be done.
pub fn refuse_open_http(address: SocketAddr, is_allowed: bool) -> Result<(), String> {
    if address.ip().is_loopback() || is_allowed {
        return Ok(());
    }
    Err(format!(
        "health and metrics on {address} can be reached from other machines and have no users: listen on 127.0.0.1, or accept it \
         with --allow-anonymous (in a file: http.allow_anonymous = true), which lets anyone who reaches the port read them"
    ))
}

/// Refuses two listeners that want one address.
///
/// # Errors
/// [`ConfigError`] naming the second of them.
pub fn refuse_shared(broker: &Config, places: &[Place]) -> Result<(), ConfigError> {
    for (at, listener) in broker.listeners.iter().enumerate() {
        let Some(first) = broker.listeners[..at].iter().find(|first| share(first.address, listener.address))
        else {
            continue;
        };
        let problem = format!(
            "found {}, where listener {} listens too ({}): give each a port of its own",
            listener.address, first.name, first.address
        );
        return Err(match places.get(at) {
            Some(place) => place.wrong(problem),
            None => SettingError::new(Origin::Code, "", problem),
        }
        .into());
    }
    Ok(())
}

/// Refuses health and metrics where a listener of the broker is.
///
/// # Errors
/// The sentence that says what to do.
pub fn refuse_shared_http(broker: &Config, address: SocketAddr) -> Result<(), String> {
    match broker.listeners.iter().find(|listener| share(listener.address, address)) {
        None => Ok(()),
        Some(listener) => Err(format!(
            "found {address}, where listener {} takes MQTT ({}): give health and metrics a port of their own, such as {}",
            listener.name,
            listener.address,
            SocketAddr::new(address.ip(), PORT_DEFAULT)
        )),
    }
}

/// Whether only one of the two can be had. Of IPv4 and IPv6 it depends on the system.
fn share(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip(), other.ip());
    one.port() == other.port()
        && one.port() != 0
        && ip.is_ipv4() == other_ip.is_ipv4()
        && (ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified())
}
