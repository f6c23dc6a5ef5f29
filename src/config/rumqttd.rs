//! `rumqttd.toml`: rumqttd's own configuration format, read into ours.
//!
//! Keys keep rumqttd's meaning. A key that is unknown, or that this broker does not
//! honour, is an error that names it.

mod limits;
mod options;
mod tls;
mod websocket;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::broker::{
    Config, ConnectionLimits, Listener, PACKET_BYTES_LEAST, SEGMENT_BYTES_LEAST, SEGMENTS_LEAST,
    SegmentLimits, SharedStrategy,
};
use crate::suggestion;

const ROOT_KEYS: &[&str] = &["id", "router", "v4", "v5", "limits", "ws", "options"];
const ROUTER_KEYS: &[&str] = &[
    "id",
    "max_connections",
    "max_outgoing_packet_count",
    "max_segment_size",
    "max_segment_count",
    "custom_segment",
    "initialized_filters",
    "shared_subscriptions_strategy",
];
const SEGMENT_KEYS: &[&str] = &["max_segment_size", "max_segment_count"];
const LISTENER_KEYS: &[&str] = &["name", "listen", "next_connection_delay_ms", "connections", "tls"];
const CONNECTION_KEYS: &[&str] = &[
    "connection_timeout_ms",
    "max_payload_size",
    "max_inflight_count",
    "dynamic_filters",
    "max_keep_alive_s",
];

/// Keys of rumqttd that this broker does not honour, and what to do instead.
const REFUSED_KEYS: &[(&str, &str)] = &[
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

/// What is wrong with a `rumqttd.toml`, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The line, counted from 1.
    pub line: usize,
    /// The key's whole path, such as `router.max_segment_size`; empty when the file is not TOML.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// A known key that looks like the misspelt one.
    pub suggestion: Option<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettingsError {}

impl Config {
    /// Reads rumqttd's format. What is left out has this broker's default; each `[v4.*]` and `[v5.*]` is
    /// a listener, and every listener speaks both versions. Paths are relative to the current directory.
    ///
    /// # Errors
    /// [`SettingsError`] for the first thing that is wrong, certificates included.
    pub fn from_rumqttd_toml(text: &str) -> Result<Self, SettingsError> {
        Self::from_rumqttd_toml_in(text, Path::new(""))
    }

    /// The same, with paths relative to `directory`.
    ///
    /// # Errors
    /// As [`from_rumqttd_toml`](Self::from_rumqttd_toml).
    pub fn from_rumqttd_toml_in(text: &str, directory: &Path) -> Result<Self, SettingsError> {
        let root = DeTable::parse(text).map_err(|error| SettingsError {
            line: line(text, error.span().unwrap_or_default()),
            key: String::new(),
            found: error.message().to_owned(),
            expected: "TOML".to_owned(),
            suggestion: None,
        })?;
        let root = Table { text, path: String::new(), span: root.span(), entries: root.get_ref() };
        root.allow_only(ROOT_KEYS)?;
        let mut config = Self::without_listeners();
        root.only_id_0()?;
        if let Some(router) = root.table("router")? {
            read_router(&router, &mut config)?;
        }
        for version in ["v4", "v5"] {
            for (name, listener) in root.tables(version)? {
                config.listeners.push(read_listener(&listener, &format!("{version}-{name}"), directory)?);
            }
        }
        for (name, listener) in root.tables("ws")? {
            config.listeners.push(websocket::read(&listener, &format!("ws-{name}"), directory)?);
        }
        if let Some(limits) = root.table("limits")? {
            limits::read(&limits, &mut config.limits)?;
        }
        if let Some(options) = root.table("options")? {
            options::read(&options, &mut config)?;
        }
        Ok(config)
    }
}

fn read_router(table: &Table<'_>, config: &mut Config) -> Result<(), SettingsError> {
    table.allow_only(ROUTER_KEYS)?;
    table.only_id_0()?;
    let router = &mut config.router;
    table.number("max_connections", 1..=1_000_000, &mut router.connections_max)?;
    table.number("max_outgoing_packet_count", 1..=1_000_000, &mut router.outgoing_packets_max)?;
    let mut default =
        SegmentLimits { segment_bytes_max: router.segment_bytes_max, segments_max: router.segments_max };
    read_segments(table, &mut default)?;
    (router.segment_bytes_max, router.segments_max) = (default.segment_bytes_max, default.segments_max);
    for (filter, segments) in table.tables("custom_segment")? {
        segments.allow_only(SEGMENT_KEYS)?;
        let mut limits = default;
        read_segments(&segments, &mut limits)?;
        router.custom_segments.push((filter, limits));
    }
    // Nothing is logged for a filter before somebody subscribes, so there is nothing to prepare.
    table.filters("initialized_filters")?;
    let strategies = [
        ("roundrobin", SharedStrategy::RoundRobin),
        ("random", SharedStrategy::Random),
        ("sticky", SharedStrategy::Sticky),
    ];
    table.choice("shared_subscriptions_strategy", &strategies, &mut router.shared_strategy)
}

fn read_segments(table: &Table<'_>, limits: &mut SegmentLimits) -> Result<(), SettingsError> {
    table.number("max_segment_size", SEGMENT_BYTES_LEAST as u64..=1 << 40, &mut limits.segment_bytes_max)?;
    table.number("max_segment_count", SEGMENTS_LEAST as u64..=1_000_000, &mut limits.segments_max)
}

fn read_listener(table: &Table<'_>, default_name: &str, directory: &Path) -> Result<Listener, SettingsError> {
    table.allow_only(LISTENER_KEYS)?;
    read_listener_table(table, default_name, directory)
}

/// What every kind of listener has.
fn read_listener_table(
    table: &Table<'_>,
    default_name: &str,
    directory: &Path,
) -> Result<Listener, SettingsError> {
    let expected = "an address with a port, such as \"127.0.0.1:1883\"";
    let Some((address, value)) = table.string("listen")? else {
        return Err(table.missing("listen", expected));
    };
    let address: SocketAddr = address.parse().map_err(|_| table.wrong_value("listen", value, expected))?;
    let name = table.string("name")?.map_or(default_name, |(name, _)| name);
    let mut listener = Listener::new(name, address);
    table.milliseconds("next_connection_delay_ms", 0..=60_000, &mut listener.next_connection_delay)?;
    if let Some(connections) = table.table("connections")? {
        read_connections(&connections, &mut listener.connections)?;
    }
    listener.tls = table.table("tls")?.map(|tls| tls::read(&tls, directory)).transpose()?;
    Ok(listener)
}

fn read_connections(table: &Table<'_>, limits: &mut ConnectionLimits) -> Result<(), SettingsError> {
    table.allow_only(CONNECTION_KEYS)?;
    table.milliseconds("connection_timeout_ms", 1..=65_535, &mut limits.connect_timeout)?;
    table.number(
        "max_payload_size",
        PACKET_BYTES_LEAST as u64..=268_435_460,
        &mut limits.packet_bytes_max,
    )?;
    table.number("max_inflight_count", 1..=65_535, &mut limits.inflight_messages_max)?;
    table.number("max_keep_alive_s", 1..=65_535, &mut limits.keep_alive_max_s)?;
    // Either way a publish that nobody subscribed to is taken; rumqttd 0.20's router behaves the same.
    table.boolean("dynamic_filters", &mut true)
}

/// A table of the file, and where it stands.
pub(super) struct Table<'a> {
    text: &'a str,
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    pub(super) fn allow_only(&self, known: &[&str]) -> Result<(), SettingsError> {
        // In the order of the file, so that the first mistake is named first.
        let mut keys: Vec<_> = self.entries.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        for key in keys {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let refused = REFUSED_KEYS.iter().find(|(refused, _)| *refused == name);
            return Err(SettingsError {
                line: line(self.text, key.span()),
                key: self.key_path(name),
                found: if refused.is_some() { "a key that is not honoured" } else { "an unknown key" }
                    .to_owned(),
                expected: match refused {
                    Some((_, instead)) => (*instead).to_owned(),
                    None => format!("one of {}", known.join(", ")),
                },
                suggestion: if refused.is_some() { None } else { suggestion(name, known) },
            });
        }
        Ok(())
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value(&self, key: &str) -> Option<&'a Value<'a>> {
        self.entries.get(key)
    }

    fn wrong_value(&self, key: &str, value: &Value<'_>, expected: &str) -> SettingsError {
        let found = self.text.get(value.span()).unwrap_or_default();
        SettingsError {
            line: line(self.text, value.span()),
            key: self.key_path(key),
            found: match value.get_ref() {
                DeValue::Table(_) => "a table".to_owned(),
                DeValue::Array(_) => "an array".to_owned(),
                _ => found.to_owned(),
            },
            expected: expected.to_owned(),
            suggestion: None,
        }
    }

    fn missing(&self, key: &str, expected: &str) -> SettingsError {
        SettingsError {
            line: line(self.text, self.span.clone()),
            key: self.key_path(key),
            found: "nothing".to_owned(),
            expected: expected.to_owned(),
            suggestion: None,
        }
    }

    fn table(&self, key: &str) -> Result<Option<Table<'a>>, SettingsError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let entries = value.get_ref().as_table().ok_or_else(|| self.wrong_value(key, value, "a table"))?;
        Ok(Some(Table { text: self.text, path: self.key_path(key), span: value.span(), entries }))
    }

    /// The tables in the table `key`, by name.
    fn tables(&self, key: &str) -> Result<BTreeMap<String, Table<'a>>, SettingsError> {
        let Some(outer) = self.table(key)? else { return Ok(BTreeMap::new()) };
        let names = outer.entries.keys().map(|name| name.get_ref().to_string());
        names
            .filter_map(|name| outer.table(&name).map(|inner| inner.map(|inner| (name, inner))).transpose())
            .collect()
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        into: &mut T,
    ) -> Result<(), SettingsError> {
        let Some(value) = self.value(key) else { return Ok(()) };
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok())
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok());
        *into = number.ok_or_else(|| {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong_value(key, value, &expected)
        })?;
        Ok(())
    }

    pub(super) fn milliseconds(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        into: &mut Duration,
    ) -> Result<(), SettingsError> {
        let mut ms = into.as_millis() as u64;
        self.number(key, range, &mut ms)?;
        *into = Duration::from_millis(ms);
        Ok(())
    }

    fn boolean(&self, key: &str, into: &mut bool) -> Result<(), SettingsError> {
        let Some(value) = self.value(key) else { return Ok(()) };
        let expected = "true or false";
        *into = value.get_ref().as_bool().ok_or_else(|| self.wrong_value(key, value, expected))?;
        Ok(())
    }

    fn string(&self, key: &str) -> Result<Option<(&'a str, &'a Value<'a>)>, SettingsError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = value.get_ref().as_str().ok_or_else(|| self.wrong_value(key, value, "a string"))?;
        Ok(Some((text, value)))
    }

    /// One of some words, each of which stands for a value.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        into: &mut T,
    ) -> Result<(), SettingsError> {
        let Some((word, value)) = self.string(key)? else { return Ok(()) };
        let chosen = words.iter().find(|(known, _)| *known == word);
        *into = chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(known, _)| format!("\"{known}\"")).collect();
            let (last, others) = known.split_last().map_or(("", &[][..]), |(last, rest)| (last, rest));
            self.wrong_value(key, value, &format!("{} or {last}", others.join(", ")))
        })?;
        Ok(())
    }

    fn filters(&self, key: &str) -> Result<Vec<String>, SettingsError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let expected = "an array of topic filters";
        let array = value.get_ref().as_array().ok_or_else(|| self.wrong_value(key, value, expected))?;
        let filter = |entry: &Value<'_>| {
            let filter = entry.get_ref().as_str().filter(|filter| crate::mqtt::is_topic_filter(filter));
            filter.map(str::to_owned).ok_or_else(|| self.wrong_value(key, entry, "a topic filter"))
        };
        array.iter().map(filter).collect()
    }

    fn only_id_0(&self) -> Result<(), SettingsError> {
        match self.value("id") {
            Some(id) if id.get_ref().as_integer().is_none_or(|id| id.as_str() != "0") => {
                Err(self.wrong_value("id", id, "0: there is one router, and no cluster to tell it apart in"))
            }
            _ => Ok(()),
        }
    }
}

fn line(text: &str, span: Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count()
}

fn suggestion(key: &str, known: &[&str]) -> Option<String> {
    suggestion::meant(key, known.iter().copied()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> SettingsError {
        Config::from_rumqttd_toml(text).unwrap_err()
    }

    #[test]
    fn the_shipped_file_is_read_and_listens_on_loopback_alone() {
        let config = Config::from_rumqttd_toml(include_str!("../../rumqttd.toml")).unwrap();
        assert_eq!(config.listeners.len(), 1);
        assert!(config.listeners[0].address.ip().is_loopback());
        assert_eq!(config.router, crate::broker::RouterLimits::default());
    }

    #[test]
    fn every_key_has_its_meaning() {
        let config = Config::from_rumqttd_toml(
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
        assert_eq!((error.line, error.key.as_str()), (3, "router.max_segment_sise"));
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
            assert_eq!((error.key.as_str(), error.found.as_str()), (key, "a key that is not honoured"));
        }
    }

    #[test]
    fn wrong_values_are_quoted_with_what_was_expected() {
        for (text, line, key, found) in [
            ("[router]\nmax_segment_size = 0", 2, "router.max_segment_size", "0"),
            ("[router]\nmax_segment_count = 1", 2, "router.max_segment_count", "1"),
            ("[router]\nmax_connections = \"many\"", 2, "router.max_connections", "\"many\""),
            ("[router]\nmax_connections = -1", 2, "router.max_connections", "-1"),
            ("[v4.1]\n\nlisten = \"localhost\"", 3, "v4.1.listen", "\"localhost\""),
            ("\n[v4.1]\nname = \"x\"", 2, "v4.1.listen", "nothing"),
            ("[v4]\n1 = 5", 2, "v4.1", "5"),
            ("id = 3", 1, "id", "3"),
            ("[router]\ninitialized_filters = [\"a#\"]", 2, "router.initialized_filters", "\"a#\""),
            (
                "[router]\nshared_subscriptions_strategy = \"fair\"",
                2,
                "router.shared_subscriptions_strategy",
                "\"fair\"",
            ),
        ] {
            let error = refused(text);
            assert_eq!((error.line, error.key.as_str(), error.found.as_str()), (line, key, found), "{error}");
        }
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let error = refused("[router]\nmax_connections = = 1\n");
        assert_eq!((error.line, error.expected.as_str()), (2, "TOML"));
    }
}
