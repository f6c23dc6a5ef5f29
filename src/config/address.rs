//! An address to listen on, as people write it: an IP address or `localhost`, with a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::http::PORT_DEFAULT;
use crate::settings::{SettingError, Table, Value};

/// The port of examples for MQTT.
pub const MQTT: u16 = 1883;

/// Reads the address that stands at a key; `port` is that of examples.
///
/// # Errors
/// When something else stands there.
pub fn find(table: &mut Table<'_>, key: &'static str, port: u16) -> Result<Option<SocketAddr>, SettingError> {
    let Some(entry) = table.find(key) else { return Ok(None) };
    match &entry.setting().value {
        Value::Text(text) => address(text, port).map(Some).map_err(|expected| entry.wrong(expected)),
        _ => Err(entry.wrong(expected(port))),
    }
}

/// What an address to listen on looks like.
pub fn expected(port: u16) -> String {
    format!("an address with a port, such as \"127.0.0.1:{port}\"")
}

/// Reads an address. `localhost` is 127.0.0.1, whatever the system's files say: no name is looked up.
///
/// # Errors
/// What was expected instead.
pub fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    Err(match instead(text, port) {
        Instead::Address(address) => return Ok(address),
        Instead::Hint(hint) => format!("{}: {hint}", expected(port)),
    })
}

/// Reads the address of MQTT that a flag says.
///
/// # Errors
/// What was expected instead, as a part of clap's sentence.
pub fn address_flag(text: &str) -> Result<SocketAddr, String> {
    address(text, MQTT).map_err(|expected| format!("expected {expected}"))
}

/// Reads the address of health and metrics that a flag says.
///
/// # Errors
/// As [`address_flag`].
pub fn http_address_flag(text: &str) -> Result<SocketAddr, String> {
    address(text, PORT_DEFAULT).map_err(|expected| format!("expected {expected}"))
}

/// The same, also within a URL, as whoever asks for it copies it.
///
/// # Errors
/// As [`address_flag`].
pub fn http_url(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text);
    http_address_flag(bare.split('/').next().filter(|_| text.len() > bare.len()).unwrap_or(bare))
}

/// What a text is that is no address and port.
enum Instead {
    Address(SocketAddr),
    Hint(String),
}

fn instead(text: &str, example: u16) -> Instead {
    if let Some((scheme, rest)) = text.split_once("://") {
        return Instead::Hint(format!("without \"{scheme}://\", as in {rest:?}"));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        // What follows the last colon of an IPv6 address may have been meant as a port.
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host.parse().ok()?, port)));
        return Instead::Hint(match (address, parts) {
            (IpAddr::V4(address), _) => format!("a port is missing, as in \"{address}:{example}\""),
            (IpAddr::V6(_), Some((address, port))) => in_brackets(address, port),
            (IpAddr::V6(address), None) => in_brackets(address, &example.to_string()),
        });
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match port(text) {
            Ok(port) => Instead::Hint(format!("an address is missing, as in \"127.0.0.1:{port}\"")),
            Err(wrong) => Instead::Hint(wrong),
        };
    }
    let Some((host, port_text)) = text.rsplit_once(':') else {
        return match text {
            "localhost" => Instead::Hint(format!("a port is missing, as in \"localhost:{example}\"")),
            _ => Instead::Hint(format!("one of this machine, or \"0.0.0.0:{example}\" for all that it has")),
        };
    };
    let port = match port(port_text) {
        Ok(port) => port,
        Err(wrong) => return Instead::Hint(wrong),
    };
    match host {
        "localhost" => Instead::Address((Ipv4Addr::LOCALHOST, port).into()),
        "" | "*" => Instead::Hint(format!("all addresses of this machine are \"0.0.0.0:{port}\"")),
        _ => match host.parse::<Ipv6Addr>() {
            Ok(address) => Instead::Hint(in_brackets(address, port_text)),
            Err(_) => Instead::Hint(format!(
                "{host:?} is no IP address: one of this machine, or 0.0.0.0 for all that it has; names are not looked up, but for localhost"
            )),
        },
    }
}

fn in_brackets(address: Ipv6Addr, port: &str) -> String {
    format!("an IPv6 address stands in brackets, as in \"[{address}]:{port}\"")
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no port, which is a whole number from 0 to 65535; 0 takes a free one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_read() {
        for (text, address) in [
            ("127.0.0.1:1883", "127.0.0.1:1883"),
            ("localhost:1883", "127.0.0.1:1883"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:1883", "[::1]:1883"),
            ("0.0.0.0:8883", "0.0.0.0:8883"),
        ] {
            assert_eq!(super::address(text, MQTT), Ok(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn health_is_asked_by_address_or_url() {
        let read = Ok("127.0.0.1:9464".parse().unwrap());
        for text in [
            "127.0.0.1:9464",
            "localhost:9464",
            "http://127.0.0.1:9464",
            "http://localhost:9464/health/ready",
        ] {
            assert_eq!(http_url(text), read, "{text}");
        }
        assert_eq!(http_url("[::1]:9464"), Ok("[::1]:9464".parse().unwrap()));
        for (text, hint) in [
            ("127.0.0.1", "as in \"127.0.0.1:9464\""),
            ("localhost", "as in \"localhost:9464\""),
            ("http://localhost/metrics", "as in \"localhost:9464\""),
            ("27011", "as in \"127.0.0.1:27011\""),
            ("::1:27083", "as in \"[::1]:27083\""),
            ("https://localhost:9464", "without \"https://\""),
            ("gateway:9464", "names are not looked up"),
        ] {
            let said = http_url(text).unwrap_err();
            assert!(said.contains(hint), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_none_is_answered_with_what_was_probably_meant() {
        for (text, hint) in [
            ("127.0.0.1:99999", "\"99999\" is no port"),
            ("99999", "\"99999\" is no port"),
            ("localhost:mqtt", "\"mqtt\" is no port"),
            ("127.0.0.1:", "\"\" is no port"),
            ("::1:1883", "\"[::1]:1883\""),
            ("::1", "\"[::1]:1883\""),
            ("fe80::1:1883", "\"[fe80::1]:1883\""),
            ("127.0.0.1", "a port is missing, as in \"127.0.0.1:1883\""),
            ("localhost", "a port is missing, as in \"localhost:1883\""),
            ("1883", "\"127.0.0.1:1883\""),
            (":1883", "\"0.0.0.0:1883\""),
            ("*:1883", "\"0.0.0.0:1883\""),
            ("mqtt://127.0.0.1:1883", "without \"mqtt://\", as in \"127.0.0.1:1883\""),
            ("plant.example:1883", "\"plant.example\" is no IP address"),
            ("everywhere", "one of this machine"),
            ("", "one of this machine"),
        ] {
            let said = super::address(text, MQTT).unwrap_err();
            assert!(said.starts_with(&expected(MQTT)) && said.contains(hint), "{text}: {said}");
        }
    }
}
