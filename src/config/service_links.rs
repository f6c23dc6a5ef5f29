//! The variables by which Kubernetes and Docker tell containers of a service, where its name begins as our
//! variables do.
//!
//! `NEARFAR_SERVICE_HOST`, `NEARFAR_PORT_9464_TCP` and so on, of a Service called `nearfar`, or
//! `nearfar-mqtt`, whose variables begin with `NEARFAR_MQTT_`. They are told by form and by value: what only
//! looks like one is a mistake that someone should hear of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::ENVIRONMENT_PREFIX;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// What is known of the services.
pub struct ServiceLinks {
    /// What variables begin with that Docker copied from a linked container.
    copied: BTreeSet<String>,
}

impl ServiceLinks {
    /// Looks through all variables that begin as ours do.
    pub fn among(variables: &BTreeMap<String, String>) -> Self {
        let names = variables.iter().filter(|(_, value)| is_linked_name(value));
        let copied =
            names.filter_map(|(name, _)| name.strip_suffix("_NAME")).map(|link| format!("{link}_ENV_"));
        Self { copied: copied.collect() }
    }

    /// Whether this variable is a link.
    pub fn have(&self, name: &str, value: &str) -> bool {
        if self.copied.iter().any(|beginning| name.starts_with(beginning.as_str())) {
            return true;
        }
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { return false };
        rest.ends_with("_SERVICE_HOST") && value.parse::<IpAddr>().is_ok()
            || is_named_port(rest) && value.parse::<u16>().is_ok()
            || rest.ends_with("_PORT") && is_address(value)
            || rest.ends_with("_NAME") && is_linked_name(value)
            || is_port(rest, value)
    }
}

/// `_SERVICE_PORT`, or the same with the port's name behind it.
fn is_named_port(rest: &str) -> bool {
    rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_")
}

/// `_PORT_9464_TCP`, or the same with the name of one of its parts behind it.
fn is_port(rest: &str, value: &str) -> bool {
    let parts = || {
        let (_, port) = rest.rsplit_once("_PORT_").filter(|(_, port)| port.contains('_')).or_else(|| {
            // The part's own name is `PORT`, or begins so.
            let (before, _) = rest.rsplit_once("_PORT")?;
            before.rsplit_once("_PORT_")
        })?;
        let (number, end) = port.split_once('_').unwrap_or((port, ""));
        number.parse::<u16>().ok()?;
        let (protocol, part) = end.split_once('_').unwrap_or((end, ""));
        PROTOCOLS.iter().any(|known| protocol.eq_ignore_ascii_case(known)).then_some(part)
    };
    let Some(part) = parts() else { return false };
    let is_number = value.parse::<u16>().is_ok();
    match part {
        _ if rest.ends_with("_PORT") || rest.ends_with("_PORT_START") || rest.ends_with("_PORT_END") => {
            is_number
        }
        "" | "START" | "END" => is_address(value),
        "PROTO" => PROTOCOLS.contains(&value),
        "ADDR" => value.parse::<IpAddr>().is_ok(),
        _ => false,
    }
}

/// `tcp://10.96.0.17:9464`.
fn is_address(value: &str) -> bool {
    value.split_once("://").is_some_and(|(protocol, address)| {
        // Kubernetes joins an IPv6 address and a port with brackets.
        PROTOCOLS.contains(&protocol) && address.parse::<SocketAddr>().is_ok()
    })
}

/// `/web/nearfar`: who links, and what it calls what it links to.
fn is_linked_name(value: &str) -> bool {
    value
        .strip_prefix('/')
        .and_then(|names| names.split_once('/'))
        .is_some_and(|(who, what)| !who.is_empty() && !what.is_empty() && !what.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_links(variables: &[(&str, &str)]) -> Vec<bool> {
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let links = ServiceLinks::among(&all);
        variables.iter().map(|(name, value)| links.have(name, value)).collect()
    }

    #[test]
    fn what_kubernetes_and_docker_set_are_links() {
        for variables in [
            // A Service called nearfar.
            &[
                ("NEARFAR_SERVICE_HOST", "10.96.0.17"),
                ("NEARFAR_SERVICE_PORT", "9464"),
                ("NEARFAR_SERVICE_PORT_METRICS", "9464"),
                ("NEARFAR_SERVICE_PORT_MQTT_TLS", "8883"),
                ("NEARFAR_PORT", "tcp://10.96.0.17:9464"),
                ("NEARFAR_PORT_9464_TCP", "tcp://10.96.0.17:9464"),
                ("NEARFAR_PORT_9464_TCP_PROTO", "tcp"),
                ("NEARFAR_PORT_9464_TCP_PORT", "9464"),
                ("NEARFAR_PORT_9464_TCP_ADDR", "10.96.0.17"),
            ][..],
            // nearfar-mqtt, over UDP, SCTP and IPv6.
            &[
                ("NEARFAR_MQTT_SERVICE_HOST", "fd00::11"),
                ("NEARFAR_MQTT_SERVICE_PORT", "1883"),
                ("NEARFAR_MQTT_PORT", "udp://[fd00::11]:1883"),
                ("NEARFAR_MQTT_PORT_1883_UDP", "udp://[fd00::11]:1883"),
                ("NEARFAR_MQTT_PORT_1883_UDP_ADDR", "fd00::11"),
                ("NEARFAR_MQTT_PORT_1883_SCTP", "sctp://10.0.0.1:1883"),
                ("NEARFAR_MQTT_PORT_1883_SCTP_PROTO", "sctp"),
                ("NEARFAR_MQTT_PORT_1883_SCTP_PORT", "1883"),
            ],
            // Names with our words in them: nearfar-service, nearfar-port-80.
            &[
                ("NEARFAR_SERVICE_SERVICE_HOST", "10.0.0.2"),
                ("NEARFAR_SERVICE_SERVICE_PORT", "80"),
                ("NEARFAR_PORT_80_SERVICE_HOST", "10.0.0.2"),
                ("NEARFAR_PORT_80_PORT_80_TCP_PORT", "80"),
                ("NEARFAR_PORT_80_PORT_80_TCP", "tcp://10.0.0.2:80"),
            ],
            // docker run --link nearfar.
            &[
                ("NEARFAR_NAME", "/web/nearfar"),
                ("NEARFAR_ENV_PATH", "/usr/bin"),
                ("NEARFAR_ENV_X_Y", ""),
                ("NEARFAR_PORT_1883_TCP_START", "tcp://172.17.0.2:1883"),
                ("NEARFAR_PORT_1883_TCP_PORT_START", "1883"),
                ("NEARFAR_PORT_1883_TCP_PORT_END", "1885"),
            ],
        ] {
            let found = are_links(variables);
            assert!(found.iter().all(|is_link| *is_link), "{variables:?}: {found:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_link_is_none() {
        let found = are_links(&[
            ("NEARFAR_SERVICE_HOST", "plant.example"),
            ("NEARFAR_SERVICE_PORT", "mqtt"),
            ("NEARFAR_SERVICE_PORT", "70000"),
            ("NEARFAR_PORT", "1883"),
            ("NEARFAR_PORT", "http://10.0.0.1:80"),
            ("NEARFAR_PORT", "tcp://broker:1883"),
            ("NEARFAR_PORT_9464_TCP", "9464"),
            ("NEARFAR_PORT_9464_TCP_PROTO", "9464"),
            ("NEARFAR_PORT_9464_TCP_OTHER", "9464"),
            ("NEARFAR_PORT_X_TCP", "tcp://10.0.0.1:80"),
            ("NEARFAR_NAME", "gateway"),
            ("NEARFAR_NAME", "/etc/nearfar/name"),
            ("NEARFAR_ENV_PATH", "/usr/bin"),
            ("NEARFAR_PORTS", "tcp://10.0.0.1:80"),
        ]);
        assert!(found.iter().all(|is_link| !is_link), "{found:?}");
    }
}
