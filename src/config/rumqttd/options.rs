//! The table `[options]` of `rumqttd.toml`: what this broker does beside rumqttd, in
//! Mosquitto's words where it has some.

use std::time::Duration;

use super::{SettingsError, Table};
use crate::broker::Config;

const KEYS: &[&str] = &["sys_interval_s", "check_retain_source"];

/// A day.
const INTERVAL_S_MAX: u64 = 86_400;

pub(super) fn read(table: &Table<'_>, config: &mut Config) -> Result<(), SettingsError> {
    table.allow_only(KEYS)?;
    let mut interval_s = config.sys_interval.as_secs();
    table.number("sys_interval_s", 0..=INTERVAL_S_MAX, &mut interval_s)?;
    config.sys_interval = Duration::from_secs(interval_s);
    table.boolean("check_retain_source", &mut config.check_retain_source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_meaning_and_its_default() {
        let read = |text: &str| Config::from_rumqttd_toml(text).unwrap();
        assert_eq!(read("").sys_interval.as_secs(), 10);
        assert_eq!(read("[options]\nsys_interval_s = 0").sys_interval.as_secs(), 0);
        assert!(read("").check_retain_source);
        assert!(!read("[options]\ncheck_retain_source = false").check_retain_source);
        let error = Config::from_rumqttd_toml("[options]\ncheck_retain_source = 1").unwrap_err();
        assert_eq!((error.line, error.expected.as_str()), (2, "true or false"));
        let error = Config::from_rumqttd_toml("[options]\nsys_interval = 1").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("sys_interval_s"));
        let error = Config::from_rumqttd_toml("[options]\nsys_interval_s = 86401").unwrap_err();
        assert_eq!(error.expected, "a whole number from 0 to 86400");
    }
}
