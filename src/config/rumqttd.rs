//! `rumqttd.toml`: rumqttd's own configuration format, read into ours.
//!
//! Keys keep rumqttd's meaning. A key that is unknown, or that this broker does not
//! honour, is an error that names it.

mod limits;
mod options;
mod tls;
mod websocket;

use std::path::Path;

use super::address;
use super::listeners::Place;
use crate::broker::{
    Config, ConnectionLimits, Listener, PACKET_BYTES_LEAST, SEGMENT_BYTES_LEAST, SEGMENTS_LEAST,
    SegmentLimits, SharedStrategy,
};
use crate::mqtt::why_no_filter;
use crate::settings::{Setting, SettingError, Table, toml};

/// Keys of rumqttd that this broker does not honour, and what to do instead.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    ("auth", "no users in this file: name a users file in nearfar.toml (broker.users), or with --users"),
    ("console", "no console"),
    ("prometheus", "no metrics listener of the broker's own"),
    ("metrics", "no metrics links"),
    ("bridge", "no bridge: this broker connects to no other"),
    ("cluster", "no cluster: this broker has no peers"),
    ("throttle_delay_ms", "nothing here: rumqttd 0.20 has no such setting either"),
    ("max_client_id_len", "`client_id_bytes_max` in `[limits]`: rumqttd 0.20 has no such setting either"),
    ("max_inflight_size", "nothing here: rumqttd 0.20 has no such setting either; use `max_inflight_count`"),
    ("allowed_origins", "a WebSocket listener, such as [ws.1]: elsewhere there are no origins"),
    ("pkcs12path", "PEM files: `certpath` and `keypath`"),
    ("pkcs12pass", "PEM files: `certpath` and `keypath`, the key not encrypted"),
];

/// Reads a broker's configuration in rumqttd's format, which `file` names in errors.
/// What is left out has this broker's default; each `[v4.*]` and `[v5.*]` is a listener,
/// and every listener speaks both versions. Paths are relative to `directory`.
///
/// # Errors
/// [`SettingError`] for the first thing that is wrong, certificates included.
pub fn parse_broker(file: Option<&str>, text: &str, directory: &Path) -> Result<Config, SettingError> {
    Ok(read_placed(&toml::parse(file, text)?, directory)?.0)
}

/// The same of a text that was parsed, with the places of the listeners' addresses.
pub fn read_placed(tree: &Setting, directory: &Path) -> Result<(Config, Vec<Place>), SettingError> {
    let mut table = Table::of(tree, "")?;
    let (mut config, mut places) = (Config::without_listeners(), Vec::new());
    only_id_0(&mut table)?;
    if let Some(section) = table.find_table("router")? {
        router(section, &mut config)?;
    }
    for version in ["v4", "v5"] {
        for (name, entry) in table.find_named(version)? {
            places.push(place(tree, version, name));
            let mut section = entry.table()?;
            config.listeners.push(listener(&mut section, &format!("{version}-{name}"), directory)?);
            section.refuse_foreign(FOREIGN_KEYS)?;
        }
    }
    for (name, entry) in table.find_named("ws")? {
        places.push(place(tree, "ws", name));
        config.listeners.push(websocket::listener(entry.table()?, &format!("ws-{name}"), directory)?);
    }
    if let Some(section) = table.find_table("limits")? {
        limits::limits(section, &mut config.limits)?;
    }
    if let Some(section) = table.find_table("options")? {
        options::options(section, &mut config)?;
    }
    table.refuse_foreign(FOREIGN_KEYS)?;
    Ok((config, places))
}

/// Where a listener's address stands.
fn place(tree: &Setting, kind: &str, name: &str) -> Place {
    let origin = tree.nearest(&[kind, name, "listen"]).origin.clone();
    Place { origin, key: format!("{kind}.{name}.listen") }
}

fn router(mut table: Table<'_>, config: &mut Config) -> Result<(), SettingError> {
    only_id_0(&mut table)?;
    let router = &mut config.router;
    table.number("max_connections", 1..=1_000_000, &mut router.connections_max)?;
    table.number("max_outgoing_packet_count", 1..=1_000_000, &mut router.outgoing_packets_max)?;
    let mut default =
        SegmentLimits { segment_bytes_max: router.segment_bytes_max, segments_max: router.segments_max };
    segments(&mut table, &mut default)?;
    (router.segment_bytes_max, router.segments_max) = (default.segment_bytes_max, default.segments_max);
    for (filter, entry) in table.find_named("custom_segment")? {
        if let Some(hint) = why_no_filter(filter) {
            return Err(entry.invalid(format!("found {filter:?} as a key, expected a topic filter: {hint}")));
        }
        let (mut section, mut limits) = (entry.table()?, default);
        segments(&mut section, &mut limits)?;
        section.refuse_foreign(FOREIGN_KEYS)?;
        router.custom_segments.push((filter.to_owned(), limits));
    }
    // Nothing is logged for a filter before somebody subscribes, so there is nothing to prepare.
    for entry in table.find_list("initialized_filters")?.unwrap_or_default() {
        if let Some(hint) = why_no_filter(entry.text_or("a topic filter")?) {
            return Err(entry.wrong(format!("a topic filter: {hint}")));
        }
    }
    table.choice("shared_subscriptions_strategy", SharedStrategy::NAMES, &mut router.shared_strategy)?;
    table.refuse_foreign(FOREIGN_KEYS)
}

fn segments(table: &mut Table<'_>, limits: &mut SegmentLimits) -> Result<(), SettingError> {
    table.number("max_segment_size", SEGMENT_BYTES_LEAST..=1 << 40, &mut limits.segment_bytes_max)?;
    table.number("max_segment_count", SEGMENTS_LEAST..=1_000_000, &mut limits.segments_max)
}

/// What every kind of listener has.
fn listener(table: &mut Table<'_>, name: &str, directory: &Path) -> Result<Listener, SettingError> {
    let Some(address) = address::find(table, "listen", address::MQTT)? else {
        return Err(table.missing("listen", &address::expected(address::MQTT)));
    };
    let mut listener = Listener::new(name, address);
    table.text("name", &mut listener.name)?;
    table.milliseconds("next_connection_delay_ms", 0.0..=60_000.0, &mut listener.next_connection_delay)?;
    if let Some(section) = table.find_table("connections")? {
        connections(section, &mut listener.connections)?;
    }
    listener.tls = table.find_table("tls")?.map(|section| tls::tls(section, directory)).transpose()?;
    Ok(listener)
}

fn connections(mut table: Table<'_>, limits: &mut ConnectionLimits) -> Result<(), SettingError> {
    table.milliseconds("connection_timeout_ms", 1.0..=65_535.0, &mut limits.connect_timeout)?;
    table.number("max_payload_size", PACKET_BYTES_LEAST..=268_435_460, &mut limits.packet_bytes_max)?;
    table.number("max_inflight_count", 1.., &mut limits.inflight_messages_max)?;
    table.number("max_keep_alive_s", 1.., &mut limits.keep_alive_max_s)?;
    // Either way a publish that nobody subscribed to is taken; rumqttd 0.20's router behaves the same.
    table.find_flag("dynamic_filters")?;
    table.refuse_foreign(FOREIGN_KEYS)
}

fn only_id_0(table: &mut Table<'_>) -> Result<(), SettingError> {
    let Some(entry) = table.find("id") else { return Ok(()) };
    entry
        .number(0..=0_u64)
        .map(|_| ())
        .map_err(|_| entry.wrong("0: there is one router, and no cluster to tell it apart in"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, SettingError> {
        parse_broker(None, text, Path::new(""))
    }

    fn refused(text: &str) -> SettingError {
        read(text).unwrap_err()
    }

    #[test]
    fn the_shipped_file_is_read_and_listens_on_loopback_alone() {
        let config = read(include_str!("../../rumqttd.toml")).unwrap();
        assert_eq!(config.listeners.len(), 1);
        assert!(config.listeners[0].address.ip().is_loopback());
        assert_eq!(config.router, crate::broker::RouterLimits::default());
    }

    #[test]
    fn every_key_has_its_meaning() {
        let config = read(
            r#"
            id = 0
            [router]
            id = 0
            max_connections = 7
            max_outgoing_packet_count = 8
            max_segment_size = 10_240
            max_segment_count = 9
            initialized_filters = ["a/#"]
            shared_subscriptions_strategy = "sticky"
            [router.custom_segment."b/+"]
            max_segment_size = 0x800
            [v4.1]
            name = "old"
            listen = "127.0.0.1:1"
            next_connection_delay_ms = 3
            connections = { connection_timeout_ms = 4, max_payload_size = 500, max_inflight_count = 6, dynamic_filters = true, max_keep_alive_s = 7 }
            [v5.x]
            listen = "[::1]:2"
            "#,
        )
        .unwrap();
        let router = &config.router;
        assert_eq!((router.connections_max, router.outgoing_packets_max), (7, 8));
        assert_eq!((router.segment_bytes_max, router.segments_max), (10_240, 9));
        assert_eq!(router.shared_strategy, SharedStrategy::Sticky);
        assert_eq!(
            router.custom_segments,
            [("b/+".to_owned(), SegmentLimits { segment_bytes_max: 2_048, segments_max: 9 })]
        );
        let [old, new] = &config.listeners[..] else { panic!("two listeners") };
        assert_eq!(
            (old.name.as_str(), old.address.port(), old.next_connection_delay.as_millis()),
            ("old", 1, 3)
        );
        let limits = &old.connections;
        assert_eq!(
            (limits.connect_timeout.as_millis(), limits.packet_bytes_max, limits.inflight_messages_max),
            (4, 500, 6)
        );
        assert_eq!(limits.keep_alive_max_s, 7);
        assert_eq!((new.name.as_str(), new.address.port()), ("v5-x", 2));
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_a_suggestion() {
        let error = refused("[router]\nmax_connections = 1\nmax_segment_sise = 2\n");
        assert_eq!((error.line(), error.key.as_str()), (Some(3), "router.max_segment_sise"));
        assert_eq!(error.suggestion.as_deref(), Some("max_segment_size"));
        assert!(error.to_string().ends_with("; did you mean `max_segment_size`?"), "{error}");
    }

    #[test]
    fn keys_that_are_not_honoured_are_refused_by_name() {
        for (text, key) in [
            ("[v4.1]\nlisten = \"127.0.0.1:1\"\nallowed_origins = []", "v4.1.allowed_origins"),
            ("[v4.1]\nlisten = \"127.0.0.1:1\"\n[v4.1.tls]\npkcs12path = \"x\"", "v4.1.tls.pkcs12path"),
            ("[v4.1]\nlisten = \"127.0.0.1:1\"\nconnections.auth = { a = \"b\" }", "v4.1.connections.auth"),
            ("[console]\nlisten = \"x\"", "console"),
            ("[prometheus]\n", "prometheus"),
            ("[bridge]\n", "bridge"),
            ("[cluster]\n", "cluster"),
            ("[metrics]\n", "metrics"),
        ] {
            let error = refused(text);
            assert_eq!(error.key, key);
            assert!(error.to_string().contains("found a key that is not honoured"), "{error}");
        }
    }

    #[test]
    fn wrong_values_are_quoted_with_what_was_expected() {
        for (text, line, key, found) in [
            ("[router]\nmax_segment_size = 0", 2, "router.max_segment_size", "found 0,"),
            ("[router]\nmax_segment_count = 1", 2, "router.max_segment_count", "found 1,"),
            ("[router]\nmax_connections = \"many\"", 2, "router.max_connections", "found \"many\","),
            ("[router]\nmax_connections = -1", 2, "router.max_connections", "found -1,"),
            ("[v4.1]\n\nlisten = \"localhost\"", 3, "v4.1.listen", "found \"localhost\","),
            ("\n[v4.1]\nname = \"x\"", 2, "v4.1.listen", "is missing, expected an address"),
            ("[v4]\n1 = 5", 2, "v4.1", "found 5,"),
            ("id = 3", 1, "id", "found 3,"),
            ("[router]\ninitialized_filters = [\"a#\"]", 2, "router.initialized_filters[0]", "found \"a#\","),
            (
                "[router]\nshared_subscriptions_strategy = \"fair\"",
                2,
                "router.shared_subscriptions_strategy",
                "found \"fair\",",
            ),
        ] {
            let error = refused(text);
            assert_eq!((error.line(), error.key.as_str()), (Some(line), key), "{error}");
            assert!(error.to_string().contains(found), "{error}");
        }
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let error = refused("[router]\nmax_connections = = 1\n");
        assert!(error.to_string().starts_with("line 2: this is no TOML"), "{error}");
    }
}
