//! The table `[limits]` of `rumqttd.toml`: the bounds of ours that rumqttd's format has no key for.

use super::FOREIGN_KEYS;
use crate::broker::{Limits, OverRate, PendingPolicy};
use crate::settings::{SettingError, Table};

const COUNT_MAX: usize = 100_000_000;
const BYTES_MAX: usize = 1 << 40;
/// With less a broker could hardly hold its own buffers.
const MEMORY_LEAST: usize = 16 << 20;

/// Reads the table; each key is named like the field of [`Limits`] that it sets.
pub fn limits(mut table: Table<'_>, limits: &mut Limits) -> Result<(), SettingError> {
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
    table.number("session_expiry_max_s", .., &mut limits.session_expiry_max_s)?;
    table.number("retained_messages_max", 0..=COUNT_MAX, &mut limits.retained_messages_max)?;
    table.number("retained_bytes_max", 0..=BYTES_MAX, &mut limits.retained_bytes_max)?;
    limits.memory_max = table.find_number("memory_max", MEMORY_LEAST..=BYTES_MAX)?.or(limits.memory_max);
    table.number("receive_max", 1.., &mut limits.receive_max)?;
    table.number("topic_aliases_max", .., &mut limits.topic_aliases_max)?;
    queues(&mut table, limits)?;
    table.number("publish_messages_per_s_max", .., &mut limits.publish_messages_per_s_max)?;
    table.number("publish_burst_messages_max", 1.., &mut limits.publish_burst_messages_max)?;
    let failed = &mut limits.failed_logins;
    table.number("failed_logins_max", 1..=1_000_000, &mut failed.failed_logins_max)?;
    table.milliseconds("failed_login_forgiven_ms", 1.0..=86_400_000.0, &mut failed.forgiven_every)?;
    table.choice("publish_over_rate", OverRate::NAMES, &mut limits.publish_over_rate)?;
    table.refuse_foreign(FOREIGN_KEYS)
}

fn queues(table: &mut Table<'_>, limits: &mut Limits) -> Result<(), SettingError> {
    table.number("inflight_bytes_max", 1..=BYTES_MAX, &mut limits.inflight_bytes_max)?;
    table.number("pending_messages_max", 1..=COUNT_MAX, &mut limits.pending_messages_max)?;
    table.number("pending_bytes_max", 1..=BYTES_MAX, &mut limits.pending_bytes_max)?;
    table.choice("pending_policy", PendingPolicy::NAMES, &mut limits.pending_policy)?;
    table.number("unread_bytes_max", 1_024..=BYTES_MAX, &mut limits.unread_bytes_max)?;
    table.milliseconds("write_timeout_ms", 1.0..=86_400_000.0, &mut limits.write_timeout)?;
    table.milliseconds("packet_timeout_ms", 1.0..=86_400_000.0, &mut limits.packet_timeout)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::AttemptLimits;
    use crate::settings::{Problem, toml};

    fn read(text: &str) -> Result<Limits, SettingError> {
        let mut read = Limits::default();
        limits(Table::of(&toml::parse(None, text)?, "limits")?, &mut read)?;
        Ok(read)
    }

    #[test]
    fn every_key_sets_the_limit_of_its_name() {
        let text = "\
            connections_per_address_max = 1\nclient_id_bytes_max = 24\ntopic_bytes_max = 3\ntopic_levels_max = 4\n\
            filters_max = 5\nsubscriptions_per_client_max = 8\n\
            overlapping_subscriptions_max = 24\n\
            parked_sessions_max = 9\nsession_expiry_max_s = 10\nretained_messages_max = 11\nretained_bytes_max = 12\n\
            memory_max = 16777216\n\
            receive_max = 13\ntopic_aliases_max = 14\ninflight_bytes_max = 15\npending_messages_max = 16\n\
            pending_bytes_max = 17\npending_policy = \"drop_oldest\"\npublish_messages_per_s_max = 18\n\
            publish_burst_messages_max = 19\npublish_over_rate = \"disconnect\"\nunread_bytes_max = 2048\n\
            write_timeout_ms = 21\npacket_timeout_ms = 25\nfailed_logins_max = 22\nfailed_login_forgiven_ms = 23\n";
        let unknown = read("x = 1").unwrap_err();
        let Problem::UnknownKey { known } = &unknown.problem else { panic!("{unknown}") };
        assert_eq!(text.lines().count(), known.len(), "every key is in the test");
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
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("\ntopic_level_max = 1", "line 2, key `limits.topic_level_max`: unknown key, expected one of "),
            (
                "receive_max = 0",
                "line 1, key `limits.receive_max`: found 0, expected a whole number between 1 and 65535",
            ),
            (
                "pending_policy = \"drop\"",
                "line 1, key `limits.pending_policy`: found \"drop\", expected one of hold, wait, drop_oldest, \
                 drop_newest, disconnect",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = read("topic_level_max = 1").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("topic_levels_max"));
    }
}
