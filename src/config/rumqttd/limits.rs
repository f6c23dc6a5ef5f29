//! The table `[limits]` of `rumqttd.toml`: the bounds of ours that rumqttd's format has no key for.

use super::{SettingsError, Table};
use crate::broker::{Limits, OverRate, PendingPolicy};

/// Every key; each is named like the field of [`Limits`] that it sets.
const KEYS: &[&str] = &[
    "connections_per_address_max",
    "client_id_bytes_max",
    "topic_bytes_max",
    "topic_levels_max",
    "filters_max",
    "subscriptions_per_client_max",
    "overlapping_subscriptions_max",
    "parked_sessions_max",
    "session_expiry_max_s",
    "retained_messages_max",
    "retained_bytes_max",
    "memory_max",
    "receive_max",
    "topic_aliases_max",
    "inflight_bytes_max",
    "pending_messages_max",
    "pending_bytes_max",
    "pending_policy",
    "publish_messages_per_s_max",
    "publish_burst_messages_max",
    "publish_over_rate",
    "unread_bytes_max",
    "write_timeout_ms",
    "packet_timeout_ms",
    "failed_logins_max",
    "failed_login_forgiven_ms",
];

const COUNT_MAX: u64 = 100_000_000;
const BYTES_MAX: u64 = 1 << 40;
/// With less a broker could hardly hold its own buffers.
const MEMORY_LEAST: u64 = 16 << 20;
const U32_MAX: u64 = u32::MAX as u64;

pub(super) fn read(table: &Table<'_>, limits: &mut Limits) -> Result<(), SettingsError> {
    table.allow_only(KEYS)?;
    table.number("connections_per_address_max", 1..=COUNT_MAX, &mut limits.connections_per_address_max)?;
    // Every server must take ids of 23 bytes (MQTT 3.1.1, 3.1.3.1).
    table.number("client_id_bytes_max", 23..=65_535, &mut limits.client_id_bytes_max)?;
    table.number("topic_bytes_max", 1..=65_535, &mut limits.topic_bytes_max)?;
    table.number("topic_levels_max", 1..=65_535, &mut limits.topic_levels_max)?;
    table.number("filters_max", 1..=COUNT_MAX, &mut limits.filters_max)?;
    table.number("subscriptions_per_client_max", 1..=COUNT_MAX, &mut limits.subscriptions_per_client_max)?;
    table.number(
        "overlapping_subscriptions_max",
        1..=COUNT_MAX,
        &mut limits.overlapping_subscriptions_max,
    )?;
    table.number("parked_sessions_max", 0..=COUNT_MAX, &mut limits.parked_sessions_max)?;
    table.number("session_expiry_max_s", 0..=U32_MAX, &mut limits.session_expiry_max_s)?;
    table.number("retained_messages_max", 0..=COUNT_MAX, &mut limits.retained_messages_max)?;
    table.number("retained_bytes_max", 0..=BYTES_MAX, &mut limits.retained_bytes_max)?;
    let mut memory_max = 0;
    table.number("memory_max", MEMORY_LEAST..=BYTES_MAX, &mut memory_max)?;
    limits.memory_max = (memory_max > 0).then_some(memory_max);
    table.number("receive_max", 1..=65_535, &mut limits.receive_max)?;
    table.number("topic_aliases_max", 0..=65_535, &mut limits.topic_aliases_max)?;
    read_queues(table, limits)?;
    table.number("publish_messages_per_s_max", 0..=U32_MAX, &mut limits.publish_messages_per_s_max)?;
    table.number("publish_burst_messages_max", 1..=U32_MAX, &mut limits.publish_burst_messages_max)?;
    let failed = &mut limits.failed_logins;
    table.number("failed_logins_max", 1..=1_000_000, &mut failed.failed_logins_max)?;
    table.milliseconds("failed_login_forgiven_ms", 1..=86_400_000, &mut failed.forgiven_every)?;
    let ways = [("slow_down", OverRate::SlowDown), ("disconnect", OverRate::Disconnect)];
    table.choice("publish_over_rate", &ways, &mut limits.publish_over_rate)
}

fn read_queues(table: &Table<'_>, limits: &mut Limits) -> Result<(), SettingsError> {
    table.number("inflight_bytes_max", 1..=BYTES_MAX, &mut limits.inflight_bytes_max)?;
    table.number("pending_messages_max", 1..=COUNT_MAX, &mut limits.pending_messages_max)?;
    table.number("pending_bytes_max", 1..=BYTES_MAX, &mut limits.pending_bytes_max)?;
    let policies = [
        ("hold", PendingPolicy::Hold),
        ("wait", PendingPolicy::Wait),
        ("drop_oldest", PendingPolicy::DropOldest),
        ("drop_newest", PendingPolicy::DropNewest),
        ("disconnect", PendingPolicy::Disconnect),
    ];
    table.choice("pending_policy", &policies, &mut limits.pending_policy)?;
    table.number("unread_bytes_max", 1_024..=BYTES_MAX, &mut limits.unread_bytes_max)?;
    table.milliseconds("write_timeout_ms", 1..=86_400_000, &mut limits.write_timeout)?;
    table.milliseconds("packet_timeout_ms", 1..=86_400_000, &mut limits.packet_timeout)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::{AttemptLimits, Config};

    #[test]
    fn every_key_sets_the_limit_of_its_name() {
        let text = "[limits]\n\
            connections_per_address_max = 1\nclient_id_bytes_max = 24\ntopic_bytes_max = 3\ntopic_levels_max = 4\n\
            filters_max = 5\nsubscriptions_per_client_max = 8\n\
            overlapping_subscriptions_max = 24\n\
            parked_sessions_max = 9\nsession_expiry_max_s = 10\nretained_messages_max = 11\nretained_bytes_max = 12\n\
            memory_max = 16777216\n\
            receive_max = 13\ntopic_aliases_max = 14\ninflight_bytes_max = 15\npending_messages_max = 16\n\
            pending_bytes_max = 17\npending_policy = \"drop_oldest\"\npublish_messages_per_s_max = 18\n\
            publish_burst_messages_max = 19\npublish_over_rate = \"disconnect\"\nunread_bytes_max = 2048\n\
            write_timeout_ms = 21\npacket_timeout_ms = 25\nfailed_logins_max = 22\nfailed_login_forgiven_ms = 23\n";
        assert_eq!(text.lines().count(), KEYS.len() + 1, "every key is in the test");
        let expected = Limits {
            filters_max: 5,
            subscriptions_per_client_max: 8,
            overlapping_subscriptions_max: 24,
            pending_messages_max: 16,
            parked_sessions_max: 9,
            session_expiry_max_s: 10,
            retained_messages_max: 11,
            retained_bytes_max: 12,
            memory_max: Some(16 << 20),
            receive_max: 13,
            topic_aliases_max: 14,
            write_timeout: Duration::from_millis(21),
            packet_timeout: Duration::from_millis(25),
            connections_per_address_max: 1,
            client_id_bytes_max: 24,
            topic_bytes_max: 3,
            topic_levels_max: 4,
            inflight_bytes_max: 15,
            pending_bytes_max: 17,
            pending_policy: PendingPolicy::DropOldest,
            publish_messages_per_s_max: 18,
            publish_burst_messages_max: 19,
            publish_over_rate: OverRate::Disconnect,
            unread_bytes_max: 2_048,
            failed_logins: AttemptLimits {
                failed_logins_max: 22,
                forgiven_every: Duration::from_millis(23),
                ..AttemptLimits::default()
            },
        };
        assert_eq!(Config::from_rumqttd_toml(text).unwrap().limits, expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, key, found, expected) in [
            ("[limits]\n\ntopic_level_max = 1", 3, "limits.topic_level_max", "an unknown key", "one of "),
            ("[limits]\nreceive_max = 0", 2, "limits.receive_max", "0", "a whole number from 1 to 65535"),
            (
                "[limits]\npending_policy = \"drop\"",
                2,
                "limits.pending_policy",
                "\"drop\"",
                "\"hold\", \"wait\", \"drop_oldest\", \"drop_newest\" or \"disconnect\"",
            ),
            ("limits = 1", 1, "limits", "1", "a table"),
        ] {
            let error = Config::from_rumqttd_toml(text).unwrap_err();
            assert_eq!((error.line, error.key.as_str(), error.found.as_str()), (line, key, found), "{error}");
            assert!(error.expected.starts_with(expected), "{error}");
        }
        let error = Config::from_rumqttd_toml("[limits]\ntopic_level_max = 1").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("topic_levels_max"));
    }
}
