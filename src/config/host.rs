//! The host of a broker elsewhere, as people write it: a name or an address, of IPv6 with or without
//! brackets.
//!
//! What could never be reached is refused here: a node that waits for it would wait for ever.

use std::net::{IpAddr, Ipv6Addr};

use crate::settings::{SettingError, Table};

const HOST: &str = "a host name or an address";

/// Reads the host that stands at a key.
///
/// # Errors
/// When something else stands there.
pub fn find(table: &mut Table<'_>, key: &'static str) -> Result<Option<String>, SettingError> {
    let Some(entry) = table.find(key) else { return Ok(None) };
    host(entry.text_or(HOST)?).map(Some).map_err(|hint| entry.wrong(format!("{HOST}{hint}")))
}

/// Reads a host.
///
/// # Errors
/// What is to be done otherwise, as the end of a sentence.
fn host(text: &str) -> Result<String, String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let tls = match scheme {
            "mqtts" | "ssl" | "tls" => "; for TLS there is [remote.tls]",
            "ws" | "wss" => "; MQTT over WebSocket is not spoken to a broker elsewhere",
            _ => "",
        };
        return Err(format!(" without \"{scheme}://\", as in {:?}{tls}", without_port(rest).0));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if let (host, Some(port)) = without_port(text) {
        return Err(format!(" alone, as in {host:?}: the port is remote.port ({port})"));
    }
    if let Some(address) = in_brackets(text) {
        return Ok(address.to_string());
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control() || "/:@[],;\"".contains(*c)) {
        _ if text.is_empty() => Err(String::new()),
        Some(wrong) => Err(format!(", in which there is no {wrong:?}")),
        None => Ok(text.to_owned()),
    }
}

/// What stands before a port, and the port.
fn without_port(text: &str) -> (&str, Option<u16>) {
    let text = text.split('/').next().unwrap_or_default();
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || in_brackets(host).is_some() => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

fn in_brackets(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_what_is_none_is_answered_with_what_to_write() {
        for (text, read) in [
            ("mqtt.example.com", "mqtt.example.com"),
            ("broker_1", "broker_1"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(read));
        }
        for (text, hint) in [
            ("localhost:27051", "\"localhost\": the port is remote.port (27051)"),
            ("[::1]:1883", "\"[::1]\": the port is remote.port (1883)"),
            ("mqtt://broker.plant:1883/", "without \"mqtt://\", as in \"broker.plant\""),
            ("mqtts://broker.plant", "[remote.tls]"),
            ("broker.plant/mqtt", "there is no '/'"),
            ("broker plant", "there is no ' '"),
            ("localhost:mqtt", "there is no ':'"),
            ("", ""),
        ] {
            let said = host(text).unwrap_err();
            assert!(said.contains(hint), "{text}: {said}");
        }
    }
}
