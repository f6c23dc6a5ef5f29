//! The table `[options]` of `rumqttd.toml`: what this broker does beside rumqttd, in
//! Mosquitto's words where it has some.

use super::FOREIGN_KEYS;
use crate::broker::Config;
use crate::settings::{SettingError, Table};

/// A day.
const INTERVAL_S_MAX: f64 = 86_400.0;

/// Reads the table.
pub fn options(mut table: Table<'_>, config: &mut Config) -> Result<(), SettingError> {
    table.seconds("sys_interval_s", 0.0..=INTERVAL_S_MAX, &mut config.sys_interval)?;
    table.flag("check_retain_source", &mut config.check_retain_source)?;
    table.refuse_foreign(FOREIGN_KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::toml;

    fn read(text: &str) -> Result<Config, SettingError> {
        let mut config = Config::without_listeners();
        options(Table::of(&toml::parse(None, text)?, "options")?, &mut config)?;
        Ok(config)
    }

    #[test]
    fn every_key_has_its_meaning_and_its_default() {
        let config = |text: &str| read(text).unwrap();
        assert_eq!(config("").sys_interval.as_secs(), 10);
        assert_eq!(config("sys_interval_s = 0").sys_interval.as_secs(), 0);
        assert!(config("").check_retain_source);
        assert!(!config("check_retain_source = false").check_retain_source);
        let refused = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(
            refused("check_retain_source = 1"),
            "line 1, key `options.check_retain_source`: found 1, expected true or false"
        );
        assert!(refused("sys_interval = 1").ends_with("did you mean `sys_interval_s`?"));
        assert!(refused("sys_interval_s = 86401").ends_with("expected a number between 0 and 86400"));
    }
}
